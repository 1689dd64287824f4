"""Layers of pruned networks as numbers: which tables a profile needs, and where in them a network lies."""

from dataclasses import dataclass
from math import prod

import numpy as np

from hamp.pruning.space import Space

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Family:
    """Layers that differ in width alone; they share one table.

    `kind` is conv, conv_transpose, linear, or elementwise: a ReLU whose channels are its elements, which stands
    for all layers without weights. `size` and `output_size` are in pixels, without the channels; `positions` is
    how often the kernel is applied to one image. `group` is the input and output channels of one group of
    a grouped convolution, whose groups follow its width; (0, 0): not grouped.
    """

    kind: str
    kernel: Sizes = ()
    stride: Sizes = ()
    padding: Sizes = ()
    dilation: Sizes = ()
    group: tuple[int, int] = (0, 0)
    size: Sizes = ()
    output_size: Sizes = ()
    positions: int = 1

    @property
    def signature(self) -> str:
        """Name of the family, in words; equal for equal families only."""

        def sizes(values: Sizes) -> str:
            return "x".join(map(str, values))

        if not self.kernel:
            return self.kind if self.positions == 1 else f"{self.kind} at {self.positions} positions"
        told = f"{self.kind} {sizes(self.kernel)} stride {sizes(self.stride)} pad {sizes(self.padding)}"
        told += f" dilation {sizes(self.dilation)}" if set(self.dilation) != {1} else ""
        told += f" groups of {sizes(self.group)}" if self.grouped else ""
        told += f" from {sizes(self.size)} to {sizes(self.output_size)}"
        return told if self.times == 1 else f"{told} {self.times} times"

    @property
    def times(self) -> int:
        """Parts of one image that are images of their own to a convolution, such as frames in the batch dimension."""
        at_once = prod(self.size if self.kind == "conv_transpose" else self.output_size)
        return max(1, self.positions // at_once) if self.kernel else 1

    @property
    def grouped(self) -> bool:
        """Whether input and output channels vary together."""
        return self.group != (0, 0)


@dataclass(frozen=True)
class Layer:
    """One layer at one width: a cell of its family's table."""

    family: Family
    in_channels: int
    out_channels: int

    @property
    def groups(self) -> int:
        """Groups of the convolution."""
        return self.in_channels // self.family.group[0] if self.family.grouped else 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its input, without the batch."""
        if self.family.kernel:
            return self.in_channels, *self.family.size
        return (self.in_channels,) if self.family.positions == 1 else (self.family.positions, self.in_channels)


ELEMENTWISE = Family("elementwise")


@dataclass(frozen=True)
class Column:
    """One layer of a network, over a population of pruned networks: input and output channels, each (n,).

    Both are 0 where the layer went with its branch.
    """

    name: str
    family: Family
    in_channels: np.ndarray
    out_channels: np.ndarray

    @property
    def macs(self) -> np.ndarray:
        """Multiply-adds for one image, (n,)."""
        return self._products * prod(self.family.kernel) * self.family.positions

    @property
    def weights(self) -> np.ndarray:
        """Weights and biases, (n,)."""
        return self._products * prod(self.family.kernel) + self.out_channels

    @property
    def activations(self) -> np.ndarray:
        """Elements of input and output for one image, (n,)."""
        if not self.family.kernel:
            return (self.in_channels + self.out_channels) * float(self.family.positions)
        inputs, outputs = (
            self.family.times * float(prod(size)) for size in (self.family.size, self.family.output_size)
        )
        return self.in_channels * inputs + self.out_channels * outputs

    @property
    def _products(self) -> np.ndarray:
        """Pairs of channels that a weight joins, (n,)."""
        inputs = self.family.group[0] if self.family.grouped else self.in_channels
        return np.asarray(self.out_channels * 1.0 * inputs)

    def padded(self, multiple: int) -> "Column":
        """With channels rounded up to a multiple, as a device that works on whole vectors sees the layer."""
        inputs, outputs = (-(-side // multiple) * multiple for side in (self.in_channels, self.out_channels))
        return Column(self.name, self.family, inputs, outputs)


def output_padding(family: Family) -> Sizes:
    """What a transposed convolution adds to its output to reach `output_size`."""
    f = family
    sides = zip(f.size, f.output_size, f.kernel, f.stride, f.padding, f.dilation, strict=True)
    return tuple(out - ((size - 1) * s - 2 * p + d * (k - 1) + 1) for size, out, k, s, p, d in sides)


def columns(space: Space, widths: np.ndarray) -> tuple[list[Column], np.ndarray]:
    """Layers of a population of pruned networks, and the elements that all others move for one image, (n,).

    Args:
        space: of the network.
        widths: (n, groups), int32.
    """
    found = []
    for layer, shapes in zip(space.graph.layers, space.layer_shapes(widths), strict=True):
        conv = layer.kind != "linear"
        family = Family(
            layer.kind,
            kernel=layer.kernel if conv else (),
            stride=layer.stride if conv else (),
            padding=layer.padding if conv else (),
            dilation=layer.dilation if conv else (),
            group=(layer.inputs_per_group, layer.outputs_per_group) if layer.outputs_per_group else (0, 0),
            size=layer.input_size if conv else (),
            output_size=layer.output_size if conv else (),
            positions=layer.positions,
        )
        here = shapes.in_channels > 0
        found.append(Column(layer.name, family, shapes.in_channels, np.where(here, shapes.out_channels, 0)))
    return found, space.costs(widths)["moved_elements"].astype(np.float64)

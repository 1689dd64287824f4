"""What a pruned network costs, from its widths alone: multiply-adds, parameters, memory, layer shapes.

Every count of channels in a network is linear in the widths, so all costs of a population of n candidates
are a few matrix products. Nothing here needs the network or torch.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class LayerSpec:
    """A convolution or linear layer as it is called once; `in_axis`, `out_axis` index the counts of channels.

    `kind` is conv, conv_transpose or linear. `outputs_per_group` is the output channels of one group
    of a grouped convolution (0: not grouped), `inputs_per_group` its input channels. `positions` is how often the
    kernel is applied to one image; `input_size`, `output_size` are the spatial sizes, empty for linear layers.
    """

    kind: str
    name: str
    in_axis: int
    out_axis: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    outputs_per_group: int
    inputs_per_group: int
    positions: int
    input_size: tuple[int, ...]
    output_size: tuple[int, ...]


@dataclass(frozen=True)
class LayerShapes:
    """One layer over a population: `in_channels`, `out_channels`, `groups` are int64 of shape (n,).

    `groups` is 1 for a plain convolution or linear layer, and follows the width in grouped and depthwise ones.
    A layer of a removed branch has 0 channels in and should be skipped.
    """

    kind: str
    name: str
    in_channels: NDArray[np.int64]
    out_channels: NDArray[np.int64]
    groups: NDArray[np.int64]
    depthwise: bool
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    input_size: tuple[int, ...]
    output_size: tuple[int, ...]
    positions: int

    @property
    def macs(self) -> NDArray[np.int64]:
        """Multiply-adds of one image, (n,)."""
        per_output = self.in_channels // np.maximum(self.groups, 1) * int(np.prod(self.kernel))
        if self.kind == "conv_transpose":
            per_output = self.out_channels // np.maximum(self.groups, 1) * int(np.prod(self.kernel))
            return per_output * self.in_channels * self.positions
        return per_output * self.out_channels * self.positions


@dataclass(frozen=True)
class Graph:
    """A network's costs as functions of `units`, the numbers of units kept, (n, groups).

    axis_constant (axes,), axis_units (groups, axes): the count of channels in each axis is
    ``axis_constant + units @ axis_units``; axes of a removed branch, axis_branch (axes,) >= 0, count 0.
    tensors (t, 4): parameters as (axis, axis, factor, used in inference); their size is the product.
    buffers (b, 4): activations as (axis, elements a channel, first step, last step), each while it is needed.
    held (h, 4): the same while the network's own code holds them.
    moved (m, 2): what the cheap layers read and write, as (axis, elements a channel).
    """

    axis_constant: NDArray[np.int64]
    axis_units: NDArray[np.int64]
    axis_branch: NDArray[np.int64]
    layers: tuple[LayerSpec, ...]
    tensors: NDArray[np.int64]
    buffers: NDArray[np.int64]
    held: NDArray[np.int64]
    moved: NDArray[np.int64]

    def counts(self, units: Matrix, alive: Matrix) -> Matrix:
        """Channels in every axis, (n, axes); `alive` (n, branches) is 1 where the branch stays."""
        counts = self.axis_constant + units @ self.axis_units.astype(np.float64)
        inside = self.axis_branch >= 0
        if inside.any():
            counts[:, inside] *= alive[:, self.axis_branch[inside]]
        return counts

    def layer_shapes(self, counts: Matrix) -> list[LayerShapes]:
        """Every costly layer, over the population."""
        whole = np.rint(counts).astype(np.int64)
        shapes = []
        for layer in self.layers:
            in_channels, out_channels = whole[:, layer.in_axis], whole[:, layer.out_axis]
            grouped = layer.outputs_per_group > 0
            shapes.append(
                LayerShapes(
                    kind=layer.kind,
                    name=layer.name,
                    in_channels=in_channels,
                    out_channels=out_channels,
                    groups=out_channels // layer.outputs_per_group if grouped else np.ones_like(out_channels),
                    depthwise=grouped and layer.inputs_per_group == 1,
                    kernel=layer.kernel,
                    stride=layer.stride,
                    padding=layer.padding,
                    dilation=layer.dilation,
                    input_size=layer.input_size,
                    output_size=layer.output_size,
                    positions=layer.positions,
                )
            )
        return shapes

    def macs(self, counts: Matrix) -> Matrix:
        """Multiply-adds of convolutions and linear layers for one image, (n,)."""
        total = np.zeros(len(counts))
        for layer in self.layers:
            factor = layer.positions * int(np.prod(layer.kernel))
            if not layer.outputs_per_group:
                total += counts[:, layer.in_axis] * counts[:, layer.out_axis] * factor
            elif layer.kind == "conv_transpose":
                total += counts[:, layer.in_axis] * (layer.outputs_per_group * factor)
            else:
                total += counts[:, layer.out_axis] * (layer.inputs_per_group * factor)
        return total

    def parameters(self, counts: Matrix, inference_only: bool = False) -> Matrix:
        """Parameters of the network, or of what inference uses, (n,)."""
        tensors = self.tensors[self.tensors[:, 3] > 0] if inference_only else self.tensors
        return (counts[:, tensors[:, 0]] * counts[:, tensors[:, 1]]) @ tensors[:, 2].astype(np.float64)

    def peak_activations(self, counts: Matrix, eager: bool = False) -> Matrix:
        """Largest number of elements alive at once for one image, (n,); `eager`: by `held`."""
        buffers = self.held if eager else self.buffers
        if not len(buffers):
            return np.zeros(len(counts))
        steps = int(buffers[:, 3].max()) + 1
        alive = np.zeros((len(self.axis_constant), steps))
        for axis, size, first, last in buffers:
            alive[axis, first : last + 1] += size
        return (counts @ np.unique(alive, axis=1)).max(axis=1)

    def moved_elements(self, counts: Matrix) -> Matrix:
        """Elements that the cheap layers read and write for one image, (n,)."""
        return counts[:, self.moved[:, 0]] @ self.moved[:, 1].astype(np.float64)

    def to_dict(self) -> dict[str, Any]:
        """As plain lists, for JSON."""
        arrays = {k: v.tolist() for k, v in self.__dict__.items() if isinstance(v, np.ndarray)}
        rows, columns = np.nonzero(self.axis_units)
        arrays["axis_units"] = [rows.tolist(), columns.tolist(), self.axis_units[rows, columns].tolist()]
        return {**arrays, "groups": len(self.axis_units), "layers": [asdict(layer) for layer in self.layers]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Graph":
        """The inverse of `to_dict`."""

        def table(name: str, width: int) -> NDArray[np.int64]:
            return np.array(data[name], dtype=np.int64).reshape(-1, width)

        constant = np.array(data["axis_constant"], dtype=np.int64)
        units = np.zeros((data["groups"], len(constant)), dtype=np.int64)
        rows, columns, values = data["axis_units"]
        units[rows, columns] = values

        def layer(spec: dict[str, Any]) -> LayerSpec:
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.items()}
            return LayerSpec(**values)

        layers = tuple(layer(spec) for spec in data["layers"])
        return cls(
            constant,
            units,
            np.array(data["axis_branch"], dtype=np.int64),
            layers,
            table("tensors", 4),
            table("buffers", 4),
            table("held", 4),
            table("moved", 2),
        )

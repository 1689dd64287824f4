"""Layers of pruned networks as numbers: which tables a profile needs, and where in them a network lies."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Family:
    """Layers that differ in width alone; they share one table.

    `height` and `width` are those of the input in pixels (1 for other kinds); `groups` is 0 for a depthwise
    convolution, whose groups follow its width. The family `elementwise` (a ReLU, its channels being its
    elements) stands for all layers without weights.
    """

    kind: Literal["conv", "linear", "elementwise"]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    height: int = 1
    width: int = 1

    @property
    def signature(self) -> str:
        """Name of the family, in words; equal for equal families."""
        if self.kind != "conv":
            return self.kind

        def pair(values: tuple[int, int]) -> str:
            return f"{values[0]}x{values[1]}"

        told = f"conv {pair(self.kernel)} stride {pair(self.stride)} pad {pair(self.padding)}"
        told += f" dilation {pair(self.dilation)}" if self.dilation != (1, 1) else ""
        told += " depthwise" if self.groups == 0 else f" groups {self.groups}" if self.groups > 1 else ""
        return f"{told} on {self.height}x{self.width}"

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the output in pixels."""
        sides = zip(
            (self.height, self.width), self.kernel, self.stride, self.padding, self.dilation, strict=True
        )
        height, width = ((side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in sides)
        return height, width


@dataclass(frozen=True)
class Layer:
    """One layer at one width: a cell of its family's table."""

    family: Family
    in_channels: int
    out_channels: int

    @property
    def groups(self) -> int:
        """Groups of the convolution."""
        return self.family.groups or self.in_channels

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its input, without the batch."""
        if self.family.kind != "conv":
            return (self.in_channels,)
        return self.in_channels, self.family.height, self.family.width


ELEMENTWISE = Family("elementwise")


@dataclass(frozen=True)
class Column:
    """One layer of a network, over a population of pruned networks: input and output channels, each (n,)."""

    name: str
    family: Family
    in_channels: np.ndarray
    out_channels: np.ndarray


def columns(space: Any, widths: np.ndarray) -> tuple[list[Column], np.ndarray]:
    """Layers of a population of pruned networks, and the elements that its cheap layers move, (n,) an image.

    Args:
        space: `hamp.pruning.space.Space`.
        widths: (n, groups), int32.
    """
    raise NotImplementedError


def flops(column: Column) -> np.ndarray:
    """Floating-point operations of a layer for one image, (n,): two a multiply-add."""
    family = column.family
    height, width = family.output if family.kind == "conv" else (1, 1)
    inputs = 1.0 if family.groups == 0 else column.in_channels / family.groups
    return 2.0 * inputs * column.out_channels * np.prod(family.kernel) * height * width


def traffic(column: Column) -> tuple[np.ndarray, np.ndarray]:
    """Elements of weights, and of input and output for one image, that a layer moves; each (n,)."""
    family = column.family
    height, width = family.output if family.kind == "conv" else (1, 1)
    inputs = 1.0 if family.groups == 0 else column.in_channels / family.groups
    weights = inputs * column.out_channels * np.prod(family.kernel) + column.out_channels
    activations = column.in_channels * family.height * family.width + column.out_channels * height * width
    return weights, activations.astype(np.float64)


def padded(column: Column, multiple: int) -> Column:
    """The layer with its channels rounded up to a multiple, as a device that works on whole vectors sees."""
    return Column(
        column.name,
        column.family,
        -(-column.in_channels // multiple) * multiple,
        -(-column.out_channels // multiple) * multiple,
    )

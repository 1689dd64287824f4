"""The space of a network: all groups of channels that may be removed, and what that changes.

It is found once (`hamp.pruning.discover`), stored as one Parquet table, and is all that later stages need to
choose widths, to predict costs and to cut weights. It doesn't import torch.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from hamp.errors import UserError
from hamp.pruning.costs import Graph, LayerShapes

Int32 = NDArray[np.int32]

_SLICE = pa.struct(
    [("parameter", pa.string()), ("dim", pa.int32()), ("size", pa.int32()), ("positions", pa.list_(pa.int32()))]
)
SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False, metadata={"unit": unit, "meaning": meaning})
        for name, kind, unit, meaning in (
            ("group", pa.int32(), "", "index of the group"),
            ("name", pa.string(), "", "first layer that has these channels as its output"),
            ("channels", pa.int32(), "channels", "width of the unpruned group"),
            ("minimum", pa.int32(), "channels", "smallest width, other than 0 where the branch may go"),
            ("multiple", pa.int32(), "channels", "widths are multiples of this, or the full width"),
            ("unit", pa.int32(), "channels", "channels that only go together, as in one group of a convolution"),
            ("branch", pa.int32(), "", "residual branch that goes when this width is 0; -1: none"),
            ("stage", pa.int32(), "", "equal for groups at one spatial resolution"),
            ("layers", pa.list_(pa.string()), "", "layers that have or read these channels"),
            ("slices", pa.list_(_SLICE), "", "per parameter dimension, the positions of unit 0, unit 1, ..."),
        )
    ]
)
_METADATA = b"hamp.space"


@dataclass(frozen=True)
class Slice:
    """Where a group's channels lie in a parameter: row u of `positions` (units, m) is unit u.

    `dim` is the dimension and `size` its full size.
    """

    parameter: str
    dim: int
    size: int
    positions: Int32


@dataclass(frozen=True)
class Frozen:
    """`channels` output channels of `layer` (all of `of`, or some) that are left whole, and why."""

    layer: str
    channels: int
    of: int
    reason: str


@dataclass(frozen=True, eq=False)
class Space:
    """All prunable groups of a network; all arrays have one entry a group.

    channels, minimum, multiple, unit: int32, in channels. A width is allowed if it is the full width, or a multiple
    of `multiple` from `minimum` up, or 0 where `branch`.
    names: a readable name a group. layers: the layers that have or read a group's channels.
    slices: the index mapping of every group. branches: int32, the residual branch that goes when the width is 0,
    or -1. stages: int32, equal for groups at one resolution. frozen: what is left whole, and why.
    graph: costs as functions of the widths. programs: by module, the recorded steps that replace its Python code
    where that holds fixed numbers of channels or a branch may go (see `hamp.pruning.program`).
    input_shape: of one image, without the batch.
    """

    channels: Int32
    minimum: Int32
    multiple: Int32
    unit: Int32
    names: tuple[str, ...]
    layers: tuple[tuple[str, ...], ...]
    slices: tuple[tuple[Slice, ...], ...]
    branches: Int32
    stages: Int32
    frozen: tuple[Frozen, ...]
    graph: Graph
    programs: dict[str, Any]
    input_shape: tuple[int, ...]

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(self.channels)

    @property
    def branch(self) -> NDArray[np.bool_]:
        """Whether a group may go to width 0, which removes the branch that holds it, (groups,)."""
        return self.branches >= 0

    @property
    def units(self) -> Int32:
        """Units of every group: `channels // unit`, (groups,)."""
        return self.channels // self.unit

    @cached_property
    def _lowest(self) -> Int32:
        return np.minimum(-(-self.minimum // self.multiple) * self.multiple, self.channels)

    def validate(self, widths: ArrayLike) -> Int32:
        """Check one width vector (groups,) or a population (n, groups) and return it as int32.

        Raises UserError, naming the group, the value and what is allowed.
        """
        values = np.asarray(widths)
        if values.shape[-1:] != (self.groups,) or values.ndim not in (1, 2):
            raise UserError(f"widths have shape {values.shape}; this space has {self.groups} groups, one integer each")
        if values.dtype.kind not in "iu" and not np.array_equal(values, np.rint(values)):
            raise UserError("widths are not integers")
        values = values.astype(np.int32)
        allowed = (values == self.channels) | (
            (values >= self._lowest) & (values < self.channels) & (values % self.multiple == 0)
        )
        allowed |= self.branch & (values == 0)
        if not allowed.all():
            group = int(np.argwhere(~np.atleast_2d(allowed))[0, 1])
            value = np.atleast_2d(values)[~np.atleast_2d(allowed)][0]
            raise UserError(
                f"width {value} of group {group} ({self.names[group]}) is not allowed: it must be "
                + ("0, " if self.branch[group] else "")
                + f"a multiple of {self.multiple[group]} from {self._lowest[group]}, or {self.channels[group]}"
            )
        return values

    def repair(self, widths: ArrayLike) -> Int32:
        """The nearest allowed widths of any real ones, (groups,) or (n, groups); of two as near, the wider.

        A branch with a width nearer to 0 than to its smallest goes as a whole.
        """
        values = np.asarray(widths, dtype=np.float64)
        low = np.clip(np.floor(values / self.multiple) * self.multiple, self._lowest, self.channels)
        high = np.clip(low + self.multiple, self._lowest, self.channels)
        nearest = np.where(values - low < high - values, low, high)
        nearest = np.where(self.branch & (values < self._lowest / 2), 0, nearest)
        return self.canonical(nearest.astype(np.int32))

    def canonical(self, widths: ArrayLike) -> Int32:
        """Widths in which all groups of a removed branch are 0: a branch goes when any of its widths is 0."""
        values = np.array(widths, dtype=np.int32)
        for branch in range(int(self.branches.max(initial=-1)) + 1):
            inside = self.branches == branch
            gone = (values[..., inside] == 0).any(axis=-1)
            values[..., inside] *= ~gone[..., None]
        return values

    def costs(
        self, widths: ArrayLike, *, batch_size: int = 1, bytes_per_element: int = 4, eager: bool = False
    ) -> dict[str, NDArray[np.int64]]:
        """Costs of a population (n, groups), each int64 (n,); of one vector (groups,), each (1,).

        macs: multiply-adds of one image in convolutions and linear layers. parameters: of the pruned module, as
        built. weight_bytes: parameters that inference uses. activation_bytes: the largest set of activations alive
        at once for `batch_size` images, by liveness over the network; views and element-wise layers that can work
        in place take no memory of their own. With `eager`, as PyTorch runs the network's own code, which works in place
        where it says so, and holds what its variables name. memory_bytes: both. moved_elements: elements of one image
        that layers other than convolutions and linear ones read and write.
        """
        counts = self._counts(self.validate(widths))
        weights = self.graph.parameters(counts, inference_only=True) * bytes_per_element
        activations = self.graph.peak_activations(counts, eager) * (batch_size * bytes_per_element)
        found = {
            "macs": self.graph.macs(counts),
            "parameters": self.graph.parameters(counts),
            "weight_bytes": weights,
            "activation_bytes": activations,
            "memory_bytes": weights + activations,
            "moved_elements": self.graph.moved_elements(counts),
        }
        return {name: np.rint(value).astype(np.int64) for name, value in found.items()}

    def layer_shapes(self, widths: ArrayLike) -> list[LayerShapes]:
        """Every call of a convolution or linear layer in order of execution, over a population (n, groups)."""
        return self.graph.layer_shapes(self._counts(self.validate(widths)))

    def _counts(self, widths: Int32) -> NDArray[np.float64]:
        widths = self.canonical(np.atleast_2d(widths))
        units = (widths // self.unit).astype(np.float64)
        branches = int(self.branches.max(initial=-1)) + 1
        alive = np.ones((len(widths), branches))
        for branch in range(branches):
            alive[:, branch] = (widths[:, self.branches == branch] > 0).all(axis=1)
        return self.graph.counts(units, alive)

    def to_table(self) -> pa.Table:
        """One row a group; what is not of a group lies in the schema's metadata as JSON."""
        columns: dict[str, Any] = {
            "group": np.arange(self.groups, dtype=np.int32),
            "name": list(self.names),
            "channels": self.channels,
            "minimum": self.minimum,
            "multiple": self.multiple,
            "unit": self.unit,
            "branch": self.branches,
            "stage": self.stages,
            "layers": [list(layers) for layers in self.layers],
            "slices": [
                [
                    {"parameter": s.parameter, "dim": s.dim, "size": s.size, "positions": s.positions.ravel()}
                    for s in slices
                ]
                for slices in self.slices
            ],
        }
        rest = {
            "frozen": [asdict(entry) for entry in self.frozen],
            "graph": self.graph.to_dict(),
            "programs": self.programs,
            "input_shape": list(self.input_shape),
        }
        arrays = [pa.array(columns[field.name], type=field.type) for field in SCHEMA]
        metadata = {_METADATA: json.dumps(rest, separators=(",", ":"), sort_keys=True).encode()}
        return pa.Table.from_arrays(arrays, schema=SCHEMA.with_metadata(metadata))

    @classmethod
    def from_table(cls, table: pa.Table) -> "Space":
        """The inverse of `to_table`. Raises UserError for a table that is not a space."""
        text = (table.schema.metadata or {}).get(_METADATA)
        if text is None or not set(SCHEMA.names) <= set(table.schema.names):
            raise UserError("the table is not a space: it lacks columns or metadata that Space.to_table writes")
        rest = json.loads(text)

        def numbers(name: str) -> Int32:
            return table[name].to_numpy().astype(np.int32)

        units = numbers("channels") // numbers("unit")
        slices = tuple(
            tuple(
                Slice(s["parameter"], s["dim"], s["size"], np.array(s["positions"], dtype=np.int32).reshape(n, -1))
                for s in entries
            )
            for n, entries in zip(units, table["slices"].to_pylist(), strict=True)
        )
        return cls(
            numbers("channels"),
            numbers("minimum"),
            numbers("multiple"),
            numbers("unit"),
            tuple(table["name"].to_pylist()),
            tuple(tuple(layers) for layers in table["layers"].to_pylist()),
            slices,
            numbers("branch"),
            numbers("stage"),
            tuple(Frozen(**entry) for entry in rest["frozen"]),
            Graph.from_dict(rest["graph"]),
            rest["programs"],
            tuple(rest["input_shape"]),
        )

    @cached_property
    def index(self) -> dict[tuple[str, int], int]:
        """By (parameter, dimension), the row of `axes` that says which unit has each position."""
        return self._axes[0]

    @property
    def axes(self) -> list[NDArray[np.int64]]:
        """Distinct maps from positions to units; unit 0 stands for channels that always stay, group g's first
        unit is number ``1 + units[:g].sum()``."""
        return self._axes[1]

    @cached_property
    def axes_of_parameters(self) -> dict[str, list[tuple[int, int, int]]]:
        """By parameter, for each dimension that may shrink: the dimension, its row of `axes`, its full size."""
        found: dict[str, list[tuple[int, int, int]]] = {}
        for (name, dim), row in self.index.items():
            found.setdefault(name, []).append((dim, row, len(self.axes[row])))
        return {name: sorted(dims) for name, dims in found.items()}

    @cached_property
    def program_axes(self) -> list[NDArray[np.int64]]:
        """The axes that programs count and gather, as unit numbers like those of `axes`."""
        return [np.array(axis, dtype=np.int64) for axis in self.programs.get("axes", ())]

    @cached_property
    def _axes(self) -> tuple[dict[tuple[str, int], int], list[NDArray[np.int64]]]:
        first = 1 + np.concatenate([[0], np.cumsum(self.units)])
        parts: dict[tuple[str, int], list[tuple[int, Slice]]] = {}
        for group, slices in enumerate(self.slices):
            for s in slices:
                parts.setdefault((s.parameter, s.dim), []).append((group, s))
        index: dict[tuple[str, int], int] = {}
        known: dict[bytes, int] = {}
        axes: list[NDArray[np.int64]] = []
        for key, entries in parts.items():
            axis = np.zeros(entries[0][1].size, dtype=np.int64)
            for group, s in entries:
                axis[s.positions] = first[group] + np.arange(len(s.positions))[:, None]
            data = axis.tobytes()
            if data not in known:
                known[data] = len(axes)
                axes.append(axis)
            index[key] = known[data]
        return index, axes


def layers_of(slices: Iterable[Slice]) -> tuple[str, ...]:
    """The modules that own the parameters, in order, without repetition."""
    return tuple(dict.fromkeys(s.parameter.rpartition(".")[0] for s in slices))

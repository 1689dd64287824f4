"""Carry channels through a trace, operation by operation."""

from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch.utils import _pytree as pytree

from hamp.pruning.channels import Atlas, Atoms, Channels
from hamp.pruning.program import function
from hamp.pruning.rules import RULES, short_name
from hamp.pruning.trace import Const, Op, Param, Ref, Trace

_MEMORY_ONLY = ("contiguous", "clone")


class Propagation:
    """The channels of every value of one trace; `atlas` is shared with other traces of the network."""

    def __init__(self, trace: Trace, atlas: Atlas, param_shapes: dict[str, tuple[int, ...]]):
        self.trace, self.atlas, self.param_shapes = trace, atlas, param_shapes
        self.values: dict[int, Channels] = {}
        self.reasons: dict[int, str] = {}
        self.constants: set[int] = set()
        self.used = {t.name for op in trace.root.ops() for t in op.tensors if isinstance(t, Param)}
        self.fixed_params: dict[str, str] = {}
        # value -> (source value, index): its channels are the source's at `index`, all else is equal
        self.gathers: dict[int, tuple[int, np.ndarray]] = {}

    def run(self) -> None:
        """Apply the rule of every operation in order, then pin what reaches the output."""
        for ref in pytree.tree_leaves((self.trace.root.args, self.trace.root.kwargs)):
            if isinstance(ref, Ref):
                self.reasons[ref.value] = "meets the network's input"
        for op in self.trace.root.ops():
            if op.clobbers or op.name.endswith("__setitem__"):  # a constant that is written into is none any more
                self.constants -= {ref.value for ref in op.inputs}
            known = RULES.get(short_name(op.name))
            if op.clobbers and any(self.channels(t) is not None for t in op.tensors):
                self.freeze(op, "writes into a tensor that is read again")
            elif known is None:
                self.freeze(op, "is not understood")
            else:
                known(self, op)
        for ref in pytree.tree_leaves(self.trace.root.output):
            self.freeze_tensor(ref, "network output")
        for name, reason in self.fixed_params.items():
            for (param, _), atoms in self.atlas.axes.items():
                if param == name:
                    self.atlas.pin(atoms, reason)

    def shape(self, tensor: Ref | Param | Const) -> tuple[int, ...]:
        if isinstance(tensor, Ref):
            return self.trace.shapes[tensor.value]
        return self.param_shapes[tensor.name] if isinstance(tensor, Param) else tensor.shape

    def ndim(self, tensor: Any) -> int:
        if not isinstance(tensor, (Ref, Param, Const)):
            tensor = next(t for t in pytree.tree_leaves(tensor) if isinstance(t, (Ref, Param, Const)))
        return len(self.shape(tensor))

    def channels(self, tensor: Any) -> Channels | None:
        return self.values.get(tensor.value) if isinstance(tensor, Ref) else None

    def axis_of(self, tensor: Any) -> Channels | None:
        """The channels of a computed tensor, or of a parameter with one dimension of more than one number."""
        if not isinstance(tensor, Param):
            return self.channels(tensor)
        wide = [(d, size) for d, size in enumerate(self.param_shapes[tensor.name]) if size > 1]
        if len(wide) != 1:
            return None
        ((dim, size),) = wide
        return Channels((dim,), self.atlas.axis(tensor.name, dim, size))

    def settled(self, tensor: Any) -> Channels | None:
        """The tensor's channels, in one dimension: where a reshape spread them over several, rows go together."""
        channels = self.channels(tensor)
        if channels is None or len(channels.dims) == 1:
            return channels
        main = _main(self.atlas.find(channels.atoms))
        rows = np.moveaxis(channels.atoms, main, -1).reshape(-1, channels.atoms.shape[main])
        self.atlas.join(rows[:1], rows)
        self.values[tensor.value] = Channels((channels.dims[main],), rows[0])
        return self.values[tensor.value]

    def collapse(self) -> None:
        """Channels over several dimensions whose rows were joined since are channels in one dimension."""
        for value, channels in self.values.items():
            if len(channels.dims) > 1:
                classes = self.atlas.find(channels.atoms)
                main = _main(classes)
                rows = np.moveaxis(classes, main, -1).reshape(-1, classes.shape[main])
                if (rows == rows[0]).all():
                    self.values[value] = Channels((channels.dims[main],), rows[0])

    def channels_at(self, tensor: Any, dim: int) -> Atoms | None:
        """The atoms in dimension `dim`; channels found elsewhere are pinned."""
        channels = self.settled(tensor)
        if channels is None:
            return None
        if channels.dims[0] != dim:
            self.atlas.pin(channels.atoms, "channels used as another dimension")
            return None
        return channels.atoms

    def why_fixed(self, tensor: Any) -> str:
        default = "meets a tensor of fixed size"
        return self.reasons.get(tensor.value, default) if isinstance(tensor, Ref) else default

    def set(self, output: Any, channels: Channels | None, reason: str | None = None) -> None:
        """All tensors of `output` have these channels."""
        for ref in pytree.tree_leaves(output):
            if isinstance(ref, Ref):
                self.values.pop(ref.value, None)
                if channels is not None:
                    self.values[ref.value] = channels
                elif reason:
                    self.reasons[ref.value] = reason

    def bind(self, param: Param, dim: int, atoms: Atoms | None, reason: str) -> None:
        """Dimension `dim` of a parameter has these atoms; without any, it's fixed for this reason."""
        size = self.param_shapes[param.name][dim]
        if atoms is None:
            self.atlas.pin(self.atlas.axis(param.name, dim, size), reason)
        else:
            self.atlas.bind(param.name, dim, atoms)

    def is_constant(self, tensor: Any) -> bool:
        """Whether the tensor is filled with one number, and could have any size."""
        return isinstance(tensor, Ref) and tensor.value in self.constants

    def fixed_atoms(self, tensor: Any, dim: int) -> Atoms:
        """Atoms for a tensor without channels where it meets others in dimension `dim`."""
        atoms = self.atlas.fresh(self.shape(tensor)[dim])
        if self.is_constant(tensor):
            self.set(tensor, Channels((dim,), atoms))
        else:
            self.atlas.pin(atoms, self.why_fixed(tensor))
        return atoms

    def freeze_tensor(self, tensor: Any, reason: str) -> None:
        if isinstance(tensor, Param):
            self.fixed_params.setdefault(tensor.name, reason)
        elif (channels := self.channels(tensor)) is not None:
            self.atlas.pin(channels.atoms, reason)

    def freeze(self, op: Op, why: str) -> None:
        """Pin everything that the operation touches."""
        reason = f"{short_name(op.name)} in {op.module or 'the network'} {why}"
        for tensor in op.tensors:
            self.freeze_tensor(tensor, reason)
        self.set(op.output, None, reason)

    def move(self, op: Op) -> None:
        """An operation that only moves elements is applied to the atoms themselves."""
        x = op.args[0] if op.args else None
        others = [t for t in op.tensors if t is not x]
        as_other = short_name(op.name).endswith("_as")
        if not isinstance(x, (Ref, Param)) or (others and not as_other):
            return self.freeze(op, "is not understood")
        channels = self.axis_of(x)
        if channels is None:
            if isinstance(x, Param):
                self.freeze_tensor(x, "reshaped by the network's code")
            return self.set(op.output, None, self.why_fixed(x))
        if short_name(op.name) in _MEMORY_ONLY:
            return self.set(op.output, channels)
        shape = self.shape(x)
        grid = _spread(channels.atoms, channels.dims, shape)
        places = torch.arange(int(np.prod(shape))).reshape(shape)
        source = x.value if isinstance(x, Ref) else -1
        if channels.origin is not None:
            source, before = channels.origin
            places = torch.from_numpy(before)
        # both at once: atoms and where each element comes from
        for ref, atoms, place in zip(
            _tensors(op.output), _apply(op, grid, self), _apply(op, places, self), strict=True
        ):
            channels = self._gathered(atoms, source, place)
            self.set(ref, channels)
            if channels is not None and len(channels.dims) == 1 and source >= 0:
                index = _channel_index(place, channels.dims[0], self.trace.shapes[source])
                if index is not None:
                    self.gathers[ref.value] = (source, index)

    def _gathered(self, grid: torch.Tensor, source: int, places: torch.Tensor) -> Channels | None:
        varying = tuple(d for d in range(grid.ndim) if grid.shape[d] > 1 and bool((grid != grid.narrow(d, 0, 1)).any()))
        atoms = grid[tuple(slice(None) if d in varying else 0 for d in range(grid.ndim))].numpy()
        if not varying:
            if atoms.size:
                self.atlas.pin(atoms.reshape(-1), "a single channel is selected")
            return None
        return Channels(varying, atoms, (source, places.numpy()) if len(varying) > 1 else None)


def _main(classes: np.ndarray) -> int:
    """The dimension along which most channels can still go, were all that is in one place along it to go together."""
    found, names = np.unique(classes, return_inverse=True)
    names = names.reshape(classes.shape)
    parts = []
    for dim, size in enumerate(classes.shape):
        place = np.broadcast_to(
            np.arange(size).reshape([-1 if d == dim else 1 for d in range(classes.ndim)]), names.shape
        )
        pairs = place.ravel(), size + names.ravel()
        joined = coo_array((np.ones(names.size, bool), pairs), shape=(size + len(found),) * 2)
        parts.append(connected_components(joined, directed=False)[0])
    return int(np.argmax(parts))


def _tensors(tree: Any) -> list:
    return [t for t in pytree.tree_leaves(tree) if isinstance(t, (Ref, Param, Const))]


def _channel_index(places: torch.Tensor, dim: int, source: tuple[int, ...]) -> np.ndarray | None:
    """The index along `dim` of a tensor of shape `source` by which `places` were selected, if so."""
    if len(source) != places.ndim or any(
        a != b for d, (a, b) in enumerate(zip(source, places.shape, strict=True)) if d != dim
    ):
        return None
    stride = int(np.prod(source[dim + 1 :]))
    index = places[tuple(slice(None) if d == dim else 0 for d in range(places.ndim))] // stride % source[dim]
    every = torch.arange(int(np.prod(source))).reshape(source)
    return index.numpy() if torch.equal(every.index_select(dim, index), places) else None


def _spread(atoms: np.ndarray, dims: tuple[int, ...], shape: tuple[int, ...]) -> torch.Tensor:
    sizes = [n if d in dims else 1 for d, n in enumerate(shape)]
    return torch.from_numpy(np.ascontiguousarray(atoms)).reshape(sizes).expand(shape)


def _apply(op: Op, grid: torch.Tensor, p: Propagation) -> list[torch.Tensor]:
    def real(t):
        return torch.zeros(p.shape(t), dtype=torch.int64) if isinstance(t, (Ref, Param, Const)) else t

    if short_name(op.name) in ("view", "view_as"):  # `expand` made strides that `view` may refuse
        grid = grid.contiguous()
    args = (grid, *(pytree.tree_map(real, a) for a in op.args[1:]))
    return list(pytree.tree_leaves(function(op.name)(*args, **pytree.tree_map(real, op.kwargs))))

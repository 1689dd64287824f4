"""The cost graph of a network, from its trace and the groups of its channels."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import nn
from torch.utils import _pytree as pytree

from hamp.pruning.branches import Branch
from hamp.pruning.costs import Graph, LayerSpec
from hamp.pruning.grouping import Grouping
from hamp.pruning.propagation import Propagation
from hamp.pruning.rules import RULES, argument, batch_norm, elementwise, is_layer, movement, short_name
from hamp.pruning.trace import Op, Param, Ref

_IN_PLACE = (elementwise, batch_norm)
_POSITIONS = ("max_pool2d", "max_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d")
"""PyTorch also makes the positions of the maxima, as int64, and drops them."""


class _Axes:
    """Numbers the distinct axes of counted channels."""

    def __init__(self, grouping: Grouping, p: Propagation):
        self.grouping, self.p = grouping, p
        self.rows: dict[tuple, int] = {}
        self._by_atoms: dict[bytes, tuple] = {}

    def add(self, constant: int, units: dict[int, int], branch: int = -1) -> int:
        key = (constant, tuple(sorted(units.items())), branch)
        return self.rows.setdefault(key, len(self.rows))

    def of_axis(self, atoms: np.ndarray, branch: int = -1) -> int:
        data = atoms.tobytes()
        if data not in self._by_atoms:
            self._by_atoms[data] = self.grouping.units.counts(atoms)
        constant, units = self._by_atoms[data]
        return self.add(constant, units, branch)

    def of_atoms(self, atoms: np.ndarray | None, size: int, branch: int = -1) -> int:
        return self.add(size, {}, branch) if atoms is None else self.of_axis(atoms, branch)

    def of_value(self, value: int, branch: int = -1) -> tuple[int, int]:
        """Axis and elements a channel of one image."""
        shape = self.p.trace.shapes[value]
        elements = int(np.prod(shape)) // self.p.trace.batch
        channels = self.p.values.get(value)
        if channels is None or len(channels.dims) > 1:
            return self.add(elements, {}, branch), 1
        return self.of_axis(channels.atoms, branch), elements // channels.atoms.size


def cost_graph(model: nn.Module, p: Propagation, grouping: Grouping, branches: list[Branch]) -> Graph:
    """Build the cost graph of the network in evaluation, whose propagation is `p`."""
    axes = _Axes(grouping, p)
    ops = list(p.trace.root.ops())
    # values that are dropped, or one number a channel, when a branch goes
    inside = {v: n for n, branch in enumerate(branches) for v in (*branch.dropped, *branch.constant)}
    removed = {path: n for n, branch in enumerate(branches) for path in branch.removed}
    layers = tuple(spec for op in ops if (spec := _layer(op, axes, inside)) is not None)
    tensors = []
    for name, parameter in model.named_parameters():
        branch = removed.get(name.rpartition(".")[0], -1)
        tensors.append(_parameter(name, parameter, axes, branch, name in p.used))
    buffers, held = _buffers(p, ops, axes, inside), _held(p, ops, axes, inside)
    moved = _moved(p, ops, axes, inside)
    units = np.zeros((len(grouping.groups), len(axes.rows)), dtype=np.int64)
    for (_, terms, _), column in axes.rows.items():
        for group, count in terms:
            units[group, column] = count
    return Graph(
        np.array([key[0] for key in axes.rows], dtype=np.int64),
        units,
        np.array([key[2] for key in axes.rows], dtype=np.int64),
        layers,
        np.array(tensors, dtype=np.int64).reshape(-1, 4),
        np.array(buffers, dtype=np.int64).reshape(-1, 4),
        np.array(held, dtype=np.int64).reshape(-1, 4),
        np.array(moved, dtype=np.int64).reshape(-1, 2),
    )


def _layer(op: Op, axes: _Axes, inside: dict[int, int]) -> LayerSpec | None:
    name = short_name(op.name)
    transposed = name.startswith("conv_transpose")
    if not is_layer(op):
        return None
    p = axes.p
    x, weight = op.args[0], argument(op, 1, "weight")
    shape = p.shape(weight)
    in_shape, out_shape = p.shape(x), p.shape(op.output)
    branch = inside.get(op.output.value, -1)
    if name == "linear":
        rows = int(np.prod(out_shape[:-1])) // p.trace.batch
        into = axes.of_atoms(_atoms(p, x, len(in_shape) - 1), shape[1], branch)
        out = axes.of_atoms(_atoms(p, op.output, len(out_shape) - 1), shape[0], branch)
        return LayerSpec("linear", _owner(weight, op), into, out, (), (), (), (), 0, 0, max(rows, 1), (), ())
    n = len(shape) - 2
    in_channels, out_channels = in_shape[-n - 1], out_shape[-n - 1]
    into = axes.of_atoms(_atoms(p, x, len(in_shape) - n - 1), in_channels, branch)
    out = axes.of_atoms(_atoms(p, op.output, len(out_shape) - n - 1), out_channels, branch)

    def per_dim(value: Any) -> tuple[int, ...]:
        return (int(value),) * n if isinstance(value, int) else tuple(int(v) for v in value)

    padding = argument(op, 4, "padding", 0)
    dilation = per_dim(argument(op, 7 if transposed else 5, "dilation", 1))
    if isinstance(padding, str):
        same = padding == "same"
        padding = tuple(d * (k - 1) // 2 if same else 0 for d, k in zip(dilation, shape[2:], strict=True))
    groups = int(argument(op, 6, "groups", 1))
    size = in_shape[-n:] if transposed else out_shape[-n:]
    return LayerSpec(
        "conv_transpose" if transposed else "conv",
        _owner(weight, op),
        into,
        out,
        tuple(shape[2:]),
        per_dim(argument(op, 3, "stride", 1)),
        per_dim(padding),
        dilation,
        out_channels // groups if groups > 1 else 0,
        in_channels // groups if groups > 1 else 0,
        int(np.prod(size)) * _times(out_shape[: -n - 1], p.trace.batch),
        tuple(in_shape[-n:]),
        tuple(out_shape[-n:]),
    )


def _atoms(p: Propagation, tensor: Any, dim: int) -> np.ndarray | None:
    """The channels of a tensor in this dimension; None where it has none there."""
    channels = p.channels(tensor)
    return channels.atoms if channels is not None and channels.dims == (dim,) else None


def _times(leading: Sequence[int], batch: int) -> int:
    """How many inputs of a layer come of one image: more than one where its parts are folded into the batch."""
    return max(int(np.prod(leading)) // batch, 1)


def _owner(weight: Any, op: Op) -> str:
    return weight.name.rpartition(".")[0] if isinstance(weight, Param) else op.module


def _parameter(name: str, parameter: nn.Parameter, axes: _Axes, branch: int, used: bool) -> tuple[int, int, int, int]:
    """A parameter's size as the product of two counts and a number."""
    sides: list[int] = []
    rest = 1
    for dim, size in enumerate(parameter.shape):
        atoms = axes.p.atlas.axes.get((name, dim))
        if atoms is None or len(sides) == 2:
            rest *= size
        else:
            sides.append(axes.of_atoms(atoms, size, branch))
    one = axes.add(1, {}, branch)
    first, second = (*sides, one, one)[:2]
    return first, second, rest, int(used)


def _buffers(p: Propagation, ops: list[Op], axes: _Axes, inside: dict[int, int]) -> list[tuple]:
    """Activations with the steps at which they are first and last needed; a result that can be in place is."""
    last: dict[int, int] = {}
    for step, op in enumerate(ops):
        for tensor in op.tensors:
            if isinstance(tensor, Ref):
                last[tensor.value] = step
    for ref in pytree.tree_leaves(p.trace.root.output):
        if isinstance(ref, Ref):
            last[ref.value] = len(ops)

    def host_of(step: int, op: Op, owner: dict[int, int]) -> int | None:
        if RULES.get(short_name(op.name)) not in _IN_PLACE or len(op.outputs) != 1:
            return None
        same = [
            owner[source.value]
            for source in op.inputs
            if last[source.value] == step and p.shape(source) == p.shape(op.outputs[0]) and source.value in owner
        ]
        return same[0] if same and _free(same[0], owner, last, step) else None

    owner, born = _placed(p, ops, host_of)
    return _rows(ops, axes, inside, owner, born, {value: last.get(value, born[host]) for value, host in owner.items()})


def _held(p: Propagation, ops: list[Op], axes: _Axes, inside: dict[int, int]) -> list[tuple]:
    """Activations as the network's own code makes and holds them: in place only where it says so.

    A BatchNorm is in place where it is folded into the convolution before it.
    """
    convolved = {ref.value for op in ops if is_layer(op) for ref in op.outputs}

    def host_of(step: int, op: Op, owner: dict[int, int]) -> int | None:
        source = op.args[0] if op.args and short_name(op.name) == "batch_norm" else None
        return owner[source.value] if isinstance(source, Ref) and source.value in convolved else None

    owner, born = _placed(p, ops, host_of)
    positions = []
    for step, op in enumerate(ops):
        if short_name(op.name) in _POSITIONS:
            axis, elements = axes.of_value(op.outputs[0].value, inside.get(op.outputs[0].value, -1))
            positions.append((axis, 2 * elements, step, step))  # an int64 is as large as two elements of float32
    ends = {value: p.trace.released.get(value, len(ops)) for value in owner}
    return _rows(ops, axes, inside, owner, born, ends) + positions


def _placed(
    p: Propagation, ops: list[Op], host_of: Callable[[int, Op, dict[int, int]], int | None]
) -> tuple[dict[int, int], dict[int, int]]:
    """The first value in the memory of each value, and the step at which that one is made.

    Views share one. host_of: of a step, its operation and what is placed so far, whose memory it works in; None: its own.
    """
    owner: dict[int, int] = {}
    by_memory: dict[int, int] = {}
    born: dict[int, int] = {}

    def place(value: int, step: int, host: int | None) -> None:
        memory = p.trace.storages[value]
        host = by_memory.get(memory) if host is None else host
        owner[value] = value if host is None else host
        by_memory.setdefault(memory, owner[value])
        born.setdefault(owner[value], step)

    for ref in pytree.tree_leaves((p.trace.root.args, p.trace.root.kwargs)):
        if isinstance(ref, Ref):
            place(ref.value, 0, None)
    for step, op in enumerate(ops):
        host = host_of(step, op, owner)
        for ref in op.outputs:
            place(ref.value, step, host)
    return owner, born


def _rows(
    ops: list[Op],
    axes: _Axes,
    inside: dict[int, int],
    owner: dict[int, int],
    born: dict[int, int],
    ends: dict[int, int],
) -> list[tuple]:
    """Of each piece of memory: axis, elements a channel, first and last step; `ends` are the last steps of the values."""
    until: dict[int, int] = {}
    for value, host in owner.items():
        until[host] = max(until.get(host, born[host]), ends[value])
    joined: dict[int, int] = {}  # memory of a branch -> step at which the rest of the network moves in
    for step, op in enumerate(ops):
        for ref in pytree.tree_leaves(op.output):
            if isinstance(ref, Ref) and ref.value not in inside and owner.get(ref.value) in inside:
                joined.setdefault(owner[ref.value], step)
    rows = []
    for host, first in born.items():
        branch, end = inside.get(host, -1), until[host]
        then = joined.get(host, end + 1)
        if then > first:
            rows.append((*axes.of_value(host, branch), first, then - 1))
        if then <= end:
            rows.append((*axes.of_value(host), then, end))
    return rows


def _free(host: int, owner: dict[int, int], last: dict[int, int], step: int) -> bool:
    return all(last.get(value, -1) <= step for value, of in owner.items() if of == host)


def _moved(p: Propagation, ops: list[Op], axes: _Axes, inside: dict[int, int]) -> list[tuple[int, int]]:
    """What layers other than convolutions, linear layers and views read and write."""
    totals: dict[int, int] = {}
    for op in ops:
        name = short_name(op.name)
        if is_layer(op) or (RULES.get(name) is movement and name not in ("contiguous", "clone")):
            continue
        refs = [t for t in (*op.tensors, *op.outputs) if isinstance(t, Ref)]
        for ref in refs:
            axis, elements = axes.of_value(ref.value, inside.get(ref.value, -1))
            totals[axis] = totals.get(axis, 0) + elements
    return sorted(totals.items())

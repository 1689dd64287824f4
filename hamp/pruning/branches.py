"""Residual branches that can go as a whole: their groups may have width 0."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from hamp.pruning.grouping import Units
from hamp.pruning.propagation import Propagation
from hamp.pruning.rules import RULES, argument, batch_norm, elementwise, is_layer, short_name
from hamp.pruning.trace import Call, Op, Param, Ref, refs_of

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Linear, *_CONVOLUTIONS)


@dataclass(eq=False)
class Branch:
    """A branch, by mode of the network (evaluation, training): its operations and what stays when it goes.

    dead: ids of the operations that aren't needed. last: the layer that then gives its bias. joins: the addition
    to the rest. mixed: modules that need a program. removed: modules that go. constant: values between `last` and
    `joins`, dropped: values before it, both in evaluation.
    """

    groups: frozenset[int]
    layer: str
    channel_dim: int
    ndim: int
    dead: list[set[int]] = field(default_factory=list)
    last: list[Op] = field(default_factory=list)
    joins: list[Op] = field(default_factory=list)
    mixed: list[set[str]] = field(default_factory=list)
    norms: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    constant: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()

    def stored(self) -> dict[str, Any]:
        """What `prune` needs beside the programs, as JSON."""
        return {
            "removed": list(self.removed),
            "layer": [self.layer, self.channel_dim, self.ndim],
            "norms": list(self.norms),
        }


class _Flow:
    """Who makes and who reads each value of a trace."""

    def __init__(self, p: Propagation):
        self.p, self.ops = p, list(p.trace.root.ops())
        self.order = {id(op): n for n, op in enumerate(self.ops)}
        self.maker: dict[int, Op] = {}
        self.readers: dict[int, list[Op | None]] = {}
        for op in self.ops:
            for ref in op.inputs:
                self.readers.setdefault(ref.value, []).append(op)
            for ref in op.outputs:
                self.maker[ref.value] = op
        for ref in refs_of(p.trace.root.output):
            self.readers.setdefault(ref.value, []).append(None)

    def only_for(self, values: list[int], final: Op) -> set[int]:
        """Ids of the operations of which `final` gets nothing but through `values`, and no one else anything."""
        inside: set[int] = set()
        queue = [self.maker[v] for v in values if v in self.maker]
        while queue:  # an operation is tried again whenever one of its readers came inside
            op = queue.pop()
            if id(op) not in inside and all(
                reader is not None and (id(reader) in inside or (reader is final and ref.value in values))
                for ref in op.outputs
                for reader in self.readers.get(ref.value, ())
            ):
                inside.add(id(op))
                queue += [self.maker[r.value] for r in op.inputs if r.value in self.maker]
        return inside


def find_branches(model: nn.Module, propagations: list[Propagation], units: Units) -> list[Branch]:
    """All removable branches.

    The last layer of a branch reads only channels of groups that lie wholly inside it; between it and the addition
    are only operations on single channels.
    """
    modules = dict(model.named_modules())
    found: dict[tuple[frozenset[int], str], Branch] = {}
    complete: list[Branch] = []
    taken: set[int] = set()
    for mode, p in enumerate(propagations):
        flow = _Flow(p)
        touching = _touching(flow, units)
        for op in flow.ops:
            if short_name(op.name) != "add" or len(op.inputs) != 2 or op.clobbers:
                continue
            for operand, other in zip(op.inputs, reversed(op.inputs), strict=True):
                # without the branch the sum has the size of the other addend
                whole = p.shape(other) == p.shape(op.output)
                branch = _follow(flow, op, operand, modules, units, touching) if whole else None
                if branch is None:
                    continue
                key = (branch.groups, branch.layer)
                if mode == 0:
                    found[key] = branch
                elif key in found and len(found[key].dead) == mode:
                    for name in ("dead", "last", "joins"):
                        getattr(found[key], name).extend(getattr(branch, name))
                break  # were both to go, nothing would have the size of the sum
    for branch in found.values():
        if len(branch.dead) == len(propagations) and not branch.groups & taken:
            taken |= branch.groups
            branch.mixed = [_mixed(p.trace.root, branch, mode) for mode, p in enumerate(propagations)]
            branch.removed = _removed(propagations, branch)
            complete.append(branch)
    return complete


def _touching(flow: _Flow, units: Units) -> dict[int, set[int]]:
    """By group, the ids of the operations that have anything to do with it."""
    p = flow.p
    axes: dict[str, list[np.ndarray]] = {}
    for (name, _), atoms in p.atlas.axes.items():
        axes.setdefault(name, []).append(atoms)
    touching: dict[int, set[int]] = {}
    for op in flow.ops:
        arrays = [a for t in op.tensors if isinstance(t, Param) for a in axes.get(t.name, ())]
        refs = (*op.inputs, *op.outputs)
        arrays += [c.atoms for r in refs if (c := p.channels(r)) is not None]
        for array in arrays:
            for group in units.groups(array):
                touching.setdefault(group, set()).add(id(op))
    return touching


def _follow(flow: _Flow, add: Op, operand: Ref, modules, units, touching) -> Branch | None:
    p = flow.p
    constant, norms, value = [operand.value], [], operand
    op = flow.maker.get(value.value)
    while op is not None and not is_layer(op):
        through = _pass(flow, op)
        if through is None:
            return None
        if RULES[short_name(op.name)] is batch_norm:
            norms.append(op.module)
        value = through
        constant.append(value.value)
        op = flow.maker.get(value.value)
    if op is None or any(len(flow.readers[v]) != 1 for v in constant):
        return None
    weight, x = argument(op, 1, "weight"), op.args[0]
    layer = weight.name.rpartition(".")[0] if isinstance(weight, Param) else ""
    if op.module != layer or not _is_plain(modules.get(layer), _LAYERS):
        return None
    if argument(op, 6, "groups", 1) != 1 and short_name(op.name) != "linear":
        return None
    channels, out = p.channels(x), p.channels(op.output)
    if channels is None or out is None or len(channels.dims) > 1:
        return None
    if not units(channels.atoms).all():
        return None
    groups = frozenset(units.groups(channels.atoms))
    dead = flow.only_for([x.value], op)
    inner = frozenset(g for g, ops in touching.items() if ops <= dead | {id(op)})
    if not groups <= inner:
        return None
    if any(not isinstance(modules.get(n), _BATCH_NORMS) or modules[n].running_mean is None for n in norms):
        return None
    return Branch(
        inner,
        layer,
        out.dims[0],
        p.ndim(op.output),
        [dead],
        [op],
        [add],
        norms=tuple(n for n in norms if _is_plain(modules[n], _BATCH_NORMS)),
        constant=tuple(constant),
        dropped=tuple(r.value for o in flow.ops if id(o) in dead for r in o.outputs),
    )


def _is_plain(module: nn.Module | None, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether a module computes what one of these classes does, and nothing more: something else is put in its place."""
    methods = ("forward", "_conv_forward")
    own = [kind for kind in kinds if isinstance(module, kind)]
    return bool(own) and all(getattr(type(module), name, None) is getattr(own[0], name, None) for name in methods)


def _pass(flow: _Flow, op: Op) -> Ref | None:
    """The input of which an operation between the last layer and the addition works channel by channel."""
    p, name = flow.p, short_name(op.name)
    rule = RULES.get(name)
    refs = op.inputs
    if rule is batch_norm or name in ("permute", "transpose", "contiguous", "clone"):
        return op.args[0]
    if rule is not elementwise or op.clobbers:
        return None
    wide = [r for r in refs if p.channels(r) is not None]
    rest = [r for r in refs if p.channels(r) is None]
    # other operands: one number an image, as in stochastic depth
    if len(wide) != 1 or any(int(np.prod(p.shape(r)[1:])) != 1 for r in rest):
        return None
    for tensor in op.tensors:
        if isinstance(tensor, Param):
            channels = p.channels(wide[0])
            assert channels is not None
            own = channels.dims[0] - p.ndim(wide[0]) + p.ndim(tensor)
            if any(n > 1 for d, n in enumerate(p.shape(tensor)) if d != own):
                return None
    return wide[0]


def _mixed(root: Call, branch: Branch, mode: int) -> set[str]:
    """Modules whose code cannot do without the branch, from the smallest that holds all of it."""
    dead, last, joins = branch.dead[mode], branch.last[mode], branch.joins[mode]
    relevant = dead | {id(last), id(joins)}

    def inside(call: Call) -> set[int]:
        return relevant & call.computing

    call = root
    while True:
        below = [c for c in call.body if isinstance(c, Call) and inside(c)]
        if len(below) != 1 or inside(below[0]) != relevant:
            break
        call = below[0]
    mixed: set[str] = set()

    def visit(c: Call) -> None:
        ops = c.computing
        if c.module == branch.layer or not ops & relevant or ops <= dead:
            return
        mixed.add(c.module)
        for item in c.body:
            if isinstance(item, Call):
                visit(item)

    visit(call)
    return mixed


def _removed(propagations: list[Propagation], branch: Branch) -> tuple[str, ...]:
    """Modules that are called only in what is dropped."""
    live: set[str] = set()
    gone: dict[str, None] = {}

    def visit(call: Call, dead: set[int]) -> None:
        ops = call.computing
        if ops and ops <= dead:
            gone[call.module] = None
        else:
            live.add(call.module)
        for item in call.body:
            if isinstance(item, Call):
                visit(item, dead)

    for mode, p in enumerate(propagations):
        visit(p.trace.root, branch.dead[mode])
    return tuple(path for path in gone if path not in live)

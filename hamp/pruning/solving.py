"""From followed channels to a space that works: group, record, build a smaller network, and see that it runs."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hamp.errors import UserError, one_line
from hamp.outputs import alike
from hamp.pruning.branches import Branch, find_branches
from hamp.pruning.channels import Atlas
from hamp.pruning.copying import copy_modules, to_meta
from hamp.pruning.costing import cost_graph
from hamp.pruning.grouping import Group, Grouping, Key, group_channels
from hamp.pruning.masking import masked
from hamp.pruning.propagation import Propagation
from hamp.pruning.recording import Recorder, Unrecordable
from hamp.pruning.rules import short_name
from hamp.pruning.slicing import prune
from hamp.pruning.space import Frozen, Space, layers_of
from hamp.pruning.trace import Call, CannotRun, Op, Ref, TimeLimit, Trace, mark_input, trace

_MEETINGS, _LOOKED_AT, _LARGEST = 12, 2e10, 1e11
"""Most comparisons of a pruned with the masked network at widths that meet; most multiply-adds of an image in all
comparisons, some seconds; and of a network that is compared at all, with one image."""
_TINY = 1e-3


@dataclass(eq=False)
class Network:
    """A network and what is known of its channels; `propagations` are those of evaluation and, mostly, training."""

    model: nn.Module
    example_input: Tensor
    atlas: Atlas
    propagations: list[Propagation]
    producers: list[Key]
    limit: TimeLimit


def solve(network: Network, minimum_fraction: float, channel_multiple: int, branch_removal: bool) -> Space:
    """The space, after a network pruned at random widths ran.

    What cannot be recorded is pinned; a module whose code fails at other widths gets a program. Raises UserError where
    nothing is left to prune.
    """
    forced: set[str] = set()
    while True:
        network.limit.check("recording the network")
        grouping = _group(network, minimum_fraction, channel_multiple)
        branches = find_branches(network.model, network.propagations, grouping.units) if branch_removal else []
        recorder = Recorder(
            network.model, network.propagations, grouping.units, branches, forced, lambda: _mark(network)
        )
        try:
            programs = recorder.record()
        except Unrecordable as error:
            if any(_pin(network, op, str(error)) for op in _to_blame(network, recorder, error.op)):
                continue
            if not branch_removal:
                raise UserError(f"the network cannot be pruned: its code {error}") from error
            branch_removal, forced = False, set()
            continue
        space = _space(network, grouping, branches, programs, minimum_fraction, channel_multiple)
        failure = _failure(network, space, forced)
        if failure is None:
            return space
        try:
            forced |= _to_record(network, failure, forced)
        except UserError:
            if not branch_removal:
                raise
            branch_removal, forced = False, set()


def _group(network: Network, minimum_fraction: float, channel_multiple: int) -> Grouping:
    """All groups of which a smaller width is allowed; the others are pinned."""
    parts = network.atlas, network.propagations, network.producers
    grouping = group_channels(*parts)
    rigid = [g for g in grouping.groups if _limits(g, minimum_fraction, channel_multiple)[0] == len(g.roots) * g.unit]
    if rigid:
        for group in rigid:
            network.atlas.pin(group.roots, "no smaller width is allowed")
        grouping = group_channels(*parts)
    if not grouping.groups:
        reasons = list(dict.fromkeys(grouping.pinned.values()))
        raise UserError(f"the network has no channels to prune: {'; '.join(reasons[:5])}")
    return grouping


def _mark(network: Network) -> str:
    """Tell apart what depends on the batch and on the type of the input, once; a reason where that fails."""
    example = network.example_input
    another = torch.float32 if example.dtype == torch.float64 else torch.float64
    for p, training in zip(network.propagations, (False, True), strict=False):
        if p.trace.sizes:
            continue

        if p.trace.chance:
            return "is called by code that draws random numbers"

        def run(dtype: torch.dtype, training: bool = training) -> Trace:
            return trace(network.model, example, training=training, limit=network.limit, batch=3, dtype=dtype)

        try:
            other = run(another)
        except CannotRun:  # the type is fixed by the network's code
            other = run(example.dtype)
        try:
            mark_input(p.trace, other)
        except ValueError as error:
            return str(error)
    return ""


def _to_blame(network: Network, recorder: Recorder, op: Op | None) -> Iterator[Op]:
    """The operation that cannot be recorded; then, as it may have no channels, those for whose sake it was to be, of the
    same module first."""
    rigid = [other for p in network.propagations for other in p.trace.root.ops() if recorder.rigid(p, other)]
    if op is not None:
        yield op
        rigid.sort(key=lambda other: other.module != op.module)
    yield from rigid


def _pin(network: Network, op: Op, why: str) -> bool:
    """Keep whole what an operation touches; whether any of it could be pruned until now."""
    before = _pinned(network)
    reason = f"{short_name(op.name)} in {op.module or 'the network'} {why}"
    for p in network.propagations:
        if any(op is other for other in p.trace.root.ops()):
            for tensor in (*op.tensors, *op.outputs):
                p.freeze_tensor(tensor, reason)
    return _pinned(network) > before


def _pinned(network: Network) -> int:
    return len(network.atlas.pinned()) + sum(len(p.fixed_params) for p in network.propagations)


def _failure(network: Network, space: Space, forced: set[str]) -> CannotRun | None:
    """What goes wrong in a network pruned at random widths, `forced` being the modules that have a program already."""
    rng = np.random.default_rng(0)
    scores = [rng.random(n) for n in space.channels]
    for p, training in zip(network.propagations, (False, True), strict=False):
        wanted = rng.uniform(0.0, 1.0, space.groups) * space.channels
        model = copy_modules(network.model, to_meta) if p.trace.meta else network.model
        pruned = prune(model, space, space.repair(wanted), scores)
        try:
            again = trace(pruned, network.example_input, training=training, limit=network.limit, data=not p.trace.meta)
        except CannotRun as error:
            return error
        if _output_shapes(again) != _output_shapes(p.trace):
            return CannotRun("the output of the pruned network has another shape", "")
    difference = _difference(network, space, scores)
    return CannotRun(difference, _innermost(network, forced)) if difference else None


def _difference(network: Network, space: Space, scores: list[np.ndarray]) -> str:
    """What a pruned network computes otherwise than the masked one, on random images.

    It shows where the network's code computes with numbers of channels, such as a square root of one. At random widths,
    without branches, and at widths where groups of different sizes meet, since some code compares them. Of a large
    network the first alone; of a very large one, of one that draws random numbers, and of one without data, nothing.
    """
    macs = float(space.costs(space.channels)["macs"][0])
    if macs > _LARGEST or any(tensor.is_meta for tensor in network.model.parameters()):
        return ""
    rng = np.random.default_rng(1)
    random = rng.uniform(0.0, 1.0, space.groups) * space.channels
    drawn = [space.repair(wanted) for wanted in (random, np.where(space.branch, 0, space.channels), *_met(space))]
    drawn = list({widths.tobytes(): widths for widths in drawn}.values())
    images = _random_images(network.example_input)[: 3 if macs <= _LOOKED_AT else 1]
    model, repeats = copy_modules(network.model, _seen), False
    for widths in drawn[: max(1, int(_LOOKED_AT / max(macs, 1)))]:
        network.limit.check("comparing pruned and masked networks")
        try:
            whole = _outputs(reference := masked(model, space, widths, scores), images)
            if not (repeats or alike(_outputs(reference, images), whole)):
                return ""
            repeats = True
        except Exception:  # whatever the user's code does on other images than the example
            continue
        try:
            found = _outputs(prune(model, space, widths, scores), images)
        except Exception as error:
            return one_line(error) or type(error).__name__
        if not alike(found, whole):
            return "it computes something else than with its channels masked"
    return ""


def _seen(name: str, tensor: Tensor) -> Tensor:
    """A tensor as it is, but a parameter that is zero or next to it, such as the last scale of a residual branch before
    any training, drawn anew: of what it multiplies nothing would be seen."""
    if not (isinstance(tensor, nn.Parameter) and tensor.is_floating_point() and tensor.numel()):
        return tensor
    if float(tensor.detach().abs().max()) >= _TINY:
        return tensor
    fan = tensor[0].numel() if tensor.dim() > 1 else 1
    drawn = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(0))
    return nn.Parameter(((drawn + 0.5) / fan**0.5).to(tensor), tensor.requires_grad)


def _met(space: Space) -> list[np.ndarray]:
    """Widths at which groups of different sizes have as many channels, or as many as a layer that stays whole: of the
    most frequent sizes, and of the next lower number that all may have."""
    sizes = Counter([*space.channels.tolist(), *(frozen.channels for frozen in space.frozen)])
    multiples = sorted(set(space.multiple.tolist()))
    wanted = dict.fromkeys(n // multiple * multiple for n, _ in sizes.most_common() for multiple in (1, *multiples))
    return [np.full(space.groups, n) for n in wanted if n][:_MEETINGS]


def _random_images(example: Tensor) -> Tensor:
    """Three images of the shape and type of the example; of its values where these are no real numbers."""
    if not example.is_floating_point():
        return example[:1].expand(3, *example.shape[1:])
    drawn = torch.randn(3, *example.shape[1:], generator=torch.Generator().manual_seed(0))
    return drawn.to(example.device, example.dtype)


def _outputs(model: nn.Module, images: Tensor) -> Any:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return model.eval()(images.clone())


def _innermost(network: Network, forced: set[str]) -> str:
    """Of the modules of the user's own classes, the innermost that has no program yet."""
    own = [path for path in _callers(network) if path not in forced and not _is_torchs(network.model, path)]
    return max(own, key=lambda path: path.count("."), default="")


def _is_torchs(model: nn.Module, path: str) -> bool:
    return type(model.get_submodule(path)).__module__.startswith("torch.nn.")


def _output_shapes(recorded: Any) -> list[tuple[int, ...]]:
    leaves = pytree.tree_leaves(recorded.root.output)
    return [recorded.shapes[leaf.value] for leaf in leaves if isinstance(leaf, Ref)]


def _to_record(network: Network, failure: CannotRun, forced: set[str]) -> set[str]:
    """The module to blame (not one of torch's own, nor one that has a program already) and others of its class."""
    callers = _callers(network)
    called = {"", *callers}
    path = failure.module
    while path in forced or _is_torchs(network.model, path):
        if path == "":
            raise UserError(f"the network cannot be pruned: at other widths, {failure}")
        path = callers.get(path, "")
    kind = type(network.model.get_submodule(path))
    return {name for name, module in network.model.named_modules() if type(module) is kind and name in called}


def _callers(network: Network) -> dict[str, str]:
    """By the name of each module that is called, that of the one that calls it."""
    callers: dict[str, str] = {}

    def visit(call: Call) -> None:
        for item in call.body:
            if isinstance(item, Call):
                callers.setdefault(item.module, call.module)
                visit(item)

    for p in network.propagations:
        visit(p.trace.root)
    return callers


def _space(
    network: Network,
    grouping: Grouping,
    branches: list[Branch],
    programs: dict[str, Any],
    minimum_fraction: float,
    channel_multiple: int,
) -> Space:
    groups, int32 = grouping.groups, np.int32
    branch_of = np.full(len(groups), -1, dtype=int32)
    for number, branch in enumerate(branches):
        branch_of[list(branch.groups)] = number
    limits = [_limits(g, minimum_fraction, channel_multiple) for g in groups]
    spatial = _resolutions(network.propagations[0], grouping)
    stages = {size: n for n, size in enumerate(dict.fromkeys(spatial))}
    return Space(
        channels=np.array([len(g.roots) * g.unit for g in groups], dtype=int32),
        minimum=np.array([low for low, _ in limits], dtype=int32),
        multiple=np.array([multiple for _, multiple in limits], dtype=int32),
        unit=np.array([g.unit for g in groups], dtype=int32),
        names=tuple(g.primary[0].rpartition(".")[0] for g in groups),
        layers=tuple(layers_of(g.slices) for g in groups),
        slices=tuple(g.slices for g in groups),
        branches=branch_of,
        stages=np.array([stages[size] for size in spatial], dtype=int32),
        frozen=_frozen(network.atlas, network.producers, grouping),
        graph=cost_graph(network.model, network.propagations[0], grouping, branches),
        programs=programs,
        input_shape=tuple(network.example_input.shape[1:]),
    )


def _limits(group: Group, minimum_fraction: float, channel_multiple: int) -> tuple[int, int]:
    channels = len(group.roots) * group.unit
    multiple = min(math.lcm(group.unit, channel_multiple), channels)
    low = math.ceil(minimum_fraction * channels - 1e-9)
    return min(channels, -(-max(low, 1) // multiple) * multiple), multiple


def _resolutions(p: Propagation, grouping: Grouping) -> list[tuple[int, ...]]:
    """Of every group, the spatial size of the first value that has its channels."""
    found: dict[int, tuple[int, ...]] = {}
    for value, channels in p.values.items():
        if len(channels.dims) == 1:
            size = tuple(n for d, n in enumerate(p.trace.shapes[value]) if d not in (0, channels.dims[0]))
            for group in grouping.units.groups(channels.atoms):
                found.setdefault(group, size)
    return [found.get(group, ()) for group in range(len(grouping.groups))]


def _frozen(atlas: Atlas, producers: list[Key], grouping: Grouping) -> tuple[Frozen, ...]:
    entries = []
    for name, dim in producers:
        classes = atlas.find(atlas.axes[name, dim])
        reasons: dict[str, int] = {}
        for root in classes.tolist():
            if root in grouping.pinned:
                reasons[grouping.pinned[root]] = reasons.get(grouping.pinned[root], 0) + 1
        layer = name.rpartition(".")[0]
        entries += [Frozen(layer, count, len(classes), reason) for reason, count in reasons.items()]
    return tuple(entries)

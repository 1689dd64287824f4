"""Find the space of a network."""

import math
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hamp.errors import UserError
from hamp.pruning.branches import find_branches
from hamp.pruning.channels import Atlas
from hamp.pruning.costing import cost_graph
from hamp.pruning.grouping import Group, Grouping, Key, group_channels
from hamp.pruning.propagation import Propagation
from hamp.pruning.recording import Recorder, Unrecordable
from hamp.pruning.rules import argument, is_layer, short_name
from hamp.pruning.space import Frozen, Space, layers_of
from hamp.pruning.trace import Param, mark_batch, trace


def discover(
    model: nn.Module,
    example_input: Tensor,
    *,
    exclude: Sequence[str] = (),
    minimum_fraction: float = 0.1,
    channel_multiple: int = 1,
    keep_first: bool = True,
    keep_classifier: bool = True,
    branch_removal: bool = False,
    time_limit: float = 60.0,
) -> Space:
    """Find all groups of channels of `model` that must be removed together.

    The network runs on tensors without data, in training and in evaluation mode, and the channels of every tensor
    are followed through all that it computes. What is not understood stays whole and is listed in `frozen`.

    Args:
        model: any network that takes one tensor; it's left untouched, and in its mode.
        example_input: (N, ...), like the network's input; only its shape and type matter, unless the network's own
            code needs values.
        exclude: shell-style patterns of module names; the outputs of matching layers (or of all layers below a
            matching module) stay whole.
        minimum_fraction: least share of its channels that a group keeps, in (0, 1].
        channel_multiple: widths are multiples of this, or the full width.
        keep_first: leave the output of the first convolution whole.
        keep_classifier: leave the output of the last linear layer or convolution whole, even where it's not the
            network's output. What the network returns always stays whole.
        branch_removal: let groups that lie wholly inside a residual branch go to width 0.
        time_limit: in seconds.

    Raises:
        UserError: if the network cannot run on the input, has no prunable channels, takes too long, or a setting is
            out of range.
    """
    if not 0 < minimum_fraction <= 1:
        raise UserError(f"minimum_fraction is {minimum_fraction}; it must be above 0 and at most 1")
    if channel_multiple < 1:
        raise UserError(f"channel_multiple is {channel_multiple}; it must be 1 or more")
    deadline = time.monotonic() + time_limit
    atlas = Atlas()
    shapes = {n: tuple(t.shape) for n, t in (*model.named_parameters(), *model.named_buffers())}
    propagations = []
    with torch.no_grad():
        for training in (False, True):
            try:
                recorded = trace(model, example_input, training=training, deadline=deadline, time_limit=time_limit)
            except UserError as error:
                unseen = [n for n, _ in model.named_parameters() if training and n not in propagations[0].used]
                if not training or time.monotonic() > deadline:
                    raise
                if unseen:
                    raise UserError(f"{error}; that is needed, since evaluation doesn't use {unseen[0]}") from error
                continue  # it trains on other inputs (with targets, say), but on the same layers
            propagations.append(Propagation(recorded, atlas, shapes))
            propagations[-1].run()
            if time.monotonic() > deadline:
                raise UserError(f"following the channels took longer than {time_limit:g} s; raise time_limit")
    inference = propagations[0]
    producers = _producers(atlas, propagations)
    _keep(atlas, inference, producers, exclude, keep_first, keep_classifier)
    grouping = group_channels(atlas, propagations, producers)

    def mark() -> str:
        for p, training in zip(propagations, (False, True), strict=False):
            if not p.trace.sizes:
                larger = trace(
                    model, example_input, training=training, deadline=deadline, time_limit=time_limit, batch=3
                )
                try:
                    mark_batch(p.trace, larger)
                except ValueError as error:
                    return str(error)
        return ""

    while True:  # what cannot be done at other widths is pinned, until all can
        grouping = _drop_rigid(atlas, propagations, producers, grouping, minimum_fraction, channel_multiple)
        branches = find_branches(model, propagations, grouping.units) if branch_removal else []
        try:
            programs = Recorder(model, propagations, grouping.units, branches, mark).record()
            break
        except Unrecordable as error:
            if error.op is None:
                branch_removal = False
                continue
            for p in propagations:
                for tensor in (*p.tensor_inputs(error.op), *pytree.tree_leaves(error.op.output)):
                    p.freeze_tensor(
                        tensor, f"{short_name(error.op.name)} in {error.op.module or 'the network'} {error}"
                    )
            grouping = group_channels(atlas, propagations, producers)
        if time.monotonic() > deadline:
            raise UserError(f"recording the network took longer than {time_limit:g} s; raise time_limit")
    groups = grouping.groups
    branch_of = np.full(len(groups), -1, dtype=np.int32)
    for index, branch in enumerate(branches):
        branch_of[list(branch.groups)] = index
    if not groups:
        raise UserError("the network has no prunable channels: " + _reasons(grouping))
    limits = [_limits(g, minimum_fraction, channel_multiple) for g in groups]
    spatial = _resolutions(inference, grouping)
    stages = {size: n for n, size in enumerate(dict.fromkeys(spatial))}
    int32 = np.int32
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
        frozen=_frozen(atlas, producers, grouping),
        graph=cost_graph(model, inference, grouping, branches),
        programs=programs,
        input_shape=tuple(example_input.shape[1:]),
    )


def _producers(atlas: Atlas, propagations: list[Propagation]) -> list[Key]:
    """Parameter dimensions that are outputs of convolutions and linear layers, in order of execution."""
    keys: dict[Key, None] = {}
    for p in propagations:
        for op in p.trace.root.ops():
            weight = argument(op, 1, "weight")
            if is_layer(op) and isinstance(weight, Param):
                transposed = short_name(op.name).startswith("conv_transpose")
                key = (weight.name, int(transposed))
                if key in atlas.axes:
                    keys[key] = None
    return list(keys)


def _keep(atlas: Atlas, p: Propagation, producers: list[Key], exclude, keep_first: bool, keep_classifier: bool) -> None:
    executed = [op for op in p.trace.root.ops() if is_layer(op)]
    if keep_first:
        first = next((op for op in executed if short_name(op.name).startswith("conv")), None)
        if first is not None and (channels := p.channels(first.output)) is not None:
            atlas.pin(channels.atoms, "first convolution")
    if keep_classifier and executed and (channels := p.channels(executed[-1].output)) is not None:
        atlas.pin(channels.atoms, "classifier")
    for pattern in exclude:
        for name, dim in producers:
            path = name.rpartition(".")[0].split(".")
            if any(fnmatchcase(".".join(path[: i + 1]), pattern) for i in range(len(path))):
                atlas.pin(atlas.axes[name, dim], f"excluded by `{pattern}`")


def _limits(group: Group, minimum_fraction: float, channel_multiple: int) -> tuple[int, int]:
    channels = len(group.roots) * group.unit
    multiple = min(math.lcm(group.unit, channel_multiple), channels)
    low = math.ceil(minimum_fraction * channels - 1e-9)
    return min(channels, -(-max(low, 1) // multiple) * multiple), multiple


def _drop_rigid(
    atlas: Atlas,
    propagations: list[Propagation],
    producers: list[Key],
    grouping: Grouping,
    minimum_fraction: float,
    channel_multiple: int,
) -> Grouping:
    """Pin the groups of which only the full width is allowed."""
    rigid = [g for g in grouping.groups if _limits(g, minimum_fraction, channel_multiple)[0] == len(g.roots) * g.unit]
    if not rigid:
        return grouping
    for group in rigid:
        atlas.pin(group.roots, "no smaller width is allowed")
    return group_channels(atlas, propagations, producers)


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


def _reasons(grouping: Grouping) -> str:
    return "; ".join(dict.fromkeys(list(grouping.pinned.values())[:5]))

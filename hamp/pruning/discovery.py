"""Find the space of a network."""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hamp.errors import UserError
from hamp.pruning.channels import Atlas
from hamp.pruning.grouping import Key
from hamp.pruning.propagation import Propagation
from hamp.pruning.rules import argument, is_layer, short_name
from hamp.pruning.solving import Network, solve
from hamp.pruning.space import Space
from hamp.pruning.trace import CannotRun, Const, Param, Ref, TimeLimit, trace


def discover(
    model: nn.Module,
    example_input: Tensor,
    *,
    exclude: Sequence[str] = (),
    minimum_fraction: float = 0.1,
    channel_multiple: int = 1,
    keep_first: bool = True,
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
        keep_first: leave the output of the first convolution whole. What the network returns always stays whole.
        branch_removal: let groups that lie wholly inside a residual branch go to width 0.
        time_limit: in seconds.

    Raises:
        UserError: if the network cannot run on the input, has no prunable channels, takes too long, or a setting is
            out of range or a pattern of no layer.
    """
    if not 0 < minimum_fraction <= 1:
        raise UserError(f"minimum_fraction is {minimum_fraction}; it must be above 0 and at most 1")
    if channel_multiple < 1:
        raise UserError(f"channel_multiple is {channel_multiple}; it must be 1 or more")
    limit = TimeLimit(time_limit)
    atlas = Atlas()
    propagations: list[Propagation] = []
    shapes = {n: tuple(t.shape) for n, t in (*model.named_parameters(), *model.named_buffers())}
    for training in (False, True):
        try:
            recorded = trace(model, example_input, training=training, limit=limit)
        except CannotRun as error:
            if not training:
                raise
            unseen = next((n for n, _ in model.named_parameters() if n not in propagations[0].used), None)
            if unseen:
                raise UserError(f"{error}; that is needed, since evaluation does not use {unseen}") from error
            continue  # it trains on other inputs (with targets, say), but on the same layers
        _check_output(recorded.root.output)
        propagations.append(Propagation(recorded, atlas, shapes))
        propagations[-1].run()
        limit.check("following the channels")
    producers = _producers(atlas, propagations)
    _require(exclude, [name.rpartition(".")[0] for name, shape in shapes.items() if len(shape) > 1])
    _keep(atlas, propagations[0], producers, exclude, keep_first)
    network = Network(model, example_input, atlas, propagations, producers, limit)
    return solve(network, minimum_fraction, channel_multiple, branch_removal)


def _check_output(output: Any) -> None:
    """Raise where what the network returns cannot be looked into: it must stay whole."""
    for leaf in pytree.tree_leaves(output):
        if not isinstance(leaf, Ref | Param | Const | str | int | float | None):
            raise UserError(
                f"the network returns a {type(leaf).__name__}; let it return a tensor, or a tuple, list or dict of tensors"
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


def _require(exclude: Sequence[str], layers: Sequence[str]) -> None:
    for pattern in exclude:
        if layers and not any(_matches(layer, pattern) for layer in layers):
            near = get_close_matches(pattern, layers, 1, 0.0)[0]
            raise UserError(f"exclude: '{pattern}' matches no convolution or linear layer; the nearest is '{near}'")


def _matches(layer: str, pattern: str) -> bool:
    """Whether the layer, or a module that it is in, has a name of this pattern."""
    path = layer.split(".")
    return any(fnmatchcase(".".join(path[: i + 1]), pattern) for i in range(len(path)))


def _keep(atlas: Atlas, p: Propagation, producers: list[Key], exclude, keep_first: bool) -> None:
    if keep_first:
        layers = (op for op in p.trace.root.ops() if is_layer(op))
        first = next((op for op in layers if short_name(op.name).startswith("conv")), None)
        if first is not None and (channels := p.channels(first.output)) is not None:
            atlas.pin(channels.atoms, "first convolution")
    for pattern in exclude:
        for name, dim in producers:
            if _matches(name.rpartition(".")[0], pattern):
                atlas.pin(atlas.axes[name, dim], f"excluded by `{pattern}`")

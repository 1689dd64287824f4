"""Cut the weights of a pruned network out of the full one."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from hamp.errors import UserError
from hamp.pruning.copying import copy_modules
from hamp.pruning.fitting import check_fit
from hamp.pruning.importance import score
from hamp.pruning.program import ConstantBatchNorm, ConstantLayer, NetworkProgram, Program, concrete_steps
from hamp.pruning.space import Space

Scores = Sequence[NDArray[np.float64]]
_CACHE = 1 << 17  # elements


def prune(model: nn.Module, space: Space, widths: ArrayLike, scores: Scores | None = None) -> nn.Module:
    """A new, smaller network: of every group the channels with the highest scores stay, in their order.

    Args:
        model: the network of which `space` was found; it's left untouched.
        widths: (groups,), integers.
        scores: float64, one array (channels,) a group, larger is kept longer; None: by L1 norm. The channels kept at
            a smaller width are among those kept at a larger one.

    Returns a network of the same classes that shares no memory with `model`.
    Raises UserError for widths that are not allowed, or a model that doesn't match the space.
    """
    kept, gone = kept_units(model, space, widths, scores)
    removed, replace = _replacements(space, kept, gone)

    def finish(path: str, old: nn.Module, new: nn.Module) -> nn.Module:
        _resize(old, new)
        return replace[path](old, new) if path in replace else new

    with torch.no_grad():
        return copy_modules(model, _cutter(space, kept), finish, removed)


def kept_units(
    model: nn.Module, space: Space, widths: ArrayLike, scores: Scores | None
) -> tuple[NDArray[np.bool_], set[int]]:
    """Which units stay (entry 0 stands for what always stays, see `Space.axes`), and which branches go."""
    check_fit(model, space)
    values = np.asarray(widths)
    if values.ndim != 1:
        raise UserError(
            f"widths have shape {values.shape}; one network has one integer for each of {space.groups} groups"
        )
    allowed = space.canonical(space.validate(values))
    units, gone = allowed // space.unit, set(space.branches[allowed == 0].tolist())
    if scores is None:
        scores = score(model, space, "l1")
    if len(scores) != space.groups:
        raise UserError(f"there are scores for {len(scores)} groups; this space has {space.groups}")
    kept = [np.ones(1, dtype=bool)]
    for group, count in enumerate(units.tolist()):
        total = int(space.units[group])
        stay = np.ones(total, dtype=bool)
        if count < total:
            values = np.asarray(scores[group], dtype=np.float64)
            if values.shape != (space.channels[group],):
                raise UserError(
                    f"scores of group {group} ({space.names[group]}) have shape {values.shape}; "
                    f"it has {space.channels[group]} channels"
                )
            by_unit = values.reshape(total, -1).mean(axis=1) if total < len(values) else values
            stay[np.argsort(-by_unit, kind="stable")[count:]] = False
        kept.append(stay)
    return np.concatenate(kept), gone


def axis_indices(space: Space, kept: NDArray[np.bool_]) -> list[Tensor | None]:
    """For every axis of the space the positions that stay, ascending; None where all do."""
    indices: list[Tensor | None] = []
    for axis in space.axes:
        stay = kept[axis]
        indices.append(None if stay.all() else torch.from_numpy(np.flatnonzero(stay)))
    return indices


def kept_positions(
    dim: int, model: nn.Module, space: Space, widths: ArrayLike, scores: Scores | None = None
) -> dict[str, Tensor]:
    """By parameter, the positions along a dimension that `prune` keeps, ascending; those that keep all are left out."""
    kept, _ = kept_units(model, space, widths, scores)
    indices = axis_indices(space, kept)
    rows = {name: row for name, axes in space.axes_of_parameters.items() for along, row, _ in axes if along == dim}
    return {name: index for name, row in rows.items() if (index := indices[row]) is not None}


def _cutter(space: Space, kept: NDArray[np.bool_]) -> Callable[[str, Tensor], Tensor]:
    indices = axis_indices(space, kept)
    by_parameter = space.axes_of_parameters
    scratch = torch.empty(8 * _CACHE, dtype=torch.uint8)

    def cut(name: str, tensor: Tensor) -> Tensor:
        chosen = [(dim, index) for dim, row, _ in by_parameter.get(name, ()) if (index := indices[row]) is not None]
        data = _select(tensor, chosen, scratch) if chosen else tensor.detach().clone()
        if type(tensor) is nn.Parameter or isinstance(
            tensor, nn.Parameter
        ):  # the latter alone takes as long as all else
            return Tensor._make_subclass(nn.Parameter, data, tensor.requires_grad)
        return data

    return cut


def _select(tensor: Tensor, chosen: list[tuple[int, Tensor]], scratch: Tensor) -> Tensor:
    """The tensor at the chosen indices of one dimension or two."""
    chosen = [(dim, index.to(tensor.device)) for dim, index in chosen] if tensor.is_cuda else chosen
    if len(chosen) == 2 and chosen[0][0] == 0 and tensor.numel() > _CACHE and tensor.device == scratch.device:
        # some rows at a time, so that what lies between the two selections stays in the cache
        (_, rows), (dim, columns) = chosen
        shape = list(tensor.shape)
        shape[0], shape[dim] = len(rows), len(columns)
        out = tensor.new_empty(shape)
        size = tensor.numel() // tensor.shape[0]
        between = scratch.view(tensor.dtype)
        for some, into in zip(*(t.split(max(1, len(between) // size)) for t in (rows, out)), strict=True):
            part = between[: len(some) * size].view(len(some), *tensor.shape[1:])
            torch.index_select(tensor, 0, some, out=part)
            torch.index_select(part, dim, columns, out=into)
        return out
    for dim, index in chosen:
        tensor = tensor.index_select(dim, index)
    return tensor


def _replacements(
    space: Space, kept: NDArray[np.bool_], gone: set[int]
) -> tuple[set[str], dict[str, Callable[[nn.Module, nn.Module], nn.Module]]]:
    """Paths of the modules that go, and by path what makes another module of a copied one."""
    replace: dict[str, Callable[[nn.Module, nn.Module], nn.Module]] = {}
    removed: set[str] = set()
    if not space.programs:
        return removed, replace
    for path, recorded in space.programs["modules"].items():
        if recorded["always"] or gone.intersection(recorded["branches"]):
            steps = {
                mode: concrete_steps(recorded[mode], space.program_axes, kept, gone)
                for mode in ("evaluation", "training")
            }
            kind = Program if path else NetworkProgram
            replace[path] = partial(_programmed, kind, steps, recorded.get("otherwise", ()))
    for number in gone:
        branch = space.programs["branches"][number]
        removed.update(branch["removed"])
        layer, *dims = branch["layer"]
        replace[layer] = partial(_constant_layer, dims)
        for norm in branch["norms"]:
            replace[norm] = _constant_norm
    return removed, replace


def _programmed(
    kind: type[Program | NetworkProgram],
    steps: dict[str, Any],
    otherwise: Sequence[str],
    old: nn.Module,
    new: nn.Module,
) -> nn.Module:
    return kind(new, type(old).__name__, steps, otherwise)


def _constant_layer(dims: Sequence[int], old: nn.Module, new: nn.Module) -> nn.Module:
    channel_dim, ndim = dims
    return ConstantLayer(new, channel_dim, ndim)


def _constant_norm(old: nn.Module, new: nn.Module) -> nn.Module:
    new.__class__ = ConstantBatchNorm
    return new


def _resize(old: nn.Module, new: nn.Module) -> None:
    """Set the sizes that modules of torch.nn keep beside their weights."""
    table = new.__dict__
    weight, before = table["_parameters"].get("weight"), old._parameters.get("weight")
    if weight is None or before is None or weight.shape == before.shape:
        return
    if isinstance(new, _ConvNd):
        into, out = (0, 1) if new.transposed else (1, 0)
        if new.groups == 1:
            table["in_channels"], table["out_channels"] = weight.shape[into], weight.shape[out]
        elif isinstance(old, _ConvNd):  # whole groups go
            groups = old.groups * weight.shape[0] // before.shape[0]
            table["in_channels"] = old.in_channels // old.groups * groups
            table["out_channels"] = old.out_channels // old.groups * groups
            table["groups"] = groups
    elif isinstance(new, nn.Linear):
        table["out_features"], table["in_features"] = weight.shape
    elif isinstance(new, _NormBase):
        table["num_features"] = weight.shape[0]
    elif isinstance(new, nn.LayerNorm):
        table["normalized_shape"] = tuple(weight.shape)
    elif isinstance(new, nn.GroupNorm):
        table["num_channels"] = weight.shape[0]
        if old.num_groups == old.num_channels:
            table["num_groups"] = weight.shape[0]
    elif isinstance(new, nn.PReLU):
        table["num_parameters"] = weight.shape[0]

"""The reference for exactness: the full network with the removed channels silenced."""

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from hamp.pruning.copying import copy_modules
from hamp.pruning.slicing import Scores, axis_indices, kept_units
from hamp.pruning.space import Space

Kept = tuple[int, Tensor]
"""The dimension of a parameter, counted from its end, and which of its rows there stay."""


def masked(model: nn.Module, space: Space, widths: ArrayLike, scores: Scores | None = None) -> nn.Module:
    """The full network, copied, in which the channels that `prune` would remove take no part.

    All weights that have or read a removed channel are multiplied by 0 in every forward pass, so they get no
    gradient either. LayerNorm and GroupNorm, which mix channels, take their statistics over those that stay.
    Arguments and errors are those of `prune`.
    """
    kept, _ = kept_units(model, space, widths, scores)
    indices = axis_indices(space, kept)
    masks: dict[str, Tensor] = {}
    norms: dict[str, Kept] = {}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for (name, dim), row in space.index.items():
        index = indices[row]
        if index is None or name not in parameters:
            continue
        parameter = parameters[name]
        stays = torch.from_numpy(kept[space.axes[row]])
        shape = [-1 if d == dim else 1 for d in range(parameter.ndim)]
        mask = stays.to(parameter.device, parameter.dtype).reshape(shape)
        masks[name] = masks[name] * mask if name in masks else mask.expand(parameter.shape)
        norms[name] = (dim - parameter.ndim, index.to(parameter.device))
    return Masked(copy_modules(model, _clone), masks, norms)


def _clone(name: str, tensor: Tensor) -> Tensor:
    data = tensor.detach().clone()
    return nn.Parameter(data, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else data


class Masked(nn.Module):
    """A network whose parameters are multiplied by `masks` (by name) in every forward pass."""

    def __init__(self, model: nn.Module, masks: dict[str, Tensor], norms: dict[str, Kept]):
        super().__init__()
        self.model, self.masks, self.norms = model, masks, norms

    def forward(self, *args, **kwargs):
        parameters = dict(self.model.named_parameters(remove_duplicate=False))
        silenced = {name: parameters[name] * mask for name, mask in self.masks.items()}
        kept = {id(silenced[name]): index for name, index in self.norms.items()}
        with _NormsOfKept(kept):
            return functional_call(self.model, silenced, args, kwargs)


class _NormsOfKept(TorchFunctionMode):
    """Compute norms over channels from the channels that stay; `kept` maps the `id` of a norm's weight to them."""

    def __init__(self, kept: dict[int, Kept]):
        super().__init__()
        self.kept = kept

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is nn.functional.layer_norm:
            return self._norm(func, "normalized_shape", args, kwargs)
        if func is nn.functional.group_norm:
            return self._norm(func, "num_groups", args, kwargs)
        return func(*args, **kwargs)

    def _norm(self, func, over, args, kwargs):
        given = {**dict(zip(("input", over, "weight", "bias", "eps"), args, strict=False)), **kwargs}
        if id(given.get("weight")) not in self.kept:
            return func(*args, **kwargs)
        dim, index = self.kept[id(given["weight"])]
        x, size, bias = given["input"], given[over], given.get("bias")
        if not len(index):  # of a removed branch
            return torch.zeros_like(x)
        if over == "num_groups":
            of_x, size = 1, len(index) if size == x.shape[1] else size
        else:
            of_x, size = dim, list(size)
            size[dim] = len(index)
        inner = func(
            x.index_select(of_x, index),
            size,
            given["weight"].index_select(dim, index),
            None if bias is None else bias.index_select(dim, index),
            given.get("eps", 1e-5),
        )
        return torch.zeros_like(x).index_copy(of_x, index, inner)

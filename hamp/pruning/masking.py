"""The reference for exactness: the full network with the removed channels silenced."""

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from hamp.pruning.copying import copy_modules
from hamp.pruning.slicing import Scores, axis_indices, kept_units
from hamp.pruning.space import Space


def masked(model: nn.Module, space: Space, widths: ArrayLike, scores: Scores | None = None) -> nn.Module:
    """The full network, copied, in which the channels that `prune` would remove take no part.

    All weights that have or read a removed channel are multiplied by 0 in every forward pass, so they get no
    gradient either. LayerNorm and GroupNorm, which mix channels, take their statistics over those that stay.
    Arguments and errors are those of `prune`.
    """
    kept, _ = kept_units(model, space, widths, scores)
    indices = axis_indices(space, kept)
    masks: dict[str, Tensor] = {}
    norms: dict[str, Tensor] = {}
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
        if name.endswith("weight") and parameter.ndim == 1:
            norms[name] = index.to(parameter.device)
    return Masked(copy_modules(model, _clone), masks, norms)


def _clone(name: str, tensor: Tensor) -> Tensor:
    data = tensor.detach().clone()
    return nn.Parameter(data, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else data


class Masked(nn.Module):
    """A network whose parameters are multiplied by `masks` (by name) in every forward pass."""

    def __init__(self, model: nn.Module, masks: dict[str, Tensor], norms: dict[str, Tensor]):
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

    def __init__(self, kept: dict[int, Tensor]):
        super().__init__()
        self.kept = kept

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is nn.functional.layer_norm:
            return self._norm(func, 1, -1, args, kwargs)
        if func is nn.functional.group_norm:
            return self._norm(func, 1, 1, args, kwargs)
        return func(*args, **kwargs)

    def _norm(self, func, position, dim, args, kwargs):
        names = ("input", "normalized_shape" if dim == -1 else "num_groups", "weight", "bias", "eps")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        index = self.kept.get(id(given.get("weight")))
        if index is None:
            return func(*args, **kwargs)
        x, size = given["input"], given[names[1]]
        if dim == 1:
            size = len(index) if size == x.shape[1] else size
        else:
            size = (len(index),)
        bias = given.get("bias")
        inner = func(
            x.index_select(dim, index),
            size,
            given["weight"][index],
            None if bias is None else bias[index],
            given.get("eps", 1e-5),
        )
        return torch.zeros_like(x).index_copy(dim, index, inner)

"""Whether a space is that of a network."""

from torch import nn

from hamp.errors import UserError
from hamp.pruning.space import Space


def check_fit(model: nn.Module, space: Space) -> None:
    """Raise UserError where the network lacks a parameter that the space cuts, or has it in another size."""
    modules = dict(model.named_modules(remove_duplicate=False))
    for name, dims in space.axes_of_parameters.items():
        path, _, last = name.rpartition(".")
        owner = modules.get(path)
        tensor = None if owner is None else owner._parameters.get(last, owner._buffers.get(last))
        if tensor is None:
            raise UserError(f"the network has no {name}, which the space cuts; find the space of this network")
        shape = tensor.shape
        for dim, _, size in dims:
            if dim >= len(shape) or shape[dim] != size:
                raise UserError(
                    f"{name} of the network has shape {tuple(shape)}, which doesn't fit the space "
                    f"({size} in dimension {dim}); find the space of this network"
                )

"""Recorded steps in the place of a module's own Python code.

Where that code holds numbers of channels (slice bounds, paddings, sizes of a reshape), or a residual branch is gone,
the module of a pruned network runs the operations that were recorded when the space was found, with the numbers
that the kept channels ask for. Its submodules, parameters and their names stay as they are.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree

from hamp.errors import UserError
from hamp.pruning.trace import Batch, InputType, Param, Ref

GATHER, CALL = "gather", "call"


@cache
def function(name: str) -> Callable[..., Any]:
    """The function that torch calls `name` (see `torch.overrides.resolve_name`).

    Only functions of tensors are known, so a stored program can compute but not load or run anything else.
    """
    home, _, last = name.removesuffix(".__get__").rpartition(".")
    owner = {
        "torch": torch._C._VariableFunctions,
        "torch.Tensor": Tensor,
        "torch.nn.functional": nn.functional,
        "torch.functional": torch.functional if last in torch.functional.__all__ else None,
    }.get(home)
    found = getattr(owner, last, None) if owner is not None else None
    found = getattr(found, "__get__", None) if name.endswith(".__get__") else found
    if not callable(found):
        raise UserError(f"`{name}` is not a function of tensors that this version of torch knows")
    return found


class Program(nn.Module):
    """A module that runs recorded steps; `steps` has one list for evaluation and one for training.

    A step is (kind, target, args, kwargs, output, last): the kind is `call` (of the submodule `target`), `gather` (of
    channels) or `function`. Args and output hold Ref where a tensor belongs; `last` are the numbers of those that are
    not needed any more after the step. `otherwise` are the modules in it that stay in evaluation mode in training, as
    the module's own code has it.
    """

    def __init__(
        self, module: nn.Module, replaces: str, steps: dict[str, dict[str, Any]], otherwise: Sequence[str] = ()
    ):
        super().__init__()
        self._parameters, self._buffers, self._modules = module._parameters, module._buffers, module._modules
        self.training = module.training
        self.replaces, self.steps, self.otherwise = replaces, steps, tuple(otherwise)

    def train(self, mode: bool = True) -> "Program":
        """Set the mode, but for modules that stay in evaluation mode."""
        super().train(mode)
        for name, module in self.named_modules():
            if name in self.otherwise:
                module.eval()
        return self

    def extra_repr(self) -> str:
        """The class whose code the steps stand for."""
        return f"recorded from {self.replaces}"

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the steps of the current mode."""
        program = self.steps["training" if self.training else "evaluation"]
        leaves = _leaves(args, kwargs)
        values: dict[int, Any] = {ref.value: x for ref, x in zip(program["inputs"], leaves, strict=True) if ref}
        at, rows_per_image = program["batch"]
        fill = partial(_fill, values, self, leaves[at].shape[0] // rows_per_image, leaves[at])
        for kind, target, step_args, step_kwargs, output, last in program["steps"]:
            # most arguments are tensors; on small networks it counts how soon the next operation begins
            given = [values[x.value] if type(x) is Ref else fill(x) for x in step_args]
            named = {name: fill(x) for name, x in step_kwargs.items()}
            if kind == GATHER:
                result = _gather(*given)
            elif kind == CALL:
                result = (self._modules.get(target) or self.get_submodule(target))(*given, **named)
            else:
                result = function(target)(*given, **named)
            if isinstance(output, Ref):
                values[output.value] = result
            else:
                for ref, x in zip(pytree.tree_leaves(output), pytree.tree_leaves(result), strict=True):
                    if isinstance(ref, Ref):
                        values[ref.value] = x
            del result, given, named
            for value in last:
                values.pop(value, None)
        return fill(program["output"])


class NetworkProgram(Program):
    """The program of a whole network, with one input as a network has it, which `torch.export` looks at."""

    def forward(self, x: Tensor) -> Any:
        """Run the steps of the current mode."""
        return super().forward(x)


def _leaves(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Any]:
    """The arguments of a call, without the lists, tuples and dictionaries around them."""
    if kwargs or any(isinstance(x, (list, tuple, dict)) for x in args):
        return pytree.tree_leaves((args, kwargs))
    return args


def _fill(values: dict[int, Any], module: nn.Module, images: int, like: Tensor, x: Any) -> Any:
    """Recorded arguments `x` with tensors of this run in place of their names, sizes for so many images, and the type
    and device of `like`.

    Not a function within `forward`: one that calls itself would keep all tensors until the next garbage collection.
    """
    fill = partial(_fill, values, module, images, like)
    if isinstance(x, Ref):
        return values[x.value]
    if isinstance(x, Param):
        owner, _, name = x.name.rpartition(".")
        return getattr(module.get_submodule(owner), name)
    if isinstance(x, (tuple, list)):
        return type(x)(map(fill, x))
    if isinstance(x, dict):
        return type(x)((k, fill(v)) for k, v in x.items())
    if isinstance(x, slice):
        return slice(fill(x.start), fill(x.stop), fill(x.step))
    if isinstance(x, Batch):
        return x.per_image * images
    if isinstance(x, InputType):
        return like.dtype
    return like.device if isinstance(x, torch.device) else x


def _gather(x: Tensor, dim: int, index: list[int] | tuple[int, int]) -> Tensor:
    """Channels of `x`: at the indices, or from a first one on, so many."""
    if isinstance(index, tuple):
        return x.narrow(dim, *index)
    return x.index_select(dim, torch.tensor(index, device=x.device))


class ConstantLayer(nn.Module):
    """What is left of the last layer of a removed branch: its bias, once an image, to be broadcast over pixels."""

    bias: nn.Parameter | None

    def __init__(self, layer: nn.Module, channel_dim: int, ndim: int):
        super().__init__()
        self.channel_dim, self.ndim = channel_dim, ndim
        self.channels = layer.get_parameter("weight").shape[int(getattr(layer, "transposed", False))]
        self.register_parameter("bias", layer._parameters.get("bias"))
        self.training = layer.training

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output (N, C, 1, ...) or (N, 1, ..., C) for N rows of `x`, (N, ...)."""
        shape = [1] * self.ndim
        shape[self.channel_dim] = self.channels
        if self.bias is None:
            return x.new_zeros([x.shape[0], *shape[1:]])
        return self.bias.reshape(shape).repeat(x.shape[0], *[1] * (self.ndim - 1))


class ConstantBatchNorm(_BatchNorm):
    """BatchNorm of an input with one value a channel, for which a batch of one is enough."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Inputs of any number of dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        """As BatchNorm; the mean of equal values doesn't depend on how many there are."""
        if self.training and x.shape[0] == 1:
            return super().forward(x.repeat(2, *[1] * (x.ndim - 1)))[:1]
        return super().forward(x)


def encode(x: Any) -> Any:
    """Arguments as JSON; raises TypeError for what a stored program cannot hold."""
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    if isinstance(x, Ref):
        return {"ref": x.value}
    if isinstance(x, Param):
        return {"param": x.name}
    if isinstance(x, Batch):
        return {"batch": x.per_image}
    if isinstance(x, InputType):
        return {"dtype": True}
    if isinstance(x, Count):
        return {"count": x.axis, "per": x.per}
    if isinstance(x, slice):
        return {"slice": [encode(x.start), encode(x.stop), encode(x.step)]}
    if x is Ellipsis:
        return {"ellipsis": True}
    if isinstance(x, (torch.dtype, torch.memory_format)):
        return {"torch": str(x).removeprefix("torch.")}
    if isinstance(x, torch.device):
        return {"device": True}
    if type(x) in (tuple, torch.Size):
        return {"tuple": [encode(y) for y in x]}
    if type(x) is list:
        return [encode(y) for y in x]
    if isinstance(x, dict) and all(isinstance(k, str) for k in x) and type(x).__name__ in ("dict", "OrderedDict"):
        return {"dict": [[k, encode(v)] for k, v in x.items()]}
    raise TypeError(f"a {type(x).__name__} cannot be stored")


class Count:
    """A number that depends on what is kept: channels of `axis` that stay, divided by `per`."""

    def __init__(self, axis: int, per: int = 1):
        self.axis, self.per = axis, per


def decode(x: Any, counts: list[int]) -> Any:
    """The inverse of `encode`; `counts` are the channels kept of each axis."""
    if isinstance(x, list):
        return [decode(y, counts) for y in x]
    if not isinstance(x, dict):
        return x
    if "ref" in x:
        return Ref(x["ref"])
    if "param" in x:
        return Param(x["param"])
    if "batch" in x:
        return Batch(x["batch"])
    if "count" in x:
        return counts[x["count"]] // x["per"]
    if "slice" in x:
        return slice(*decode(x["slice"], counts))
    if "ellipsis" in x:
        return Ellipsis
    if "torch" in x:
        return getattr(torch, x["torch"])
    if "dtype" in x:
        return InputType()
    if "device" in x:
        return torch.device("cpu")  # stands for that of the input
    if "tuple" in x:
        return tuple(decode(y, counts) for y in x["tuple"])
    return {k: decode(v, counts) for k, v in x["dict"]}


def concrete_steps(
    recorded: dict[str, Any], axes: list[NDArray[np.int64]], kept: NDArray[np.bool_], gone: set[int]
) -> dict[str, Any]:
    """Steps for the units kept; `gone` are the removed branches."""
    counts = [int(kept[axis].sum()) for axis in axes]
    steps = []
    for step in recorded["steps"]:
        if gone.intersection(step.get("dead", ())):
            continue
        target, args = step["target"], decode(step["args"], counts)
        if gone.intersection(step.get("joins", ())):  # shapes differ now: not in place
            target = "torch.add"
        if step.get("branch") in gone:
            args = decode(step["args_gone"], counts)
        if step["kind"] == GATHER:
            x, dim = args
            args = (x, dim, _kept_index(axes, kept, step["axis"], step["of"], np.array(step["index"])))
        steps.append((step["kind"], target, args, decode(step["kwargs"], counts), decode(step["output"], counts)))
    return {
        "inputs": decode(recorded["inputs"], counts),
        "batch": recorded["batch"],
        "output": decode(recorded["output"], counts),
        "steps": _with_last_uses(steps, decode(recorded["output"], counts)),
    }


def _with_last_uses(steps: list[tuple], output: Any) -> list[tuple]:
    """Each step with the values that no later one reads."""
    needed = _values(output)
    complete = []
    for step in reversed(steps):
        touched = _values(step[2:])
        complete.append((*step, sorted(touched - needed)))
        needed |= touched
    return complete[::-1]


def _values(tree: Any) -> set[int]:
    return {leaf.value for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Ref)}


def _kept_index(axes, kept, axis: int, of: int, index: NDArray[np.int64]) -> list[int] | tuple[int, int]:
    stays = kept[axes[of]]
    rank = np.cumsum(stays) - 1
    chosen = rank[index[kept[axes[axis]]]].tolist()
    first = chosen[0] if chosen else 0
    return (first, len(chosen)) if chosen == list(range(first, first + len(chosen))) else chosen

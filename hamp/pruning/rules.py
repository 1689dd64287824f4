"""How each torch function carries channels from its inputs to its outputs.

A rule gets the propagation and the recorded call, joins or pins atoms, and says what channels the
outputs have. A function without a rule pins all channels that it touches: nothing is guessed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from hamp.pruning.channels import Channels
from hamp.pruning.trace import Op, Param

if TYPE_CHECKING:
    from hamp.pruning.propagation import Propagation

Rule = Callable[["Propagation", Op], None]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def argument(op: Op, position: int, name: str, default: Any = None) -> Any:
    """An argument of the recorded call, given by position or by name, of which some have NumPy's too."""
    if len(op.args) > position:
        return op.args[position]
    return op.kwargs.get(name, op.kwargs.get(_NUMPYS.get(name, name), default))


_NUMPYS = {"dim": "axis", "keepdim": "keepdims"}


def short_name(name: str) -> str:
    """`torch.Tensor.__iadd__` and `torch.add` are both `add`."""
    base = name.rsplit(".", 2)[-2] if name.endswith(".__get__") else name.rsplit(".", 1)[-1]
    if base.startswith("__") and base.endswith("__") and base not in ("__getitem__", "__setitem__"):
        base = base.strip("_")
        if base not in ("invert",) and base[0] in "ir" and base[1:] in _OPERATORS:
            base = base[1:]
    return base.rstrip("_") if not base.startswith("__") else base


def is_layer(op: Op) -> bool:
    """Whether the operation is a convolution or a linear layer."""
    name = short_name(op.name)
    return name == "linear" or (name.startswith("conv") and name[-2:] in ("1d", "2d", "3d"))


_OPERATORS = ("add", "sub", "mul", "truediv", "div", "pow", "floordiv", "mod", "and", "or", "xor")


@rule("conv1d", "conv2d", "conv3d")
def convolution(p: "Propagation", op: Op) -> None:
    x, weight, bias = op.args[0], argument(op, 1, "weight"), argument(op, 2, "bias")
    if not isinstance(weight, Param):
        return p.freeze(op, "its weight is computed")
    groups = argument(op, 6, "groups", 1)
    out = p.atlas.axis(weight.name, 0, p.shape(weight)[0])
    _contract(p, x, (weight, 1), out, groups, len(p.shape(weight)) - 2)
    _finish_layer(p, op, bias, out, p.ndim(op.output) - len(p.shape(weight)) + 1)


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed_convolution(p: "Propagation", op: Op) -> None:
    x, weight, bias = op.args[0], argument(op, 1, "weight"), argument(op, 2, "bias")
    if not isinstance(weight, Param):
        return p.freeze(op, "its weight is computed")
    groups = argument(op, 6, "groups", 1)
    per_group = p.shape(weight)[1]
    spatial = len(p.shape(weight)) - 2
    if groups == 1:
        out = p.atlas.axis(weight.name, 1, per_group)
        _contract(p, x, (weight, 0), out, 1, spatial)
    else:  # the weight holds the channels of one group of outputs only
        out = p.atlas.fresh(per_group * groups)
        p.bind(weight, 0, p.channels_at(x, p.ndim(x) - spatial - 1), "meets a tensor of fixed size")
        _contract(p, x, None, out, groups, spatial)
    _finish_layer(p, op, bias, out, p.ndim(op.output) - spatial - 1)


def _contract(p: "Propagation", x, into: tuple[Param, int] | None, out, groups: int, spatial: int) -> None:
    """Join the channels of `x` to the dimension of the weight that reads them."""
    atoms = p.channels_at(x, p.ndim(x) - spatial - 1)
    if groups == 1 and into is not None:
        p.bind(into[0], into[1], atoms, p.why_fixed(x))
    elif atoms is None:
        p.atlas.pin(out, p.why_fixed(x))
    else:  # the channels of one group of the convolution go together
        a, o = atoms.reshape(groups, -1), out.reshape(groups, -1)
        p.atlas.join(a[:, :1], a)
        p.atlas.join(o[:, :1], o)
        p.atlas.join(a[:, 0], o[:, 0])


def _finish_layer(p: "Propagation", op: Op, bias, out, dim: int) -> None:
    if isinstance(bias, Param):
        p.bind(bias, 0, out, "")
    elif bias is not None:
        p.freeze_tensor(bias, "a computed bias")
        p.atlas.pin(out, "its bias is computed")
    p.set(op.output, Channels((dim,), out) if len(out) > 1 else None)


@rule("linear")
def linear(p: "Propagation", op: Op) -> None:
    x, weight, bias = op.args[0], argument(op, 1, "weight"), argument(op, 2, "bias")
    if not isinstance(weight, Param):
        return p.freeze(op, "its weight is computed")
    last = p.ndim(x) - 1
    out = p.atlas.axis(weight.name, 0, p.shape(weight)[0])
    atoms = p.channels_at(x, last)
    p.bind(weight, 1, atoms, p.why_fixed(x))
    _finish_layer(p, op, bias, out, last)


@rule("batch_norm", "instance_norm")
def batch_norm(p: "Propagation", op: Op) -> None:
    x = op.args[0]
    atoms = p.channels_at(x, 1)
    for position, name in ((1, "running_mean"), (2, "running_var"), (3, "weight"), (4, "bias")):
        tensor = argument(op, position, name)
        if isinstance(tensor, Param):
            p.bind(tensor, 0, atoms, p.why_fixed(x))
        elif tensor is not None and atoms is not None:
            p.atlas.pin(atoms, f"{op.module or 'the network'} normalises with computed parameters")
    p.set(op.output, None if atoms is None else Channels((1,), atoms))


@rule("prelu")
def prelu(p: "Propagation", op: Op) -> None:
    x, weight = op.args[0], argument(op, 1, "weight")
    atoms = p.channels_at(x, 1)
    if isinstance(weight, Param) and p.shape(weight)[0] > 1:
        p.bind(weight, 0, atoms, p.why_fixed(x))
    elif not isinstance(weight, Param) and atoms is not None and p.shape(weight) not in ((), (1,)):
        p.atlas.pin(atoms, f"{op.module or 'the network'} has computed slopes")
    p.set(op.output, None if atoms is None else Channels((1,), atoms))


@rule("layer_norm")
def layer_norm(p: "Propagation", op: Op) -> None:
    x, shape = op.args[0], argument(op, 1, "normalized_shape")
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    channels = p.settled(x)
    first = p.ndim(x) - len(shape)
    inside = channels if channels is not None and channels.dims[0] >= first else None
    for position, name in ((2, "weight"), (3, "bias")):
        tensor = argument(op, position, name)
        if isinstance(tensor, Param):
            if inside is not None:
                p.bind(tensor, inside.dims[0] - first, inside.atoms, "")
            else:
                p.freeze_tensor(tensor, p.why_fixed(x))
    if inside is not None and not isinstance(argument(op, 2, "weight"), Param):
        p.atlas.pin(inside.atoms, "layer_norm without parameters")
    p.set(op.output, channels)


@rule("group_norm")
def group_norm(p: "Propagation", op: Op) -> None:
    x, groups = op.args[0], argument(op, 1, "num_groups")
    atoms = p.channels_at(x, 1)
    if atoms is not None and groups < len(atoms):  # equally many channels stay in every group
        per_group = atoms.reshape(groups, -1)
        p.atlas.join(per_group[:1], per_group)
    if atoms is not None and not isinstance(argument(op, 2, "weight"), Param):
        p.atlas.pin(atoms, "group_norm without parameters")
    for position, name in ((2, "weight"), (3, "bias")):
        tensor = argument(op, position, name)
        if isinstance(tensor, Param):
            p.bind(tensor, 0, atoms, p.why_fixed(x))
    p.set(op.output, None if atoms is None else Channels((1,), atoms))


@rule(
    "add", "sub", "mul", "div", "truediv", "true_divide", "multiply", "divide", "subtract", "maximum", "minimum",
    "fmax", "fmin", "where", "addcmul", "addcdiv", "lerp", "pow", "float_power", "rsub", "mod", "remainder", "masked_fill",
    "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "bitwise_and", "bitwise_or", "atan2", "expand_as",
    "relu", "relu6", "sigmoid", "logsigmoid", "silu", "gelu", "mish", "elu", "selu", "celu", "hardswish", "hardsigmoid",
    "hardtanh", "leaky_relu", "rrelu", "softplus", "softsign", "tanhshrink", "hardshrink", "softshrink", "threshold",
    "tanh", "abs", "neg", "exp", "expm1", "log", "log1p", "log2", "sqrt", "rsqrt", "square", "reciprocal", "sin", "cos",
    "erf", "clamp", "clamp_min", "clamp_max", "clip", "sign", "floor", "ceil", "round", "trunc", "nan_to_num",
    "dropout", "alpha_dropout", "detach", "float", "half", "double", "bfloat16", "to", "type", "type_as",
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "bernoulli", "requires_grad",
)  # fmt: skip
def elementwise(p: "Propagation", op: Op) -> None:
    # of the second tensor of these only the type counts
    tensors = op.tensors[:1] if short_name(op.name) in ("to", "type_as") else op.tensors
    ndim = p.ndim(op.output)
    found = [(t, c) for t in tensors if (c := p.settled(t)) is not None]
    dims = {c.dims[0] + ndim - p.ndim(t) for t, c in found}
    if not found:
        for tensor in tensors:
            p.freeze_tensor(tensor, "meets a tensor of fixed size")
        return p.set(op.output, None, "a function of tensors of fixed size")
    if len(dims) > 1:
        return p.freeze(op, "channels meet across dimensions")
    dim, atoms = dims.pop(), found[0][1].atoms
    for _, channels in found[1:]:
        p.atlas.join(atoms, channels.atoms)
    for tensor in tensors:
        own = dim - ndim + p.ndim(tensor)
        if p.settled(tensor) is None and own >= 0 and p.shape(tensor)[own] > 1:
            if isinstance(tensor, Param):
                p.bind(tensor, own, atoms, "")
            elif p.is_constant(tensor):
                p.set(tensor, Channels((own,), atoms))
            else:
                p.atlas.pin(atoms, p.why_fixed(tensor))
    p.set(op.output, Channels((dim,), atoms))


@rule(
    *(f"{kind}_pool{n}d" for n in (1, 2, 3) for kind in ("max", "avg", "adaptive_avg", "adaptive_max", "lp")),
    *(f"{kind}_pool{n}d_with_indices" for n in (1, 2, 3) for kind in ("max", "adaptive_max")),
    "interpolate", "upsample", "upsample_nearest", "upsample_bilinear",
    "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
)  # fmt: skip
def spatial(p: "Propagation", op: Op) -> None:
    x = op.args[0]
    digits = [int(c) for c in short_name(op.name) if c.isdigit()]
    channels = p.settled(x)
    first_spatial = p.ndim(x) - (digits[0] if digits else p.ndim(x) - 2)
    if channels is not None and channels.dims[0] >= first_spatial:
        return p.freeze(op, "channels in a spatial dimension")
    p.set(op.output, channels)


@rule("mean", "sum", "amax", "amin", "max", "min", "std", "var", "norm", "logsumexp", "prod", "median", "any", "all")
def reduction(p: "Propagation", op: Op) -> None:
    if short_name(op.name) in ("max", "min") and len(op.tensors) == 2:
        return elementwise(p, op)
    x = op.args[0]
    at = 2 if short_name(op.name) == "norm" else 1
    after = 2 if short_name(op.name) in ("std", "var") else 1  # these have `unbiased` between
    dims, keep = argument(op, at, "dim"), argument(op, at + after, "keepdim", False)
    channels = p.settled(x)
    if channels is None:
        p.freeze_tensor(x, "statistics of it are computed")
        return p.set(op.output, None, p.why_fixed(x))
    if dims is None or (isinstance(dims, (tuple, list)) and not dims):
        return p.freeze(op, "over all channels")
    reduced = {d % p.ndim(x) for d in ([dims] if isinstance(dims, int) else dims)}
    dim = channels.dims[0]
    if dim in reduced:
        return p.freeze(op, "over channels")
    shift = 0 if keep else sum(d < dim for d in reduced)
    p.set(op.output, Channels((dim - shift,), channels.atoms))


@rule("softmax", "log_softmax", "softmin", "normalize", "cumsum", "gumbel_softmax")
def along_dimension(p: "Propagation", op: Op) -> None:
    x = op.args[0]
    channels = p.settled(x)
    dim = argument(op, 2, "dim", 1) if short_name(op.name) == "normalize" else argument(op, 1, "dim")
    if channels is not None and (dim is None or dim % p.ndim(x) == channels.dims[0]):
        p.atlas.pin(channels.atoms, f"{short_name(op.name)} over channels")
    p.set(op.output, channels)


@rule("cat", "concat", "concatenate")
def concatenation(p: "Propagation", op: Op) -> None:
    tensors = list(op.args[0] if op.args else op.kwargs["tensors"])
    dim = argument(op, 1, "dim", 0) % p.ndim(op.output)
    tensors = [t for t in tensors if p.shape(t) != (0,)]
    found = [p.settled(t) for t in tensors]
    if all(c is None for c in found):
        return p.set(op.output, None, p.why_fixed(tensors[0]))
    dims = {c.dims[0] for c in found if c is not None}
    if len(dims) > 1:
        return p.freeze(op, "channels in different dimensions")
    if dims == {dim}:
        parts = [p.fixed_atoms(t, dim) if c is None else c.atoms for t, c in zip(tensors, found, strict=True)]
        return p.set(op.output, Channels((dim,), np.concatenate(parts)))
    _join_all(p, op, tensors, dims.pop(), 0)


@rule("stack")
def stacking(p: "Propagation", op: Op) -> None:
    tensors = list(op.args[0] if op.args else op.kwargs["tensors"])
    dim = argument(op, 1, "dim", 0) % p.ndim(op.output)
    dims = {c.dims[0] for t in tensors if (c := p.settled(t)) is not None}
    if not dims:
        return p.set(op.output, None, p.why_fixed(tensors[0]))
    if len(dims) > 1:
        return p.freeze(op, "channels in different dimensions")
    own = dims.pop()
    _join_all(p, op, tensors, own, int(own >= dim))


def _join_all(p: "Propagation", op: Op, tensors: list, dim: int, shift: int) -> None:
    found = [p.settled(t) for t in tensors]
    atoms = next(c.atoms for c in found if c is not None)
    for tensor, channels in zip(tensors, found, strict=True):
        if channels is not None:
            p.atlas.join(atoms, channels.atoms)
        else:
            p.freeze_tensor(tensor, "meets a tensor of fixed size")
            p.atlas.pin(atoms, p.why_fixed(tensor))
    p.set(op.output, Channels((dim + shift,), atoms))


@rule("zeros", "ones", "full", "new_zeros", "new_ones", "new_full")
def constants(p: "Propagation", op: Op) -> None:
    """Constants take any size: their channels are those of what they meet."""
    p.set(op.output, None)
    p.constants.add(op.output.value)


@rule("new_empty")
def uninitialised(p: "Propagation", op: Op) -> None:
    """Of the tensor that it is asked of, only type and device count."""
    p.set(op.output, None)


@rule("pad")
def padding(p: "Propagation", op: Op) -> None:
    x, pads = op.args[0], list(argument(op, 1, "pad"))
    channels = p.settled(x)
    if channels is None:
        return p.set(op.output, None, p.why_fixed(x))
    at = 2 * (p.ndim(x) - 1 - channels.dims[0])
    left, right = (pads[at], pads[at + 1]) if at < len(pads) else (0, 0)
    if (left or right) and (argument(op, 2, "mode", "constant") != "constant" or min(left, right) < 0):
        return p.freeze(op, "pads channels with other channels")
    atoms = np.concatenate([p.atlas.fresh(left), channels.atoms, p.atlas.fresh(right)])
    p.set(op.output, Channels(channels.dims, atoms))


@rule(
    "view", "reshape", "flatten", "unflatten", "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis",
    "squeeze", "unsqueeze", "__getitem__", "getitem", "chunk", "split", "split_with_sizes", "tensor_split", "unbind",
    "narrow", "select", "flip", "roll", "expand", "repeat", "repeat_interleave", "tile", "t", "T", "mT", "view_as",
    "reshape_as", "contiguous", "clone", "channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "ravel", "unsafe_chunk",
)  # fmt: skip
def movement(p: "Propagation", op: Op) -> None:
    p.move(op)

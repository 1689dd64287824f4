"""Networks made ready for fast inference: BatchNorm folded, and what follows a convolution computed inside it.

On a processor with oneDNN, a convolution, the addition of a residual branch and the activation become one call, so
that features are written once instead of three to five times. The operators are those that PyTorch's own compiler
emits (torch/_inductor/fx_passes/mkldnn_fusion.py); calling them directly spares the compilation of every candidate.
"""

import copy
import operator
import warnings
from collections import Counter
from typing import Any, NamedTuple, TypeGuard, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hamp.memory_format import channels_last
from hamp.outputs import alike
from hamp.training.tasks import full_precision

T = TypeVar("T", bound=nn.Module)


class Activation(NamedTuple):
    """An activation, as oneDNN's operators name it."""

    name: str
    scalars: tuple[float, ...] = ()


NONE = Activation("none")
RELU = Activation("relu")
MODULES: dict[type[nn.Module], Activation] = {
    nn.ReLU: RELU,
    nn.ReLU6: Activation("hardtanh", (0.0, 6.0)),
    nn.Hardswish: Activation("hardswish"),
    nn.SiLU: Activation("swish"),
}
FUNCTIONS: dict[Any, Activation] = {F.relu: RELU, torch.relu: RELU, "relu": RELU, "relu_": RELU}
ADDITIONS = {operator.add, operator.iadd, torch.add}


def lower(model: nn.Module, example: Tensor, *dtypes: torch.dtype) -> list[nn.Module]:
    """Networks that compute in inference what `model` does, faster; a line is printed where that cannot be.

    Args:
        model: in evaluation mode, on the device of `example`; it is left as it is.
        example: normalised images, float32 (1, channels, height, width).
        dtypes: of weights and features, one for each network. All take float32 and give float32.
    """
    try:
        with torch.no_grad():
            traced = _traced(model)
            _Shapes(traced).run(example)
            _fold_batch_norms(traced)
            if example.device.type == "cpu" and torch.backends.mkldnn.is_available():
                _fuse_convolutions(traced)
            traced.delete_all_unused_submodules()
            traced.recompile()
            if not alike(traced(example), model(example.clone())):  # some code does more than a trace shows
                raise ValueError("as traced it gives other outputs")
            lowered: list[nn.Module] = []
            for dtype in dtypes:  # copies, since what was not folded or fused is still the model's
                lowered.append(Typed(channels_last(copy.deepcopy(traced)).to(dtype), dtype))
                lowered[-1](example)
    except Exception as error:  # whatever the user's network does that cannot be traced
        reason = (str(error) or type(error).__name__).splitlines()[0]
        warnings.warn(f"the network is evaluated as it is, more slowly: it cannot be traced: {reason}", stacklevel=2)
        return [Mixed(model, dtype) for dtype in dtypes]
    return lowered


class Typed(nn.Module):
    """A network whose weights are of `dtype`; float32 in and out."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, x: Tensor) -> Any:
        """The outputs of the network."""
        return full_precision(self.network(x.to(self.dtype)))


class Mixed(nn.Module):
    """A network as it is, in mixed precision if `dtype` is not float32; float32 in and out."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, x: Tensor) -> Any:
        """The outputs of the network."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            return full_precision(self.network(x))


class FusedConvolution(nn.Module):
    """Activation of (a convolution, plus another tensor if one is given), in one call of oneDNN."""

    def __init__(self, convolution: nn.Conv2d, activation: Activation) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        self.geometry = (
            list(map(int, convolution.padding)),
            list(convolution.stride),
            list(convolution.dilation),
            convolution.groups,
        )
        self.activation = activation

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """Features (n, channels, height, width)."""
        name, scalars = self.activation
        if other is None:
            return torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, *self.geometry, name, list(scalars), ""
            )
        unary = None if self.activation == NONE else name
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, other, self.weight, self.bias, *self.geometry, "add", None, unary, list(scalars), ""
        )


class _Shapes(fx.Interpreter):
    """Notes the shape of what each step gives; PyTorch's own `ShapeProp` imports symbolic algebra for it."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        n.meta["shape"] = result.shape if isinstance(result, Tensor) else None
        return result


class _Tracer(fx.Tracer):
    """Follows a network into its modules; one that it cannot follow becomes a single step."""

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        depth = len(self.module_stack)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:  # as in `lower`
            while len(self.module_stack) > depth:
                self.module_stack.popitem()
            return self.create_proxy("call_module", self.path_of_module(m), args, kwargs)


def _traced(model: nn.Module) -> fx.GraphModule:
    tracer = _Tracer()
    graph = tracer.trace(model)
    traced = fx.GraphModule(model, graph)
    traced.graph.eliminate_dead_code()  # what was recorded of a module before it could not be followed any more
    return traced


def _fold_batch_norms(traced: fx.GraphModule) -> None:
    """Fold every BatchNorm that follows a convolution into its weights."""
    calls = _calls(traced)
    for node in list(traced.graph.nodes):
        norm = _module(traced, node)
        before = node.args[0] if node.args else None
        if not _is_plain(norm, nn.BatchNorm2d) or not norm.track_running_stats or not isinstance(before, fx.Node):
            continue
        convolution = _module(traced, before)
        alone = calls[before.target] == calls[node.target] == 1 and len(before.users) == 1
        if _is_plain(convolution, nn.Conv2d) and alone:
            traced.add_submodule(str(before.target), fuse_conv_bn_eval(convolution, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)


def _fuse_convolutions(traced: fx.GraphModule) -> None:
    """Replace every convolution, with the addition and the activation that follow it alone, by one call."""
    calls = _calls(traced)
    for node in list(traced.graph.nodes):
        convolution = _module(traced, node)
        if not _is_plain(convolution, nn.Conv2d) or calls[node.target] > 1:
            continue
        if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
            continue
        chain, other, activation = [node], None, NONE
        follower = _only_user(node)
        if follower is not None and (other := _other_addend(follower, node)) is not None:
            chain.append(follower)
            follower = _only_user(follower)
        if follower is not None and (found := _activation(traced, follower)) is not None:
            chain.append(follower)
            activation = found
        traced.add_submodule(str(node.target), FusedConvolution(convolution, activation))
        with traced.graph.inserting_after(chain[-1]):
            inputs = (node.args[0],) if other is None else (node.args[0], other)
            fused = traced.graph.call_module(str(node.target), inputs)
        fused.meta = chain[-1].meta
        chain[-1].replace_all_uses_with(fused)
        for replaced in reversed(chain):
            traced.graph.erase_node(replaced)


def _is_plain(module: nn.Module | None, kind: type[T]) -> TypeGuard[T]:
    """Whether a module does what its class of torch does, and nothing more."""
    return type(module) is kind and not (module._forward_hooks or module._forward_pre_hooks)


def _calls(traced: fx.GraphModule) -> Counter:
    return Counter(node.target for node in traced.graph.nodes if node.op == "call_module")


def _module(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _other_addend(node: fx.Node, one: fx.Node) -> fx.Node | None:
    """What `node` adds to `one`, if it is the sum of two different tensors of one shape."""
    if node.op != "call_function" or node.target not in ADDITIONS or node.kwargs or len(node.args) != 2:
        return None
    first, second = node.args
    if first is second or not isinstance(first, fx.Node) or not isinstance(second, fx.Node):
        return None
    shapes = [addend.meta.get("shape") for addend in (first, second)]
    if shapes[0] is None or shapes[0] != shapes[1]:
        return None
    return second if first is one else first


def _activation(traced: fx.GraphModule, node: fx.Node) -> Activation | None:
    module = _module(traced, node)
    if module is not None:
        return MODULES.get(type(module))
    return FUNCTIONS.get(node.target) if node.op in ("call_function", "call_method") else None

"""PyTorch, on the CPU or on CUDA.

A network is timed as one would deploy it in PyTorch without a compiler: BatchNorm folded into the
convolution before it, channels-last memory, `torch.inference_mode`, fixed threads. On CUDA, events on the
stream time it, and `cuda_graphs` replays it as one graph.
"""

import ctypes
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hamp.configuration.blocks import Device
from hamp.errors import UserError
from hamp.hardware import timing

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hamp.hardware.layers import Layer

play = timing.play


def check(settings: Device) -> None:
    """Raise `UserError` where the hardware cannot do what is asked."""
    if settings.provider is not None:
        raise UserError(
            f"device.provider: '{settings.provider}' is for ONNX Runtime (device.runtime 'onnxruntime' or 'remote'); "
            "leave it out: device.hardware says where PyTorch works"
        )
    if settings.hardware == "cpu" and settings.data_type == "float16":
        raise UserError("device.data_type: 'float16' is for CUDA; on the CPU choose 'float32' or 'bfloat16'")
    if settings.hardware == "cpu" and settings.cuda_graphs:
        raise UserError("device.cuda_graphs: true is for device.hardware 'cuda', but it is 'cpu'; leave it false")


def available(settings: Device) -> None:
    """Raise `UserError` where the hardware is absent; imports no torch."""
    if settings.hardware == "cuda":
        require_cuda("device.hardware")


def require_cuda(key: str) -> None:
    """Raise `UserError`, naming `key`, where the CUDA driver or a GPU is absent."""
    if lack := cuda_lack():
        raise UserError(f"{key} is 'cuda', but {lack}; choose 'cpu'")


def cuda_lack() -> str | None:
    """What is missing here for CUDA, in words."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no CUDA driver (libcuda.so.1) here"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the CUDA driver finds no GPU here (see nvidia-smi)"
    return None


def fingerprint(settings: Device) -> dict[str, str]:
    """Processor or GPU model, versions, threads; clock and temperature where readable."""
    from hamp.hardware.fingerprint import versions
    from hamp.hardware.machine import processor

    facts = {**processor(), **versions("torch")}
    if settings.hardware == "cpu":
        return {**facts, "threads": str(settings.threads)}
    from hamp.hardware import nvidia

    return {**facts, **nvidia.facts(), "cuda graphs": str(settings.cuda_graphs)}


def prepare(model: "nn.Module", shape: tuple[int, int, int], settings: Device) -> timing.Run:
    """One inference of `model` on a batch of random images of `shape` (channels, height, width).

    The model is copied, not changed. Threads are a setting of the whole process.
    """
    import torch

    images = torch.rand(settings.batch_size, *shape)
    return _runner(fold_batchnorm(model, images[:1]), images, settings)


def prepare_layer(layer: "Layer", settings: Device) -> timing.Run:
    """One pass of a single layer, as `prepare` would run it inside a network."""
    import torch

    return _runner(module(layer), torch.rand(settings.batch_size * layer.family.times, *layer.shape), settings)


def module(layer: "Layer") -> "nn.Module":
    """The layer as a module with random weights."""
    from torch import nn

    from hamp.hardware.layers import output_padding

    family = layer.family
    if family.kind == "elementwise":
        return nn.ReLU()
    if family.kind == "linear":
        return nn.Linear(layer.in_channels, layer.out_channels)
    transposed = family.kind == "conv_transpose"
    kind = getattr(nn, f"Conv{'Transpose' if transposed else ''}{len(family.kernel)}d")
    extra = {"output_padding": output_padding(family)} if transposed else {}
    return kind(
        layer.in_channels,
        layer.out_channels,
        family.kernel,
        stride=family.stride,
        padding=family.padding,
        dilation=family.dilation,
        groups=layer.groups,
        **extra,
    )


def fold_batchnorm(model: "nn.Module", example: "torch.Tensor") -> "nn.Module":
    """Copy of a model in eval mode, each BatchNorm folded into the convolution whose output it takes.

    Which ones these are is seen by running `example`. Modules that run more than once are left alone, as are grouped
    transposed convolutions and BatchNorms without statistics; where folding changes the output (a convolution's output
    is used elsewhere too), the copy is not folded at all.
    """
    from copy import deepcopy

    import torch
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    from hamp.outputs import alike

    copied = deepcopy(model).eval()
    names = {module: name for name, module in copied.named_modules()}
    made: dict[int, tuple[nn.Module, torch.Tensor]] = {}
    pairs: list[tuple[Any, Any]] = []
    calls: Counter[nn.Module] = Counter()

    def after(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        calls[module] += 1
        if isinstance(module, nn.modules.conv._ConvNd):
            made[id(output)] = module, output  # the tensor is kept so that its id stays its own
        elif inputs and id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    watched = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm)
    hooks = [module.register_forward_hook(after) for module in names if isinstance(module, watched)]
    with torch.inference_mode():
        expected = copied(example)
    for hook in hooks:
        hook.remove()
    for conv, norm in pairs:
        transposed = isinstance(conv, nn.modules.conv._ConvTransposeNd)
        folds = norm.running_mean is not None and not (transposed and conv.groups > 1)  # as PyTorch's function can
        if folds and calls[conv] == calls[norm] == 1:
            _replace(copied, names[conv], fuse_conv_bn_eval(conv, norm, transposed))
            _replace(copied, names[norm], nn.Identity())
    with torch.inference_mode():
        same = alike(copied(example), expected)
    return copied if same else deepcopy(model).eval()


def _replace(model: "nn.Module", name: str, module: "nn.Module") -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, module)


def _runner(model: "nn.Module", images: "torch.Tensor", settings: Device) -> timing.Run:
    import torch

    from hamp.memory_format import channels_last

    if settings.hardware == "cuda" and not torch.cuda.is_available():  # the job's node has none, or PyTorch is without
        raise UserError("device.hardware: 'cuda', but there is no GPU here that PyTorch can use; see `hamp doctor`")
    kind: torch.dtype = getattr(torch, settings.data_type)
    layout: dict[str, Any] = {"memory_format": torch.channels_last} if images.dim() == 4 else {}
    model = channels_last(model.eval().requires_grad_(False).to(settings.hardware, kind))
    images = images.to(settings.hardware, kind).contiguous(**layout)
    if settings.hardware == "cuda":
        return _on_cuda(model, images, settings.cuda_graphs)
    torch.set_num_threads(settings.threads)

    def run() -> None:
        with torch.inference_mode():
            model(images)

    return run


def _on_cuda(model: "nn.Module", images: "torch.Tensor", graphs: bool) -> Callable[[], float]:
    import torch

    def forward() -> None:
        with torch.inference_mode():
            model(images)

    replay: Callable[[], None] = forward
    if graphs:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                forward()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            forward()
        replay = graph.replay
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def run() -> float:
        start.record()
        replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    return run

"""ONNX Runtime in this process, with an execution provider for the CPU, CUDA or TensorRT."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from hamp.configuration.blocks import Device
from hamp.errors import UserError, one_line
from hamp.hardware import timing

if TYPE_CHECKING:
    from torch import nn

    from hamp.hardware.layers import Layer

play = timing.play


def available(settings: Device) -> None:
    """Raise `UserError` where the execution provider is absent."""
    if find_spec("onnxruntime") is None:
        raise UserError(
            "device.runtime: 'onnxruntime' needs the package onnxruntime, which is not installed; install it"
        )
    import onnxruntime

    from hamp.hardware.sessions import PROVIDERS

    name, here = PROVIDERS[provider(settings)], onnxruntime.get_available_providers()
    if name not in here:
        raise UserError(
            f"device.provider: '{provider(settings)}': ONNX Runtime here has {', '.join(here)}; "
            "install onnxruntime-gpu, or choose 'cpu'"
        )


def check(settings: Device) -> None:
    """Raise `UserError` where the execution provider cannot do what is asked."""
    half = settings.data_type == "float16" and provider(settings) == "tensorrt"
    if settings.data_type != "float32" and not half:
        raise UserError(
            f"device.data_type: '{settings.data_type}': ONNX Runtime computes in 'float32', "
            "and in 'float16' with device.provider 'tensorrt'"
        )
    if settings.cuda_graphs:
        raise UserError("device.cuda_graphs: true is for device.runtime 'pytorch' on 'cuda'; leave it false")


def provider(settings: Device) -> str:
    """The execution provider: as set, or that of the hardware."""
    return settings.provider or settings.hardware


def fingerprint(settings: Device) -> dict[str, str]:
    """Processor or GPU model, versions, provider, threads; clock and temperature where readable."""
    from hamp.hardware.fingerprint import versions
    from hamp.hardware.machine import processor
    from hamp.hardware.nvidia import facts

    name = provider(settings)
    told = {**processor(), **versions("onnxruntime"), "provider": name}
    return {**told, **facts()} if name != "cpu" else {**told, "threads": str(settings.threads)}


def prepare(model: "nn.Module", shape: tuple[int, int, int], settings: Device) -> timing.Run:
    """One inference of `model` on a batch of random images of `shape` (channels, height, width)."""
    from hamp.hardware import onnx_files

    return prepare_file(onnx_files.network(model, shape, settings.batch_size), settings)


def prepare_layer(layer: "Layer", settings: Device) -> timing.Run:
    """One pass of a single layer."""
    from hamp.hardware import onnx_files

    return prepare_file(onnx_files.layer(layer, settings.batch_size), settings)


def prepare_file(content: bytes, settings: Device) -> timing.Run:
    """One inference of an ONNX file whose input has a fixed size.

    Raises:
        UserError: the execution provider is there, but cannot be started, or does not run the file.
    """
    from hamp.hardware.sessions import runner

    try:
        run = runner(content, provider(settings), settings.threads, settings.data_type == "float16")
        run()  # what is wrong with a file may show only now
    except Exception as error:  # ONNX Runtime's own have no common base
        raise UserError(f"device.provider '{provider(settings)}': {one_line(error)}") from error
    return run

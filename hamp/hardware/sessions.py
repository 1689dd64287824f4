"""Inference with ONNX Runtime. NumPy and ONNX Runtime only: a remote device runs this file too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Callable

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


def require(provider: str) -> str:
    """Name of the execution provider in ONNX Runtime.

    Raises:
        RuntimeError: ONNX Runtime here does not have it.
    """
    name, here = PROVIDERS[provider], onnxruntime.get_available_providers()
    if name not in here:
        raise RuntimeError(f"ONNX Runtime has no {name}, only {', '.join(here)}; install onnxruntime-gpu")
    return name


def runner(model: bytes, provider: str, threads: int, half: bool = False) -> Callable[[], None]:
    """One inference of an ONNX file on random images, input and output staying where the provider computes.

    Raises:
        RuntimeError: the provider does not run here, or the input is not float32.
    """
    name = require(provider)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    arguments: dict[str, Any] = {"trt_fp16_enable": half} if provider == "tensorrt" else {}
    session = onnxruntime.InferenceSession(model, options, providers=[(name, arguments)])
    if name not in session.get_providers():
        raise RuntimeError(f"ONNX Runtime could not start {name}; it fell back to {session.get_providers()[0]}")
    place = "cpu" if provider == "cpu" else "cuda"
    source = session.get_inputs()[0]
    if source.type != "tensor(float)":
        raise RuntimeError(f"its input '{source.name}' is {source.type}; images are given as tensor(float)")
    images = np.random.default_rng(0).random(source.shape, dtype=np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input(source.name, onnxruntime.OrtValue.ortvalue_from_numpy(images, place, 0))
    for output in session.get_outputs():
        binding.bind_output(output.name, place, 0)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run

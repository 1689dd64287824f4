"""Where networks are trained and evaluated."""

import ctypes
import gc
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.utils.deterministic
from torch import nn

from hamp.data.ahead import ahead
from hamp.errors import UserError
from hamp.memory_format import channels_last

T = TypeVar("T")

# Of glibc's mallopt (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
GIGABYTE = 2**30


def use(threads: int) -> None:
    """Let this process compute in so many threads, and keep the memory that it frees.

    glibc gives features of some megabytes back to the system at once, and the system clears them when the next layer
    asks for them: without that, evaluation in float32 is a sixth faster.
    """
    torch.set_num_threads(threads)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, GIGABYTE)


def processor(hardware: str) -> torch.device:
    """The torch device of `cpu` or `cuda`.

    Raises:
        UserError: `cuda`, but there is none.
    """
    if hardware == "cuda" and not torch.cuda.is_available():
        raise UserError("hardware: 'cuda', but this machine has no CUDA device that PyTorch can use; set it to cpu")
    return torch.device(hardware)


def data_type(precision: str, device: torch.device) -> torch.dtype:
    """The type to compute in.

    A processor without instructions for bfloat16 takes ten times as long in it as in float32, and a line says so.

    Args:
        precision: `float32`, `bfloat16`, or `auto`: bfloat16 where the device has instructions for it, else float32.
        device: to compute on.
    """
    if precision == "float32":
        return torch.float32
    if not _has_bfloat16(device):
        if precision == "auto":
            return torch.float32
        warnings.warn(
            "precision: 'bfloat16', but this processor has no instructions for it and takes ten times as long as in "
            "float32; set it to auto or float32",
            stacklevel=2,
        )
    return torch.bfloat16


def mixed(precision: str, device: torch.device) -> torch.autocast:
    """Within it, `device` computes in mixed precision, unless `precision` comes to float32 there (`data_type`)."""
    return torch.autocast(device.type, torch.bfloat16, enabled=data_type(precision, device) is torch.bfloat16)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    instructions = torch.cpu.get_capabilities()
    named = ("avx512_bf16", "amx_bf16", "bf16")  # the last is Arm's
    return torch.backends.mkldnn.is_available() and any(instructions.get(name, False) for name in named)


def overlapped(batches: Iterable[T], device: torch.device) -> Iterable[T]:
    """The batches; for a GPU each is read and augmented while it computes with the one before."""
    return ahead(batches) if device.type == "cuda" else batches


def place(model: nn.Module, device: torch.device) -> nn.Module:
    """Move the model to the device, with the channels last, which convolutions prefer."""
    return channels_last(model.to(device))


@contextmanager
def released() -> Iterator[Callable[[], object]]:
    """Within it, what is given frees networks that nobody uses any more, at once.

    Networks that were traced refer to themselves, and Python would look for them so rarely that some of them are in
    memory at a time. What was there before is not looked at, which would take a fifth of a second each time.
    """
    gc.freeze()
    try:
        yield gc.collect
    finally:
        gc.unfreeze()


@contextmanager
def deterministic(seed: int, device: torch.device) -> Iterator[None]:
    """Within it, equal seeds give equal numbers (for an equal number of threads); then all is as it was."""
    # This way because `use_deterministic_algorithms` imports PyTorch's compiler to tell it too, which takes a second.
    mode, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    memory: Any = torch.utils.deterministic  # whose attribute is made at run time
    filled = memory.fill_uninitialized_memory
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        torch.set_deterministic_debug_mode("warn")  # of the few operators that have no such form
        # what nobody reads need not be equal, and writing it is a fifteenth of a training step
        memory.fill_uninitialized_memory = False
        torch.backends.cudnn.benchmark = False
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(mode)
            memory.fill_uninitialized_memory = filled
            torch.backends.cudnn.benchmark = benchmark

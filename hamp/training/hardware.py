"""Where networks are trained and evaluated."""

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.utils.deterministic
from torch import nn

from hamp.data.ahead import ahead
from hamp.errors import UserError

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


def overlapped(batches: Iterable[T], device: torch.device) -> Iterable[T]:
    """The batches; for a GPU each is read and augmented while it computes with the one before."""
    return ahead(batches) if device.type == "cuda" else batches


def place(model: nn.Module, device: torch.device) -> nn.Module:
    """Move the model to the device, with the channels last, which convolutions prefer."""
    return model.to(device).to(memory_format=torch.channels_last)


@contextmanager
def deterministic(seed: int, device: torch.device) -> Iterator[None]:
    """Within it, equal seeds give equal numbers (for an equal number of threads); then all is as it was."""
    # This way because `use_deterministic_algorithms` imports PyTorch's compiler to tell it too, which takes a second.
    mode, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    memory: Any = torch.utils.deterministic  # whose attribute is made at run time
    filled = memory.fill_uninitialized_memory
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        torch.set_deterministic_debug_mode("warn" if device.type == "cuda" else "error")
        # what nobody reads need not be equal, and writing it is a fifteenth of a training step
        memory.fill_uninitialized_memory = False
        torch.backends.cudnn.benchmark = False
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(mode)
            memory.fill_uninitialized_memory = filled
            torch.backends.cudnn.benchmark = benchmark

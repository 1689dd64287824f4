"""Where networks are trained and evaluated."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from hamp.errors import UserError


def processor(hardware: str) -> torch.device:
    """The torch device of `cpu` or `cuda`.

    Raises:
        UserError: `cuda`, but there is none.
    """
    if hardware == "cuda" and not torch.cuda.is_available():
        raise UserError("hardware: 'cuda', but this machine has no CUDA device that PyTorch can use; set it to cpu")
    return torch.device(hardware)


def place(model: nn.Module, device: torch.device) -> nn.Module:
    """Move the model to the device, with the channels last, which convolutions prefer."""
    return model.to(device).to(memory_format=torch.channels_last)


@contextmanager
def deterministic(seed: int, device: torch.device) -> Iterator[None]:
    """Within it, equal seeds give equal numbers (for an equal number of threads); then all is as it was."""
    enabled, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
        torch.backends.cudnn.benchmark = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(enabled)
            torch.backends.cudnn.benchmark = benchmark

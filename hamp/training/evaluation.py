"""The error of a network."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hamp.data.images import ImageSet
from hamp.errors import Diverged, UserError
from hamp.training.hardware import data_type, overlapped, place, processor
from hamp.training.lowering import lower
from hamp.training.tasks import Task

PIXELS = 2**22
"""Of the images that are evaluated at a time: 256 of 128 x 128."""


def batch_of(images: ImageSet, most: int = 256, pixels: int = PIXELS) -> int:
    """How many images to take at a time: fewer of large ones, whose features would not fit into memory."""
    return max(1, min(most, pixels // (images.pixels.shape[-2] * images.pixels.shape[-1])))


def evaluate(
    model: nn.Module,
    images: ImageSet,
    task: Task,
    batch_size: int,
    *,
    precision: str = "float32",
    hardware: str = "cpu",
) -> float:
    """Mean error of the images.

    What bfloat16 may have decided is judged again in float32, where the task can tell (`Task.close`).

    Args:
        model: left on `hardware`, in evaluation mode.
        images: of the split to judge on.
        task: gives the error of a batch.
        batch_size: images at a time.
        precision: of the computation (`hardware.data_type`).
        hardware: `cpu` or `cuda`.

    Raises:
        Diverged: the error is not a number.
        UserError: the user's own task gives errors that are not in [0, 1].
    """
    device = processor(hardware)
    place(model, device).eval()
    total = torch.zeros((), dtype=torch.float64, device=device)
    with torch.inference_mode():
        example = images.normalised(images.first(1).images.to(device))
        dtype = data_type(precision, device)
        if dtype is torch.float32 or task.close is None:
            (network,) = lower(model, example, dtype)
        else:
            fast, exact = lower(model, example, dtype, torch.float32)
            network = Confirmed(fast, exact, task.close)
        for pixels, targets in overlapped(images.batches(batch_size), device):
            outputs = network(images.normalised(pixels.to(device)))
            total += task.error(outputs, targets.to(device)).double().sum()
    mean = float(total / len(images))
    if math.isnan(mean):
        raise Diverged(f"task '{task.name}': the error is not a number, as where a network's outputs are not")
    if not 0.0 <= mean <= 1.0:
        raise UserError(f"task '{task.name}': the mean error of {len(images)} images is {mean}; it must be in [0, 1]")
    return mean


class Confirmed(nn.Module):
    """A fast network, and an exact one for the images on which the fast one's word is not enough.

    Args:
        fast: gives outputs (n, classes).
        exact: gives such outputs too.
        doubtful: from outputs to the images that are given to the exact network, bool (n,).
    """

    def __init__(self, fast: nn.Module, exact: nn.Module, doubtful: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fast, self.exact, self.doubtful = fast, exact, doubtful

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, classes)."""
        outputs = self.fast(x)
        again = self.doubtful(outputs)
        if again.any():
            outputs[again] = self.exact(x[again])
        return outputs

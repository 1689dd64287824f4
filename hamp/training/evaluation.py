"""The error of a network."""

import torch
from torch import nn

from hamp.data.images import ImageSet
from hamp.training.hardware import data_type, overlapped, place, processor
from hamp.training.lowering import lower
from hamp.training.tasks import Task


def evaluate(
    model: nn.Module,
    images: ImageSet,
    task: Task,
    batch_size: int,
    *,
    limit: int | None = None,
    precision: str = "float32",
    hardware: str = "cpu",
) -> float:
    """Mean error of the (first `limit`) images.

    Args:
        model: left on `hardware`, in evaluation mode.
        images: of the split to judge on.
        task: gives the error of a batch.
        batch_size: images at a time.
        limit: at most this many images; None: all.
        precision: of the computation (`hardware.data_type`).
        hardware: `cpu` or `cuda`.
    """
    device = processor(hardware)
    place(model, device).eval()
    chosen = images.first(limit)
    total = torch.zeros((), dtype=torch.float64, device=device)
    with torch.inference_mode():
        example = images.normalised(chosen.first(1).images.to(device))
        network = lower(model, example, data_type(precision, device))
        for pixels, targets in overlapped(chosen.batches(batch_size), device):
            outputs = network(images.normalised(pixels.to(device)))
            total += task.error(outputs, targets.to(device)).double().sum()
    return float(total / len(chosen))

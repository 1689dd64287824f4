"""Stages `space` and `scores`: what may be removed, and in which order."""

import numpy as np
import torch
from torch import nn

from hamp.configuration.blocks import Pruning
from hamp.data.images import ImageSet
from hamp.pruning.discovery import discover
from hamp.pruning.importance import score
from hamp.pruning.space import Space
from hamp.seeding import seed_of
from hamp.training.hardware import processor
from hamp.training.tasks import Task

SCORING_IMAGES, SCORING_BATCH = 512, 64


def space(model: nn.Module, shape: tuple[int, int, int], settings: Pruning) -> Space:
    """The space of a network that takes images of `shape` (channels, height, width)."""
    return discover(
        model.eval(),
        torch.zeros(2, *shape),
        exclude=settings.exclude,
        minimum_fraction=settings.minimum_fraction,
        channel_multiple=settings.channel_multiple,
        keep_first=settings.keep_first,
        branch_removal=settings.branch_removal,
    )


def scores(
    model: nn.Module, space: Space, importance: str, images: ImageSet, task: Task, *, seed: int, hardware: str
) -> list[np.ndarray]:
    """Scores of the channels of every group (float64), larger is kept longer.

    Taylor scores take the gradient of the loss on some training images.
    """
    device = processor(hardware)
    batches = (
        (images.normalised(pixels.to(device)), targets.to(device))
        for pixels, targets in images.first(SCORING_IMAGES).batches(SCORING_BATCH)
    )
    return score(
        model.to(device),
        space,
        importance,
        batches=batches,
        loss=lambda outputs, targets: task.loss(outputs, targets, 0.0),
        seed=seed_of(seed, "scores"),
    )

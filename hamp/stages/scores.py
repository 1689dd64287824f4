"""Stage `scores`: in which order the channels of a group go."""

from pathlib import Path

import numpy as np
from torch import nn

from hamp.data.images import ImageSet
from hamp.pruning.importance import SCORES, score, scores_from_table
from hamp.pruning.space import Space
from hamp.seeding import seed_of
from hamp.tables import read
from hamp.training.evaluation import batch_of
from hamp.training.hardware import processor
from hamp.training.pointwise import UnstridedPointwise
from hamp.training.tasks import Task

SCORING_IMAGES, SCORING_BATCH = 512, 64


def scores(
    model: nn.Module, space: Space, importance: str, images: ImageSet, task: Task, *, seed: int, hardware: str
) -> list[np.ndarray]:
    """Scores of the channels of every group (float64), larger is kept longer.

    Taylor scores take the gradient of the loss on some training images.
    """
    device, drawn = processor(hardware if importance == "taylor" else "cpu"), seed_of(seed, "scores")
    batches = (
        (images.normalised(pixels.to(device)), targets.to(device))
        for pixels, targets in images.drawn(SCORING_IMAGES, drawn).batches(batch_of(images, SCORING_BATCH))
    )
    home = next(model.parameters()).device
    with UnstridedPointwise():
        found = score(
            model.to(device),
            space,
            importance,
            batches=batches,
            loss=lambda outputs, targets: task.loss(outputs, targets, 0.0),
            seed=drawn,
        )
    model.to(home)
    return found


def read_scores(path: Path) -> list[np.ndarray]:
    """The scores of the channels, one array (channels,) a group, that the `scores` stage wrote."""
    return scores_from_table(read(path, SCORES))

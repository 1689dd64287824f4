"""Stage `finetune`: the front's networks trained again."""

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from torch import Tensor, nn

from hamp.candidates import REFERENCE
from hamp.configuration.blocks import Augment, Finetune
from hamp.data.images import ImageSet
from hamp.errors import Diverged
from hamp.pruning.masking import masked
from hamp.pruning.slicing import kept_positions, prune
from hamp.pruning.space import Space
from hamp.seeding import seed_of
from hamp.tables import FINETUNED, build
from hamp.training.augmentation import calibration_batches
from hamp.training.evaluation import batch_of, evaluate
from hamp.training.features import last_channels
from hamp.training.hardware import place, processor
from hamp.training.loop import Row, epochs
from hamp.training.recalibration import recalibrate
from hamp.training.tasks import Task
from hamp.training.teaching import teacher

EXAMPLES = 8
RECALIBRATION, PIXELS = 2048, 2**27
"""Images on which BatchNorm is re-estimated, all in memory: at most, and at most of so many pixels together."""


def finetune(
    networks: Mapping[str, np.ndarray],
    model: nn.Module,
    space: Space,
    scores: list[np.ndarray],
    train_images: ImageSet,
    validation_images: ImageSet,
    task: Task,
    settings: Finetune,
    augment: Augment,
    *,
    seed: int,
    hardware: str,
    checkpoints: Path | None = None,
) -> tuple[dict[str, Tensor], pa.Table]:
    """Weights of the fine-tuned networks, keyed `<candidate>/<name>`, and their validation errors (FINETUNED).

    The error is that after the last epoch. The unpruned network teaches where `distillation` or `features` is positive.
    All see the same batches, whatever the shards. A member that diverges stays as it was pruned, with its BatchNorm
    re-estimated; so do all where there are no epochs.

    Args:
        networks: widths by candidate.
        model: the unpruned network.
        space: of the network.
        scores: of the channels.
        train_images: to train on.
        validation_images: to judge on.
        task: loss and error.
        settings: of the fine-tuning.
        augment: augmentation of the training images.
        seed: of the run.
        hardware: `cpu` or `cuda`.
        checkpoints: folder where networks keep what they need to go on if the job is killed, and what they ended
            in; the caller deletes it when the result is written.

    Raises:
        Diverged: the unpruned network does, so that the settings are to blame.
    """

    def pruned(name: str) -> nn.Module:
        return prune(model, space, networks[name], scores)

    @cache
    def batches() -> list[Tensor]:
        drawn, few = seed_of(seed, "recalibrate"), batch_of(train_images, RECALIBRATION, PIXELS)
        found = calibration_batches(train_images, augment, few, settings.batch_size, drawn)
        return [batch.to(processor(hardware)) for batch in found]

    def as_pruned(name: str) -> nn.Module:
        student = pruned(name)
        if name != REFERENCE:
            recalibrate(place(student, processor(hardware)), batches())
        return student

    def channels_of(name: str, example: Tensor) -> Tensor | None:
        of = model, space, networks[name], scores
        kept, silenced = kept_positions(1, *of), masked(*of)
        found = last_channels(model, place(students[name], example.device), silenced, kept, example)
        if found is None:
            print(f"{name}: fine-tuned without finetune.features: its last features match no others", file=sys.stderr)
        return found

    students = {name: pruned(name) if settings.epochs else as_pruned(name) for name in networks}
    channels: dict[str, Tensor | None] = {}
    if settings.features and settings.epochs:
        device = processor(hardware)
        place(model, device)
        example = train_images.normalised(train_images.first(EXAMPLES).images.to(device))
        channels = {name: channels_of(name, example) for name in networks}
    features = any(found is not None for found in channels.values())
    unpruned = (
        teacher(model, train_images, settings.precision, hardware, features=features)
        if settings.distillation or features
        else None
    )
    trainings = {
        name: epochs(
            student,
            train_images,
            validation_images,
            task,
            settings,
            augment,
            seed_of(seed, "finetune"),
            name=name,
            teacher=unpruned,
            distillation=settings.distillation,
            temperature=settings.temperature,
            features=settings.features,
            channels=channels.get(name),
            hardware=hardware,
            checkpoint=checkpoints / f"{name}.checkpoint" if checkpoints else None,
        )
        for name, student in students.items()
    }
    for name in _by_turns(trainings):
        students[name] = as_pruned(name)
    at_once = batch_of(validation_images)
    errors = [evaluate(student, validation_images, task, at_once, hardware=hardware) for student in students.values()]
    weights = {
        f"{name}/{key}": value.cpu()
        for name, student in students.items()
        for key, value in student.state_dict().items()
    }
    return weights, build(FINETUNED, {"candidate": list(networks), "error_validation": errors})


def _by_turns(trainings: Mapping[str, Iterator[Row]]) -> Iterator[str]:
    """Train epoch by epoch, so that the teacher looks at a batch once for all networks; names of those that diverge."""
    going = dict(trainings)
    while going:
        for name, training in list(going.items()):
            try:
                if next(training, None) is None:
                    del going[name]
            except Diverged as told:
                if name == REFERENCE:
                    raise
                print(f"{told}; it stays as it was pruned", file=sys.stderr)
                del going[name]
                yield name

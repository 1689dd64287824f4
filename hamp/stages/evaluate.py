"""Stage `evaluate`: the validation error of candidates."""

import sys
import time
from copy import deepcopy

import numpy as np
import pyarrow as pa
from torch import nn

from hamp.configuration.blocks import Augment, Evaluate, Optimisation
from hamp.data.images import ImageSet
from hamp.errors import Diverged, UserError
from hamp.pruning.slicing import kept_positions, prune
from hamp.pruning.space import Space
from hamp.seeding import seed_of
from hamp.tables import ERRORS, build, matrix
from hamp.training.augmentation import calibration_batches
from hamp.training.evaluation import evaluate as error_of
from hamp.training.hardware import place, processor, released
from hamp.training.loop import train
from hamp.training.recalibration import recalibrate
from hamp.training.refitting import observe, refit
from hamp.training.tasks import Task


def evaluate(
    candidates: pa.Table,
    model: nn.Module,
    space: Space,
    scores: list[np.ndarray],
    train_images: ImageSet,
    validation_images: ImageSet,
    task: Task,
    settings: Evaluate,
    augment: Augment,
    *,
    seed: int,
    hardware: str,
) -> pa.Table:
    """Table ERRORS: each candidate pruned, its BatchNorm re-estimated, optionally its layers fitted to those of the
    unpruned network and trained some steps, and judged.

    Every candidate is judged on the same images, after the same calibration batches: its error depends on its
    widths alone, not on the search, the generation or the shard that it came up in. One whose training diverges has
    error 1.

    Raises:
        UserError: that of the unpruned network does.
    """
    device = processor(hardware)
    batches = [
        batch.to(device)
        for batch in calibration_batches(
            train_images,
            augment,
            settings.recalibration_images,
            settings.recalibration_images if settings.refit else settings.batch_size,
            seed_of(seed, "recalibrate"),
        )
    ]
    observed = None
    if settings.refit:
        drawn = seed_of(seed, "refit")
        observed = observe(place(deepcopy(model), device), batches[0], drawn, settings.precision)
    optimisation = Optimisation(
        epochs=0,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        precision=settings.precision,
    )
    judged = validation_images.drawn(settings.images, seed_of(seed, "judged"))

    def error_after_pruning(name: str, widths: np.ndarray) -> float:
        pruned = place(prune(model, space, widths, scores), device)
        try:
            if observed is None:
                recalibrate(pruned, batches, settings.precision)
            else:
                refit(pruned, kept_positions(0, model, space, widths, scores), observed, settings.precision)
            if settings.finetune_steps:
                train(
                    pruned,
                    train_images,
                    None,
                    task,
                    optimisation,
                    augment,
                    seed_of(seed, "evaluate", candidate=name),
                    name=name,
                    steps=settings.finetune_steps,
                    hardware=hardware,
                    progress=False,
                )
            return error_of(pruned, judged, task, settings.batch_size, precision=settings.precision, hardware=hardware)
        except Diverged as told:
            # Such a network is of no use, but no reason to end a search of hours, unless the settings are.
            if (widths == space.channels).all():
                raise UserError(f"the unpruned network, evaluated as a candidate: {told}") from told
            print(f"{name} counts as of error 1: {told}", file=sys.stderr)
            return 1.0

    errors: list[float] = []
    begun = time.monotonic()
    with released() as release:
        for name, widths in zip(candidates["candidate"].to_pylist(), matrix(candidates), strict=True):
            errors.append(error_after_pruning(name, widths))
            release()
            print(
                f"{name}: error {errors[-1]:.4f} ({len(errors)}/{len(candidates)}, {time.monotonic() - begun:.1f} s)",
                file=sys.stderr,
                flush=True,
            )
    return build(
        ERRORS,
        {"candidate": candidates["candidate"], "error": errors, "images": np.full(len(errors), len(judged))},
    )

"""A network whose outputs and features others are trained to approach (knowledge distillation)."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hamp.data.images import ImageSet
from hamp.training.features import LastFeatures, last_features
from hamp.training.hardware import data_type, place, processor
from hamp.training.lowering import lower

KEPT = 2**30
"""Bytes of lessons that a teacher keeps at most."""

ROUNDING = 0.1
"""Of features, as a share of their norm; those of other layers are off by more."""

Batch = tuple[int, int]
"""Seed of the epoch that a batch belongs to, and its number."""


class Lesson(NamedTuple):
    """What a teacher makes of a batch: outputs, and last features (`features.LastFeatures`) if it teaches them."""

    outputs: Any
    features: Tensor | None


class Teacher(NamedTuple):
    """A network that teaches.

    Attributes:
        model: the network itself.
        lesson: what it makes of a batch, from the batch's name and its normalised images.
    """

    model: nn.Module
    lesson: Callable[[Batch, Tensor], Lesson]


def teacher(model: nn.Module, images: ImageSet, precision: str, hardware: str, *, features: bool = False) -> Teacher:
    """A teacher of networks that are trained on the same batches, epoch by epoch: it looks at each batch once.

    A teacher's pass over a batch takes a third of the time in which a small network is trained on it. So the lessons
    of an epoch are kept for the networks that come after the first; beyond `KEPT` bytes they are computed anew.

    Args:
        model: left in evaluation mode, on `hardware`.
        images: whose batches will be shown.
        precision: that it computes in (`hardware.data_type`).
        hardware: `cpu` or `cuda`.
        features: whether it teaches them too.
    """
    device = processor(hardware)
    place(model, device).eval()
    example = images.normalised(images.first(1).images.to(device))
    (lowered,) = lower(model, example, data_type(precision, device))
    if features and not _same_features(model, lowered, example):
        print("features are not taught: the network made ready for inference computes others", file=sys.stderr)
        features = False
    kept: dict[Batch, Lesson] = {}

    def lesson(batch: Batch, inputs: Tensor) -> Lesson:
        if batch in kept:
            return kept[batch]
        if kept and next(iter(kept))[0] != batch[0]:  # the first network has gone on to another epoch
            kept.clear()
        last = LastFeatures() if features else None
        with torch.no_grad(), last or nullcontext():
            outputs = lowered(inputs)
        made = Lesson(outputs, last.features if last else None)
        if (len(kept) + 1) * _bytes(made) <= KEPT:
            kept[batch] = made
        return made

    return Teacher(model, lesson)


def _same_features(model: nn.Module, lowered: nn.Module, example: Tensor) -> bool:
    """Whether the last features are the same tensor's, but for rounding, which may be that of bfloat16."""
    one, other = (last_features(network, example) for network in (model, lowered))
    if one is None or other is None or one.shape != other.shape:
        return False
    return bool((other.float() - one).norm() <= ROUNDING * one.norm())


def _bytes(lesson: Lesson) -> int:
    return sum(leaf.nbytes for leaf in pytree.tree_leaves(lesson) if isinstance(leaf, Tensor))

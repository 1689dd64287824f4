"""Stages `space` and `scores`: what may be removed, and in which order."""

import torch
from torch import nn

from hamp.configuration.blocks import Pruning
from hamp.pruning.discovery import discover
from hamp.pruning.space import Space


def space(model: nn.Module, shape: tuple[int, int, int], settings: Pruning) -> Space:
    """The space of a network that takes images of `shape` (channels, height, width)."""
    return discover(
        model.eval(),
        torch.zeros(2, *shape),
        exclude=settings.exclude,
        minimum_fraction=settings.minimum_fraction,
        channel_multiple=settings.multiple,
        keep_first=settings.keep_first,
        branch_removal=settings.branch_removal,
    )

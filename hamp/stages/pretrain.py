"""Stage `pretrain`: the weights of the unpruned network, given or trained."""

from pathlib import Path

import pyarrow as pa
import torch
from torch import nn

from hamp.candidates import UNPRUNED
from hamp.configuration.blocks import Augment, Network, Pretrain
from hamp.data.images import ImageSet
from hamp.models.build import build
from hamp.models.weights import load_weights
from hamp.seeding import seed_of
from hamp.tables import TRAINING, empty
from hamp.training.loop import train
from hamp.training.tasks import Task


def given(network: Network, weights: Path | str, classes: int, channels: int) -> tuple[nn.Module, pa.Table]:
    """The network with weights from a file, and an empty history (TRAINING)."""
    model = build(network, classes, channels)
    load_weights(model, weights)
    return model, empty(TRAINING)


def pretrain(
    network: Network,
    train_images: ImageSet,
    validation_images: ImageSet,
    task: Task,
    settings: Pretrain,
    augment: Augment,
    *,
    seed: int,
    hardware: str,
    checkpoint: Path | None = None,
) -> tuple[nn.Module, pa.Table]:
    """The trained network and its history (TRAINING). Initial weights, order and augmentation follow the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, "pretrain"))
        model = build(network, len(train_images.classes), train_images.pixels.shape[1])
    history = train(
        model,
        train_images,
        validation_images,
        task,
        settings,
        augment,
        seed_of(seed, "pretrain"),
        name=UNPRUNED,
        hardware=hardware,
        checkpoint=checkpoint,
    )
    return model.cpu(), history

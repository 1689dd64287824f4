"""The unpruned network, as the stages that need it get it."""

import json
from pathlib import Path

from safetensors import safe_open
from torch import nn

from hamp.configuration.blocks import Network
from hamp.models.build import build
from hamp.models.weights import load_weights


def load_network(network: Network, weights: Path, images: Path) -> nn.Module:
    """The network with its weights, in evaluation mode; classes and channels are those of the images."""
    classes, shape = facts(images)
    model = build(network, classes, shape[0])
    load_weights(model, weights)
    return model.eval()


def facts(images: Path) -> tuple[int, tuple[int, int, int]]:
    """Number of classes, and channels, height and width of an image, of the `data` stage's file."""
    with safe_open(str(images), "np") as file:
        _, channels, height, width = file.get_slice("images").get_shape()
        return len(json.loads(file.metadata()["classes"])), (channels, height, width)

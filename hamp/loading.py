"""Networks of a finished run, made again from its results."""

import json
import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from hamp.candidates import UNPRUNED
from hamp.configuration.blocks import Network
from hamp.errors import UserError
from hamp.models.build import build
from hamp.models.normalised import Normalised
from hamp.models.weights import load_weights
from hamp.pruning.slicing import prune
from hamp.results import Results
from hamp.stages.read import read_space
from hamp.stages.scores import read_scores
from hamp.tables import matrix


@dataclass(frozen=True)
class Loaded:
    """A network of a run.

    Attributes:
        candidate: its name.
        widths: channels kept, (groups,).
        network: for normalised images, in evaluation mode.
        mean, std: of the images, (channels,), by which they are normalised.
        shape: channels, height and width of an image.
        classes: names; empty where outputs are not classes.
    """

    candidate: str
    widths: np.ndarray
    network: nn.Module
    mean: Tensor
    std: Tensor
    shape: tuple[int, int, int]
    classes: tuple[str, ...]


def load(results: Path | str, candidate: str) -> Normalised:
    """A network of the front, or `unpruned`, ready to use: in evaluation mode, for float32 images in [0, 1].

    Args:
        results: folder of the run, such as `results/digits`.
        candidate: its name, or the beginning of it.

    Raises:
        UserError: the run is not finished, or has no such network on its front.
    """
    found = load_parts(Results(Path(results)), candidate)
    return Normalised(found.network, found.mean, found.std).eval()


def load_parts(results: Results, candidate: str) -> Loaded:
    """The same, in parts."""
    folder = results.folder
    mean, std, shape, classes = _images(folder / "data" / "images.safetensors")
    space = read_space(folder / "space" / "space.parquet")
    model = build(_located(results.settings.network, folder), len(classes), shape[0]).eval()
    if candidate == UNPRUNED:
        load_weights(model, folder / "model" / "weights.safetensors")
        return Loaded(UNPRUNED, space.channels, model, mean, std, shape, classes)
    front = results.front
    name = _name(candidate, front["candidate"].to_pylist())
    row = front["candidate"].to_pylist().index(name)
    widths = matrix(front)[row]
    network = prune(model, space, widths, read_scores(folder / "space" / "scores.parquet")).eval()
    load_weights(network, folder / front["model"][row].as_py())
    return Loaded(name, widths, network, mean, std, shape, classes)


def _images(path: Path) -> tuple[Tensor, Tensor, tuple[int, int, int], tuple[str, ...]]:
    try:
        with safe_open(str(path), "pt") as file:
            _, channels, height, width = file.get_slice("images").get_shape()
            classes = tuple(json.loads(file.metadata()["classes"]))
            mean, std = (file.get_tensor(name).to(torch.float32).clone() for name in ("mean", "std"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the data stage, which makes it") from None
    except (SafetensorError, KeyError) as error:
        raise UserError(f"{path}: not a file of the data stage ({error}); copy or make it again") from None
    return mean, std, (channels, height, width), classes


def _located(network: Network, folder: Path) -> Network:
    """The settings with the path of the user's own file as it is from here: it was relative to where the run began."""
    file, separator, function = network.name.rpartition(":")
    # Links stay: `results` may be one to another disk.
    began = Path(os.path.abspath(folder)).parents[1:2]
    if separator and file.endswith(".py") and not Path(file).is_file() and began:
        return network.model_copy(update={"name": f"{began[0] / file}:{function}"})
    return network


def _name(candidate: str, names: list[str]) -> str:
    """The one name that begins so."""
    found = [name for name in names if name.startswith(candidate)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"candidate '{candidate}': {len(found)} begin so: {', '.join(found)}; give more of the name")
    near = get_close_matches(candidate, names, 1, 0.0)[0]
    raise UserError(
        f"candidate '{candidate}': not on the front, which has {len(names)}; nearest is '{near}'; or '{UNPRUNED}'"
    )

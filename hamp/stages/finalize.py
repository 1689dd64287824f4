"""Stages `finetune`, `test` and `export`: front members made ready for use."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors import safe_open
from torch import Tensor, nn

from hamp import export as exporting
from hamp.candidates import REFERENCE, UNPRUNED
from hamp.configuration.blocks import Augment, Finetune
from hamp.data.images import ImageSet
from hamp.pruning.slicing import prune
from hamp.pruning.space import Space
from hamp.seeding import seed_of
from hamp.tables import EXPORTED, FINETUNED, TESTED, build, matrix
from hamp.training.evaluation import evaluate
from hamp.training.loop import train
from hamp.training.tasks import Task

BATCH = 256


def networks_of(members: pa.Table, space: Space, shard: int = 0, shards: int = 1) -> dict[str, np.ndarray]:
    """Widths by name of the networks that one shard fine-tunes: the unpruned one as reference, and the members."""
    networks = {REFERENCE: space.channels}
    networks |= dict(zip(members["candidate"].to_pylist(), matrix(members), strict=True))
    return dict(list(networks.items())[shard::shards])


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

    The error is that after the last epoch. The unpruned network teaches where `distillation` is positive.

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
        checkpoints: folder where training networks keep what they need to go on if the job is killed.
    """
    weights: dict[str, Tensor] = {}
    errors = []
    for name, widths in networks.items():
        network = prune(model, space, widths, scores)
        train(
            network,
            train_images,
            validation_images,
            task,
            settings,
            augment,
            seed_of(seed, "finetune", candidate=name),
            name=name,
            teacher=model,
            distillation=settings.distillation,
            temperature=settings.temperature,
            hardware=hardware,
            checkpoint=checkpoints / f"{name}.checkpoint" if checkpoints else None,
        )
        errors.append(evaluate(network, validation_images, task, BATCH, hardware=hardware))
        weights |= {f"{name}/{key}": value.cpu() for key, value in network.state_dict().items()}
    return weights, build(FINETUNED, {"candidate": list(networks), "error_validation": errors})


def load_finetuned(
    model: nn.Module, space: Space, scores: list[np.ndarray], members: pa.Table, weights: Sequence[Path]
) -> Iterator[tuple[str, nn.Module]]:
    """The networks that the shards of `finetune` wrote, one after the other: the reference, then the members."""
    file_of = {key.partition("/")[0]: path for path in weights for key in _keys(path)}
    for name, widths in networks_of(members, space).items():
        network = prune(model, space, widths, scores)
        with safe_open(str(file_of[name]), "pt") as file:
            network.load_state_dict({key: file.get_tensor(f"{name}/{key}") for key in network.state_dict()})
        yield name, network.eval()


def test(networks: Iterator[tuple[str, nn.Module]], images: ImageSet, task: Task, *, hardware: str) -> pa.Table:
    """Table TESTED: errors on the test images."""
    errors = {name: evaluate(network, images, task, BATCH, hardware=hardware) for name, network in networks}
    return build(TESTED, {"candidate": list(errors), "error_test": list(errors.values())})


def export(
    networks: Iterator[tuple[str, nn.Module]],
    widths: Mapping[str, np.ndarray],
    images: ImageSet,
    folder: Path,
) -> pa.Table:
    """Write each network as ONNX and as safetensors with its widths into `folder`; table EXPORTED.

    The files take float32 (n, channels, height, width) in [0, 1]: normalisation is inside. Each ONNX file's outputs
    are compared with the network's own on some images.

    Raises:
        UserError: an ONNX file computes something else.
    """
    examples = images.first(8).images.float() / 255
    rows = []
    for name, network in networks:
        file = folder / name
        difference = exporting.onnx(network, images, examples, file.with_suffix(".onnx"), candidate=name)
        exporting.weights(network, file.with_suffix(".safetensors"), widths[name], name)
        rows.append((name, f"{folder.name}/{name}.safetensors", f"{folder.name}/{name}.onnx", difference))
        print(f"{name}: exported; outputs differ by at most {difference:.1e}", file=sys.stderr, flush=True)
    return build(EXPORTED, dict(zip(EXPORTED.names, zip(*rows, strict=True), strict=True)))


def unpruned_first(model: nn.Module, networks: Iterator[tuple[str, nn.Module]]) -> Iterator[tuple[str, nn.Module]]:
    """The unpruned network as it was given, then the others."""
    yield UNPRUNED, model
    yield from networks


def _keys(path: Path) -> list[str]:
    with safe_open(str(path), "pt") as file:
        return list(file.keys())

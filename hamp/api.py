"""The search in one process: the same stages as the workflow's, called one after the other."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from hamp.check import check
from hamp.configuration.blocks import Config, Evaluate
from hamp.configuration.validate import load
from hamp.data.images import ImageSet, open_split
from hamp.data.prepare import prepare
from hamp.errors import UserError
from hamp.hardware import profile as profiling
from hamp.pruning.slicing import prune
from hamp.pruning.space import Space
from hamp.seeding import seed_of
from hamp.stages.evaluate import evaluate
from hamp.stages.known import Profiles
from hamp.stages.measure import as_profiled, measured, predicted, pruned
from hamp.stages.pareto import aggregate
from hamp.stages.pretrain import given, pretrain
from hamp.stages.scores import scores as scores_of
from hamp.stages.search import search as search_stages
from hamp.stages.sensitivity import sensitivity
from hamp.stages.space import space as space_of
from hamp.tables import ENERGY
from hamp.training.tasks import Task, task

Run = tuple[str, int]
"""Method and seed of one search."""


@dataclass(frozen=True)
class Problem:
    """What a search works on: the network, its space, the images and the devices' profiles."""

    config: Config
    model: nn.Module
    space: Space
    scores: list[np.ndarray]
    profiles: Profiles
    train: ImageSet
    validation: ImageSet
    task: Task
    shape: tuple[int, int, int]
    sensitivity: pa.Table | None = None


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        problem: what it worked on.
        archives: by method and seed, all that was evaluated (table EVALUATED).
        populations: by method and seed, the survivors of the last generation (table EVALUATED).
    """

    problem: Problem
    archives: dict[Run, pa.Table]
    populations: dict[Run, pa.Table]

    def front(self, size: int = 1000) -> pa.Table:
        """The non-dominated candidates of all searches that are worth fine-tuning (table MEMBERS), at most `size`."""
        config = self.problem.config
        return aggregate(self.archives, config.objectives, size, config.portfolio)

    def network(self, widths: np.ndarray) -> nn.Module:
        """The pruned network of some widths, neither recalibrated nor fine-tuned."""
        return prune(self.problem.model, self.problem.space, widths, self.problem.scores)


def search(
    settings: Config | Mapping[str, Any], folder: Path | str | None = None, *, profiles: Profiles | None = None
) -> Found:
    """Run every search that the settings name; equal to what the workflow finds with predicted latency.

    Args:
        settings: as in a configuration file; what is left out has its default.
        folder: where the decoded images are kept; none: a temporary one.
        profiles: of the devices by name, that of block `device` as "", from an earlier run; none: they are made.

    Raises:
        UserError: the settings cannot work; one line a mistake.
    """
    config = settings if isinstance(settings, Config) else load(settings, here=True)
    if mistakes := check(config):
        raise UserError("\n".join(mistakes))
    with tempfile.TemporaryDirectory() as temporary, threadpool_limits(1), _threads(config.threads):
        problem = make_problem(config, Path(folder or temporary), profiles)
        runs = [(method, seed) for method in config.methods for seed in config.seeds]
        found = {run: _search(problem, *run) for run in runs}
    return Found(
        problem,
        {run: archive for run, (archive, _) in found.items()},
        {run: population for run, (_, population) in found.items()},
    )


def make_problem(config: Config, folder: Path, profiles: Profiles | None = None) -> Problem:
    """Decode the images into `folder`, train or load the network, and learn its space and the devices."""
    images, splits = folder / "images.safetensors", folder / "splits.parquet"
    prepare(config.data, config.seed, images, splits)
    train, validation = open_split(images, splits, "train"), open_split(images, splits, "validation")
    channels, height, width = train.pixels.shape[1:]
    shape = (channels, height, width)
    judge = task(config.task)
    if config.network.weights is not None:
        model, _ = given(config.network, config.network.weights, len(train.classes), channels)
    else:
        model, _ = pretrain(
            config.network,
            train,
            validation,
            judge,
            config.pretrain,
            config.augment,
            seed=config.seed,
            hardware=config.hardware,
        )
    model = model.eval()
    space = space_of(model, shape, config.pruning)
    scores = scores_of(model, space, config.importance, train, judge, seed=config.seed, hardware=config.hardware)
    if profiles is None:
        drawn = seed_of(config.seed, "profile")
        profiles = {
            name: profiling.build(model, space, shape, device, config.profile, scores, drawn)
            for name, device in config.all_devices.items()
        }
    problem = Problem(config, model, space, scores, profiles, train, validation, judge, shape)
    wanted = "sensitivity" in config.search.initial
    return replace(problem, sensitivity=_sensitivity(problem)) if wanted else problem


def _search(problem: Problem, method: str, seed: int) -> tuple[pa.Table, pa.Table]:
    """Archive and last population of one search."""
    return search_stages(
        problem.config,
        problem.space,
        problem.profiles,
        method,
        seed,
        errors=lambda offspring: _errors(problem, offspring, problem.config.evaluate),
        latencies=lambda offspring: _latencies(problem, offspring),
        sensitivity=problem.sensitivity,
    )


def _sensitivity(problem: Problem) -> pa.Table:
    """Table SENSITIVITY; judged as candidates are, but without training."""
    config = problem.config
    judged = {"images": config.sensitivity.images, "finetune_steps": 0}
    settings = config.evaluate.model_copy(update=judged)
    return sensitivity(problem.space, config.sensitivity.fractions, lambda probes: _errors(problem, probes, settings))


def _errors(problem: Problem, offspring: pa.Table, settings: Evaluate) -> pa.Table:
    config = problem.config
    with _threads(config.threads):  # a device that is measured in this process has set its own
        return evaluate(
            offspring,
            problem.model,
            problem.space,
            problem.scores,
            problem.train,
            problem.validation,
            problem.task,
            settings,
            config.augment,
            seed=config.seed,
            hardware=config.hardware,
        )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Within it, PyTorch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _latencies(problem: Problem, offspring: pa.Table) -> pa.Table:
    config = problem.config
    if config.measure.latency == "predicted":
        return predicted(offspring, problem.space, problem.profiles)
    table = measured(
        offspring,
        pruned(offspring, problem.model, problem.space, problem.scores),
        problem.model,
        problem.space,
        problem.profiles,
        problem.shape,
        config.all_devices,
        config.measure,
        seed=config.seed,
        energy=[name for name in config.objectives if name.startswith(ENERGY)],
    )
    return as_profiled(table, problem.profiles)

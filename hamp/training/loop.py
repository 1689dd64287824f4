"""Training by stochastic gradient descent."""

import inspect
import math
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor, nn

from hamp import callables, tables
from hamp.configuration import blocks
from hamp.data.images import ImageSet
from hamp.errors import Diverged
from hamp.seeding import seed_of
from hamp.training import checkpoints, descent
from hamp.training.augmentation import augment, full_batches
from hamp.training.evaluation import batch_of, evaluate
from hamp.training.features import LastFeatures, distance
from hamp.training.hardware import deterministic, mixed, overlapped, place, processor
from hamp.training.pointwise import UnstridedPointwise
from hamp.training.tasks import Task, full_precision
from hamp.training.teaching import Batch, Teacher

Row = dict[str, Any]
"""Of the history of a training: `tables.TRAINING`."""


def train(*arguments: Any, **options: Any) -> pa.Table:
    """Train a network in place; the history, one row an epoch (`tables.TRAINING`). Takes what `epochs` takes."""
    return pa.Table.from_pylist(list(epochs(*arguments, **options)), tables.TRAINING)


def epochs(
    model: nn.Module,
    images: ImageSet,
    validation: ImageSet | None,
    task: Task,
    settings: blocks.Optimisation,
    augmentation: blocks.Augment,
    seed: int,
    *,
    name: str = "unpruned",
    steps: int | None = None,
    teacher: Teacher | None = None,
    distillation: float = 0.0,
    temperature: float = 4.0,
    features: float = 0.0,
    channels: Tensor | None = None,
    hardware: str = "cpu",
    checkpoint: Path | None = None,
    progress: bool = True,
) -> Iterator[Row]:
    """Train `model` in place, an epoch whenever the next row of the history is asked for; the last leaves it trained.

    Nesterov momentum, learning rate rising linearly and then falling as a cosine to 0. The result depends
    on the arguments and the number of threads only: also if the job is killed and run again with the same
    checkpoint, whose epochs are then given at once.

    Args:
        model: any network; left on `hardware`, in evaluation mode.
        images: of the training split.
        validation: judged on after every epoch; None: not at all (the column is then nan).
        task: gives loss, error and distance.
        settings: of the optimisation.
        augmentation: of the training images.
        seed: of order, augmentation and dropout.
        name: of the network, in the history and in what is shown.
        steps: this many steps instead of `settings.epochs`.
        teacher: whose outputs are approached; it may teach several networks that are trained with the same images,
            settings, augmentation and seed.
        distillation: weight of the distance to the teacher's outputs; the loss has the rest.
        temperature: softening of the outputs in that distance.
        features: weight of the distance to the teacher's last features, which is added to the loss.
        channels: of those features that the network has (`features.last_channels`); None: it is not taught features.
        hardware: `cpu` or `cuda`.
        checkpoint: where to keep what is needed to go on after an epoch; the last one stays, so that a job that is
            killed between the end of its training and the writing of its results need not train again.
        progress: whether to write a line an epoch to the standard error.

    Raises:
        Diverged: the loss is not finite.
    """
    device = processor(hardware)
    place(model, device)
    an_epoch = max(1, len(images) // settings.batch_size)
    total = settings.epochs * an_epoch if steps is None else steps
    count = math.ceil(total / an_epoch)
    parameters = descent.trained(model)
    momenta: descent.Momenta = {}
    average = descent.start(model) if settings.average else {}
    rows: list[Row] = []
    key = ""
    if checkpoint is not None:
        taught = (distillation, temperature, features, None if channels is None else channels.tolist())
        arguments = (seed, name, steps, *taught, hardware, torch.get_num_threads())
        networks = [model] if teacher is None else [model, teacher.model]
        key = _key(networks, images, task, settings, augmentation, list(map(str, arguments)))
        if (state := checkpoints.restore(checkpoint, key)) is not None:
            model.load_state_dict(state["model"])
            momenta = {entry: value.to(device) for entry, value in state["momenta"].items()}
            average = {entry: value.to(device) for entry, value in state["average"].items()}
            rows = state["rows"]
            yield from rows

    def loss_of(batch: Batch, inputs: Tensor, targets: Tensor) -> Tensor:
        last = None if channels is None else LastFeatures()
        with mixed(settings.precision, device), UnstridedPointwise(), last or nullcontext():
            outputs = full_precision(model(inputs))
        loss = task.loss(outputs, targets, settings.label_smoothing)
        if teacher is not None:
            lesson = teacher.lesson(batch, inputs)
            if distillation:
                loss = (1 - distillation) * loss + distillation * task.distance(outputs, lesson.outputs, temperature)
            if last is not None and last.features is not None and lesson.features is not None:
                loss = loss + features * distance(last.features, lesson.features[:, channels])
        return loss

    def pass_over_images(epoch: int) -> float:
        epoch_seed = seed_of(seed, "training", epoch)
        losses = []
        with deterministic(epoch_seed, device):
            model.train()
            first = epoch * an_epoch
            batches = overlapped(_batches(images, settings.batch_size, augmentation, epoch_seed, device), device)
            for step, (inputs, targets) in zip(range(first, min(first + an_epoch, total)), batches, strict=False):
                loss = loss_of((epoch_seed, step), inputs, targets)
                model.zero_grad(set_to_none=True)
                loss.backward()
                descent.descend(parameters, momenta, descent.learning_rate(step, total, settings), settings)
                losses.append(loss.detach())
                if average:
                    descent.follow(average, model, settings.average, step)
        return float(torch.stack(losses).mean())

    for epoch in range(len(rows), count):
        begun = time.monotonic()
        mean_loss = pass_over_images(epoch)
        if not math.isfinite(mean_loss):
            raise Diverged(
                f"{name}: the loss is {mean_loss} in epoch {epoch + 1}; lower learning_rate ({settings.learning_rate})"
            )
        error = math.nan
        if validation is not None:
            with descent.averaged(model, average):
                error = evaluate(model, validation, task, batch_of(validation), hardware=hardware)
        rows.append({"candidate": name, "epoch": epoch + 1, "loss": mean_loss, "error_validation": error})
        if progress:
            print(
                f"{name}: epoch {epoch + 1}/{count}, loss {mean_loss:.4f}, validation error {error:.4f}, "
                f"{time.monotonic() - begun:.1f} s",
                file=sys.stderr,
                flush=True,
            )
        if checkpoint is not None:
            state = {"model": model.state_dict(), "momenta": momenta}
            checkpoints.save(checkpoint, key, {**state, "average": average, "rows": rows})
        yield rows[-1]

    descent.replace(model, average)
    model.eval()


def _batches(
    images: ImageSet, size: int, augmentation: blocks.Augment, seed: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass in random order: augmented, normalised; what does not fill a batch is left out."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    for positions in full_batches(order, size):
        pixels, targets = images.at(positions)
        yield images.normalised(augment(pixels.to(device), augmentation, generator)), targets.to(device)


def _key(
    networks: list[nn.Module],
    images: ImageSet,
    task: Task,
    settings: blocks.Optimisation,
    augmentation: blocks.Augment,
    arguments: list[str],
) -> str:
    """Digest of all that the result depends on: the code of training, and that of the user's task and network."""
    optimisation = settings.model_dump_json(include=set(blocks.Optimisation.model_fields))
    texts = [optimisation, augmentation.model_dump_json(), *arguments, task.name]
    texts += [str(networks[0])]
    texts += [inspect.getsource(sys.modules[part.__module__]) for part in (epochs, descent.descend, distance)]
    classes = {type(module) for network in networks for module in network.modules()}
    own = {callables.file_of(task.name), *map(callables.file_of_class, classes)}
    files = {path for file in own if file is not None for path in callables.files_of(file)}
    texts += [path.read_text() for path in sorted(files)]
    tensors = [images.pixels, images.rows, images.targets, images.mean, images.std]
    tensors += [value for network in networks for value in network.state_dict().values()]
    return checkpoints.digest(texts, tensors)

"""Mistakes that only show once the network is built, found before the first job.

The Snakefile imports nothing heavy, so it runs this module as a program of its own, once for each set of settings:
`python -m hamp.check < settings.json`.
"""

import copy
import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from hamp.callables import file_of, files_of
from hamp.configuration.blocks import Config
from hamp.digest import code_digest, file_digest
from hamp.errors import UserError, one_line


def check_once(config: Config, folder: Path) -> None:
    """Run `check` in a process of its own, unless it found these settings good before.

    Args:
        config: the validated configuration.
        folder: where it is remembered that settings are good.

    Raises:
        UserError: what `check` found.
    """
    own = [file_of(spec) for spec in (config.network.name, config.task, config.data.source)]
    files = [path for file in own if file and file.is_file() for path in files_of(file)]
    files += [Path(file) for file in [config.network.weights] if file and Path(file).is_file()]
    text = json.dumps([_relevant(config), code_digest(Path(__file__)), *map(file_digest, files)])
    good = folder / f"good-{sha256(text.encode()).hexdigest()[:16]}"
    if good.exists():
        return
    result = subprocess.run(
        # -P: as the stages run, so that what is imported here can be imported there
        [sys.executable, "-P", "-m", "hamp.check"],
        input=config.model_dump_json(),
        capture_output=True,
        text=True,
    )
    if result.returncode:
        # Whatever ended it, such as the kernel where memory ran out, may have left it no word.
        raise UserError(result.stderr.strip() or f"python -m hamp.check ended with status {result.returncode}")
    folder.mkdir(parents=True, exist_ok=True)
    good.touch()


def check(config: Config) -> list[str]:
    """What is wrong with the data, the task, the network, its weights or the size of its space."""
    from hamp.data.sources import describe
    from hamp.training.tasks import task

    mistakes = []
    for part in (
        lambda: task(config.task),
        lambda: _network(config, describe(config.data)),
    ):
        try:
            part()
        except UserError as error:
            mistakes.append(str(error))
    return mistakes


def _network(config: Config, data: Any) -> None:
    from hamp.evolution.domain import domain_of
    from hamp.models.build import build
    from hamp.models.weights import load_weights
    from hamp.stages.space import space as space_of

    if data.placed and (config.augment.crop or config.augment.flip):
        raise UserError(
            f"augment: crop {config.augment.crop}, flip {str(config.augment.flip).lower()} move the images, but not "
            f"their targets ({config.data.source} gives masks or the like); set augment: {{crop: 0, flip: false}}"
        )
    if config.task == "classification" and not data.classes:
        raise UserError(
            f"task: 'classification' needs classes, but the targets of {config.data.source} are no whole numbers; "
            "give them as such, or name a task (path/to/file.py:callable)"
        )
    model = build(config.network, len(data.classes), data.channels)
    if config.network.weights is not None:
        load_weights(model, config.network.weights)
    _channels_last(model, data, config)
    space = space_of(model, (data.channels, config.data.image_size, config.data.image_size), config.pruning)
    if config.task == "classification":
        _outputs(model, data, config)
    _in_training(model, data, config)
    _exportable(model, data.channels, config)
    networks = domain_of(space).size
    if networks < config.search.population:
        raise UserError(
            f"search.population: {config.search.population} is more than the {networks:.0f} networks of the space; "
            "lower it, or widen the space (pruning.channel_multiple, pruning.minimum_fraction, pruning.exclude)"
        )


def _channels_last(model: Any, data: Any, config: Config) -> None:
    """Check that the network's code does not count on how features lie in memory: `view` does."""
    import torch

    from hamp.training.hardware import place

    images = torch.zeros(2, data.channels, config.data.image_size, config.data.image_size)
    model.eval()
    with torch.inference_mode():
        try:
            model(images)
        except Exception:  # told by what comes next
            return
        try:
            place(copy.deepcopy(model), images.device)(images.to(memory_format=torch.channels_last))
        except Exception as error:  # of the network's own code
            raise UserError(
                f"network.name: '{config.network.name}' does not run with channels last in memory, as it is trained "
                f"and measured ({one_line(error)}); write reshape or flatten in place of view"
            ) from error


def _exportable(model: Any, channels: int, config: Config) -> None:
    """Check that the front can be exported, which comes after the whole search."""
    import torch

    from hamp import export

    size = config.data.image_size
    whole = export.deployable(model, torch.zeros(channels), torch.ones(channels))
    try:
        export.check(whole, torch.rand(3, channels, size, size, generator=torch.Generator().manual_seed(0)))
    except Exception as error:  # of the network's own code, too
        reason = str(error).partition(": ")[2] if isinstance(error, UserError) else one_line(error)
        raise UserError(f"network.name: '{config.network.name}' cannot be exported: {reason}") from error


def _outputs(model: Any, data: Any, config: Config) -> None:
    """Check that there is an output for each class; more are of no harm."""
    import torch

    size = config.data.image_size
    with torch.inference_mode():
        outputs = model.eval()(torch.zeros(1, data.channels, size, size))
    one = isinstance(outputs, torch.Tensor)
    if one and outputs.dim() == 2 and outputs.shape[1] >= len(data.classes):
        return
    given = tuple(outputs.shape) if one else type(outputs).__name__
    raise UserError(
        f"network.name: '{config.network.name}' gives {given} for an image; task 'classification' needs a number "
        f"for each of the {len(data.classes)} classes of {config.data.source}, (1, {len(data.classes)})"
    )


def _in_training(model: Any, data: Any, config: Config) -> None:
    """Check that outputs in training are like those in inference, where they are compared or only one is understood."""
    import torch
    from torch.utils import _pytree as pytree

    if not _trains(config):
        return
    size = config.data.image_size
    forms = []
    with torch.no_grad():
        for training in (True, False):
            model.train(training)
            try:
                outputs = model(torch.rand(2, data.channels, size, size))
            except Exception as error:  # of the network's own code
                raise UserError(
                    f"network.name: '{config.network.name}' cannot be trained on images alone: {one_line(error)}"
                ) from error
            leaves, kind = pytree.tree_flatten(outputs)
            forms.append((kind, [getattr(leaf, "shape", None) for leaf in leaves]))
    if forms[0] == forms[1]:
        return
    told = f"network.name: '{config.network.name}' gives other outputs in training than in inference"
    if config.task == "classification":
        raise UserError(f"{told}; task 'classification' needs the classes alone: drop the others, or name a task")
    if config.finetune.distillation:
        raise UserError(f"{told}, which cannot be compared for distillation; set finetune.distillation: 0")


def _trains(config: Config) -> bool:
    return bool(config.network.weights is None or config.finetune.epochs or config.evaluate.finetune_steps)


def _relevant(config: Config) -> dict:
    keys = ("task", "data", "augment", "network", "pruning")
    further = {"population": config.search.population, "distills": bool(config.finetune.distillation)}
    further["trains"] = _trains(config)
    return {**{key: config.model_dump()[key] for key in keys}, **further}


if __name__ == "__main__":
    found = check(Config.model_validate_json(sys.stdin.read()))
    print("\n".join(found), file=sys.stderr)
    sys.exit(1 if found else 0)

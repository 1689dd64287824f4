"""`hamp init`, `hamp check` and `hamp watch`: a run before and while it goes on."""

import re
import time
from pathlib import Path
from typing import Annotated

import typer

from hamp.cli.options import ResultsArgument, folder_of
from hamp.errors import UserError

NOT_MIRRORED = ("digits", "mnist", "svhn")
"""Data sets whose images mean something else in the mirror."""


def init(
    name: Annotated[str, typer.Argument(help="Of the run: its results go to results/NAME.")],
    network: Annotated[str, typer.Option(help="As network.name in the settings.")] = "path/to/file.py:callable",
    weights: Annotated[str | None, typer.Option(help="Trained weights; none: the workflow trains.")] = None,
    data: Annotated[str, typer.Option(help="As data.source in the settings.")] = "image_folder",
    root: Annotated[str, typer.Option(help="Folder of the data.")] = "path/to/images",
    image_size: Annotated[int, typer.Option(min=8, help="Pixels a side.")] = 224,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="None: config/experiments/NAME.yaml.")] = None,
) -> None:
    """Write a configuration to begin with; it is never written over another file.

    Example: hamp init mine --network torchvision:mobilenet_v2 --data cifar10 --root data --image-size 32
    """
    import yaml

    from hamp.configuration.blocks import NAME
    from hamp.tables import atomic

    if not re.fullmatch(NAME, name):
        raise UserError(f"NAME: '{name}'; a name begins with a letter or digit, and has only these, dots, - and _")
    path = output or Path("config/experiments") / f"{name}.yaml"
    if path.exists():
        raise UserError(f"{path}: exists already; give another name or --output")
    settings = {
        "name": name,
        "data": {"source": data, "root": None if data == "digits" else root, "image_size": image_size},
        "augment": {"crop": min(image_size // 8, 64), "flip": data not in NOT_MIRRORED},
        "network": {"name": network, "weights": weights},
        "device": {"runtime": "onnxruntime", "hardware": "cpu", "batch_size": 1, "threads": 1},
        "search": {"population": 40, "offspring": 40, "generations": 20},
        "finetune": {"epochs": 20, "members": 16},
    }
    comment = "# Only what differs from config/config.yaml; every setting is explained in config/README.md.\n"
    with atomic(path) as temporary:
        temporary.write_text(comment + yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    print(f"{path}: written; edit it, then\n  hamp check {path}\n  make run CONFIG={path}")


def check(
    configuration: Annotated[Path, typer.Argument(help="A configuration (.yaml).")],
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="Jobs run on other machines, as on a cluster: look for no device here.")
    ] = False,
) -> None:
    """Check a configuration as a run does before its first job.

    Example: hamp check config/experiments/cifar10-resnet20.yaml
    """
    from hamp.check import check as problems
    from hamp.cli.configurations import read_configuration

    if found := problems(read_configuration(configuration, here=not elsewhere)):
        raise UserError("\n".join(found))
    print(f"{configuration}: good")


def watch(
    results: ResultsArgument = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
) -> None:
    """Follow a run from its files, here or on a cluster: a line for every generation, and the time that is left.

    It ends with the report; a run of the target `search` makes none, and one that fails neither: interrupt it then.

    Example: hamp watch results/digits
    """
    from hamp.cli.watching import finished, lines

    folder = folder_of(results)
    seen: set[str] = set()
    while True:
        for key, text in lines(folder, seen):
            seen.add(key)
            print(text, flush=True)
        if once or finished(folder):
            return
        time.sleep(interval)

"""A frozen copy of code and configuration, so that editing the checkout cannot change a run under way.

The copy is a working directory of its own, `.hamp/<name>/`: the code, the configuration, the profile and the user's
own Python files are copied; everything else of the working directory (`results`, Snakemake's records, data) is linked.
So all relative paths mean what they meant, and Snakemake finds nothing changed; but those that lead out of the working
directory are made absolute, which is a change to what was made outside the copy.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hamp.callables import file_of, files_of
from hamp.configuration.blocks import Config
from hamp.digest import ROOT
from hamp.errors import UserError

CODE = ("Snakefile", "hamp", "workflow", "config", "resources", "environment.yml")
FOLDER = ".hamp"
SETTINGS = "submitted.yaml"
PROFILE = "submitted-profile"
NOT_LINKED = (FOLDER, ".git", "__pycache__")


def frozen_folder(working: Path, name: str) -> Path:
    """Where the copy of the run `name` is, whose results are in `working/results/<name>`."""
    return working / FOLDER / name


def freeze(working: Path, configuration: Path, settings: Config, profile: Path) -> Path:
    """Make the copy anew, and give its folder.

    Args:
        working: the directory in which the run was submitted.
        configuration: the YAML file.
        settings: what it says.
        profile: folder of the Snakemake profile.

    Raises:
        UserError: hamp does not run from a checkout, so there is no workflow to copy.
    """
    if not (ROOT / "Snakefile").is_file():
        raise UserError(f"{ROOT}: no Snakefile beside the package; install hamp from a checkout with --editable")
    target = frozen_folder(working, settings.name)
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    for name in CODE:
        _copy(ROOT / name, target / name)
    given = yaml.safe_load(configuration.read_text(encoding="utf-8")) or {}
    (target / SETTINGS).write_text(yaml.safe_dump(_anchored(given, working), sort_keys=False), encoding="utf-8")
    _copy(profile, target / PROFILE)
    for file in _own_files(settings):
        if not file.is_absolute() and not _leads_out(file) and not (target / file).exists():
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            _copy(working / file, target / file)
    # What is linked must be there: what is downloaded belongs beside the results, not into a copy.
    downloaded = [settings.data.root] if settings.data.download and settings.data.root else []
    for name in ("results", ".snakemake", *downloaded):
        (working / name).mkdir(parents=True, exist_ok=True)
    _link(working, target)
    return target


def _own_files(settings: Config) -> Iterator[Path]:
    """The user's Python files, with those beside them that they import, and the descriptions of his devices."""
    for spec in (settings.network.name, settings.task, settings.data.source):
        if (file := file_of(spec)) is not None:
            yield from files_of(file)
    for device in settings.all_devices.values():
        if device.description and Path(device.description).is_file():
            yield Path(device.description)


def _anchored(value: Any, working: Path) -> Any:
    """Settings as they are, but for paths that lead out of the working directory, which become absolute."""
    if isinstance(value, dict):
        return {key: _anchored(item, working) for key, item in value.items()}
    if isinstance(value, list):
        return [_anchored(item, working) for item in value]
    if isinstance(value, str) and _leads_out(Path(value)):
        return os.path.normpath(working / value)
    return value


def _leads_out(path: Path) -> bool:
    return os.path.normpath(path).split(os.sep)[0] == os.pardir


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        for folder in (target, *filter(Path.is_dir, target.rglob("*"))):  # the checkout may be read-only
            folder.chmod(folder.stat().st_mode | stat.S_IRWXU)
    else:
        shutil.copy2(source, target)


def _link(source: Path, target: Path) -> None:
    """Link what is in `source` and not yet in `target`; folders that are in both, entry by entry."""
    for entry in source.iterdir():
        there = target / entry.name
        if entry.name in NOT_LINKED:
            continue
        if there.is_dir() and not there.is_symlink():
            if entry.is_dir():
                _link(entry, there)
        elif not there.exists():
            there.symlink_to(entry.resolve())

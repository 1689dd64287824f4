"""From a mapping to a `Config`, or to all that is wrong with it, one line each."""

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from hamp.callables import file_of
from hamp.configuration.blocks import Config, Device
from hamp.errors import UserError
from hamp.hardware.devices import check
from hamp.hardware.energy import TELLING


def load(settings: Mapping[str, Any], here: bool = False) -> Config:
    """The validated configuration.

    Args:
        settings: nested, as in a configuration file; what is left out has its default.
        here: the jobs run on this machine, so its devices are looked for too; on a cluster's login node they are not.

    Raises:
        UserError: anything is wrong; the message holds one line a mistake, each naming its key.
    """
    config, mistakes = _parse(settings)
    mistakes += combinations(config)
    if here:
        mistakes += lacks(config)
    if mistakes:
        # A device whose settings cannot go together is not available either: told once.
        raise UserError("\n".join(dict.fromkeys(mistakes)))
    return config


def combinations(config: Config) -> list[str]:
    """Settings, each valid, that cannot work together or with what is on this machine's disk."""
    mistakes = []
    if len(set(config.objectives)) < len(config.objectives):
        mistakes.append(f"objectives: {config.objectives} names one twice; name at least two different ones")
    if "error" not in config.objectives:
        mistakes.append(f"objectives: {config.objectives} lacks 'error'; without it the smallest network always wins")
    for key in ("preferences", "limits"):
        for name in getattr(config.portfolio, key):
            if name not in config.objectives:
                mistakes.append(
                    f"portfolio.{key}.{name}: no objective of this run; its: {', '.join(config.objectives)}"
                )
    for key in ("seeds", "methods"):
        values = getattr(config, key)
        if len(set(values)) < len(values):
            mistakes.append(f"{key}: {values} names one twice; name each once")
    if config.network.weights is not None and not Path(config.network.weights).is_file():
        mistakes.append(f"network.weights: '{config.network.weights}' is not a file; give the path of weights")
    for key, spec in (
        ("network.name", config.network.name),
        ("task", config.task),
        ("data.source", config.data.source),
    ):
        file = file_of(spec)
        if file is not None and not file.is_file():
            mistakes.append(f"{key}: '{spec}': there is no file '{file}'; give path/to/file.py:callable")
    if config.evaluate.refit and not config.evaluate.recalibration_images:
        mistakes.append("evaluate.refit: true, but evaluate.recalibration_images is 0; give images to fit layers on")
    mistakes += _data(config)
    mistakes += _normalisation(config)
    mistakes += _objectives(config)
    mistakes += [line for name in config.all_devices if (line := _refusal(config, name, check))]
    described = config.device.runtime == "roofline"
    if described and config.measure.latency == "measured" and "latency_ms" in config.objectives:
        mistakes.append("measure.latency: 'measured' cannot be had of a described device; set it to 'predicted'")
    return mistakes


def _refusal(config: Config, name: str, look: Callable[[Device], None]) -> str:
    """Why a look at a device ends in an error, its keys being those of its block; empty where it does not."""
    try:
        look(config.all_devices[name])
    except UserError as error:
        keys = rf"\bdevice\.({'|'.join(Device.model_fields)})\b"
        return re.sub(keys, lambda key: f"devices.{name}.{key[1]}", str(error)) if name else str(error)
    return ""


def lacks(config: Config) -> list[str]:
    """What is missing on this machine of the devices to measure on, of their energy counters, and to train on."""
    from hamp.hardware import energy
    from hamp.hardware.devices import available
    from hamp.hardware.devices.pytorch import require_cuda

    devices = config.all_devices
    energies = [name.partition("@")[2] for name in config.objectives if name.startswith("energy_mj")]
    telling = [name for name in energies if name in devices and devices[name].runtime in energy.TELLING]
    mistakes = [_refusal(config, name, available) for name in devices]
    mistakes += [_refusal(config, name, energy.available) for name in telling]
    if config.hardware == "cuda":
        mistakes.append(_refusal(config, "", lambda _: require_cuda("hardware")))
    return [line for line in mistakes if line]


def _objectives(config: Config) -> list[str]:
    """Mistakes between objectives and devices."""
    mistakes = []
    asked = {name: name.partition("@")[2] for name in config.objectives if "@" in name}
    for name, device in asked.items():
        if device not in config.devices:
            there = f"there {', '.join(config.devices)}" if config.devices else "it is empty"
            mistakes.append(f"objectives: '{name}': block devices has no '{device}'; {there}")
    for name in config.devices:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            mistakes.append(f"devices: '{name}' must be letters, digits, '-' and '_'")
        elif name not in asked.values():
            mistakes.append(f"devices: '{name}' is in no objective; name 'latency_ms@{name}' there, or remove it")
    for name in config.pruning.channel_multiple_of:
        if name not in (known := ["device", *config.devices]):
            mistakes.append(f"pruning.channel_multiple_of.{name}: no device of this run; its: {', '.join(known)}")
    energies = [name for name in config.objectives if name.startswith("energy_mj")]
    for name in energies:
        found = config.all_devices.get(name.partition("@")[2])
        if found is not None and found.runtime not in TELLING:
            mistakes.append(f"objectives: '{name}': a device of runtime '{found.runtime}' does not tell its energy")
    if energies and config.measure.latency == "predicted":
        mistakes.append("measure.latency: 'predicted' tells no energy; objective 'energy_mj' needs 'measured'")
    return mistakes


def _data(config: Config) -> list[str]:
    data = config.data
    if data.source == "digits" or file_of(data.source) is not None:
        return []
    if data.root is None:
        return [f"data.root: missing; source '{data.source}' needs the folder of the images"]
    if not Path(data.root).is_dir() and not data.download:
        return [f"data.root: '{data.root}' is not a folder; correct it, or set data.download where the source can"]
    return []


def _normalisation(config: Config) -> list[str]:
    mean, std = config.data.mean, config.data.std
    if (mean is None) != (std is None):
        return ["data.mean, data.std: only one is given; give both or neither"]
    if mean is not None and std is not None:
        if len(mean) != len(std):
            return [f"data.std: {len(std)} values, but data.mean has {len(mean)}; give one a channel in both"]
        if not std or min(std) <= 0:
            return [f"data.std: {std} must hold one positive value a channel"]
    return []


def _parse(settings: Mapping[str, Any]) -> tuple[Config, list[str]]:
    """A configuration in which defaults stand for what is wrong, and what is wrong."""
    remaining = _copy(settings)
    mistakes: list[str] = []
    while True:
        try:
            return Config.model_validate(remaining), mistakes
        except ValidationError as error:
            entries = error.errors(include_url=False)
            paths = [tuple(part for part in entry["loc"] if isinstance(part, str | int)) for entry in entries]
            mistakes += map(_line, paths, entries)
            # All are looked up before the first is removed: of a union, each kind has a mistake of its own.
            for path in {_present(remaining, path) for path in paths}:
                _discard(remaining, path)


def _copy(value: Any) -> Any:
    """Keys as text: YAML reads a name such as 3090 as a number."""
    return {str(key): _copy(item) for key, item in value.items()} if isinstance(value, Mapping) else value


def _present(settings: Any, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """As much of a path as there are keys (an element's mistake is in the whole list), so that one can be removed."""
    if path and isinstance(settings, dict) and path[0] in settings:
        return (path[0], *_present(settings[path[0]], path[1:]))
    return ()


def _discard(settings: dict[str | int, Any], path: tuple[str | int, ...]) -> None:
    """Remove the key at a path, where it was not removed with another."""
    for key in path[:-1]:
        settings = settings.get(key, {})
    settings.pop(path[-1], None)


def _line(path: tuple[str | int, ...], entry: Any) -> str:
    key = ".".join(str(part) for part in path)
    if entry["type"] == "extra_forbidden":
        allowed = list(_block(path[:-1]).model_fields)
        near = difflib.get_close_matches(str(path[-1]), allowed, n=1, cutoff=0.0)
        return f"{key}: unknown key; nearest is '{near[0]}'; allowed: {', '.join(allowed)}"
    own = entry.get("ctx", {}).get("error")  # of a validator of ours
    message = str(own) if own else entry["msg"][0].lower() + entry["msg"][1:]
    return f"{key}: {entry['input']!r} is not allowed; {message}{_nearest(entry)}"


def _nearest(entry: Any) -> str:
    """For a choice among names: the nearest."""
    if entry["type"] != "literal_error" or not isinstance(entry["input"], str):
        return ""
    names = entry["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
    return f"; nearest is '{difflib.get_close_matches(entry['input'], names, n=1, cutoff=0.0)[0]}'"


def _block(path: tuple[str | int, ...]) -> type[BaseModel]:
    """The model at a path of block names; a block of blocks has them by any name."""
    model: type[BaseModel] = Config
    keys = iter(path)
    for key in keys:
        annotation = model.model_fields[str(key)].annotation
        inner = [kind for kind in (annotation, *get_args(annotation)) if _is_block(kind)]
        model = inner[0]
        if get_origin(annotation) is dict:
            next(keys)
    return model


def _is_block(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)

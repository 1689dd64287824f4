"""The files of a report. Light: the Snakefile asks."""

from hamp.configuration.blocks import Config
from hamp.evolution.methods import METHODS
from hamp.hardware.devices import analytic


def files(settings: Config) -> list[str]:
    """Names of the report's files: those that these settings give something to show in."""
    names = ["front.html", "front.svg", "widths.svg", "channels.svg", "hypervolume.svg"]
    if len(settings.methods) > 1:
        names += ["methods.svg", "methods.html"]
    if any(METHODS[method].surrogate and settings.search.last(method) for method in settings.methods):
        names.append("surrogate.svg")
    names.append("origins.svg")
    if not analytic(settings.device):
        names.append("latency.svg")
    if settings.devices or any(name.startswith("energy_mj") for name in settings.objectives):
        names.append("devices.html")
    if validated(settings):
        names.append("validation.html")
    return [*names, "time.svg", "run.html"]


def validated(settings: Config) -> list[str]:
    """Devices ("" the first) whose predictions are put to the test: those that can be measured, unless not wanted."""
    if settings.validation.networks is None:
        return []
    return [name for name, device in settings.all_devices.items() if not analytic(device)]

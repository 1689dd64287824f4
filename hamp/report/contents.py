"""The files of a report. Light: the Snakefile asks."""

from hamp.configuration.blocks import Config
from hamp.evolution.methods import METHODS


def files(settings: Config) -> list[str]:
    """Names of the report's files: those that these settings give something to show in."""
    names = ["front.html", "front.svg", "widths.svg", "channels.svg", "hypervolume.svg"]
    if len(settings.methods) > 1:
        names += ["methods.svg", "methods.html"]
    if settings.search.generations and any(METHODS[method].surrogate for method in settings.methods):
        names.append("surrogate.svg")
    return [*names, "origins.svg", "latency.svg", "time.svg", "run.html"]

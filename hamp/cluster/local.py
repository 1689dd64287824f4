"""Which stages of a run on a cluster are no jobs, but run beside Snakemake itself. Light: the Snakefile asks."""

from collections.abc import Iterable

from hamp.configuration.blocks import Config, Device
from hamp.errors import UserError
from hamp.hardware.devices import analytic, elsewhere

LIGHT = (
    *("settings", "initial", "vary", "surrogate", "local_search", "select"),
    *("hypervolume", "compare", "aggregate", "pareto", "report"),
)
"""Stages of seconds, which as jobs would wait longer than they work."""


def local_stages(settings: Config) -> list[str]:
    """Stages that run beside Snakemake, on the login node.

    Beside the light ones: downloads, since compute nodes often have no internet; what only predicts; and what measures
    no device but such as are reached over ssh, from the login node.
    """
    every = settings.all_devices.values()
    devices_of: dict[str, Iterable[Device]] = {
        "profile": [settings.device],
        "validation": [settings.device],
        "profile_further": settings.devices.values(),
        "validation_further": settings.devices.values(),
        "measure": every if settings.measure.latency == "measured" else [],
        "remeasure": every,
    }
    measuring = [stage for stage, devices in devices_of.items() if all(map(elsewhere, devices))]
    return [*LIGHT, *(["data"] if settings.data.download else []), *measuring]


def idle(stage: str, settings: Config) -> bool:
    """Whether a stage that trains or scores has no use for a GPU: weights are given, or scores are norms of them."""
    given = stage == "pretrain" and settings.network.weights is not None
    return given or (stage == "scores" and settings.importance != "taylor")


def reached(settings: Config) -> list[str]:
    """What the stages that run beside Snakemake need from outside of the cluster."""
    hosts = [f"'{device.host}'" for device in settings.all_devices.values() if device.runtime == "remote"]
    return [*(["the internet (data.download)"] if settings.data.download else []), *hosts]


def check_reach(settings: Config) -> None:
    """Check that each stage can reach its devices from one place.

    Raises:
        UserError: one device is measured from the login node, and another on a compute node.
    """
    blocks = {f"devices.{name}" if name else "device": device for name, device in settings.all_devices.items()}
    measured = {block: device for block, device in blocks.items() if not analytic(device)}
    far = [name for name, device in measured.items() if elsewhere(device)]
    near = [name for name in measured if name not in far]
    if far and near:
        raise UserError(
            f"{far[0]}.runtime: 'remote' is reached from the login node, but {near[0]} ('{measured[near[0]].runtime}') "
            "is measured on a compute node, and a cluster run measures all its devices in one job; describe one of "
            "them (runtime 'roofline'), or make two runs"
        )

"""A described device: latency from its data sheet by the roofline model, without measuring anything.

A layer takes the greater of its arithmetic at peak speed and its traffic at full bandwidth, and a constant
for its launch. Williams, Waterman, Patterson: *Roofline: an insightful visual performance model for multicore
architectures*, CACM 52(4), 2009. It plans and it tests; what a device really takes, only measuring tells.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hamp.configuration.blocks import Device
from hamp.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from hamp.pruning.space import Space

FOLDER = Path(__file__).parents[3] / "resources" / "devices"
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


class Description(BaseModel):
    """What is known of a device."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: str
    peak_flops: dict[str, Annotated[float, Field(gt=0.0)]] = Field(min_length=1)
    bandwidth: float = Field(gt=0.0)
    launch_seconds: float = Field(ge=0.0)
    channel_multiple: int = Field(1, ge=1)


def check(settings: Device) -> None:
    """Raise `UserError` where the description is absent or wrong, or lacks the data type."""
    describe(settings)


def fingerprint(settings: Device) -> dict[str, str]:
    """The description itself."""
    return {key: str(value) for key, value in describe(settings).model_dump().items() if key != "source"}


def describe(settings: Device) -> Description:
    """The description named by `device.description`: a file in `resources/devices/`, or a path.

    Raises:
        UserError: there is none of that name, it is not valid, or it has no peak for the data type.
    """
    path = file_of(settings)
    try:
        description = Description.model_validate(yaml.safe_load(path.read_text()))
    except yaml.YAMLError as error:
        raise UserError(f"device.description: {path}: not YAML ({str(error).splitlines()[0]})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"device.description: {path}: {where}: {first['msg']}") from None
    if settings.data_type not in description.peak_flops:
        described = ", ".join(description.peak_flops)
        raise UserError(f"device.data_type: '{settings.data_type}': {path.name} describes only {described}")
    return description


def file_of(settings: Device) -> Path:
    """The file that describes the device: one of `resources/devices/`, or the user's own.

    Raises:
        UserError: there is none of that name.
    """
    name = settings.description
    known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    allowed = f"one of {', '.join(known)}, or a path"
    if name is None:
        raise UserError(f"device.description: missing; runtime 'roofline' needs a device's description: {allowed}")
    path = FOLDER / f"{name}.yaml" if name in known else Path(name)
    if not path.is_file():
        raise UserError(f"device.description: '{name}': no such file; it may be {allowed}")
    return path


def latency_ms(settings: Device, space: "Space", widths: "np.ndarray") -> "np.ndarray":
    """Latency of one inference (a batch) of pruned networks, (n,), in ms."""
    import numpy as np

    from hamp.hardware import layers

    description = describe(settings)
    size, batch = BYTES[settings.data_type], settings.batch_size
    peak, bandwidth = description.peak_flops[settings.data_type], description.bandwidth
    found, cheap = layers.columns(space, widths)
    total = cheap * batch * size / bandwidth
    for column in found:
        # Channels are worked on in whole vectors: the last one costs as much as a full one.
        arithmetic = 2.0 * column.padded(description.channel_multiple).macs * batch / peak
        traffic = (column.weights + column.activations * batch) * size / bandwidth
        present = column.in_channels > 0
        total = total + np.where(present, np.maximum(arithmetic, traffic) + description.launch_seconds, 0.0)
    return np.asarray(1e3 * total)

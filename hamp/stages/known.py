"""What is known of a candidate without evaluating it: one function for what is recorded and what is predicted."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from hamp.hardware.devices.roofline import BYTES
from hamp.hardware.predictor import device_of, predictor
from hamp.pruning.space import Space

COMPUTED = ("memory_bytes", "macs", "parameters")
"""Objectives that follow from the widths exactly."""


def known(space: Space, profile: pa.Table) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Function from widths (n, groups) to `memory_bytes` at the device's batch size and data type, `macs`,
    `parameters`, and the `latency_predicted_ms` of the profile, each (n,)."""
    latency, device = predictor(profile, space), device_of(profile)

    def of(widths: np.ndarray) -> dict[str, np.ndarray]:
        costs = space.costs(widths, batch_size=device.batch_size, bytes_per_element=BYTES[device.data_type])
        return {"latency_predicted_ms": latency(widths), **{name: costs[name] for name in COMPUTED}}

    return of

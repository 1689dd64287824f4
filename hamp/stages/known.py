"""What is known of a candidate without evaluating it: one function for what is recorded and what is predicted."""

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from hamp.hardware.devices.roofline import BYTES
from hamp.hardware.predictor import device_of, predictor
from hamp.pruning.space import Space
from hamp.tables import at

Profiles = Mapping[str, pa.Table]
"""Table PROFILE of each device by name; that of block `device` has the name "", and is always among them."""

COMPUTED = ("memory_bytes", "macs", "parameters")
"""Objectives that follow from the widths exactly."""


def known(space: Space, profiles: Profiles) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Function from widths (n, groups) to `memory_bytes` at the first device's batch size and data type, `macs`,
    `parameters`, and the `latency_predicted_ms` of each profile, each (n,)."""
    latency = {at("latency_predicted_ms", device): predictor(table, space) for device, table in profiles.items()}
    first = device_of(profiles[""])

    def of(widths: np.ndarray) -> dict[str, np.ndarray]:
        costs = space.costs(
            widths,
            batch_size=first.batch_size,
            bytes_per_element=BYTES[first.data_type],
            eager=first.runtime == "pytorch",
        )
        return {
            **{name: predict(widths) for name, predict in latency.items()},
            **{name: costs[name] for name in COMPUTED},
        }

    return of

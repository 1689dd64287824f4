"""Stages `profile`, `measure` and `remeasure`: what the device shows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from hamp.candidates import UNPRUNED
from hamp.configuration.blocks import Device, Measure
from hamp.pruning.space import Space
from hamp.seeding import seed_of
from hamp.stages.known import known
from hamp.tables import MEASURED, build, matrix

if TYPE_CHECKING:
    from torch import nn


def predicted(candidates: pa.Table, space: Space, profile: pa.Table) -> pa.Table:
    """Table MEASURED with the profile's predictions; nothing is run."""
    of = known(space, profile)
    values = of(matrix(candidates))
    unpruned = of(np.asarray(space.channels)[None, :])
    return build(
        MEASURED,
        {
            "candidate": candidates["candidate"],
            "latency_ms": values["latency_predicted_ms"],
            "latency_iqr_ms": np.zeros(len(candidates)),
            **values,
            "baseline_latency_ms": np.full(len(candidates), unpruned["latency_predicted_ms"][0]),
        },
    )


def pruned(candidates: pa.Table, model: "nn.Module", space: Space, scores: list[np.ndarray]) -> dict[str, "nn.Module"]:
    """The network of each candidate, by name: what `measured` measures of a generation."""
    from hamp.pruning.slicing import prune

    named = zip(candidates["candidate"].to_pylist(), matrix(candidates), strict=True)
    return {name: prune(model, space, widths, scores) for name, widths in named}


def measured(
    candidates: pa.Table,
    networks: Mapping[str, "nn.Module"],
    model: "nn.Module",
    space: Space,
    profile: pa.Table,
    shape: tuple[int, int, int],
    device: Device,
    settings: Measure,
    *,
    seed: int,
) -> pa.Table:
    """Table MEASURED: networks timed on the device by turns with the unpruned one.

    Args:
        candidates: table with the columns `candidate` and `widths`.
        networks: the network of each candidate, by name.
        model: the unpruned network.
        space: of the network.
        profile: of the device.
        shape: channels, height and width of an image.
        device: to measure on.
        settings: how to measure.
        seed: of the order within a round.
    """
    from hamp.hardware.devices import load
    from hamp.hardware.measuring import measure

    prepare = load(device).prepare
    prepared = {UNPRUNED: prepare(model, shape, device)}
    prepared |= {name: prepare(network, shape, device) for name, network in networks.items()}
    latency = measure(prepared, device, settings, seed=seed_of(seed, "measure"))
    row = {name: index for index, name in enumerate(latency["candidate"].to_pylist())}
    latency = latency.take(pa.array([row[name] for name in candidates["candidate"].to_pylist()], pa.int64()))
    table = build(
        MEASURED,
        {
            **{name: latency[name] for name in ("candidate", "latency_ms", "latency_iqr_ms", "baseline_latency_ms")},
            **known(space, profile)(matrix(candidates)),
        },
    )
    return table.replace_schema_metadata(latency.schema.metadata)

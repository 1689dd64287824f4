"""Stages `profile`, `measure` and `remeasure`: what the devices show."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hamp.candidates import UNPRUNED
from hamp.configuration.blocks import Device, Measure
from hamp.hardware import fingerprint
from hamp.hardware.devices import analytic, load
from hamp.hardware.predictor import baseline_of, device_of, predict
from hamp.pruning.space import Space
from hamp.seeding import seed_of
from hamp.stages.known import Profiles, known
from hamp.tables import ENERGY, MEASURED, at, build, matrix

if TYPE_CHECKING:
    from torch import nn

Devices = Mapping[str, Device]
"""Settings of each device by name; that of block `device` has the name ""."""

PREDICTED = "latency_predicted_ms"
TIMED = ("latency_ms", "latency_iqr_ms", "baseline_latency_ms")


def predicted(candidates: pa.Table, space: Space, profiles: Profiles) -> pa.Table:
    """Table MEASURED with the profiles' predictions; nothing is run."""
    values = _known(candidates, space, profiles)
    columns = {"candidate": candidates["candidate"], **values}
    for device, profile in profiles.items():
        columns |= _as_predicted(values, space, profile, device)
    return build(MEASURED, columns)


def pruned(candidates: pa.Table, model: "nn.Module", space: Space, scores: list[np.ndarray]) -> dict[str, "nn.Module"]:
    """The network of each candidate, by name: what `measured` measures of a generation."""
    from hamp.pruning.slicing import prune

    named = zip(candidates["candidate"].to_pylist(), matrix(candidates), strict=True)
    return {name: prune(model, space, widths, scores) for name, widths in named}


def measured(
    candidates: pa.Table,
    networks: "Mapping[str, nn.Module]",
    model: "nn.Module",
    space: Space,
    profiles: Profiles,
    shape: tuple[int, int, int],
    devices: Devices,
    settings: Measure,
    *,
    seed: int,
    energy: Sequence[str] = (),
) -> pa.Table:
    """Table MEASURED: networks timed on each device by turns with the unpruned one; predicted on a described one.

    Predictions are what the session would have shown: the predicted ratio to the unpruned network, times the latency of
    that as measured now.

    Args:
        candidates: table with the columns `candidate` and `widths`.
        networks: the network of each candidate, by name.
        model: the unpruned network.
        space: of the network.
        profiles: of the devices.
        shape: channels, height and width of an image.
        devices: to measure on.
        settings: how to measure.
        seed: of the order within a round.
        energy: the objectives that are energy.

    Raises:
        UserError: a device is not the one that was profiled, or does not tell its energy.
    """
    values = _known(candidates, space, profiles)
    columns: dict[str, Any] = {"candidate": candidates["candidate"], **values}
    facts: dict[str, dict[str, str]] = {}
    for device, own in devices.items():
        if analytic(own):
            columns |= _as_predicted(values, space, profiles[device], device)
            continue
        prepare = load(own).prepare
        prepared = {UNPRUNED: prepare(model, shape, own)}
        prepared |= {name: prepare(network, shape, own) for name, network in networks.items()}
        timed = _timed(candidates, prepared, own, settings, profiles[device], seed)
        columns |= {at(name, device): timed[name] for name in TIMED}
        scale = timed["baseline_latency_ms"].to_numpy() / baseline_of(profiles[device])
        columns[at(PREDICTED, device)] = values[at(PREDICTED, device)] * scale
        facts[device] = fingerprint.of(timed)
        if at(ENERGY, device) in energy:
            columns[at(ENERGY, device)] = _energy(candidates, prepared, own, settings)
    table = build(MEASURED, columns)
    for device, told in facts.items():
        table = fingerprint.attach(table, told, device)
    return table


def as_profiled(measured: pa.Table, profiles: Profiles) -> pa.Table:
    """Table MEASURED of one session, its latencies as they would have been in that of the profile.

    A search compares what was measured in different sessions, between which the clock and the neighbours of a machine
    change. What they leave as it is, is the ratio to the unpruned network of the same session: that times the
    unpruned network's latency in the profile.
    """
    for device, profile in profiles.items():
        if analytic(device_of(profile)):
            continue
        baseline, session = baseline_of(profile), measured[at("baseline_latency_ms", device)].to_numpy()
        for name in (at(name, device) for name in (*TIMED, PREDICTED)):
            scaled = pa.array(measured[name].to_numpy() * (baseline / session))
            measured = measured.set_column(measured.column_names.index(name), measured.schema.field(name), scaled)
    return measured


def _timed(
    candidates: pa.Table, prepared: Mapping[str, Any], device: Device, settings: Measure, profile: pa.Table, seed: int
) -> pa.Table:
    """Table LATENCY of the candidates, in their order."""
    from hamp.hardware.measuring import measure

    table = measure(prepared, device, settings, seed=seed_of(seed, "measure"))
    advice = "measure where the profile was made, as it was then, or delete the run's profile/ and search anew"
    fingerprint.check(fingerprint.of(profile), fingerprint.of(table), ("the profile", "now"), advice)
    row = {name: index for index, name in enumerate(table["candidate"].to_pylist())}
    return table.take(pa.array([row[name] for name in candidates["candidate"].to_pylist()], pa.int64()))


def _energy(candidates: pa.Table, prepared: Mapping[str, Any], device: Device, settings: Measure) -> list[float]:
    """Energy of one inference of each candidate, in mJ."""
    from hamp.hardware.energy import meter, per_inference

    read = meter(device)
    return [per_inference(prepared[name], read, settings.seconds) for name in candidates["candidate"].to_pylist()]


def _known(candidates: pa.Table, space: Space, profiles: Profiles) -> dict[str, np.ndarray]:
    return known(space, profiles)(matrix(candidates))


def _as_predicted(values: Mapping[str, np.ndarray], space: Space, profile: pa.Table, device: str) -> dict[str, Any]:
    """Columns of a device on which nothing is measured."""
    latency = values[at(PREDICTED, device)]
    unpruned = predict(profile, space, np.asarray(space.channels)[None, :])[0]
    found = (latency, np.zeros(len(latency)), np.full(len(latency), unpruned))
    return {at(name, device): column for name, column in zip(TIMED, found, strict=True)}

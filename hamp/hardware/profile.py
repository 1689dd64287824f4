"""Profile of a device: what is timed before the search, in one command and without a hand-written file.

A latency table for each family of layers over a grid of widths, the unpruned network, and some random pruned
networks, by which `hamp.hardware.predictor` corrects the sum of the layers.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hamp import tables
from hamp.candidates import UNPRUNED, name_of
from hamp.configuration.blocks import Device, Measure, Profile
from hamp.hardware import fingerprint, grid, layers, measuring, predictor
from hamp.hardware.devices import analytic, load, roofline
from hamp.hardware.predictor import efficient_widths, predict
from hamp.pruning.space import Space
from hamp.seeding import generator, seed_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build", "efficient_widths", "predict", "random_networks", "time_networks"]

# Share of the time budget that the layers' tables have; whole networks have the rest.
LAYERS = 0.6
# Layers prepared at once: at most this many, and this many elements of weights and activations.
LOT, ELEMENTS = 256, 2**26
# Channels that are computed at once where the device tells nothing of it; a GPU does so in tiles of multiples of it.
VECTOR = 16
# Layers between two runs of the reference layer; shortest sample of a layer in seconds.
EVERY, SAMPLE = 4, 2e-4


def build(
    model: "nn.Module",
    space: Space,
    shape: tuple[int, int, int],
    device: Device,
    settings: Profile,
    scores: Any,
    seed: int,
) -> pa.Table:
    """Profile by `tables.PROFILE`, the device and its fingerprint in the metadata.

    Args:
        model: the unpruned network, in eval mode.
        space: of the network.
        shape: (channels, height, width) of an image.
        scores: importance of the channels, as `hamp.pruning.prune` takes it.
        seed: of the run.
    """
    if analytic(device):
        return _described(space, device)
    facts = fingerprint.take(device)
    step = VECTOR if device.processor == "cuda" else int(facts.get("vector channels", VECTOR))
    extremes = np.stack([_minimum(space), np.asarray(space.channels)]).astype(np.int32)
    found, cheap = layers.columns(space, extremes)
    cells = [cell for family in grid.cells(found, settings.points, step).values() for cell in family]
    sizes = (int(cheap[-1]) // 8 + 1, int(cheap[-1]) // 2 + 2)
    cells += [layers.Layer(layers.ELEMENTWISE, size, size) for size in sizes]
    rows = [*_layer_rows(cells, _middle(found), device, settings, seed)]
    rows += _network_rows(model, space, shape, device, settings, scores, seed)
    return _table(rows, device, facts, step)


def validate(
    model: "nn.Module",
    space: Space,
    shape: tuple[int, int, int],
    device: Device,
    settings: Measure,
    scores: Any,
    seed: int,
    profile: pa.Table,
    networks: int,
) -> pa.Table:
    """Figures of the predictor (`tables.VALIDATION`) on random networks, measured for it.

    No rows for a described device, and where the space has fewer than 3 networks to hold out.

    Args:
        networks: how many; they are others than those of the profile.
        profile: of the device; the other arguments as for `build`.
    """
    if analytic(device):
        return tables.empty(tables.VALIDATION)
    from hamp.hardware import validation

    widths = np.unique(random_networks(space, networks, generator(seed, "validation")), axis=0)
    known = {name_of(row) for row in predictor.observations(profile)[0]}
    widths = widths[[name_of(row) not in known for row in widths]]
    if len(widths) < 3:
        return tables.empty(tables.VALIDATION)
    timed = time_networks(model, space, shape, widths, device, settings, scores, seed_of(seed, "validation"))
    return validation.validate(profile, space, widths, timed.slice(1))


def random_networks(space: Space, count: int, rng: np.random.Generator) -> np.ndarray:
    """Widths (count, groups) of random networks: of every size, some groups narrower than others."""
    size = (np.arange(count) + rng.random(count)) / count
    spread = rng.uniform(0.0, 0.5, count)
    fractions = size[:, None] + spread[:, None] * rng.uniform(-1.0, 1.0, (count, space.groups))
    widths = np.empty((count, space.groups), np.int32)
    for group in range(space.groups):
        allowed = predictor.allowed_widths(space, group)
        target = fractions[:, group] * (allowed[-1] - allowed[0]) + allowed[0]
        widths[:, group] = allowed[np.abs(allowed[None, :] - target[:, None]).argmin(axis=1)]
    return np.asarray(space.canonical(widths))


def time_networks(
    model: "nn.Module",
    space: Space,
    shape: tuple[int, int, int],
    widths: np.ndarray,
    device: Device,
    settings: Measure,
    scores: Any,
    seed: int,
) -> pa.Table:
    """Latency (`tables.LATENCY`) of the unpruned network and of pruned ones, in the order of `widths`."""
    from hamp.pruning.slicing import prune

    module = load(device)
    prepared = {UNPRUNED: module.prepare(model, shape, device)}
    for row in widths:
        prepared[name_of(row)] = module.prepare(prune(model, space, row, scores), shape, device)
    return measuring.measure(prepared, device, settings, seed=seed)


def _middle(found: list[layers.Column]) -> layers.Layer:
    """The layer of the unpruned network with the middle number of operations."""
    column = sorted(found, key=lambda column: float(column.macs[-1]))[len(found) // 2]
    return layers.Layer(column.family, int(column.in_channels[-1]), int(column.out_channels[-1]))


def _minimum(space: Space) -> np.ndarray:
    lowest = []
    for group in range(len(space.channels)):
        allowed = predictor.allowed_widths(space, group)
        lowest.append(allowed[allowed > 0][0])
    return np.array(lowest)


def _layer_rows(
    cells: list[layers.Layer], reference: layers.Layer, device: Device, settings: Profile, seed: int
) -> Iterator[dict[str, Any]]:
    """Cells timed by turns with one layer, and scaled to its median time over the whole session."""
    module = load(device)
    baselines: list[float] = []
    spreads: dict[layers.Layer, np.ndarray] = {}
    for number, lot in enumerate(_lots(cells, device.batch_size)):
        named = {"reference": reference, **{str(index): cell for index, cell in enumerate(lot)}}
        played = module.play(
            {name: module.prepare_layer(cell, device) for name, cell in named.items()},
            reference="reference",
            rounds=settings.rounds,
            warmup=3,
            seconds=LAYERS * settings.seconds / len(cells),
            seed=seed_of(seed, "profile layers", number),
            every=EVERY,
            sample=SAMPLE,
        )
        baselines += played["times"]["reference"]
        for index, cell in enumerate(lot):
            ratios = measuring.ratios_of(played, str(index), "reference")
            spreads[cell] = np.percentile(ratios, [25, 50, 75])
        if sys.stderr.isatty():
            print(f"\rprofile: {len(spreads)} of {len(cells)} layers timed", end="", file=sys.stderr)
    scale = 1e3 * float(np.median(baselines))
    for cell, (low, middle, high) in spreads.items():
        yield {
            "kind": "layer",
            "name": cell.family.signature,
            "in_channels": cell.in_channels,
            "out_channels": cell.out_channels,
            "widths": [],
            "latency_ms": scale * middle,
            "latency_iqr_ms": scale * (high - low),
            "baseline_latency_ms": 0.0,
        }


def _lots(cells: list[layers.Layer], batch: int) -> Iterator[list[layers.Layer]]:
    """Cells in lots that fit into memory together."""
    lot: list[layers.Layer] = []
    held = 0.0
    for cell in cells:
        size = _elements(cell, batch)
        if lot and (len(lot) >= LOT or held + size > ELEMENTS):
            yield lot
            lot, held = [], 0.0
        lot.append(cell)
        held += size
    yield lot


def _elements(cell: layers.Layer, batch: int) -> float:
    column = layers.Column("", cell.family, np.array([cell.in_channels]), np.array([cell.out_channels]))
    return float(column.weights[0] + batch * column.activations[0])


def _network_rows(
    model: "nn.Module",
    space: Space,
    shape: tuple[int, int, int],
    device: Device,
    settings: Profile,
    scores: Any,
    seed: int,
) -> list[dict[str, Any]]:
    widths = random_networks(space, settings.networks, generator(seed, "profile"))
    widths = np.unique(widths, axis=0)
    seconds = (1.0 - LAYERS) * settings.seconds / (len(widths) + 1)
    measure = Measure(rounds=settings.rounds, seconds=seconds, warmup=3)
    timed = time_networks(model, space, shape, widths, device, measure, scores, seed_of(seed, "profile networks"))
    rows = timed.to_pylist()
    full = [int(channels) for channels in space.channels]
    for row, own in zip(rows, [full, *widths.tolist()], strict=True):
        row.update(kind="network", name=row.pop("candidate"), in_channels=0, out_channels=0, widths=own)
    return rows


def _described(space: Space, device: Device) -> pa.Table:
    """Profile of a described device: the unpruned network, computed."""
    full = np.asarray(space.channels, dtype=np.int32)
    latency = float(roofline.latency_ms(device, space, full[None, :])[0])
    row = {
        "kind": "network",
        "name": UNPRUNED,
        "in_channels": 0,
        "out_channels": 0,
        "widths": full.tolist(),
        "latency_ms": latency,
        "latency_iqr_ms": 0.0,
        "baseline_latency_ms": latency,
    }
    return _table([row], device, fingerprint.take(device), roofline.describe(device).channel_multiple)


def _table(rows: list[dict[str, Any]], device: Device, facts: Mapping[str, str], step: int) -> pa.Table:
    table = tables.build(tables.PROFILE, {name: [row[name] for row in rows] for name in tables.PROFILE.names})
    metadata = {predictor.DEVICE: device.model_dump_json(), predictor.STEP: str(step)}
    return fingerprint.attach(table.replace_schema_metadata(metadata), facts)

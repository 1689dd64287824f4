"""Latency of a pruned network from the profile of a device. NumPy only: light stages call it.

Features are the latencies of a network's layers, interpolated in their tables; the elements that its layers
without weights move; and a constant. The whole networks that were timed say how much each feature weighs:
one common factor, with a constant (layers in a network run a little slower or faster than alone), or a factor of each
layer's own (ridge regression), as far as cross-validation speaks for it.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from hamp import tables
from hamp.configuration.blocks import Device
from hamp.errors import UserError
from hamp.hardware import grid, layers
from hamp.hardware.devices import roofline
from hamp.pruning.space import Space

DEVICE = b"device"
STEP = b"step"
# From the plain sum, by one common factor (None), over a common factor and a constant (infinity), to a factor of each
# layer's own, by the strength of its pull to the common one (ridge regression).
WAYS = (None, np.inf, 10.0, 1.0, 1e-1, 1e-2, 1e-3)
FOLDS = 10

Predictor = Callable[[np.ndarray], np.ndarray]


def predict(profile: pa.Table, space: Space, widths: np.ndarray) -> np.ndarray:
    """Latency in ms of pruned networks, (n,); see `predictor`."""
    return predictor(profile, space)(widths)


def predictor(profile: pa.Table, space: Space) -> Predictor:
    """Function from widths (n, groups) to the latency of one inference (a batch), (n,), in ms.

    Args:
        profile: by `tables.PROFILE`.
        space: of the network.

    Raises:
        UserError: the profile belongs to another network.
    """
    device = device_of(profile)
    if device.runtime == "roofline":
        return lambda widths: roofline.latency_ms(device, space, widths)
    features = layer_latencies(profile, space)
    widths, ratios = observations(profile)
    if widths.shape[1] != space.groups:
        raise UserError(
            f"the profile is of a network with {widths.shape[1]} groups, the space has {space.groups}: profile again"
        )
    baseline = baseline_of(profile)
    factors = fit(features(widths), ratios * baseline)
    return lambda queries: np.asarray(features(np.asarray(queries)) @ factors)


def device_of(profile: pa.Table) -> Device:
    """The device that a profile describes."""
    return Device.model_validate_json(_metadata(profile, DEVICE))


def baseline_of(profile: pa.Table) -> float:
    """Latency of the unpruned network, in ms."""
    networks = _rows(profile, "network")
    return float(networks["baseline_latency_ms"][0].as_py())


def layer_latencies(profile: pa.Table, space: Space) -> Predictor:
    """Function from widths (n, groups) to the features (n, layers + 2), in ms."""
    step = int(_metadata(profile, STEP))
    by_name: dict[str, dict[tuple[int, int], float]] = {}
    for row in _rows(profile, "layer").to_pylist():
        by_name.setdefault(row["name"], {})[row["in_channels"], row["out_channels"]] = row["latency_ms"]
    element_ms = _slope(by_name[layers.ELEMENTWISE.signature])
    built: dict[str, grid.Table] = {}

    def table_of(column: layers.Column) -> grid.Table:
        name = column.family.signature
        if name not in by_name:
            raise UserError(f"the profile lacks layer '{name}' ({column.name}): of another network; profile again")
        if name not in built:
            built[name] = grid.table(by_name[name], column.family.grouped, step)
        return built[name]

    def features(widths: np.ndarray) -> np.ndarray:
        found, cheap = layers.columns(space, widths)
        parts = [table_of(column)(column) for column in found]
        return np.column_stack([*parts, cheap * element_ms, np.ones(len(cheap))])

    return features


def observations(profile: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Widths (n, groups) of the whole networks timed, and their latency over the unpruned one's, (n,)."""
    networks = _rows(profile, "network")
    latency, baseline = tables.columns(networks, ["latency_ms", "baseline_latency_ms"]).T
    return tables.matrix(networks), latency / baseline


def fit(features: np.ndarray, latency: np.ndarray) -> np.ndarray:
    """Factors (f,) of the features (n, f), the last of which is the constant; relative errors count.

    The way of WAYS whose cross-validated error is least; among ways that cannot be told apart (a standard error of the
    paired difference) the plainest, so that correcting never does worse than the plain sum but by chance.
    """
    rows = features / latency[:, None]
    fold = np.arange(len(rows)) % min(len(rows), FOLDS)
    errors = []
    for way in WAYS:
        left_out = np.empty(len(rows))
        for number in range(fold.max() + 1):
            held = fold == number
            left_out[held] = 1.0 - rows[held] @ _factors(rows[~held], way)
        errors.append(left_out**2)
    best = int(np.argmin([error.mean() for error in errors]))
    for number, error in enumerate(errors):
        difference = error - errors[best]
        if difference.mean() <= difference.std() / np.sqrt(len(rows)):
            return _factors(rows, WAYS[number])
    raise AssertionError("the best way is as good as itself")


def _factors(rows: np.ndarray, way: float | None) -> np.ndarray:
    """Factors (f,) that bring `rows` (n, f), features over latency, nearest to 1."""
    total = rows[:, :-1].sum(axis=1)
    common = np.zeros(rows.shape[1])
    if way is None:
        common[:-1] = total.sum() / (total @ total)
        return common
    common[:-1], common[-1] = _two(total, rows[:, -1])
    if np.isinf(way):
        return common
    shares = rows * np.where(common > 0, common, common[0])
    gram = shares @ shares.T
    moves = shares.T @ np.linalg.solve(gram + way * np.eye(len(gram)), 1.0 - rows @ common)
    return common + np.maximum(moves, -0.9) * np.where(common > 0, common, common[0])


def efficient_widths(profile: pa.Table, space: Space) -> list[np.ndarray]:
    """For each group the allowed widths that no wider width beats in latency, all other groups whole."""
    allowed = [allowed_widths(space, group) for group in range(space.groups)]
    sizes = [len(widths) for widths in allowed]
    widths = np.repeat(np.asarray(space.channels)[None, :], sum(sizes), axis=0).astype(np.int32)
    widths[np.arange(len(widths)), np.repeat(np.arange(space.groups), sizes)] = np.concatenate(allowed)
    times = predictor(profile, space)(space.canonical(widths))
    found = []
    for own, taken in zip(allowed, np.split(times, np.cumsum(sizes)[:-1]), strict=True):
        wider = np.append(np.minimum.accumulate(taken[::-1])[::-1][1:], np.inf)
        found.append(own[taken < wider])
    return found


def allowed_widths(space: Space, group: int) -> np.ndarray:
    """Widths that a group may have, ascending: 0 for a branch that may go, multiples, the full width."""
    low, high, multiple = (int(values[group]) for values in (space.minimum, space.channels, space.multiple))
    first = -(-low // multiple) * multiple
    gone = [0] if space.branch[group] else []
    return np.unique([*gone, *range(first, high + 1, multiple), high]).astype(np.int32)


def _two(total: np.ndarray, ones: np.ndarray) -> tuple[float, float]:
    """Non-negative least squares of 1 on two non-negative columns."""
    both, *_ = np.linalg.lstsq(np.column_stack([total, ones]), np.ones(len(total)), rcond=None)
    if both.min() >= 0:
        return float(both[0]), float(both[1])
    slope, constant = total.sum() / (total @ total), ones.sum() / (ones @ ones)
    if np.sum((1 - slope * total) ** 2) <= np.sum((1 - constant * ones) ** 2):
        return float(slope), 0.0
    return 0.0, float(constant)


def _slope(rows: dict[tuple[int, int], float]) -> float:
    """Latency of one more element in an elementwise layer, in ms."""
    elements = [float(size) for size, _ in rows]
    return max(float(np.polyfit(elements, list(rows.values()), 1)[0]), 0.0)


def _rows(profile: pa.Table, kind: str) -> pa.Table:
    return profile.filter(pa.compute.equal(profile["kind"], kind))


def _metadata(profile: pa.Table, key: bytes) -> str:
    text = (profile.schema.metadata or {}).get(key)
    if text is None:
        raise UserError(f"the profile lacks '{key.decode()}' in its metadata; run the profile stage again")
    return str(text.decode())

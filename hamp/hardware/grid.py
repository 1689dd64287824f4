"""Which widths of a layer are timed, and the latency between them.

Latency climbs in steps, not smoothly: kernels work on whole vectors of channels, and some fall back to slow
code where the channels do not fill a vector. So widths that are multiples of the vector and widths that are
not are two curves; each has points of its own, those of the second at both ends of a step, and each is
interpolated linearly.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from hamp.hardware.layers import Column, Family, Layer


def axis(low: int, high: int, points: int, step: int) -> list[int]:
    """At most `points` widths from `low` to `high`, ascending, both ends among them.

    Args:
        step: channels in a vector.
    """
    if high - low < points:
        return list(range(low, high + 1))
    ends = {low, high}
    whole = [w for w in range(low, high + 1) if w % step == 0]
    inside = {k * step + offset for k in range(high // step + 1) for offset in (1, step // 2, step - 1)}
    partial = sorted(w for w in inside - ends if low < w < high and w % step)
    share = min(len(set(whole) - ends), (points - 2) // 2)
    chosen = ends | set(_spread([w for w in whole if w not in ends], share))
    chosen |= set(_spread(partial, points - len(chosen)))
    rest = [w for w in range(low, high + 1) if w not in chosen]
    return sorted(chosen | set(_spread(rest, points - len(chosen))))


def _spread(values: list[int], count: int) -> list[int]:
    """`count` of the values, evenly spread (all, where there are fewer)."""
    if count >= len(values):
        return values
    return [values[(2 * rank + 1) * len(values) // (2 * count)] for rank in range(count)]


def cells(columns: Iterable[Column], points: int, step: int) -> dict[Family, list[Layer]]:
    """The cells of each family's table, from the extreme widths of its layers.

    Args:
        columns: layers whose arrays hold the least and the greatest width.
        points: widths a side, at most.
        step: channels in a vector.
    """
    spans: dict[Family, list[int]] = {}
    for column in columns:
        ends = [int(pick(side)) for side in (column.in_channels, column.out_channels) for pick in (np.min, np.max)]
        span = spans.setdefault(column.family, ends)
        span[:] = [pick(pair) for pick, pair in zip((min, max, min, max), zip(span, ends, strict=True), strict=True)]
    found = {}
    for family, (low_in, high_in, low_out, high_out) in spans.items():
        if family.grouped:
            inputs, outputs = family.group
            groups = sorted({max(1, w // inputs) for w in axis(low_in, high_in, points, step)})
            found[family] = [Layer(family, inputs * count, outputs * count) for count in groups]
        else:
            both = product(axis(low_in, high_in, points, step), axis(low_out, high_out, points, step))
            found[family] = [Layer(family, *pair) for pair in both]
    return found


@dataclass(frozen=True)
class Table:
    """Latency of one family over a grid: `values` is (inputs, outputs), in ms.

    A grouped family has one column: its output follows its input.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    values: np.ndarray
    step: int

    def __call__(self, column: Column) -> np.ndarray:
        """Latency of a layer, (n,), in ms; 0 where it is gone."""
        rows = weights(self.inputs, column.in_channels, self.step) * (column.in_channels > 0)[:, None]
        if self.values.shape[1] == 1:
            return np.asarray(rows @ self.values[:, 0])
        return np.einsum("ni,ij,nj->n", rows, self.values, weights(self.outputs, column.out_channels, self.step))


def table(rows: Mapping[tuple[int, int], float], grouped: bool, step: int) -> Table:
    """Table of one family from latencies by (input, output) channels."""
    if grouped:
        pairs = sorted(rows)
        return Table(np.array([i for i, _ in pairs]), np.array([0]), np.array([[rows[pair]] for pair in pairs]), step)
    inputs, outputs = (np.array(sorted({key[side] for key in rows})) for side in (0, 1))
    return Table(inputs, outputs, np.array([[rows[i, o] for o in outputs] for i in inputs]), step)


def weights(points: np.ndarray, queries: np.ndarray, step: int) -> np.ndarray:
    """Matrix (n, points) that interpolates between the points of the query's own curve.

    A query beyond the points of its curve, or on a curve with no points, is interpolated between all points.
    """
    result = np.zeros((len(queries), len(points)))
    everything = np.arange(len(points))
    exact = np.isin(queries, points)
    for whole in (True, False):
        members = everything[(points % step == 0) == whole]
        mine = ((queries % step == 0) == whole) & ~exact
        covered = mine & False
        if len(members) >= 2:
            covered = mine & (queries >= points[members[0]]) & (queries <= points[members[-1]])
            result[covered] = _linear(points, members, queries[covered])
        result[mine & ~covered] = _linear(points, everything, queries[mine & ~covered])
    result[exact] = _linear(points, everything, queries[exact])
    return result


def _linear(points: np.ndarray, members: np.ndarray, queries: np.ndarray) -> np.ndarray:
    result = np.zeros((len(queries), len(points)))
    if len(members) == 1:
        result[:, members[0]] = 1.0
        return result
    own = points[members]
    right = np.clip(np.searchsorted(own, queries), 1, len(own) - 1)
    share = np.clip((queries - own[right - 1]) / (own[right] - own[right - 1]), 0.0, 1.0)
    rows = np.arange(len(queries))
    result[rows, members[right - 1]] = 1.0 - share
    result[rows, members[right]] += share
    return result

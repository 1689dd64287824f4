"""Preference scenarios: what a portfolio of candidates is to be good at.

A scenario is a ray from the reference point (a bit worse than the worst of the front in every objective) towards
better objective values: one way of trading the objectives off. What a candidate is worth in a scenario is how far
along the ray it reaches,

    reach(z, d) = min_j max(0, reference_j - z_j) / d_j      with z normalised to ideal 0, nadir 1,

an achievement scalarising function of the Tchebycheff family. A portfolio is worth, in each scenario, what its best
member is. With the reach raised to the number of objectives the sum over uniformly spread rays is proportional to
the hypervolume (Shang, Ishibuchi and Ni, *R2-based hypervolume contribution approximation*, IEEE TEVC 2020).
"""

from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hamp.analysis.dominance import non_dominated

Array = NDArray[np.float64]
MARGIN = 0.2  # how far the reference point lies behind the nadir at least, as a share of the front's extent
NEAREST = 0.05  # how near to the ideal a limit can bring it: nearer, nothing known is worth anything, and gain no guide


@dataclass(frozen=True)
class Scale:
    """What normalisation takes for 0 and for 1 in each objective, ``(objectives,)`` each."""

    ideal: Array
    nadir: Array

    def normalise(self, F: Array) -> Array:
        """Map objective vectors so that the ideal becomes 0 and the nadir 1; a flat objective counts nothing."""
        extent = self.nadir - self.ideal
        return (F - self.ideal) / np.where(extent > 0, extent, np.inf)


def scale_of(F: ArrayLike) -> Scale:
    """Return the scale of everything evaluated so far, ``F (n, objectives)``.

    Taken over the archive it's stable from one generation to the next: the ideal never worsens, and the nadir moves
    only as the front of all that is known does.
    """
    F = np.asarray(F, dtype=float)
    return Scale(ideal=F.min(axis=0), nadir=F[non_dominated(F)].max(axis=0))


def reference_point(scale: Scale, size: int, limits: ArrayLike | None = None) -> Array:
    """Return the normalised reference point ``(objectives,)`` for a portfolio of ``size`` members.

    It lies behind the nadir by as much as the members of an even portfolio lie apart (Ishibuchi et al., *How to
    specify a reference point in hypervolume calculation for fair performance comparison*, Evolutionary Computation
    2018): nearer, the ends of the front would count too little. A limit that's nearer than that takes its place.
    """
    objectives, parts = len(scale.ideal), 1
    while comb(parts + objectives, objectives - 1) <= size:
        parts += 1
    reference = np.full(objectives, 1 + max(MARGIN, 1 / parts))
    if limits is None:
        return reference
    limits = np.asarray(limits, dtype=float)
    limited = np.isfinite(limits)
    nearer = np.clip(scale.normalise(np.where(limited, limits, scale.nadir)), NEAREST, reference)
    return np.where(limited, nearer, reference)


@lru_cache(maxsize=32)
def _rays(objectives: int, count: int) -> Array:
    """Return ``count`` unit vectors spread evenly over the positive orthant."""
    # The additive recurrence of Roberts (2018) with the generalised golden ratio fills the cube evenly; the
    # Box-Muller transform turns pairs of its coordinates into normal ones, and those into uniform directions.
    columns = objectives + objectives % 2
    ratio = 2.0
    for _ in range(64):
        ratio = (1 + ratio) ** (1 / (columns + 1))
    steps = ratio ** -np.arange(1, columns + 1)
    cube = (0.5 + steps * np.arange(1, count + 1)[:, None]) % 1.0
    radius, angle = np.sqrt(-2 * np.log(cube[:, ::2])), 2 * np.pi * cube[:, 1::2]
    normal = np.abs(np.hstack([radius * np.cos(angle), radius * np.sin(angle)]))[:, :objectives]
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def rays(objectives: int, count: int, preferences: ArrayLike | None = None) -> Array:
    """Return the directions ``(count, objectives)`` of the scenarios.

    preferences: a positive weight per objective; the rays turn towards the objectives that weigh more.
    """
    directions = _rays(objectives, count)
    if preferences is None:
        return directions
    weights = np.asarray(preferences, dtype=float)
    if weights.shape != (objectives,) or not (weights > 0).all():
        raise ValueError(f"preferences must be {objectives} positive weights, not {weights.tolist()}")
    bent = directions * weights
    return bent / np.linalg.norm(bent, axis=1, keepdims=True)


def utilities(Z: Array, directions: Array, reference: ArrayLike, power: float) -> Array:
    """Return ``(scenarios, n)``: what each normalised vector ``Z (n, objectives)`` is worth in each scenario."""
    slack = np.maximum(np.asarray(reference, dtype=float) - Z, 0.0)
    inverse = 1.0 / np.maximum(directions, 1e-9)
    reach = slack[:, 0] * inverse[:, :1]
    for j in range(1, Z.shape[1]):
        np.minimum(reach, slack[:, j] * inverse[:, j : j + 1], out=reach)
    return reach**power

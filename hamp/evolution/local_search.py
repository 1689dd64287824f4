"""Local search on the surrogate: from the portfolio's members, by small moves, to what it should gain from.

What is climbed is the predicted gain of the portfolio: the sum over preference scenarios of how far a candidate
exceeds the best of everything evaluated so far (:mod:`hamp.evolution.scenarios`; to the power of the number of
objectives that is the hypervolume that it would add). A batch is chosen from all that the search visited, each for
what it adds to the ones before it, so that its members differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hamp.evolution.domain import Domain, Widths, first_new, from_levels, keys, to_levels
from hamp.evolution.scenarios import MARGIN, Array, rays, scale_of, utilities
from hamp.evolution.selection import Value, greedy, portfolio

Rng = np.random.Generator
Objectives = Callable[[Widths], tuple[Array, Array]]
"""Widths ``(n, groups)`` to predicted objectives and their standard deviations, ``(n, objectives)`` each."""


@dataclass(frozen=True)
class LocalSearch:
    """Settings. starts: trajectories; steps: moves of each; neighbours: moves tried at each step; scenarios: rays
    that the gain is summed over; explore: the largest share of a batch that goes where the model is least sure, which
    it has where the model ranks no better than by chance."""

    starts: int = 10
    steps: int = 10
    neighbours: int = 64
    scenarios: int = 1000
    explore: float = 0.3


def propose(
    population_X: Widths,
    population_F: Array,
    archive_X: Widths,
    archive_F: Array,
    domain: Domain,
    objectives: Objectives,
    n: int,
    rng: Rng,
    *,
    quality: float = 1.0,
    preferences: ArrayLike | None = None,
    limits: ArrayLike | None = None,
    value: Value = "hypervolume",
    settings: LocalSearch = LocalSearch(),
) -> tuple[Widths, Array, list[str]]:
    """Return up to ``n`` new width vectors, their predicted objectives and their origins.

    objectives: predicts mean and standard deviation. quality: the surrogate's cross-validated rank correlation; the
    poorer it is the more of the batch explores. The result depends on nothing but the arguments.
    """
    count = archive_F.shape[1]
    scale = scale_of(archive_F)
    directions = rays(count, settings.scenarios, preferences)
    power = count if value == "hypervolume" else 1
    reference = np.full(count, 1 + MARGIN)
    if limits is not None:
        reference = np.minimum(
            reference, np.maximum(scale.normalise(np.asarray(limits, dtype=float)[None, :])[0], 0)
        )

    def worth(F: Array) -> Array:
        return utilities(scale.normalise(F), directions, reference, power)

    best = worth(archive_F).max(axis=1)
    members = portfolio(
        population_F, settings.starts, preferences=preferences, limits=limits, scale=scale
    ).indices
    current = np.resize(members, settings.starts)
    X = population_X[current]
    value_now = np.zeros(len(X))
    visited = [np.zeros((0, domain.groups), dtype=np.int32)]
    for _ in range(settings.steps):
        moves = np.concatenate([neighbours(x, domain, settings.neighbours, rng) for x in X])
        owner = np.repeat(np.arange(len(X)), settings.neighbours)
        mean, _ = objectives(moves)
        gain = np.maximum(worth(mean) - best[:, None], 0).sum(axis=0)
        visited.append(moves)
        improved = False
        for k in range(len(X)):
            own = np.flatnonzero(owner == k)
            pick = own[np.argmax(gain[own])]
            if gain[pick] > value_now[k]:
                X[k], value_now[k], improved = moves[pick], gain[pick], True
        if not improved:
            break
    pool = np.concatenate(visited)
    pool = pool[first_new(pool, set(keys(archive_X)))]
    if len(pool) == 0:
        return pool, np.zeros((0, count)), []
    mean, std = objectives(pool)
    exploring = int(round(n * settings.explore * (1 - max(quality, 0.0))))
    chosen = greedy(worth(mean), n - exploring, best).tolist()
    origins = ["local"] * len(chosen)
    unsure = np.argsort(-(std / np.maximum(scale.nadir - scale.ideal, 1e-300)).sum(axis=1), kind="stable")
    taken = set(chosen)
    more = [int(i) for i in unsure if int(i) not in taken][: n - len(chosen)]
    return pool[chosen + more], mean[chosen + more], origins + ["explore"] * len(more)


def neighbours(x: Widths, domain: Domain, n: int, rng: Rng) -> Widths:
    """Return ``n`` neighbours ``(n, groups)`` of one width vector.

    A move changes one group by 1, 2, 4, … levels up to a quarter of them, or to an efficient width nearby; or it
    narrows one group and widens another one. A branch can be dropped or put back.
    """
    levels = np.repeat(to_levels(x[None, :], domain), n, axis=0)
    rows = np.arange(n)
    first = rng.integers(domain.groups, size=n)
    second = (first + rng.integers(1, max(domain.groups, 2), size=n)) % domain.groups
    sign = np.where(rng.random(n) < 0.5, -1, 1)
    step = _step(domain, first, rng)
    levels[rows, first] += (sign * step).astype(np.int32)
    swap = (rng.random(n) < 0.3) & (second != first)
    levels[rows[swap], second[swap]] -= (sign * _step(domain, second, rng))[swap].astype(np.int32)
    moved = from_levels(levels, domain)
    if domain.efficient is not None:
        for row in np.flatnonzero(rng.random(n) < 0.3):
            moved[row, first[row]] = _efficient(x[first[row]], domain.efficient[first[row]], rng)
    return moved


def _step(domain: Domain, group: NDArray, rng: Rng) -> NDArray[np.int64]:
    """Draw a number of levels: a power of two up to a quarter of the group's, evenly in the exponent."""
    largest = np.floor(np.log2(np.maximum(domain.top[group] / 4, 1)))
    return (2.0 ** np.floor(rng.random(len(group)) * (largest + 1))).astype(np.int64)


def _efficient(width: int, efficient: Widths, rng: Rng) -> int:
    """Return one of the two efficient widths on either side."""
    others = efficient[efficient != width]
    if len(others) == 0:
        return int(width)
    near = others[np.argsort(np.abs(others - width), kind="stable")[:4]]
    return int(rng.choice(near))


def share(
    origins: Sequence[str], survived: Sequence[bool], default: float = 0.6, least: float = 0.3
) -> float:
    """Return which share of the next offspring should come from local search.

    origins, survived: of everything proposed so far, whether it's in a population still (or was in the one that
    followed). The share is in proportion to the survival rates of local search and of variation, both shrunk
    towards each other by ten imagined proposals; at least ``least`` and at most 1 - ``least`` / 3.
    """
    local = np.array([origin in ("local", "explore") for origin in origins], dtype=bool)
    alive = np.array(survived, dtype=bool)
    weight = 10.0
    rate_local = (alive[local].sum() + weight * default) / (local.sum() + weight)
    rate_other = (alive[~local].sum() + weight * (1 - default)) / ((~local).sum() + weight)
    return float(np.clip(rate_local / (rate_local + rate_other), least, 1 - least / 3))

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
from hamp.evolution.gain import Gain
from hamp.evolution.scenarios import Array
from hamp.evolution.selection import portfolio

Rng = np.random.Generator
Objectives = Callable[[Widths], tuple[Array, Array]]
"""Widths ``(n, groups)`` to predicted objectives and their standard deviations, ``(n, objectives)`` each."""


@dataclass(frozen=True)
class LocalSearch:
    """Settings. starts: portfolio members searched around; steps: rounds of moves; neighbours: moves tried from each
    point in each; scenarios: rays that the gain is summed over; explore: the share of a batch that goes where the
    model is least sure, were the model no better than chance."""

    starts: int = 10
    steps: int = 12
    neighbours: int = 50
    scenarios: int = 500
    explore: float = 0.5


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
    children: Widths | None = None,
    quality: float = 1.0,
    preferences: ArrayLike | None = None,
    limits: ArrayLike | None = None,
    settings: LocalSearch = LocalSearch(),
) -> tuple[Widths, Array, list[str]]:
    """Return up to ``n`` new width vectors, their predicted objectives and their origins.

    objectives: predicts mean and standard deviation. children: offspring by variation, searched around too. quality:
    the surrogate's cross-validated rank correlation; the poorer it is the more of the batch explores.

    The batch is the portfolio of what was predicted so far that adds most to the archive. In each round the
    neighbours of its members and of the starts are predicted and it's chosen anew; it ends when no neighbour
    got in.
    """
    gain = Gain(archive_F, settings.scenarios, preferences, limits)
    seen = set(keys(archive_X))
    exploring = round(n * settings.explore * (1 - max(quality, 0.0)))
    members = portfolio(population_F, settings.starts, preferences=preferences, limits=limits, scale=gain.scale).indices
    starts = population_X[members]
    if children is not None:
        children = children[first_new(children, seen)]
        predicted = objectives(children)[0] if len(children) else population_F[:0]
        starts = np.concatenate([starts, children[gain.best_of(predicted, settings.starts)]])
    batch, F, visited = starts[:0], population_F[:0], []
    for step in range(settings.steps):
        # The starts are searched around anew now and then: the batch alone would narrow to where it began.
        X = np.concatenate([batch, starts]) if step % 3 == 0 or len(batch) == 0 else batch
        moves = np.concatenate([neighbours(x, domain, settings.neighbours, rng) for x in X])
        moves = moves[first_new(moves, seen | set(keys(batch)))]
        visited.append(moves)
        pool, predicted = np.concatenate([batch, moves]), np.concatenate([F, objectives(moves)[0]])
        chosen = gain.best_of(predicted, n - exploring)
        stalled = len(chosen) == len(batch) and bool((chosen < len(batch)).all())
        batch, F = pool[chosen], predicted[chosen]
        if stalled:
            break
    origins = ["local"] * len(batch)
    if exploring and visited:
        pool = np.concatenate(visited)
        pool = pool[first_new(pool, seen | set(keys(batch)))]
        predicted, deviation = objectives(pool)
        # What might be good, were it better than predicted by the deviation: it's far from what is known.
        unsure = Gain(np.concatenate([archive_F, F]), settings.scenarios, preferences, limits).best_of(
            predicted - deviation, exploring
        )
        batch, F = np.concatenate([batch, pool[unsure]]), np.concatenate([F, predicted[unsure]])
        origins += ["explore"] * len(unsure)
    return batch, F, origins


def neighbours(x: Widths, domain: Domain, n: int, rng: Rng) -> Widths:
    """Return ``n`` neighbours ``(n, groups)`` of one width vector.

    A move changes one group by 1, 2, 4, … levels up to a quarter of them, or to an efficient width nearby; or it
    narrows one group and widens another one. A branch is dropped below its lowest width, and put back from there.
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
    if domain.efficient is not None:
        aims = np.repeat(x[None, :], n, axis=0)
        chosen = np.flatnonzero(rng.random(n) < 0.3)
        for row in chosen:
            aims[row, first[row]] = _efficient(x[first[row]], domain.efficient[first[row]], rng)
        levels[chosen, first[chosen]] = to_levels(aims, domain)[chosen, first[chosen]]
    return from_levels(levels, domain, before=x[None, :])


def _step(domain: Domain, group: NDArray, rng: Rng) -> NDArray[np.int64]:
    """Draw a number of levels: a power of two up to a quarter of the group's, evenly in the exponent."""
    largest = np.floor(np.log2(np.maximum(domain.top[group] / 4, 1)))
    return (2.0 ** np.floor(rng.random(len(group)) * (largest + 1))).astype(np.int64)


def _efficient(width: int, efficient: Widths, rng: Rng) -> int:
    """Return one of the two efficient widths on either side."""
    near = np.concatenate([efficient[efficient < width][-2:], efficient[efficient > width][:2]])
    return int(rng.choice(near)) if len(near) else int(width)


def share(origins: Sequence[str], survived: Sequence[bool], default: float = 0.6, least: float = 0.3) -> float:
    """Return which share of the next offspring should come from local search.

    origins, survived: of what was proposed lately, whether it's in the population. The share is in proportion to the
    survival rates of local search and of variation, both shrunk towards each other by ten imagined proposals; at least
    ``least`` and at most 1 - ``least`` / 3.
    """
    local = np.array([origin in ("local", "explore") for origin in origins], dtype=bool)
    alive = np.array(survived, dtype=bool)
    weight = 10.0
    rate_local = (alive[local].sum() + weight * default) / (local.sum() + weight)
    rate_other = (alive[~local].sum() + weight * (1 - default)) / ((~local).sum() + weight)
    return float(np.clip(rate_local / (rate_local + rate_other), least, 1 - least / 3))

"""Survivors: a portfolio that serves a spread of preference scenarios, and the baselines' selections.

The construction is that of parallel algorithm portfolios (Tang, Liu, Yang, Yao, *Few-shots parallel algorithm portfolio
construction via co-evolution*, IEEE TEVC 2021): the scenarios are the instances, the candidates the algorithms, and the
portfolio is worth in each scenario what its best member is. That sum of maxima is submodular, so the greedy
choice is within 1 - 1/e of the best portfolio (Nemhauser, Wolsey and Fisher, 1978).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hamp.analysis.dominance import ranks
from hamp.evolution.scenarios import MARGIN, Array, Scale, rays, scale_of, utilities

Indices = NDArray[np.intp]
Value = Literal["tchebycheff", "hypervolume"]
INSIDE = 0.8  # share of a portfolio that is kept inside the user's limits, where there are that many candidates


@dataclass(frozen=True)
class Portfolio:
    """``indices``: the members in the order of their choice; ``contribution``: what the portfolio would lose without
    each of them, as a share of its value."""

    indices: Indices
    contribution: Array


def portfolio(
    F: ArrayLike,
    size: int,
    *,
    preferences: ArrayLike | None = None,
    limits: ArrayLike | None = None,
    noise: ArrayLike | None = None,
    scale: Scale | None = None,
    value: Value = "tchebycheff",
    scenarios: int | None = None,
) -> Portfolio:
    """Choose ``size`` of the candidates with objectives ``F (n, objectives)``.

    preferences: positive weight per objective. limits: largest acceptable value per objective, inf where there's
    none. noise: per objective, the difference that measuring can't tell from zero. scale: what is 0 and 1 in each
    objective, of everything evaluated so far (default: of ``F``). value: ``tchebycheff`` sums how far the portfolio
    reaches along each scenario, ``hypervolume`` the reach to the power of the number of objectives, which is the
    dominated volume. scenarios: how many (default: by size and number of objectives).
    """
    F = np.asarray(F, dtype=float)
    n, objectives = F.shape
    size = min(size, n)
    if size == 0:
        return Portfolio(np.zeros(0, dtype=np.intp), np.zeros(0))
    scale = scale or scale_of(F)
    if noise is not None:
        F = tie(F, noise)
    directions = rays(objectives, scenarios or max(300, min(5 * size, 1000)), preferences)
    power = objectives if value == "hypervolume" else 1
    reference = np.full(objectives, 1 + MARGIN)
    Z = scale.normalise(F)
    if limits is None:
        U = utilities(Z, directions, reference, power)
        chosen = _peel(U, ranks(F), size)
    else:
        limit = np.asarray(limits, dtype=float)
        bent = np.minimum(reference, np.maximum(scale.normalise(limit[None, :])[0], 0))
        U = utilities(Z, directions, bent, power)
        chosen = _within(F, Z, U, limit, directions, reference, power, size)
    return Portfolio(chosen, _contribution(U[:, chosen]))


def tie(F: ArrayLike, noise: ArrayLike) -> Array:
    """Return ``F`` with values that differ by less than the noise made equal, per objective.

    In ascending order each value within ``noise`` of the first of its tie joins it.
    """
    F = np.array(F, dtype=float)
    for j, width in enumerate(np.broadcast_to(np.asarray(noise, dtype=float), F.shape[1:])):
        if width <= 0:
            continue
        order = np.argsort(F[:, j], kind="stable")
        first = -np.inf
        for i in order:
            if F[i, j] - first > width:
                first = F[i, j]
            F[i, j] = first
    return F


def _within(
    F: Array, Z: Array, U: Array, limit: Array, directions: Array, reference: Array, power: float, size: int
) -> Indices:
    """Choose mostly inside the limits, for the scenarios that end there; the rest from all, for all scenarios.

    While too few are inside, those that exceed the limits least take their places: they are the way there.
    """
    excess = np.maximum(Z - np.where(np.isfinite(limit), Z - np.maximum(F - limit, 0), np.inf), 0)
    excess = np.where(np.isfinite(limit), np.maximum(F - limit, 0) / np.maximum(np.abs(limit), 1e-12), 0).sum(axis=1)
    inside = np.flatnonzero(excess == 0)
    quota = int(np.ceil(INSIDE * size))
    chosen = inside[_peel(U[:, inside], ranks(F[inside]), min(quota, len(inside)))]
    outside = np.flatnonzero(excess > 0)
    nearest = outside[np.argsort(excess[outside], kind="stable")][: quota - len(chosen)]
    chosen = np.concatenate([chosen, nearest])
    rest = np.setdiff1d(np.arange(len(F)), chosen)
    free = utilities(Z, directions, reference, power)
    base = free[:, chosen].max(axis=1) if len(chosen) else None
    return np.concatenate([chosen, rest[_peel(free[:, rest], ranks(F[rest]), size - len(chosen), base)]])


def _peel(U: Array, rank: NDArray[np.int64], size: int, base: Array | None = None) -> Indices:
    """Choose ``size`` columns of ``U (scenarios, n)``: greedily until no gain is left, then again on the remainder.

    What no scenario wants at all comes last, by rank.
    """
    remaining = np.arange(U.shape[1])
    chosen: list[int] = []
    while len(chosen) < size:
        layer = greedy(U[:, remaining], size - len(chosen), base)
        base = None
        if len(layer) == 0:
            rest = remaining[np.argsort(rank[remaining], kind="stable")]
            chosen.extend(rest[: size - len(chosen)].tolist())
            break
        chosen.extend(remaining[layer].tolist())
        remaining = np.delete(remaining, layer)
    return np.array(chosen, dtype=np.intp)


def greedy(U: Array, size: int, base: Array | None = None) -> Indices:
    """Choose up to ``size`` columns of ``U (scenarios, n)``, each the one that adds most to the sum of row maxima.

    base: the value ``(scenarios,)`` that each scenario has already; it ends when nothing adds to that. The gains of
    all columns are kept up to date: a choice changes them only in the scenarios that it improved, fewer and
    fewer of them, so that the whole costs little more than the first gains.
    """
    best = np.zeros(len(U)) if base is None else base.copy()
    gain = np.maximum(U - best[:, None], 0).sum(axis=0)
    least = 1e-9 * max(float(U.sum(axis=0).max(initial=0)), 1e-300)
    chosen: list[int] = []
    while len(chosen) < min(size, U.shape[1]):
        pick = int(np.argmax(gain))
        if gain[pick] <= least:
            break
        chosen.append(pick)
        improved = np.flatnonzero(U[:, pick] > best)
        rows, old, new = U[improved], best[improved, None], U[improved, pick][:, None]
        gain -= (np.maximum(rows, old) - np.maximum(rows, new)).sum(axis=0) + (new - old).sum()
        best[improved] = new[:, 0]
        gain[pick] = -np.inf
    return np.array(chosen, dtype=np.intp)


class Gain:
    """What candidates would add to the hypervolume of everything evaluated so far, or to the part of it that the
    user's preferences and limits ask for."""

    def __init__(
        self, archive_F: Array, scenarios: int, preferences: ArrayLike | None = None, limits: ArrayLike | None = None
    ):
        self.scale = scale_of(archive_F)
        self.power = archive_F.shape[1]
        self.directions = rays(self.power, scenarios, preferences)
        self.reference = np.full(self.power, 1 + MARGIN)
        if limits is not None:
            limit = self.scale.normalise(np.asarray(limits, dtype=float)[None, :])[0]
            self.reference = np.minimum(self.reference, np.maximum(limit, 0))
        self.best = self.worth(archive_F).max(axis=1)

    def worth(self, F: Array) -> Array:
        """Return ``(scenarios, n)``: what each candidate is worth in each scenario."""
        return utilities(self.scale.normalise(F), self.directions, self.reference, self.power)

    def best_of(self, F: Array, n: int) -> Indices:
        """Return the indices of up to ``n`` candidates, each the one that adds most to those before it."""
        return greedy(self.worth(F), n, self.best)


def _contribution(U: Array) -> Array:
    """Return the share of the value of all columns together that is lost without each of them."""
    _scenarios, members = U.shape
    if members == 1:
        return np.ones(1)
    order = np.argpartition(-U, 1, axis=1)[:, :2]
    first = np.take_along_axis(U, order[:, :1], axis=1)[:, 0]
    second = np.take_along_axis(U, order[:, 1:], axis=1)[:, 0]
    lost = np.bincount(order[:, 0], weights=first - second, minlength=members)
    total = float(first.sum())
    return lost / total if total > 0 else np.zeros(members)


def nsga2(F: ArrayLike, size: int) -> Indices:
    """Return NSGA-II's survivors (pymoo's rank and crowding distance)."""
    from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

    return _pymoo(RankAndCrowding(), F, size)


def sms_emoa(F: ArrayLike, size: int) -> Indices:
    """Return SMS-EMOA's survivors (pymoo's least hypervolume contribution)."""
    from pymoo.algorithms.moo.sms import LeastHypervolumeContributionSurvival

    return _pymoo(LeastHypervolumeContributionSurvival(), F, size)


def _pymoo(survival, F: ArrayLike, size: int) -> Indices:
    from pymoo.core.population import Population
    from pymoo.core.problem import Problem

    F = np.asarray(F, dtype=float)
    problem = Problem(n_var=1, n_obj=F.shape[1])
    kept = survival.do(
        problem,
        Population.new(F=F),
        n_survive=size,
        return_indices=True,
        random_state=np.random.default_rng(0),  # for ties in crowding distance alone
    )
    return np.array(kept, dtype=np.intp)

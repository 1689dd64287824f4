"""Survivors: a portfolio that serves a spread of preference scenarios, and the baselines' selections.

The construction is that of parallel algorithm portfolios (Tang, Liu, Yang, Yao, *Few-shots parallel algorithm portfolio
construction via co-evolution*, IEEE TEVC 2021): the scenarios are the instances, the candidates the algorithms, and the
portfolio is worth in each scenario what its best member is. That sum of maxima is submodular, so the greedy
choice is within 1 - 1/e of the best portfolio (Nemhauser, Wolsey and Fisher, 1978).
"""

from dataclasses import dataclass
from typing import Literal

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hamp.analysis.dominance import ranks
from hamp.evolution.scenarios import Array, Scale, rays, reference_point, scale_of, utilities

Indices = NDArray[np.intp]
Value = Literal["tchebycheff", "hypervolume"]
TRIM = 40  # candidates chosen beyond the size and dropped again by their exact contribution
EXACT = 500  # candidates up to which that's done, with at most three objectives
SPREAD = 0.5  # share of the places left open by the front that goes to distance, besides those no scenario fills
FAR = 4.0  # normalised value beyond which distances don't count
INSIDE = 0.8  # share of a portfolio that is kept inside the user's limits, where there are that many candidates


@dataclass(frozen=True)
class Portfolio:
    """``indices``: the members; ``contribution``: what the portfolio would lose without each of them, as a share of
    its value."""

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
    value: Value = "hypervolume",
    scenarios: int | None = None,
) -> Portfolio:
    """Choose ``size`` of the candidates with objectives ``F (n, objectives)``.

    preferences: positive weight per objective. limits: largest acceptable value per objective, inf where there's
    none. noise: of every value, or by objective: a difference that measuring can't tell from zero. scale: what is 0 and
    1 in each objective, of everything evaluated so far (default: of ``F``). value: ``tchebycheff`` sums how far the
    portfolio reaches along each scenario, ``hypervolume`` the reach to the power of the number of objectives, which is
    the dominated volume. scenarios: how many (default: by ``n``).

    Of two candidates of which one dominates the other, the dominated one never has a place that the other lacks. The
    order of the rows of ``F`` doesn't matter, except between equal ones.
    """
    raw = np.asarray(F, dtype=float)
    n, objectives = raw.shape
    if objectives < 2:
        raise ValueError("a portfolio is of candidates with at least 2 objectives; with 1 there is a best one")
    size = min(size, n)
    if size == 0:
        return Portfolio(np.zeros(0, dtype=np.intp), np.zeros(0))
    scale = scale or scale_of(raw)
    tied = raw if noise is None else tie(raw, noise)
    # Everything below settles ties by the first of the candidates: by rank, then by value.
    order = np.lexsort((*raw.T[::-1], *tied.T[::-1], ranks(tied)))
    tied = tied[order]
    directions = rays(objectives, scenarios or int(np.clip(1_600_000 / n, 300, 1000)), preferences)
    exact = value == "hypervolume" and preferences is None and objectives <= 3 and n <= EXACT
    task = _Task(scale.normalise(tied), directions, objectives if value == "hypervolume" else 1, exact)
    reference = reference_point(scale, size)
    if limits is None:
        open_places = max(size - int(np.count_nonzero(ranks(tied) == 0)), 0)
        chosen = _choose(task, np.arange(n), size - int(SPREAD * open_places), reference)
    else:
        excess = excess_over(tied, np.asarray(limits, dtype=float))
        chosen = _within(task, excess, size, reference_point(scale, size, limits), reference)
    chosen = _farthest(tied, np.minimum(task.Z, FAR), chosen, size)
    chosen = _undominated(tied, chosen)
    return Portfolio(order[chosen], _contribution(task.worth(chosen, reference)))


@dataclass(frozen=True)
class _Task:
    """Normalised candidates ``Z (n, objectives)``, better ones first; the scenarios' rays; the power of the reach;
    whether the exact hypervolume decides in the end."""

    Z: Array
    directions: Array
    power: int
    exact: bool

    def worth(self, of: Indices, reference: Array) -> Array:
        return utilities(self.Z[of], self.directions, reference, self.power)


def _choose(task: _Task, of: Indices, size: int, reference: Array) -> Indices:
    """Choose ``size`` of the candidates ``of``.

    Where the volume is asked for and cheap, some more are chosen and those that contribute least to the exact
    hypervolume are dropped one by one: rays alone blur small differences between neighbours.
    """
    extra = TRIM if task.exact else 0
    kept = of[_peel(task.worth(of, reference), min(size + extra, len(of)))]
    Z = np.minimum(task.Z[kept], reference)
    while len(kept) > size:
        lost = moocore.hv_contributions(Z, ref=reference)
        least = np.flatnonzero(lost <= max(lost.min(), 1e-12))[-1]  # of equals the one chosen last
        kept, Z = np.delete(kept, least), np.delete(Z, least, axis=0)
    return kept


def _farthest(F: Array, Z: Array, chosen: Indices, size: int) -> Indices:
    """Return ``chosen`` filled up to ``size``, each time with the candidate farthest from all chosen before it, or the
    best one that dominates that: a region in which the search is behind would otherwise be lost for good.
    """
    filled = chosen.tolist()
    distance = ((Z[:, None] - Z[chosen]) ** 2).sum(axis=2).min(axis=1, initial=np.inf)
    distance[chosen] = -1.0
    while len(filled) < size:
        far = int(np.argmax(distance))
        pick = int(np.flatnonzero((F[far] >= F).all(axis=1) & (distance >= 0))[0])
        filled.append(pick)
        distance = np.minimum(distance, ((Z - Z[pick]) ** 2).sum(axis=1))
        distance[pick] = -1.0
    return np.array(filled, dtype=np.intp)


def _undominated(F: Array, chosen: Indices) -> Indices:
    """Return ``chosen``, whoever is dominated by one that was not giving way to the best such.

    ``F`` begins with the best. Gains that are equal but for rounding would else be settled by the rounding.
    """
    member = np.zeros(len(F), dtype=bool)
    member[chosen] = True
    kept = chosen.copy()
    for place in np.argsort(-chosen, kind="stable"):  # the worst first: none that gives way leaves a worse one behind
        own = F[kept[place]]
        better = np.flatnonzero(~member & (own >= F).all(axis=1) & (own > F).any(axis=1))
        if len(better):
            member[kept[place]], member[better[0]] = False, True
            kept[place] = better[0]
    return kept


def excess_over(F: Array, limits: Array) -> Array:
    """Return by how much each candidate exceeds the limits, in shares of them, summed ``(n,)``."""
    over = np.where(np.isfinite(limits), np.maximum(F - limits, 0), 0)
    return (over / np.where(np.isfinite(limits) & (limits != 0), np.abs(limits), 1)).sum(axis=1)


def _within(task: _Task, excess: Array, size: int, bent: Array, reference: Array) -> Indices:
    """Choose mostly inside the limits, for the scenarios that end there; the rest from all, for all scenarios.

    While too few are inside, those that exceed the limits least take their places: they are the way there.
    """
    quota = int(np.ceil(INSIDE * size))
    chosen = _choose(task, np.flatnonzero(excess == 0), quota, bent)
    nearest = np.argsort(excess, kind="stable")
    chosen = np.concatenate([chosen, nearest[~np.isin(nearest, chosen)][: quota - len(chosen)]])
    rest = np.setdiff1d(np.arange(len(excess)), chosen)
    served = task.worth(chosen, reference).max(axis=1)
    more = _peel(task.worth(rest, reference), size - len(chosen), served)
    return np.concatenate([chosen, rest[more]])


def tie(F: ArrayLike, noise: ArrayLike) -> Array:
    """Return ``F (n, objectives)`` with values that differ by less than the noise made equal, per objective.

    noise: of every value, or by objective. In ascending order each value joins the first of a tie where half of the
    noise of both, added, reaches across their difference. Of the tie that is the least noise of any in it: a value that
    was measured badly may tie with its neighbours, but does not tie them with one another.
    """
    F = np.array(F, dtype=float)
    half = np.broadcast_to(np.asarray(noise, dtype=float), F.shape) / 2
    for j in np.flatnonzero(half.any(axis=0)):
        first, reach = -np.inf, 0.0
        for i in np.argsort(F[:, j], kind="stable"):
            if F[i, j] - first > reach + half[i, j]:
                first, reach = F[i, j], half[i, j]
            reach = min(reach, half[i, j])
            F[i, j] = first
    return F


def _peel(U: Array, size: int, base: Array | None = None) -> Indices:
    """Choose ``size`` columns of ``U (scenarios, n)``: greedily until no gain is left, then again on the remainder.

    base: the value ``(scenarios,)`` that each scenario has before. Fewer where no scenario wants more.
    """
    remaining = np.arange(U.shape[1])
    chosen: list[int] = []
    while len(chosen) < size:
        layer = greedy(U[:, remaining], size - len(chosen), base)
        if len(layer) == 0 and base is None:
            break
        base = None
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


def _contribution(U: Array) -> Array:
    """Return the share of the value of all columns together that is lost without each of them."""
    members = U.shape[1]
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

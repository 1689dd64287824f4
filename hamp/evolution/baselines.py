"""The methods that the search is compared with, each as one step from tables to tables.

A step knows nothing but the population and the archive, so that any process can take it.
"""

from collections.abc import Callable
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hamp.evolution.domain import Domain, Widths, allowed_widths, canonical, first_new, keys
from hamp.evolution.gain import Gain
from hamp.evolution.initial import spread, uniform_sweep
from hamp.evolution.local_search import Objectives
from hamp.evolution.selection import Indices, portfolio
from hamp.evolution.variation import Variation, crossover, mutate, vary

Array = NDArray[np.float64]
Rng = np.random.Generator


def random(domain: Domain, archive_X: Widths, n: int, rng: Rng) -> Widths:
    """Return up to ``n`` new width vectors, each group's drawn evenly in the logarithm of its width."""
    batch = spread(rng.random((20 * n, domain.groups)), domain)
    return batch[first_new(batch, set(keys(archive_X)))[:n]]


def uniform(domain: Domain, archive_X: Widths, n: int) -> Widths:
    """Return up to ``n`` new networks of one fraction for all groups, from an ever finer sweep."""
    exclude = set(keys(archive_X))
    density = 2 * n
    while True:
        batch = uniform_sweep(domain, density)
        new = first_new(batch, exclude)
        if len(new) >= n or density > 10_000:
            return batch[new[np.linspace(0, len(new) - 1, min(n, len(new))).round().astype(int)]]
        density *= 2


def genetic(
    population_X: Widths, fitness: ArrayLike, archive_X: Widths, domain: Domain, n: int, rng: Rng
) -> tuple[Widths, list[str]]:
    """Return offspring by tournament, crossover and mutation alone, as NSGA-II and SMS-EMOA make them.

    fitness: larger wins a tournament (:func:`rank_fitness`).
    """
    settings = Variation(width_aware=0.0)
    return vary(population_X, domain, n, rng, contribution=fitness, exclude=set(keys(archive_X)), settings=settings)


def screened(
    children: Widths,
    origins: list[str],
    archive_F: Array,
    objectives: Objectives,
    n: int,
    preferences: ArrayLike | None = None,
    limits: ArrayLike | None = None,
) -> tuple[Widths, list[str]]:
    """Return the ``n`` children that should add most to the archive's hypervolume by the surrogate, or to the part of
    it that the preferences and limits ask for: the control without local search."""
    gain = Gain(archive_F, 500, preferences, limits)
    predicted, _ = objectives(children)
    chosen = gain.best_of(predicted, n)
    if len(chosen) < n:
        rest = np.setdiff1d(np.arange(len(children)), chosen)
        fill = portfolio(
            predicted[rest], n - len(chosen), preferences=preferences, limits=limits, scale=gain.scale
        ).indices
        chosen = np.concatenate([chosen, rest[fill]])
    return children[chosen], [origins[i] for i in chosen]


def rank_fitness(F: ArrayLike) -> Array:
    """Return NSGA-II's order ``(n,)`` as one number, larger for the better rank, then the larger crowding distance."""
    from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance

    from hamp.analysis.dominance import ranks

    F = np.asarray(F, dtype=float)
    rank = ranks(F)
    crowding = np.zeros(len(F))
    for front in np.unique(rank):
        members = np.flatnonzero(rank == front)
        crowding[members] = calc_crowding_distance(F[members])
    bounded = 1 - 1 / (1 + crowding)
    return bounded - 2.0 * rank


def moead_weights(objectives: int, size: int) -> Array:
    """Return at least ``size`` weight vectors on the simplex: the coarsest lattice of Das and Dennis with as many."""
    from pymoo.util.reference_direction import UniformReferenceDirectionFactory

    partitions = 1
    while comb(partitions + objectives - 1, objectives - 1) < size:
        partitions += 1
    return UniformReferenceDirectionFactory(objectives, n_partitions=partitions).do()


def moead_assign(F: ArrayLike, scale_F: ArrayLike, weights: Array) -> Indices:
    """Return for each weight vector the index of the best candidate by the Tchebycheff function (MOEA/D, Zhang and Li
    2007), with replacement: the population of MOEA/D, one member a subproblem."""
    F, scale_F = np.asarray(F, dtype=float), np.asarray(scale_F, dtype=float)
    ideal, nadir = scale_F.min(axis=0), scale_F.max(axis=0)
    Z = (F - ideal) / np.where(nadir > ideal, nadir - ideal, 1.0)
    cost = (Z[None, :, :] * np.maximum(weights, 1e-6)[:, None, :]).max(axis=2)
    return np.argmin(cost, axis=1)


def moead(
    population_X: Widths,
    population_F: Array,
    archive_X: Widths,
    archive_F: Array,
    domain: Domain,
    n: int,
    rng: Rng,
    neighbours: int = 5,
) -> Widths:
    """Return MOEA/D's offspring: for each subproblem a child of two members of neighbouring ones."""
    weights = moead_weights(archive_F.shape[1], n)
    member = moead_assign(population_F, archive_F, weights)
    distance = ((weights[:, None] - weights[None]) ** 2).sum(axis=2)
    near = np.argsort(distance, axis=1, kind="stable")[:, : max(neighbours, 2)]
    seen, children = set(keys(archive_X)), []
    for subproblem in rng.permutation(len(weights))[:n]:
        for _ in range(20):
            local = rng.random() < 0.9
            a, b = rng.choice(near[subproblem] if local else len(weights), 2, replace=False)
            child = crossover(population_X[member[[a]]], population_X[member[[b]]], domain, rng)
            child = mutate(child, domain, rng)
            if keys(child)[0] not in seen:
                seen.add(keys(child)[0])
                children.append(child)
                break
    return np.concatenate(children) if children else np.zeros((0, domain.groups), dtype=np.int32)


def netadapt(x: Widths, domain: Domain, latency: Callable[[Widths], Array], step: float) -> Widths:
    """Return NetAdapt's proposals: per group, the widest cut network that's at least ``step`` ms faster.

    Yang et al., *NetAdapt: platform-aware neural network adaptation for mobile applications*, ECCV 2018, algorithm 1.
    A group that can't meet the step makes no proposal. Where no group can, the step is halved, up to three times;
    none at all ends the search.
    """
    now = float(latency(x[None, :])[0])
    trials, owner = _cuts(x, domain)
    if len(trials) == 0:
        return trials
    faster = now - latency(trials)
    for halving in range(4):
        meets = faster >= step / 2**halving
        if meets.any():
            widest = [np.flatnonzero(meets & (owner == group))[-1] for group in np.unique(owner[meets])]
            return trials[widest]
    return trials[:0]


def _cuts(x: Widths, domain: Domain) -> tuple[Widths, NDArray[np.int64]]:
    """Return every network with one group cut, ascending in its width, and which group that is."""
    trials, owner = [], []
    for group in range(domain.groups):
        narrower = allowed_widths(domain, group)
        narrower = narrower[narrower < x[group]]
        trial = np.repeat(x[None, :], len(narrower), axis=0)
        trial[:, group] = narrower
        trials.append(trial)
        owner.append(np.full(len(narrower), group))
    return canonical(np.concatenate(trials), domain), np.concatenate(owner)

"""Offspring of a population: integer crossover and mutation, and operators that know what widths are."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hamp.evolution.domain import Domain, Widths, first_new, from_levels, repair, to_levels

Rng = np.random.Generator


@dataclass(frozen=True)
class Variation:
    """Settings: ``eta_*``, the distribution indices (larger: children nearer to their parents); ``width_aware``, the
    share of children that come from the width-aware operators instead of crossover and mutation."""

    eta_crossover: float = 15.0
    eta_mutation: float = 20.0
    width_aware: float = 0.3


def vary(
    parents: Widths,
    domain: Domain,
    n: int,
    rng: Rng,
    *,
    contribution: ArrayLike | None = None,
    exclude: frozenset[bytes] | set[bytes] = frozenset(),
    settings: Variation = Variation(),
) -> tuple[Widths, list[str]]:
    """Return up to ``n`` new width vectors and the operator that each came from.

    parents: ``(members, groups)``, in the order of choice. contribution: what the portfolio would lose without
    each; the larger wins a mating tournament (default: the earlier wins). exclude: keys of everything evaluated.
    Nothing is returned twice. Fewer than ``n`` come back only where the space is nearly exhausted.
    """
    fitness = -np.arange(len(parents)) if contribution is None else np.asarray(contribution, dtype=float)
    seen = set(exclude)
    children: list[Widths] = []
    origins: list[str] = []
    attempts = 20
    while len(origins) < n and attempts:
        attempts -= 1
        batch, names = _breed(parents, fitness, domain, 2 * (n - len(origins)), rng, settings)
        new = first_new(batch, seen)[: n - len(origins)]
        seen.update(row.tobytes() for row in batch[new])
        children.append(batch[new])
        origins.extend(names[i] for i in new)
    if len(origins) < n:  # mating is exhausted: try the whole space, evenly
        levels = rng.integers(np.where(domain.leads, -1, 0), domain.top + 1, size=(50 * n, domain.groups))
        batch = from_levels(levels, domain)
        new = first_new(batch, seen)[: n - len(origins)]
        children.append(batch[new])
        origins.extend(["immigrant"] * len(new))
    X = np.concatenate(children) if children else np.zeros((0, domain.groups), dtype=np.int32)
    return X, origins


def _breed(
    parents: Widths, fitness: NDArray, domain: Domain, n: int, rng: Rng, settings: Variation
) -> tuple[Widths, list[str]]:
    def tournament(k: int) -> Widths:
        pairs = rng.integers(len(parents), size=(k, 2))
        return parents[np.where(fitness[pairs[:, 0]] >= fitness[pairs[:, 1]], pairs[:, 0], pairs[:, 1])]

    first, second = tournament(n), tournament(n)
    children = mutate(crossover(first, second, domain, rng, settings.eta_crossover), domain, rng, settings.eta_mutation)
    operators = [name for name in WIDTH_AWARE if name != "branch" or domain.branch.any()]
    which = rng.integers(len(operators), size=n)
    aware = rng.random(n) < settings.width_aware
    names = ["crossover"] * n
    for index in np.flatnonzero(aware):
        names[index] = operators[which[index]]
        children[index] = WIDTH_AWARE[names[index]](first[index], domain, rng)
    return children, names


def crossover(a: Widths, b: Widths, domain: Domain, rng: Rng, eta: float = 15.0) -> Widths:
    """Return one child ``(n, groups)`` of each pair: simulated binary crossover on widths, rounded to allowed ones.

    Each gene takes one of the two children's values by a fair coin, so that genes are exchanged between
    parents also where blending leaves an integer as it was (Deb and Agrawal, 1995; without the swap children of
    integer parents are mostly copies of the nearer parent). Where one parent lacks a branch, the child has all of it
    from either parent.
    """
    a, b = a.copy(), b.copy()
    for groups in domain.members:
        differ = (a[:, groups[0]] == 0) != (b[:, groups[0]] == 0)
        first = rng.random(len(a)) < 0.5
        for giver, taker, rows in ((a, b, differ & first), (b, a, differ & ~first)):
            taker[np.ix_(rows, groups)] = giver[np.ix_(rows, groups)]
    u = rng.random(a.shape)
    spread = np.where(u <= 0.5, 2 * u, 1 / (2 * (1 - u))) ** (1 / (eta + 1))
    blend = np.where(rng.random(a.shape) < 0.5, spread, 1.0)
    side = np.where(rng.random(a.shape) < 0.5, 1.0, -1.0)
    child = 0.5 * (a + b + side * blend * (a.astype(float) - b))
    return repair(np.where(a > 0, np.maximum(child, domain.lowest), 0), domain)


def mutate(X: Widths, domain: Domain, rng: Rng, eta: float = 20.0, rate: float | None = None) -> Widths:
    """Return mutated copies: polynomial mutation of each gene with probability ``rate`` (default 1 / groups).

    A mutated gene moves at least one level, where the rounded mutation would leave it as it was.
    """
    rate = 1 / domain.groups if rate is None else rate
    low = np.where(domain.branch, -1, 0)
    levels = to_levels(X, domain)
    u = rng.random(X.shape)
    delta = np.where(u < 0.5, (2 * u) ** (1 / (eta + 1)) - 1, 1 - (2 * (1 - u)) ** (1 / (eta + 1)))
    step = np.rint(delta * (domain.top - low))
    step = np.where(step == 0, np.where(u < 0.5, -1, 1), step)
    step = np.where((levels + step < low) | (levels + step > domain.top), -step, step).astype(np.int64)
    chosen = rng.random(X.shape) < rate
    return from_levels(levels + np.where(chosen, step, 0), domain, before=X)


def scale_network(x: Widths, domain: Domain, rng: Rng) -> Widths:
    """Multiply every width by one factor, between a third less and a third more."""
    return repair(x[None, :] * np.exp(rng.uniform(-0.4, 0.4)), domain)[0]


def scale_stage(x: Widths, domain: Domain, rng: Rng) -> Widths:
    """Multiply the widths of one stage by one factor, between a half and twice."""
    stage = rng.choice(np.unique(domain.stages))
    factor = np.exp(rng.uniform(-0.7, 0.7))
    return repair(np.where(domain.stages == stage, x * factor, x)[None, :], domain)[0]


def transfer(x: Widths, domain: Domain, rng: Rng) -> Widths:
    """Cut one group by a share of its channels and widen another one by that share of its own."""
    giver, taker = rng.permutation(domain.groups)[:2] if domain.groups > 1 else (0, 0)
    share = rng.uniform(0.03, 0.3)
    moved = x.astype(float)
    moved[giver] -= share * domain.channels[giver]
    moved[taker] += share * domain.channels[taker]
    return repair(moved[None, :], domain, before=x[None, :])[0]


def toggle_branch(x: Widths, domain: Domain, rng: Rng) -> Widths:
    """Drop a branch that's there, or put one back that was dropped."""
    groups = domain.members[rng.integers(len(domain.members))]
    changed = x.copy()
    changed[groups] = (domain.lowest, domain.channels)[rng.integers(2)][groups] if x[groups[0]] == 0 else 0
    return changed


WIDTH_AWARE: dict[str, Callable[[Widths, Domain, Rng], Widths]] = {
    "scale": scale_network,
    "stage": scale_stage,
    "transfer": transfer,
    "branch": toggle_branch,
}

"""One generation of any method: offspring, in two steps, and survivors.

The steps are apart since a workflow runs the surrogate between them: what :func:`varied` returns are the offspring
of a method without a surrogate; :func:`improved` makes those of a method with one out of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hamp.evolution import baselines
from hamp.evolution.domain import Domain, Widths, first_new, keys
from hamp.evolution.local_search import LocalSearch, Objectives, propose, share
from hamp.evolution.methods import Method
from hamp.evolution.scenarios import Array, scale_of
from hamp.evolution.selection import Indices, Value, nsga2, portfolio, sms_emoa
from hamp.evolution.variation import Variation, vary

Rng = np.random.Generator


@dataclass(frozen=True)
class Archive:
    """Everything evaluated so far, in the order of evaluation: widths ``X (n, groups)``, objectives ``F (n,
    objectives)`` with the error first, ``generation (n,)``, ``origins``, and ``population``, the indices of the
    survivors in the order of their choice."""

    X: Widths
    F: Array
    generation: NDArray[np.int64]
    origins: Sequence[str]
    population: Indices

    @property
    def seen(self) -> set[bytes]:
        """Keys of all widths."""
        return set(keys(self.X))


@dataclass(frozen=True)
class Settings:
    """What a user may set of the search. preferences, limits, noise: as of :func:`hamp.evolution.selection.portfolio`,
    the noise of all in the archive.

    netadapt_step: the latency cut of each NetAdapt iteration, as a share of the unpruned network's latency.
    """

    preferences: ArrayLike | None = None
    limits: ArrayLike | None = None
    noise: ArrayLike | None = None
    value: Value = "hypervolume"
    variation: Variation = field(default_factory=Variation)
    local_search: LocalSearch = field(default_factory=LocalSearch)
    children: int = 50
    netadapt_step: float = 0.04


def varied(
    method: Method,
    archive: Archive,
    domain: Domain,
    n: int,
    rng: Rng,
    settings: Settings,
    latency: Callable[[Widths], Array] | None = None,
) -> tuple[Widths, list[str]]:
    """Return new width vectors of the method, without a surrogate, and their origins.

    latency: predicted latency in ms, ``(n, groups) -> (n,)``; NetAdapt needs it.
    """
    X, F = archive.X[archive.population], archive.F[archive.population]
    if method.offspring == "random":
        new = baselines.random(domain, archive.X, n, rng)
        return new, ["random"] * len(new)
    if method.offspring == "uniform":
        new = baselines.uniform(domain, archive.X, n)
        return new, ["uniform"] * len(new)
    if method.offspring == "moead":
        new = baselines.moead(X, F, archive.X, archive.F, domain, n, rng)
        return new, ["crossover"] * len(new)
    if method.offspring == "netadapt":
        if latency is None:
            raise ValueError("netadapt needs predicted latency")
        step = settings.netadapt_step * float(latency(domain.channels[None, :])[0])
        new = baselines.netadapt(X[0], domain, latency, step)
        new = new[first_new(new, archive.seen)]
        return new, ["netadapt"] * len(new)
    if method.offspring == "genetic":
        return baselines.genetic(X, baselines.rank_fitness(F), archive.X, domain, n, rng)
    chosen = _choose(archive, archive.population, len(F), settings)
    count = settings.children * n if method.surrogate else n
    return vary(
        X[chosen.indices],
        domain,
        count,
        rng,
        contribution=chosen.contribution,
        exclude=archive.seen,
        settings=settings.variation,
    )


def improved(
    method: Method,
    archive: Archive,
    domain: Domain,
    children: Widths,
    origins: list[str],
    n: int,
    rng: Rng,
    settings: Settings,
    objectives: Objectives,
    quality: float,
) -> tuple[Widths, list[str]]:
    """Return the ``n`` offspring of a method with a surrogate, out of its varied children and local search.

    objectives: predicted mean and standard deviation of all objectives. quality: the surrogate's rank correlation.
    """
    wishes = settings.preferences, settings.limits
    if method.offspring == "prescreen":
        return baselines.screened(children, origins, archive.F, objectives, n, *wishes)
    recent = archive.generation >= max(archive.generation.max() - 2, 1)
    survived = np.isin(np.arange(len(archive.X)), archive.population)
    local = share(np.asarray(archive.origins, dtype=object)[recent].tolist(), survived[recent].tolist())
    X, predicted, names = propose(
        archive.X[archive.population],
        archive.F[archive.population],
        archive.X,
        archive.F,
        domain,
        objectives,
        round(local * n),
        rng,
        children=children,
        quality=quality,
        preferences=settings.preferences,
        limits=settings.limits,
        settings=settings.local_search,
    )
    fresh = first_new(children, set(keys(X)))
    known = np.concatenate([archive.F, predicted])
    rest, more = baselines.screened(
        children[fresh], [origins[i] for i in fresh], known, objectives, n - len(X), *wishes
    )
    return np.concatenate([X, rest]), names + more


def survivors(method: Method, archive: Archive, offspring: Indices, size: int, settings: Settings) -> Indices:
    """Return the archive's indices of the next population, in the order of choice.

    offspring: indices of the generation just evaluated.
    """
    if method.selection == "netadapt":
        if not len(archive.population):  # it begins with the unpruned network, the first, whatever else was drawn
            return np.zeros(1, dtype=np.intp)
        best = offspring[np.argmin(archive.F[offspring, 0])] if len(offspring) else archive.population[0]
        return np.array([best], dtype=np.intp)
    candidates = np.concatenate([archive.population, offspring]).astype(np.intp)
    F = archive.F[candidates]
    if method.selection == "nsga2":
        chosen = nsga2(F, size)
    elif method.selection == "sms_emoa":
        chosen = sms_emoa(F, size)
    elif method.selection == "moead":
        weights = baselines.moead_weights(F.shape[1], size)
        chosen = np.unique(baselines.moead_assign(F, archive.F, weights))
    else:
        chosen = _choose(archive, candidates, size, settings).indices
    return candidates[chosen]


def _choose(archive: Archive, of: Indices, size: int, settings: Settings):
    noise = settings.noise
    return portfolio(
        archive.F[of],
        size,
        preferences=settings.preferences,
        limits=settings.limits,
        noise=None if noise is None else np.broadcast_to(np.asarray(noise), archive.F.shape)[of],
        scale=scale_of(archive.F),
        value=settings.value,
    )

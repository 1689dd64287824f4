"""The search for users of pymoo: the portfolio as a ``Survival``, and HAMP as an ``Algorithm``.

Both work on any problem that pymoo can evaluate as a matrix; real variables are searched on a fine grid.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.survival import Survival
from pymoo.util.display.multi import MultiObjectiveOutput

from hamp.evolution import surrogate
from hamp.evolution.domain import Domain, Widths, first_new, make_domain
from hamp.evolution.generation import Archive, Settings, improved, survivors, varied
from hamp.evolution.initial import latin_hypercube
from hamp.evolution.methods import METHODS
from hamp.evolution.scenarios import Array
from hamp.evolution.selection import Value, portfolio

GRID = 4096  # values that a real variable can take


class PortfolioSurvival(Survival):
    """Survivors by :func:`hamp.evolution.selection.portfolio`; infeasible ones come last, by violation.

    Sets ``rank`` to 0 and ``crowding`` to the contribution, which pymoo's tournaments then compare.
    """

    def __init__(self, value: Value = "hypervolume", scenarios: int | None = None):
        super().__init__(filter_infeasible=True)
        self.value = value
        self.scenarios = scenarios

    def _do(self, problem: Problem, pop: Population, *_: Any, n_survive: int | None = None, **__: Any) -> Population:
        size = len(pop) if n_survive is None else n_survive
        chosen = portfolio(pop.get("F"), size, value=self.value, scenarios=self.scenarios)
        kept = pop[chosen.indices]
        kept.set("rank", np.zeros(len(kept), dtype=int))
        kept.set("crowding", chosen.contribution)
        return kept


class HAMP(Algorithm):
    """Portfolio selection with surrogate-assisted local search, on integer or real variables without constraints.

    pop_size: survivors and offspring of a generation. models: the surrogates that are tried for each objective.
    """

    def __init__(
        self,
        pop_size: int = 20,
        models: tuple[surrogate.ModelName, ...] = ("gp", "ridge"),
        settings: Settings | None = None,
        output: Any = None,
        **kwargs: Any,
    ):
        super().__init__(output=output or MultiObjectiveOutput(), **kwargs)
        self.pop_size = pop_size
        self.models = models
        self.settings = settings or Settings()
        self.method = METHODS["hamp"]

    def _setup(self, problem: Problem, **_: Any) -> None:
        if problem.has_constraints():
            raise ValueError("HAMP has no constraints; use PortfolioSurvival in one of pymoo's genetic algorithms")
        self.grid = Grid(problem)
        self.rows: list[dict[str, Any]] = []
        self.evaluated = Population.empty()

    def _initialize_infill(self) -> Population:
        X = latin_hypercube(self.grid.domain, self.pop_size, self.random_state)
        return Population.new(X=self.grid.decode(X[first_new(X, set())]))

    def _initialize_advance(self, infills: Any = None, **_: Any) -> None:
        self.known = Archive(
            X=np.zeros((0, self.grid.domain.groups), dtype=np.int32),
            F=np.zeros((0, self.problem.n_obj)),
            generation=np.zeros(0, dtype=np.int64),
            origins=[],
            population=np.zeros(0, dtype=np.intp),
        )
        self._learn(infills, ["initial"] * len(infills))

    def _infill(self) -> Population | None:
        known, domain, rng = self.known, self.grid.domain, self.random_state
        targets = {str(j): surrogate.Target(column) for j, column in enumerate(known.F.T)}
        model = surrogate.fit(known.X, domain, targets, rng, names=self.models, previous=self.rows)
        self.rows = model.describe()

        def objectives(X: Widths) -> tuple[Array, Array]:
            mean, deviation = model.predict(X)
            return np.column_stack([mean[key] for key in targets]), np.column_stack([deviation[key] for key in targets])

        quality = min(row["spearman"] for row in self.rows)
        X, origins = varied(self.method, known, domain, self.pop_size, rng, self.settings)
        X, self.origins = improved(
            self.method, known, domain, X, origins, self.pop_size, rng, self.settings, objectives, quality
        )
        if len(X) == 0:
            self.termination.force_termination = True
            return None
        return Population.new(X=self.grid.decode(X))

    def _advance(self, infills: Population | None = None, **_: Any) -> None:
        if infills is not None:
            self._learn(infills, self.origins)

    def _learn(self, infills: Population, origins: list[str]) -> None:
        known, new = self.known, np.arange(len(self.known.X), len(self.known.X) + len(infills))
        generation = np.full(len(infills), int(known.generation.max()) + 1 if len(known.X) else 0)
        grown = Archive(
            X=np.concatenate([known.X, self.grid.encode(infills.get("X"))]),
            F=np.concatenate([known.F, infills.get("F")]),
            generation=np.concatenate([known.generation, generation]),
            origins=[*known.origins, *origins],
            population=known.population,
        )
        kept = survivors(self.method, grown, new, self.pop_size, self.settings)
        self.known = Archive(grown.X, grown.F, grown.generation, grown.origins, kept)
        self.evaluated = Population.merge(self.evaluated, infills)
        self.pop = self.evaluated[kept]


class Grid:
    """A problem's variables as widths: integer ones value by value, real ones in ``GRID`` equal steps."""

    def __init__(self, problem: Problem):
        self.low, self.high = problem.bounds()
        self.integer = problem.vtype is int
        values = self.high - self.low + 1 if self.integer else np.full(problem.n_var, GRID)
        self.domain: Domain = make_domain(values, encoding="linear")

    def decode(self, X: Widths) -> NDArray:
        """Return the variables at widths ``X (n, variables)``."""
        share = (X - 1) / np.maximum(self.domain.channels - 1, 1)
        values = self.low + share * (self.high - self.low)
        return np.rint(values).astype(int) if self.integer else values

    def encode(self, values: NDArray) -> Widths:
        """Return the widths of variables that came from :meth:`decode`."""
        share = (np.asarray(values, dtype=float) - self.low) / np.maximum(self.high - self.low, 1e-300)
        return (1 + np.rint(share * (self.domain.channels - 1))).astype(np.int32)

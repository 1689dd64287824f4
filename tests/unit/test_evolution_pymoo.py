"""HAMP and its selection as users of pymoo run them: through pymoo's `minimize`."""

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from hamp.analysis.dominance import non_dominated
from hamp.analysis.hypervolume import hypervolume
from hamp.evolution.adapters import HAMP, Grid, PortfolioSurvival

ZDT1 = get_problem("zdt1", n_var=6)
REFERENCE = [1.1, 1.1]


class Integers(Problem):
    """Two costs of 8 x 8 pairs of integers that pull apart; the front is the diagonal."""

    def __init__(self):
        super().__init__(n_var=2, n_obj=2, xl=[-2, 3], xu=[5, 10], vtype=int)

    def _evaluate(self, X, out, *_, **__):
        off = (X[:, 0] - X[:, 1] + 5) ** 2
        out["F"] = np.column_stack([X[:, 0] + off, 5 - X[:, 0] + off]).astype(float)


def volume(problem, algorithm, evaluations, seed=1):
    found = minimize(problem, algorithm, ("n_eval", evaluations), seed=seed)
    return hypervolume(found.F, REFERENCE)


def test_the_portfolio_replaces_the_survival_of_a_genetic_algorithm():
    ours = NSGA2(pop_size=20, survival=PortfolioSurvival())
    found = minimize(ZDT1, ours, ("n_eval", 1000), seed=1)
    assert len(found.pop) == 20
    assert non_dominated(found.F).all()
    assert hypervolume(found.F, REFERENCE) > 0.95 * volume(ZDT1, NSGA2(pop_size=20), 1000)


def test_constraints_come_first():
    problem = get_problem("bnh")
    found = minimize(problem, NSGA2(pop_size=20, survival=PortfolioSurvival()), ("n_eval", 600), seed=1)
    assert (problem.evaluate(found.X, return_values_of=["G"]) <= 0).all()
    assert hypervolume(found.F, [140, 50]) > 0.97 * hypervolume(problem.pareto_front(), [140, 50])


def test_hamp_is_far_ahead_of_nsga2_after_few_evaluations():
    assert volume(ZDT1, HAMP(pop_size=20), 160) > 1.5 * max(volume(ZDT1, NSGA2(pop_size=20), 160), 0.2)


def test_hamp_repeats_itself():
    one, other = (minimize(ZDT1, HAMP(pop_size=10), ("n_eval", 30), seed=3).F for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_hamp_ends_when_every_solution_was_evaluated_once():
    problem = Integers()
    found = minimize(problem, HAMP(pop_size=10), ("n_gen", 30), seed=1)
    assert (np.rint(found.X) == found.X).all()
    assert sorted(found.F[:, 0].tolist()) == list(range(-2, 6))
    assert found.algorithm.evaluator.n_eval == 64


def test_hamp_takes_no_constraints():
    with pytest.raises(ValueError, match="PortfolioSurvival"):
        minimize(get_problem("bnh"), HAMP(), ("n_gen", 2))


@pytest.mark.parametrize("problem", [ZDT1, Integers()])
def test_a_grid_gives_back_what_it_was_given(problem):
    grid = Grid(problem)
    X = np.random.default_rng(0).integers(1, grid.domain.channels + 1, (50, problem.n_var)).astype(np.int32)
    values = grid.decode(X)
    assert (values >= problem.xl).all()
    assert (values <= problem.xu).all()
    np.testing.assert_array_equal(grid.encode(values), X)

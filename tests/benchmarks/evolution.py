"""Portfolio selection on known test functions and its speed, beside pymoo's NSGA-II and SMS-EMOA.

    python -m tests.benchmarks.evolution   # the table of test functions in docs/method.md; a quarter of an hour

In pymoo's genetic algorithm only the survival differs: population 40, 2,000 evaluations. What counts is the exact
hypervolume of the last population.
"""

import time
from collections.abc import Callable, Iterator
from multiprocessing import Pool
from pathlib import Path

import moocore
import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2, RankAndCrowding
from pymoo.algorithms.moo.sms import SMSEMOA
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from pymoo.problems import get_problem

from hamp.evolution.adapters import PortfolioSurvival
from hamp.evolution.selection import portfolio
from tests.benchmarks.rows import Row, row

CASES = [
    *(
        (name, objectives)
        for name in ("dtlz1", "dtlz2", "dtlz5", "dtlz7", "wfg4", "c2dtlz2")
        for objectives in (2, 3, 5)
    ),
    *((name, 2) for name in ("zdt1", "zdt3", "bnh")),
]
SEEDS, POPULATION, GENERATIONS = 10, 40, 50
ALGORITHMS: dict[str, Callable[[], Algorithm]] = {
    "portfolio": lambda: NSGA2(pop_size=POPULATION, survival=PortfolioSurvival()),
    "NSGA-II": lambda: NSGA2(pop_size=POPULATION),
    "SMS-EMOA": lambda: SMSEMOA(pop_size=POPULATION),
}
DOCUMENT = Path(__file__).parents[2] / "docs" / "method.md"
START, END = "<!-- functions: made by `python -m tests.benchmarks.evolution` -->", "<!-- end of functions -->"


def problem(name: str, objectives: int) -> Problem:
    """The test function, with 12 variables where that can be chosen."""
    if name.startswith(("zdt", "bnh")):
        return get_problem(name)
    return get_problem(name, n_var=12, n_obj=objectives)


def reference(name: str, objectives: int) -> np.ndarray:
    """Reference point: a bit behind the front, and where populations end that have not converged."""
    if name == "dtlz7":
        return np.r_[np.ones(objectives - 1), 2.0 * objectives + 1]
    if name == "wfg4":
        return 2.4 * np.arange(1, objectives + 1)
    if name == "bnh":
        return np.array([147.0, 52.5])
    return np.full(objectives, {"dtlz1": 50.0, "zdt1": 1.1, "zdt3": 1.1}.get(name, 1.2))


def hypervolume(case: tuple[str, int, str, int]) -> float:
    """Of the last population of one run."""
    name, objectives, algorithm, seed = case
    made = minimize(problem(name, objectives), ALGORITHMS[algorithm](), ("n_gen", GENERATIONS), seed=seed)
    at = reference(name, objectives)
    F = made.pop[made.pop.get("CV")[:, 0] <= 0].get("F")
    F = F[(at > F).all(axis=1)]
    return float(moocore.hypervolume(F, ref=at)) if len(F) else 0.0


def functions() -> str:
    """The table: mean and standard deviation over the seeds, and the portfolio's ratio to the better of the others."""
    runs = [(*case, algorithm, seed) for case in CASES for algorithm in ALGORITHMS for seed in range(SEEDS)]
    with Pool() as pool:
        volumes = np.array(pool.map(hypervolume, runs, chunksize=1)).reshape(len(CASES), len(ALGORITHMS), SEEDS)
    lines = [f"| function | objectives | {' | '.join(ALGORITHMS)} | ratio |", "| --- " * (3 + len(ALGORITHMS)) + "|"]
    for (name, objectives), found in zip(CASES, volumes, strict=True):
        mean = found.mean(axis=1)
        told = [f"{m:.4g} ± {s:.1g}" for m, s in zip(mean, found.std(axis=1, ddof=1), strict=True)]
        lines.append(f"| {name.upper()} | {objectives} | {' | '.join(told)} | {mean[0] / mean[1:].max():.3f} |")
    return "\n".join(lines)


def rows() -> Iterator[Row]:
    """Time of one selection of half of the candidates, three objectives."""
    three = Problem(n_var=1, n_obj=3)
    for size in (80, 5000):
        rng = np.random.default_rng(0)
        F = np.abs(rng.normal(size=(size, 3)))
        F /= np.linalg.norm(F, axis=1, keepdims=True) ** rng.uniform(0.5, 1, (size, 1))
        population = Population.new(F=F)
        ours = _seconds(lambda F=F, size=size: portfolio(F, size // 2))  # type: ignore[misc]
        peer = _seconds(lambda p=population, size=size: RankAndCrowding().do(three, p, n_survive=size // 2))  # type: ignore[misc]
        yield row(f"select-{size}", 1e3 * ours, 1e3 * peer, "ms", smaller=True)


def _seconds(function: Callable[[], object]) -> float:
    """Processor seconds of the fastest of some calls, after one to warm up."""
    function()
    found = []
    while len(found) < 3 or (sum(found) < 0.5 and len(found) < 50):
        begun = time.process_time()
        function()
        found.append(time.process_time() - begun)
    return min(found)


if __name__ == "__main__":
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(START)
    table = functions()
    DOCUMENT.write_text(f"{before}{START}\n\n{table}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")

"""Searches against each other: how far each came after each generation, and which method is better than which.

Objectives are error, and the others over the unpruned network's, so that the reference point is 1 in each but the
error, whose reference is given: a lower one counts only networks that are of use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamp.analysis.dominance import non_dominated
from hamp.analysis.hypervolume import hypervolume, hypervolume_history
from hamp.analysis.quality import coverage, evaluations_to_reach, igd_plus
from hamp.analysis.statistics import friedman, mann_whitney

Run = tuple[str, int]
"""Method and seed of one search."""

Row = dict[str, Any]
REFERENCE_ERRORS = (0.9, 0.4)
"""Errors at the two reference points: chance among ten classes, and a network that's of some use."""

LARGER_IS_BETTER = {"hypervolume": True, "hypervolume_strict": True, "igd_plus": False}


@dataclass(frozen=True)
class Found:
    """Everything that a search evaluated: objectives ``F (n, objectives)`` with the error first, and the number of the
    ``generation (n,)`` of each."""

    F: NDArray[np.float64]
    generation: NDArray[np.int64]


def curves(searches: Mapping[Run, Found]) -> list[Row]:
    """Return a row per search and generation: what is in the schema CURVES of :mod:`hamp.tables`.

    The front of all searches together is what IGD+ and coverage are taken to, and hypervolumes are shares of; what is
    worse than the reference point counts only where all of it is.
    """
    loose, strict = REFERENCE_ERRORS
    union = np.concatenate([_errors_over(found.F, loose) for found in searches.values()])
    front = non_dominated(union)
    inside = front & (union <= 1).all(axis=1)
    union = np.unique(union[inside if inside.any() else front], axis=0)
    best = hypervolume(union, np.ones(union.shape[1]))
    best_strict = hypervolume(_errors_over(union, strict / loose), np.ones(union.shape[1]))
    rows = []
    for (method, seed), found in searches.items():
        F, one = _errors_over(found.F, loose), np.ones(found.F.shape[1])
        generations, evaluations, volumes = hypervolume_history(F, found.generation, one)
        _, _, stricter = hypervolume_history(_errors_over(found.F, strict), found.generation, one)
        for at, generation in enumerate(generations):
            known = F[found.generation <= generation]
            rows.append(
                {
                    "method": method,
                    "seed": seed,
                    "generation": int(generation),
                    "evaluations": int(evaluations[at]),
                    "hypervolume": float(volumes[at]),
                    "hypervolume_strict": float(stricter[at]),
                    "share": float(volumes[at] / best) if best > 0 else 0.0,
                    "share_strict": float(stricter[at] / best_strict) if best_strict > 0 else 0.0,
                    "igd_plus": igd_plus(known, union),
                    "coverage": coverage(known, union),
                }
            )
    return rows


def pairs(rows: Sequence[Row], searches: Mapping[Run, Found]) -> list[Row]:
    """Return a row per ordered pair of methods and indicator: what is in the schema PAIRS of :mod:`hamp.tables`.

    rows: of :func:`curves`. Both methods' values are those after their last generation.
    """
    final = _final(rows)
    methods = list(dict.fromkeys(method for method, _ in final))
    return [
        _pair(rows, searches, method, other, indicator)
        for method, other in permutations(methods, 2)
        for indicator in LARGER_IS_BETTER
    ]


def _pair(rows: Sequence[Row], searches: Mapping[Run, Found], method: str, other: str, indicator: str) -> Row:
    mine, theirs = ({seed: row for (name, seed), row in _final(rows).items() if name == one} for one in (method, other))
    values, other_values = ([row[indicator] for row in side.values()] for side in (mine, theirs))
    seeds = sorted(mine.keys() & theirs.keys())
    larger = LARGER_IS_BETTER[indicator]
    sign = 1 if larger else -1
    test = mann_whitney(values, other_values)
    mean, other_mean = float(np.mean(values)), float(np.mean(other_values))
    return {
        "method": method,
        "other": other,
        "indicator": indicator,
        "mean": mean,
        "other_mean": other_mean,
        "ratio": mean / other_mean if other_mean > 0 else None,
        "wins": sum(sign * mine[seed][indicator] > sign * theirs[seed][indicator] for seed in seeds),
        "common_seeds": len(seeds),
        "a12": test.a12 if larger else 1 - test.a12,
        "p": test.p,
        "evaluations_to_reach": _reach(rows, method, indicator, other_mean) if larger else None,
        "other_evaluations": float(np.mean([row["evaluations"] for row in theirs.values()])),
        "coverage": float(np.mean([_coverage(searches[method, seed], searches[other, seed]) for seed in seeds]))
        if seeds
        else None,
    }


def ranking(rows: Sequence[Row]) -> list[Row]:
    """Return a row per indicator and method: what is in the schema RANKS of :mod:`hamp.tables`.

    Methods are ranked on each seed that all of them have (they start from one initial population there).
    """
    final = _final(rows)
    methods = list(dict.fromkeys(method for method, _ in final))
    seeds = sorted(set.intersection(*({seed for m, seed in final if m == method} for method in methods)))
    if not seeds:
        return []
    found = []
    for indicator, larger in LARGER_IS_BETTER.items():
        sign = 1 if larger else -1
        ranks = friedman([[sign * final[method, seed][indicator] for method in methods] for seed in seeds])
        for method, rank in zip(methods, ranks.ranks, strict=True):
            found.append(
                {"indicator": indicator, "method": method, "rank": float(rank), "seeds": len(seeds), "p": ranks.p}
            )
    return found


def _final(rows: Sequence[Row]) -> dict[Run, Row]:
    return {(row["method"], row["seed"]): row for row in rows}


def _reach(rows: Sequence[Row], method: str, indicator: str, target: float) -> float | None:
    """Median over the seeds of the evaluations after which the target was met; None: the median seed never met it."""
    runs: dict[int, list[Row]] = {}
    for row in rows:
        if row["method"] == method:
            runs.setdefault(row["seed"], []).append(row)
    reached = [
        evaluations_to_reach([row["evaluations"] for row in run], [row[indicator] for row in run], target)
        for run in runs.values()
    ]
    middle = median(float("inf") if count is None else count for count in reached)
    return None if np.isinf(middle) else float(middle)


def _errors_over(F: NDArray[np.float64], reference_error: float) -> NDArray[np.float64]:
    """Return ``F`` with the error, its first column, divided by the reference."""
    return np.column_stack([F[:, 0] / reference_error, F[:, 1:]])


def _coverage(found: Found, other: Found) -> float:
    """Share of the other search's front that this one covers."""
    return coverage(found.F, other.F[non_dominated(other.F)])

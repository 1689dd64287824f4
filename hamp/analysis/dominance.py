"""Pareto dominance of objective vectors, all minimised."""

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray


def non_dominated(F: ArrayLike) -> NDArray[np.bool_]:
    """Return the mask ``(n,)`` of the vectors that no other one dominates; equal vectors are all kept.

    F: objective vectors ``(n, objectives)``.
    """
    F = np.asarray(F, dtype=float)
    if len(F) == 0:
        return np.zeros(0, dtype=bool)
    return np.asarray(moocore.is_nondominated(F, keep_weakly=True), dtype=bool)


def ranks(F: ArrayLike) -> NDArray[np.int64]:
    """Return the non-domination rank ``(n,)`` of each vector: 0 for the front, 1 for the front without it, ….

    Deb et al., *A fast and elitist multiobjective genetic algorithm: NSGA-II*, 2002, section III-A.
    """
    F = np.asarray(F, dtype=float)
    if len(F) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.asarray(moocore.pareto_rank(F), dtype=np.int64)

"""Indicators that compare a front with another front."""

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray


def igd_plus(F: ArrayLike, front: ArrayLike) -> float:
    """Return the mean distance from each vector of ``front`` to the region that ``F`` dominates; 0 is best.

    Ishibuchi et al., *Modified distance calculation in generational distance and inverted generational distance*,
    EMO 2015. Objectives should be on comparable scales.
    """
    F, front = np.asarray(F, dtype=float), np.asarray(front, dtype=float)
    if len(front) == 0:
        raise ValueError("IGD+ needs a front of at least one vector")
    return float(moocore.igd_plus(F, ref=front)) if len(F) else float("inf")


def coverage(A: ArrayLike, B: ArrayLike) -> float:
    """Return the share of ``B`` that some vector of ``A`` weakly dominates (the C-metric, Zitzler and Thiele, 1999)."""
    A, B = np.asarray(A, dtype=float), np.asarray(B, dtype=float)
    if len(B) == 0:
        raise ValueError("coverage needs at least one vector to be covered")
    return float(np.mean([bool((b >= A).all(axis=1).any()) for b in B]))


def attainment(fronts: list[NDArray[np.float64]], percentiles: ArrayLike = (25, 50, 75)) -> NDArray[np.float64]:
    """Return the surfaces attained by the given percentages of the runs ``(points, objectives + 1)``.

    The last column is the percentile. 2 or 3 objectives. Fonseca et al., *The attainment-function approach to
    stochastic multiobjective optimizer assessment and comparison*, 2010.
    """
    points = np.concatenate([np.column_stack([front, np.full(len(front), k)]) for k, front in enumerate(fronts, 1)])
    return np.asarray(moocore.eaf(points[:, :-1], sets=points[:, -1], percentiles=np.asarray(percentiles, dtype=float)))


def evaluations_to_reach(evaluations: ArrayLike, hypervolumes: ArrayLike, target: float) -> int | None:
    """Return the evaluations after which the hypervolume was first at least ``target``; None if it never was."""
    reached = np.flatnonzero(np.asarray(hypervolumes, dtype=float) >= target)
    return int(np.asarray(evaluations)[reached[0]]) if len(reached) else None

"""Hypervolume: the volume of objective space that a set dominates, up to a reference point."""

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hamp.analysis.dominance import non_dominated


def hypervolume(F: ArrayLike, reference: ArrayLike) -> float:
    """Return the exact hypervolume of the vectors ``F (n, objectives)``, minimised.

    Vectors that aren't better than the reference in every objective count nothing (Zitzler and Thiele, 1999).
    """
    F, reference = np.asarray(F, dtype=float), np.asarray(reference, dtype=float)
    inside = F[(reference > F).all(axis=1)] if len(F) else F
    if len(inside) == 0:
        return 0.0
    return float(moocore.hypervolume(inside, ref=reference))


def hypervolume_history(
    F: ArrayLike, generation: ArrayLike, reference: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return per generation: its number, the evaluations until its end, the hypervolume of all found until then.

    F: everything evaluated ``(n, objectives)``; generation: in which one ``(n,)``.
    """
    F, generation = np.asarray(F, dtype=float), np.asarray(generation)
    numbers = np.unique(generation)
    front = F[:0]
    evaluations, volumes = [], []
    for number in numbers:
        front = np.concatenate([front, F[generation == number]])
        front = front[non_dominated(front)]
        evaluations.append(int(np.sum(generation <= number)))
        volumes.append(hypervolume(front, reference))
    return numbers.astype(np.int64), np.array(evaluations, dtype=np.int64), np.array(volumes, dtype=float)

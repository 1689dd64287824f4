"""Tests of whether one method's results are better than another's."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Comparison:
    """``p``: two-sided Mann–Whitney; ``a12``: how often the first sample is larger than the second one."""

    p: float
    a12: float


@dataclass(frozen=True)
class Ranking:
    """``ranks``: mean rank per method, 1 the best; ``p``: of the hypothesis that all methods are equal."""

    ranks: NDArray[np.float64]
    p: float


def mann_whitney(a: ArrayLike, b: ArrayLike) -> Comparison:
    """Compare two samples of one value a seed.

    The effect size is Vargha and Delaney's A12 (*A critique and improvement of the CL common language effect size
    statistics*, 2000): .5 is no difference, 1 means that every ``a`` is above every ``b``; ties count half.
    """
    from scipy.stats import mannwhitneyu

    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if len(a) == 0 or len(b) == 0:
        raise ValueError("both samples need at least one value")
    a12 = float(np.mean((a[:, None] > b) + 0.5 * (a[:, None] == b)))
    return Comparison(p=float(mannwhitneyu(a, b, alternative="two-sided").pvalue), a12=a12)


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Return Spearman's rank correlation; 0 where one of the two is constant."""
    from scipy.stats import rankdata

    ranked = np.stack([rankdata(a), rankdata(b)])
    ranked -= ranked.mean(axis=1, keepdims=True)
    norm = float(np.sqrt((ranked**2).sum(axis=1).prod()))
    return float(ranked[0] @ ranked[1]) / norm if norm > 0 else 0.0


def friedman(values: ArrayLike) -> Ranking:
    """Rank methods over problems: ``values (problems, methods)``, larger is better.

    Demšar, *Statistical comparisons of classifiers over multiple data sets*, 2006. Without at least three methods
    and two problems that differ there is nothing to test and p is 1.
    """
    from scipy.stats import friedmanchisquare, rankdata

    values = np.asarray(values, dtype=float)
    mean_ranks = rankdata(-values, axis=1).mean(axis=0)
    testable = values.shape[0] >= 2 and values.shape[1] >= 3 and np.ptp(values, axis=1).any()
    return Ranking(ranks=mean_ranks, p=float(friedmanchisquare(*values.T).pvalue) if testable else 1.0)

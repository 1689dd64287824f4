"""The first candidates: the unpruned network and some that spread over what pruning can do."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hamp.evolution.domain import Domain, Widths, canonical, first_new, keys, repair, unpruned

Kind = Literal["uniform", "sensitivity", "latin"]
Rng = np.random.Generator


def population(
    domain: Domain,
    n: int,
    rng: Rng,
    kinds: Sequence[Kind] = ("uniform", "sensitivity", "latin"),
    sensitivity: ArrayLike | None = None,
) -> tuple[Widths, list[str]]:
    """Return up to ``n`` different width vectors, the unpruned network first, and where each comes from.

    The rest is shared evenly among ``kinds``. sensitivity: per group ``(groups,)``, how much the error grows when it
    is cut; without it the sensitivity-guided share goes to the other kinds.
    """
    kinds = [kind for kind in kinds if kind != "sensitivity" or sensitivity is not None]
    X, origins = unpruned(domain)[:n], ["unpruned"][:n]
    makers: dict[str, Callable[[int], Widths]] = {
        "uniform": lambda k: uniform_sweep(domain, k),
        "sensitivity": lambda k: sensitivity_sweep(domain, k, np.asarray(sensitivity, dtype=float)),
        "latin": lambda k: latin_hypercube(domain, k, rng),
    }
    shares = np.diff(np.linspace(0, n - 1, len(kinds) + 1).round().astype(int)).tolist() if kinds else []
    for kind, share in zip(kinds, shares, strict=True):
        X, origins = _extend(X, origins, makers[kind](share), kind, n)
    for _ in range(20):  # what coincided is replaced from the hypercube
        if len(X) >= n:
            break
        X, origins = _extend(X, origins, latin_hypercube(domain, n - len(X), rng), "latin", n)
    return X, origins


def _extend(X: Widths, origins: list[str], more: Widths, kind: str, n: int) -> tuple[Widths, list[str]]:
    new = more[first_new(more, set(keys(X)))][: n - len(X)]
    return np.concatenate([X, new]), origins + [kind] * len(new)


def uniform_sweep(domain: Domain, n: int) -> Widths:
    """Return networks with one fraction for all groups ``(n, groups)``, evenly spaced in its logarithm."""
    return repair(domain.channels * _fractions(domain, n)[:, None], domain)


def sensitivity_sweep(domain: Domain, n: int, sensitivity: NDArray[np.float64]) -> Widths:
    """Return a sweep in which a group that the error depends on more is cut less.

    The logarithm of a group's fraction is in inverse proportion to the square root of its sensitivity: what makes
    the summed error least at a given total cut, where a group's error grows with the cube of its cut.
    """
    floor = max(float(sensitivity.max(initial=0)) * 1e-2, 1e-12)
    cut = 1 / np.sqrt(np.maximum(sensitivity, floor))
    cut = cut / cut.mean()
    return repair(domain.channels * _fractions(domain, n)[:, None] ** cut, domain)


def latin_hypercube(domain: Domain, n: int, rng: Rng) -> Widths:
    """Return a Latin hypercube sample ``(n, groups)`` of the logarithm of the widths (of the width where the
    encoding is linear)."""
    strata = (rng.permuted(np.tile(np.arange(n), (domain.groups, 1)), axis=1).T + rng.random((n, domain.groups))) / n
    return spread(strata, domain)


def spread(unit: NDArray[np.float64], domain: Domain) -> Widths:
    """Map points of the unit cube to widths: 0 to the lowest width (a dropped branch, where allowed), 1 to unpruned."""
    if domain.encoding == "linear":
        return repair(domain.lowest + unit * (domain.channels - domain.lowest), domain)
    # A branch gets one stratum more than it has levels in the logarithm, so that dropping it isn't rare.
    dropped = np.where(domain.leads, 1 / (domain.top + 2), 0)
    inner = np.clip((unit - dropped) / (1 - dropped), 0, 1)
    X = repair(domain.lowest * (domain.channels / domain.lowest) ** inner, domain)
    return canonical(np.where(unit < dropped, 0, X), domain)


def _fractions(domain: Domain, n: int) -> NDArray[np.float64]:
    lowest = max(float(np.mean(domain.lowest / domain.channels)), 1 / 32)
    return np.exp(np.linspace(0, np.log(lowest), n + 2))[1 : n + 1]

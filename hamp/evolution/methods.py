"""The search methods by name: what each one is composed of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Generator = Literal["memetic", "vary", "local_search", "prescreen", "genetic", "moead", "random", "uniform", "netadapt"]
Survivors = Literal["portfolio", "nsga2", "sms_emoa", "moead", "netadapt"]


@dataclass(frozen=True)
class Method:
    """How a generation's offspring arise, how the survivors are chosen, and whether a surrogate is fitted."""

    offspring: Generator
    selection: Survivors
    surrogate: bool


METHODS: dict[str, Method] = {
    "hamp": Method("memetic", "portfolio", surrogate=True),
    "portfolio": Method("vary", "portfolio", surrogate=False),
    "local_search": Method("memetic", "nsga2", surrogate=True),
    "prescreen": Method("prescreen", "portfolio", surrogate=True),
    "nsga2": Method("genetic", "nsga2", surrogate=False),
    "sms_emoa": Method("genetic", "sms_emoa", surrogate=False),
    "moead": Method("moead", "moead", surrogate=False),
    "random": Method("random", "portfolio", surrogate=False),
    "uniform": Method("uniform", "portfolio", surrogate=False),
    "netadapt": Method("netadapt", "netadapt", surrogate=False),
}


def converged(hypervolumes: Sequence[float], patience: int, tolerance: float) -> bool:
    """Return whether the hypervolume grew by less than the share ``tolerance`` in the last ``patience`` generations.

    patience: 0 never converges.
    """
    if patience <= 0 or len(hypervolumes) <= patience:
        return False
    before, now = hypervolumes[-1 - patience], hypervolumes[-1]
    # while nothing is better than the reference point, it tells of no progress
    return now > 0 and now - before <= tolerance * abs(before)

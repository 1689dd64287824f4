"""Choosing one network of a front: the rule of `hamp pick` and of the page `front.html`.

The rule, which the page's script follows to the letter:

1. **Limits.** A network is allowed if its measured latency, its memory and its validation error are each at most the
   limit given (none given: anything is allowed). The choice goes by the *validation* error, since a choice by the
   test error would make that error look better than it is; the test error is reported beside it.
2. **Preference** among the allowed networks:

   - `accuracy`: the least validation error, then the least latency, memory, name.
   - `latency`: of the networks whose latency cannot be told from the fastest one's (half the interquartile ranges of
     both, added, reach across the difference) the one of least validation error, then memory, latency, name.
   - `memory`: the least memory, then validation error, latency, name.
   - `knee`: the least distance to the ideal point (Yu, *A class of solutions for group decision problems*, 1973, the
     compromise solution for p = 2) when error, latency and memory are each scaled to 0 … 1 over the whole front, so
     that limits do not move the scale; then validation error, latency, name.

3. **Nothing is allowed.** The nearest network is the one whose largest excess over a limit is smallest, an excess being
   measured in widths of the front in that objective (where the front has no width, in units of the limit); then the
   least sum of excesses, then name.

All numbers are double precision, added in the order error, latency, memory, so that two implementations agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Preference = Literal["accuracy", "latency", "memory", "knee"]
PREFERENCES: tuple[Preference, ...] = get_args(Preference)

OBJECTIVES = ("error_validation", "latency_ms", "memory_bytes")

Network = Mapping[str, Any]
"""A row of the front (table FRONT)."""


@dataclass(frozen=True)
class Choice:
    """What was chosen, or, where nothing fits, what comes nearest.

    Attributes:
        network: the row of the front.
        fits: whether it is within the limits.
        allowed: how many networks are.
        excess: where it does not fit, by how much each broken limit is exceeded, in the unit of its objective.
    """

    network: Network
    fits: bool
    allowed: int
    excess: dict[str, float] = field(default_factory=dict)


def choose(front: Sequence[Network], limits: Mapping[str, float], prefer: Preference = "knee") -> Choice:
    """The network of a front that the rule above gives.

    Args:
        front: its rows, at least one.
        limits: largest value allowed by objective (`error_validation`, `latency_ms`, `memory_bytes`); others are free.
        prefer: what is wanted most.
    """
    allowed = [row for row in front if all(row[name] <= limit for name, limit in limits.items())]
    if not allowed:
        nearest = min(front, key=lambda row: _distance(row, front, limits))
        over = {name: nearest[name] - limits[name] for name in OBJECTIVES if name in limits}
        return Choice(nearest, False, 0, {name: value for name, value in over.items() if value > 0})
    return Choice(_preferred(allowed, front, prefer), True, len(allowed))


def _preferred(allowed: Sequence[Network], front: Sequence[Network], prefer: Preference) -> Network:
    if prefer == "accuracy":
        return min(allowed, key=_keys("error_validation", "latency_ms", "memory_bytes"))
    if prefer == "memory":
        return min(allowed, key=_keys("memory_bytes", "error_validation", "latency_ms"))
    if prefer == "latency":
        fastest = min(allowed, key=_keys("latency_ms", "error_validation", "memory_bytes"))
        tied = [row for row in allowed if _tied(row, fastest)]
        return min(tied, key=_keys("error_validation", "memory_bytes", "latency_ms"))
    scales = {name: _scale(front, name) for name in OBJECTIVES}

    def distance(row: Network) -> tuple[Any, ...]:
        total = 0.0
        for name in OBJECTIVES:
            low, width = scales[name]
            share = (row[name] - low) / width if width > 0 else 0.0
            total += share * share
        return (total, row["error_validation"], row["latency_ms"], row["candidate"])

    return min(allowed, key=distance)


def _keys(*names: str) -> Any:
    return lambda row: (*(row[name] for name in names), row["candidate"])


def _tied(row: Network, fastest: Network) -> bool:
    """Whether the noise of two measurements reaches across their difference."""
    return row["latency_ms"] - fastest["latency_ms"] <= (row["latency_iqr_ms"] + fastest["latency_iqr_ms"]) / 2


def _scale(front: Sequence[Network], name: str) -> tuple[float, float]:
    values = [row[name] for row in front]
    return min(values), max(values) - min(values)


def _distance(row: Network, front: Sequence[Network], limits: Mapping[str, float]) -> tuple[float, float, str]:
    largest = total = 0.0
    for name in OBJECTIVES:
        if name in limits:
            width = _scale(front, name)[1] or abs(limits[name]) or 1.0
            excess = max(0.0, (row[name] - limits[name]) / width)
            largest, total = max(largest, excess), total + excess
    return largest, total, row["candidate"]

"""How far a search is, in one line: for the log of each generation and for `hamp watch`."""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from hamp.analysis.dominance import non_dominated
from hamp.stages.progress import hypervolume_of
from hamp.tables import columns

SHOWN = {"error": ("error", 100, " %"), "latency_ms": ("latency", 1, " ms"), "memory_bytes": ("memory", 1e-6, " MB")}
SHOWN |= {
    "energy_mj": ("energy", 1, " mJ"),
    "macs": ("multiply-adds", 1e-6, " M"),
    "parameters": ("parameters", 1e-3, " k"),
}


def digits(value: float, count: int = 3) -> str:
    """A number with so many significant digits, as the report's page writes it: without exponent."""
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)))
    return f"{value:.{min(6, max(0, count - 1 - power))}f}"


def worded(objective: str) -> str:
    """An objective in words, such as `latency on nano`."""
    quantity, _, device = objective.partition("@")
    return SHOWN[quantity][0] + (f" on {device}" if device else "")


def line(archive: pa.Table, objectives: Sequence[str]) -> str:
    """Evaluations, size of the front, hypervolume, and the best of each objective.

    Args:
        archive: all evaluated so far (table EVALUATED).
        objectives: names of the objectives.
    """
    values = columns(archive, list(objectives))
    best = []
    for name, least in zip(objectives, np.min(values, axis=0), strict=True):
        _, factor, unit = SHOWN[name.partition("@")[0]]
        best.append(f"{worded(name)} {digits(factor * least)}{unit}")
    volume = hypervolume_of(archive, objectives)
    return (
        f"{len(archive)} evaluated, {int(non_dominated(values).sum())} on the front, hypervolume {volume:.4f}, "
        f"best {', '.join(best)}"
    )

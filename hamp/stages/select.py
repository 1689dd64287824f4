"""Stage `select`: what was evaluated, joined, and the survivors among it and the population before."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from hamp.configuration.blocks import Portfolio
from hamp.errors import UserError
from hamp.evolution.generation import survivors
from hamp.evolution.methods import METHODS
from hamp.stages.state import archive_of, settings
from hamp.tables import EVALUATED, build, concatenate

MEASURED_COLUMNS = ("latency_ms", "latency_iqr_ms", "energy_mj", "memory_bytes", "macs", "parameters")
"""What is kept of a measured candidate, on every device."""


def evaluated(offspring: pa.Table, errors: Sequence[pa.Table], measured: pa.Table, generation: int) -> pa.Table:
    """Table EVALUATED of one generation, in the order of `offspring`.

    Args:
        offspring: table CANDIDATES.
        errors: a table ERRORS a shard; together they hold each candidate once.
        measured: table MEASURED.
        generation: number of the generation.

    Raises:
        UserError: a candidate was not evaluated or not measured.
    """
    names = offspring["candidate"].to_pylist()
    error = _aligned(concatenate(errors), names, "evaluated")
    device = _aligned(measured, names, "measured")
    kept = [name for name in device.column_names if name.partition("@")[0] in MEASURED_COLUMNS]
    return build(
        EVALUATED,
        {
            **{name: offspring[name] for name in ("candidate", "widths", "origin")},
            **{name: device[name] for name in kept},
            "error": error["error"],
            "generation": np.full(len(names), generation),
        },
    )


def select(
    population: pa.Table,
    archive: pa.Table,
    new: pa.Table,
    *,
    size: int,
    objectives: Sequence[str],
    method: str,
    portfolio: Portfolio,
) -> tuple[pa.Table, pa.Table]:
    """The archive with what is new, and the next population, both EVALUATED; nothing new: both as they were.

    Args:
        population: survivors of the generation before; empty before the first.
        archive: all evaluated before.
        new: evaluated in this generation.
        size: how many survive.
        objectives: names.
        method: name of the method.
        portfolio: what the survivors are chosen for, by a method that chooses a portfolio.
    """
    if not len(new):
        return archive, population
    union = concatenate([archive, new])
    fresh = np.arange(len(archive), len(union))
    wanted = settings(portfolio, union, objectives)
    chosen = survivors(METHODS[method], archive_of(union, population, objectives), fresh, size, wanted)
    return union, union.take(chosen)


def _aligned(table: pa.Table, names: Sequence[str], done: str) -> pa.Table:
    row = {name: index for index, name in enumerate(table["candidate"].to_pylist())}
    missing = [name for name in names if name not in row]
    if missing:
        raise UserError(
            f"{len(missing)} candidates were not {done}, first {missing[0]}; delete that stage's output and run again"
        )
    return table.take(pa.array([row[name] for name in names], pa.int64()))

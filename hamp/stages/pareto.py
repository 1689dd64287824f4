"""Stages `hypervolume`, `aggregate` and `pareto`: from archives to the front."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from hamp.analysis.dominance import non_dominated
from hamp.analysis.hypervolume import hypervolume as hypervolume_of
from hamp.candidates import REFERENCE, UNPRUNED, name_of
from hamp.evolution.selection import portfolio
from hamp.stages.progress import scaled
from hamp.tables import FRONT, HYPERVOLUME, MEMBERS, build, columns, matrix

Run = tuple[str, int]
"""Method and seed of one search."""


def hypervolumes(archives: Mapping[Run, pa.Table], objectives: Sequence[str]) -> pa.Table:
    """Hypervolume after every generation of every search, table HYPERVOLUME.

    Args:
        archives: of each search, all that it evaluated (EVALUATED).
        objectives: names of the objectives.
    """
    rows: dict[str, list] = {name: [] for name in HYPERVOLUME.names}
    for (method, seed), archive in archives.items():
        generations = archive["generation"].to_numpy()
        values = scaled(archive, objectives)
        for generation in range(generations.max() + 1):
            known = values[generations <= generation]
            rows["method"].append(method)
            rows["seed"].append(seed)
            rows["generation"].append(generation)
            rows["evaluations"].append(len(known))
            rows["hypervolume"].append(hypervolume_of(known, np.ones(len(objectives))))
    return build(HYPERVOLUME, rows)


def aggregate(archives: Mapping[Run, pa.Table], objectives: Sequence[str], size: int) -> pa.Table:
    """The front over all searches, at most `size` of it, chosen as a portfolio; table MEMBERS.

    The unpruned network is no member: it is exported beside them. A candidate found by several searches is
    credited to the first.
    """
    rows: dict[str, list] = {name: [] for name in MEMBERS.names}
    seen = set()
    for (method, seed), archive in archives.items():
        for row in archive.to_pylist():
            if row["candidate"] not in seen and row["origin"] != UNPRUNED:
                seen.add(row["candidate"])
                values = {**row, "method": method, "seed": seed}
                for name, column in rows.items():
                    column.append(values[name])
    union = build(MEMBERS, rows)
    values = columns(union, list(objectives))
    front = np.flatnonzero(non_dominated(values))
    chosen = np.sort(front[portfolio(values[front], size).indices])
    return union.take(chosen[np.argsort(values[chosen, 0], kind="stable")])


def pareto(
    members: pa.Table, finetuned: pa.Table, tested: pa.Table, measured: pa.Table, exported: pa.Table
) -> pa.Table:
    """The front after fine-tuning and measuring, table FRONT, ascending in latency.

    A member that another beats in validation error, measured latency and memory is left out; latencies that differ
    by less than the noise are equal in that comparison.
    """
    names = members["candidate"].to_pylist()
    validation, test = _by_candidate(finetuned, "error_validation"), _by_candidate(tested, "error_test")
    device = {row["candidate"]: row for row in measured.to_pylist()}
    files = {row["candidate"]: row for row in exported.to_pylist()}
    rows = [
        {
            **member,
            **{name: device[name_][name] for name in MEASURES},
            "error_validation": validation[name_],
            "error_test": test[name_],
            "model": files[name_]["model"],
            "onnx": files[name_]["onnx"],
            "faster": faster(device[name_]),
            "baseline_error_validation": validation[UNPRUNED],
            "baseline_error_test": test[UNPRUNED],
            "reference_error_validation": validation[REFERENCE],
            "reference_error_test": test[REFERENCE],
        }
        for name_, member in zip(names, members.to_pylist(), strict=True)
    ]
    table = build(FRONT, {name: [row[name] for row in rows] for name in FRONT.names})
    values = columns(table, ["error_validation", "latency_ms", "memory_bytes"])
    table = table.filter(pa.array(non_dominated(values)))
    return table.sort_by([("latency_ms", "ascending"), ("error_validation", "ascending")])


MEASURES = (
    "latency_ms",
    "latency_iqr_ms",
    "latency_predicted_ms",
    "baseline_latency_ms",
    "memory_bytes",
    "macs",
    "parameters",
)


def faster(row: Mapping[str, float]) -> bool:
    """Whether a measured gain over the unpruned network is beyond the noise of the measurement."""
    return row["latency_ms"] + row["latency_iqr_ms"] < row["baseline_latency_ms"]


def _by_candidate(table: pa.Table, column: str) -> dict[str, float]:
    return dict(zip(table["candidate"].to_pylist(), table[column].to_pylist(), strict=True))


__all__ = ["aggregate", "faster", "hypervolumes", "matrix", "name_of", "pareto"]

"""Stages `hypervolume`, `aggregate` and `pareto`: from archives to the front."""

import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from hamp.analysis.dominance import non_dominated
from hamp.candidates import REFERENCE, UNPRUNED
from hamp.configuration.blocks import Portfolio
from hamp.evolution.selection import portfolio, tie
from hamp.hardware.measuring import faster
from hamp.stages.progress import history, unpruned
from hamp.stages.state import noise, ordered, settings
from hamp.tables import ENERGY, FRONT, HYPERVOLUME, MEMBERS, at, beyond, build, columns

Run = tuple[str, int]
"""Method and seed of one search."""

NOISE = ("latency_ms", "latency_iqr_ms", "baseline_latency_ms")
TIMES = ("latency_ms", "latency_iqr_ms", "latency_predicted_ms", "baseline_latency_ms")
MEASURES = (*TIMES, "memory_bytes", "macs", "parameters")


def hypervolumes(archives: Mapping[Run, pa.Table], objectives: Sequence[str]) -> pa.Table:
    """Hypervolume after every generation of every search, table HYPERVOLUME.

    Args:
        archives: of each search, all that it evaluated (EVALUATED).
        objectives: names of the objectives.
    """
    rows: dict[str, list] = {name: [] for name in HYPERVOLUME.names}
    base = unpruned(archives.values(), objectives)
    for (method, seed), archive in archives.items():
        generations, evaluations, volumes = history(archive, objectives, base)
        rows["method"] += [method] * len(volumes)
        rows["seed"] += [seed] * len(volumes)
        rows["generation"] += generations.tolist()
        rows["evaluations"] += evaluations.tolist()
        rows["hypervolume"] += volumes.tolist()
    return build(HYPERVOLUME, rows)


def aggregate(archives: Mapping[Run, pa.Table], objectives: Sequence[str], size: int, wanted: Portfolio) -> pa.Table:
    """The front over all searches, at most `size` of it, chosen as the portfolio that is wanted; table MEMBERS.

    What is beyond the user's limits is left out, unless all of it is: a search keeps some of it to move on, but to
    fine-tune it is of no use to one who set them. So is what gets no image right, as a network that diverged, and what
    the unpruned network beats. Values that differ by less than the noise are equal, as in the search.
    The unpruned network is no member: it is exported beside them. A candidate found by several searches is
    credited to the first.
    """
    found = [
        {**row, "method": method, "seed": seed}
        for (method, seed), archive in archives.items()
        for row in archive.to_pylist()
        if row["origin"] != UNPRUNED
    ]
    first: dict[str, dict] = {}
    for row in [row for row in found if row["error"] < 1] or found:
        first.setdefault(row["candidate"], row)
    everything, names = pa.Table.from_pylist(list(first.values())), ordered(objectives)
    F, spread = columns(everything, names), noise(everything, names)
    front = np.flatnonzero(non_dominated(tie(F, spread)))
    base = unpruned(archives.values(), names)
    worth = [i for i in front if not ((F[i] >= base).all() and (F[i] > base).any())]
    front = np.array(worth or front, dtype=np.intp)
    wishes = settings(wanted, next(iter(archives.values())), objectives)
    if wishes.limits is not None:
        inside = (F[front] <= wishes.limits).all(axis=1)
        if inside.any():
            front = front[inside]
        else:
            limits = ", ".join(f"{name} {value}" for name, value in wanted.limits.items())
            print(f"portfolio.limits: no network meets {limits}; the front is fine-tuned as it is", file=sys.stderr)
    kept = portfolio(
        F[front], size, preferences=wishes.preferences, limits=wishes.limits, noise=spread[front], value=wishes.value
    )
    chosen = np.sort(front[kept.indices])
    members = everything.take(chosen[np.argsort(F[chosen, 0], kind="stable")])
    return build(MEMBERS, {name: members[name].to_pylist() for name in beyond(MEMBERS, members.column_names).names})


def pareto(
    members: pa.Table,
    finetuned: pa.Table,
    tested: pa.Table,
    measured: pa.Table,
    exported: pa.Table,
    objectives: Sequence[str],
) -> pa.Table:
    """The front after fine-tuning and measuring, table FRONT, ascending in latency.

    A member that another beats in the objectives is left out, the error being that on the validation images; latencies
    that differ by less than the noise are equal in that comparison.
    """
    further = [name.partition("@")[2] for name in measured.column_names if name.startswith("latency_ms@")]
    extra = [*(at(name, device) for device in further for name in TIMES), *_energies(measured)]
    names = members["candidate"].to_pylist()
    validation, test = _by_candidate(finetuned, "error_validation"), _by_candidate(tested, "error_test")
    device = {row["candidate"]: row for row in measured.to_pylist()}
    files = {row["candidate"]: row for row in exported.to_pylist()}
    rows = [
        {
            **member,
            **{name: device[candidate][name] for name in (*MEASURES, *extra)},
            "error_validation": validation[candidate],
            "error_test": test[candidate],
            "model": files[candidate]["model"],
            "onnx": files[candidate]["onnx"],
            **{at("faster", name): _faster(device[candidate], name) for name in ("", *further)},
            "baseline_error_test": test[UNPRUNED],
            "reference_error_validation": validation[REFERENCE],
            "reference_error_test": test[REFERENCE],
        }
        for candidate, member in zip(names, members.to_pylist(), strict=True)
    ]
    schema = beyond(FRONT, [*extra, *(at("faster", name) for name in further)])
    table = build(FRONT, {name: [row[name] for row in rows] for name in schema.names})
    compared = ["error_validation" if name == "error" else name for name in objectives]
    table = table.filter(pa.array(non_dominated(tie(columns(table, compared), noise(table, compared)))))
    return table.sort_by([("latency_ms", "ascending"), ("error_validation", "ascending")])


def _faster(row: Mapping[str, float], device: str) -> bool:
    return bool(faster(*(row[at(name, device)] for name in NOISE)))


def _energies(measured: pa.Table) -> list[str]:
    return [name for name in measured.column_names if name.partition("@")[0] == ENERGY]


def _by_candidate(table: pa.Table, column: str) -> dict[str, float]:
    return dict(zip(table["candidate"].to_pylist(), table[column].to_pylist(), strict=True))

"""What searches of `hamp` reached whose settings differ in one thing, from finished runs.

python -m tests.benchmarks.variants OUTPUT LABEL=RESULTS …
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hamp.analysis.compare import REFERENCE_ERRORS
from hamp.analysis.hypervolume import hypervolume
from hamp.candidates import UNPRUNED
from hamp.command import generation_of, search_of
from hamp.stages.compare import compare
from hamp.tables import EVALUATED, columns, read, write

LIMITS = (0.6, 0.75)
"""Of latency, as shares of the unpruned network's."""

OBJECTIVES = ("error", "latency_ms", "memory_bytes")


def hypervolume_within(archive: pa.Table, limit: float) -> float:
    """Hypervolume of the objectives over (0.9, the limit, the unpruned network's memory)."""
    F = columns(archive, OBJECTIVES)
    unpruned = F[np.asarray(archive["origin"]) == UNPRUNED][0]
    return hypervolume(F / [REFERENCE_ERRORS[0], limit * unpruned[1], unpruned[2]], np.ones(3))


def inside(archive: pa.Table, population: pa.Table, limit: float) -> float:
    """Share of a population whose latency is at most this share of the unpruned network's."""
    unpruned = archive["latency_ms"].to_numpy()[np.asarray(archive["origin"]) == UNPRUNED][0]
    return float(np.mean(population["latency_ms"].to_numpy() <= limit * unpruned))


def reached(archive: pa.Table, population: pa.Table, objectives: Sequence[str], seed: int) -> dict[str, Any]:
    """Hypervolumes of all that a search evaluated, and how much of its last population meets the limits."""
    last = compare({("hamp", seed): archive}, objectives).curves.to_pylist()[-1]
    row = {name: last[name] for name in ("seed", "evaluations", "hypervolume", "hypervolume_strict")}
    for limit in LIMITS:
        row[f"inside_{limit:.0%}"] = inside(archive, population, limit)
        row[f"hypervolume_{limit:.0%}"] = hypervolume_within(archive, limit)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("runs", nargs="+", metavar="LABEL=RESULTS")
    arguments = parser.parse_args()
    rows = []
    for run in arguments.runs:
        label, _, results = run.partition("=")
        for search in sorted(Path(results).glob("hamp/seed*")):
            last = max(search.glob("gen*/archive.parquet"), key=generation_of)
            tables = (read(last.with_name(f"{name}.parquet"), EVALUATED) for name in ("archive", "population"))
            _, seed = search_of(last)
            rows.append({"variant": label, **reached(*tables, OBJECTIVES, seed)})
    write(pa.Table.from_pylist(rows), arguments.output)


if __name__ == "__main__":
    main()

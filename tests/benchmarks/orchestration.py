"""What the workflow adds to a search: seconds a generation, beside those of the same search in one process.

    python -m tests.benchmarks orchestration

The search of the embedded default on a described device: nothing is measured, and candidates are judged on so few
images that a generation is almost nothing but starting processes and scheduling them.
"""

import csv
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import hamp
from tests.benchmarks.rows import Row, row
from tests.small_runs import SMALL, Run, merged

GENERATIONS = 4
SETTINGS = merged(SMALL, {"name": "orchestration", "search": {"population": 20, "offspring": 16}})


def workflow_seconds(folder: Path) -> tuple[float, dict[str, float]]:
    """Seconds of a generation, and of them those of each of its stages' processes (shards one after the other)."""
    run = Run(folder, merged(SETTINGS, {"search": {"generations": GENERATIONS}}))
    run.snakemake("search")
    generations = [run.results / f"hamp/seed0/gen{number}/population.parquet" for number in range(GENERATIONS + 1)]
    ended = [file.stat().st_mtime for file in generations]
    stages: dict[str, float] = defaultdict(float)
    for number in range(2, GENERATIONS + 1):
        for file in (run.results / f"benchmarks/hamp/seed0/gen{number}").glob("*.tsv"):
            with file.open() as lines:
                seconds = sum(float(job["s"]) for job in csv.DictReader(lines, delimiter="\t"))
            stages[file.stem.partition("-")[0]] += seconds / (GENERATIONS - 1)
    return (ended[-1] - ended[1]) / (GENERATIONS - 1), stages


def process_seconds(generations: int) -> float:
    """Seconds of the whole search in this process."""
    begun = time.monotonic()
    hamp.search(merged(SETTINGS, {"search": {"generations": generations}}))
    return time.monotonic() - begun


def orchestration() -> Iterator[Row]:
    """A generation in the workflow beside one in this process, and where its seconds are."""
    with tempfile.TemporaryDirectory() as folder:
        generation, stages = workflow_seconds(Path(folder))
    first, last = process_seconds(1), process_seconds(GENERATIONS)
    alone = (last - first) / (GENERATIONS - 1)
    yield row("orchestration", generation, alone, "s a generation", smaller=True)
    for stage, seconds in sorted(stages.items()):
        yield row(f"orchestration: {stage}", seconds, generation, "s", smaller=True)


def rows() -> Iterator[Row]:
    """About two minutes."""
    yield from orchestration()

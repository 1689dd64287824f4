"""What the workflow adds to a search: seconds a generation, beside those of the same search in one process.

    python -m tests.benchmarks orchestration

Searches on a described device, where nothing is measured. In that of the embedded default, candidates are judged on so
few images that a generation is almost nothing but starting processes and scheduling them. In those of a ResNet-20 they
are judged as the defaults have it, one after the other on one core in both ways: as they are, and with their layers
fitted, as config/experiments/cifar10-resnet20.yaml has it.
"""

import csv
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import yaml

import hamp
from tests.benchmarks import shards
from tests.benchmarks.rows import Row, row
from tests.small_runs import ROOT, SMALL, Run, merged

SETTINGS = merged(SMALL, {"name": "orchestration", "search": {"population": 20, "offspring": 16}})
RESNET20 = {"shards": 1, "search": {"population": 20, "offspring": 20}, "evaluate": {"precision": "float32"}}
EXPERIMENT = ROOT / "config/experiments/cifar10-resnet20.yaml"


def workflow_seconds(folder: Path, settings: dict, cores: int, generations: int) -> tuple[float, dict[str, float]]:
    """Seconds of a generation, and of them those of each of its stages' processes (shards one after the other)."""
    run = Run(folder, merged(settings, {"search": {"generations": generations}}))
    run.snakemake("search", cores=cores)
    selected = [run.results / f"hamp/seed0/gen{number}/population.parquet" for number in range(generations + 1)]
    ended = [file.stat().st_mtime for file in selected]
    stages: dict[str, float] = defaultdict(float)
    for number in range(2, generations + 1):
        for file in (run.results / f"benchmarks/hamp/seed0/gen{number}").glob("*.tsv"):
            with file.open() as lines:
                seconds = sum(float(job["s"]) for job in csv.DictReader(lines, delimiter="\t"))
            stages[file.stem.partition("-")[0]] += seconds / (generations - 1)
    return (ended[-1] - ended[1]) / (generations - 1), stages


def process_seconds(settings: dict, generations: int) -> float:
    """Seconds of a generation in this process."""
    seconds = []
    for last in (1, generations):
        begun = time.monotonic()
        hamp.search(merged(settings, {"search": {"generations": last}}))
        seconds.append(time.monotonic() - begun)
    return (seconds[1] - seconds[0]) / (generations - 1)


def orchestration(name: str, settings: dict, cores: int, generations: int = 4) -> Iterator[Row]:
    """A generation (the mean of all but the first) in the workflow beside one in this process, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        generation, stages = workflow_seconds(Path(folder), settings, cores, generations)
    yield row(name, generation, process_seconds(settings, generations), "s a generation", smaller=True)
    for stage, seconds in sorted(stages.items()):
        yield row(f"{name}: {stage}", seconds, generation, "s", smaller=True)


def rows() -> Iterator[Row]:
    """About a quarter of an hour."""
    yield from orchestration("orchestration", SETTINGS, cores=2)
    fitted = {"evaluate": yaml.safe_load(EXPERIMENT.read_text())["evaluate"]}
    with tempfile.TemporaryDirectory() as folder:
        resnet20 = merged(shards.settings(Path(folder)), RESNET20)
        yield from orchestration("orchestration-resnet20", resnet20, cores=1)
        yield from orchestration("orchestration-resnet20-fitted", merged(resnet20, fitted), cores=1)

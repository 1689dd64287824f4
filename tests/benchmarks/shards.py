"""What a second shard on a second core gains, and what memory a shard takes, beside the plain way.

    python -m tests.benchmarks shards

The jobs of the stage `evaluate` as the workflow starts them, on images like CIFAR-10's in size and number; Snakemake's
own benchmark files tell their wall time (start-up included) and the process's peak memory.
"""

import resource
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from hamp.configuration.blocks import Network
from hamp.models.build import build
from hamp.models.weights import save_weights
from tests.benchmarks.evaluation import JUDGED, RECALIBRATED, pictures, plain_way
from tests.benchmarks.random_images import cifar10
from tests.benchmarks.rows import Row, row
from tests.small_runs import ROOT, Run

CANDIDATES = 40


def settings(folder: Path) -> dict:
    """ResNet-20 with random weights on a described device, so that only the evaluation takes long."""
    weights = folder / "weights.safetensors"
    torch.manual_seed(0)
    save_weights(build(Network(name="resnet20"), 10, 3), weights)
    return {
        "name": "shards",
        "data": {"source": f"{ROOT}/tests/benchmarks/random_images.py:cifar10"},
        "network": {"name": "resnet20", "weights": str(weights)},
        "device": {"runtime": "roofline", "description": "jetson-nano"},
        "measure": {"latency": "predicted"},
        "evaluate": {"finetune_steps": 0, "precision": "auto"},
        "search": {"population": CANDIDATES},
    }


def shards() -> Iterator[Row]:
    """Candidates a minute in two shards beside one, and the peak memory of one."""
    with tempfile.TemporaryDirectory() as temporary:
        run = Run(Path(temporary), settings(Path(temporary)))
        generation = "hamp/seed0/gen0"
        run.snakemake(f"results/shards/{generation}/initial.parquet")
        minutes = {}
        for number in (1, 2):
            names = [f"{shard}-of-{number}" for shard in range(number)]
            run.snakemake(*(f"results/shards/{generation}/errors-{name}.parquet" for name in names), cores=number)
            jobs = [told(run.results / f"benchmarks/{generation}/evaluate-{name}.tsv") for name in names]
            minutes[number] = max(float(job["s"]) for job in jobs) / 60
            if number == 1:
                memory = float(jobs[0]["max_rss"])
        yield row("shards", CANDIDATES / minutes[2], CANDIDATES / minutes[1], "candidates/min")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield row("shards: peak memory of one", memory, pool.submit(plain_memory).result(), "MiB", smaller=True)


def told(file: Path) -> dict[str, str]:
    """A benchmark file of Snakemake's, by column."""
    names, values = (line.split("\t") for line in file.read_text().splitlines()[:2])
    return dict(zip(names, values, strict=True))


def plain_memory() -> float:
    """Peak memory (MiB) of this process after one unpruned candidate the plain way, all images in memory."""
    torch.set_num_threads(1)
    held = cifar10()
    train, judged = pictures(RECALIBRATED, 0), pictures(JUDGED, 1)
    plain_way(build(Network(name="resnet20"), 10, 3).eval(), {}, train, judged)
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rows() -> Iterator[Row]:
    """About two minutes."""
    yield from shards()

"""What a cluster costs beside the work, and how good `hamp plan` is: the figures of docs/slurm.md.

`python tests/slurm/measuring.py overhead`, and `plan` in its place; as root, where SLURM is installed.
"""

import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from slurm_cluster import Cluster, cluster
from small_runs import SMALL, Run, merged
from submitting import Submitted, before_search, wait

from hamp.cluster import plan as planning
from hamp.configuration.validate import load

TEN = merged(SMALL, {"shards": 4, "search": {"generations": 10}})
MEASURED = {"device": {"runtime": "pytorch", "description": None, "batch_size": 4}, "measure": {"latency": "measured"}}
UNLIKE = {
    "predicted, 4 shards": merged(SMALL, {"shards": 4, "search": {"generations": 3}}),
    "measured, 2 shards": merged(SMALL, {"shards": 2, "search": {"generations": 3}} | MEASURED),
    "fine-tuned candidates, 3 shards": merged(
        SMALL,
        {
            "shards": 3,
            "search": {"generations": 3, "population": 12, "offspring": 12},
            "evaluate": {"finetune_steps": 60},
        },
    ),
}


def modelled(settings: dict, folder: Path) -> Run:
    """A run whose model, space and profile are there, and whose search is to come."""
    folder.mkdir()
    run = Run(folder, merged(settings, {"search": {"generations": 0}}))
    run.snakemake("search")
    return Run(folder, settings)


def on_a_cluster(run: Run, folder: Path, made: Cluster, *options: str) -> tuple[Run, float]:
    """The search there, and its seconds from the first job to the last selection."""
    there = Submitted(before_search(run, folder), made)
    there.submit(*options)
    wait(there.ended, 3600)
    assert there.finished(), there.log
    return there.run, searched(there.run)


def searched(run: Run) -> float:
    """Seconds from the beginning of the initial population's stage until the end of the last selection."""
    last = run.results / f"hamp/seed0/gen{run.settings['search']['generations']}/archive.parquet"
    begun = run.results / "hamp/seed0/gen0/initial.parquet"
    return last.stat().st_mtime - begun.stat().st_mtime


def parts(run: Run, made: Cluster | None) -> dict[str, float]:
    """Mean seconds of a generation after the first, by what they go into."""
    jobs = records(made) if made else {}
    rows = []
    for generation in range(1, run.settings["search"]["generations"] + 1):
        folder = run.results / f"hamp/seed0/gen{generation}"
        tsv = run.results / f"benchmarks/hamp/seed0/gen{generation}"
        seconds = {file.stem: planning._seconds(file) for file in tsv.glob("*.tsv")}
        light = sum(seconds[name] for name in ("vary", "surrogate", "local_search", "measure", "select"))
        shards = {name: value for name, value in seconds.items() if name.startswith("evaluate")}
        logs = run.results / f"logs/hamp/seed0/gen{generation}"  # tables are touched once more when they are seen
        written = {name: (logs / f"{name}.log").stat().st_mtime for name in shards}
        archive = (folder / "archive.parquet").stat().st_mtime
        before = (folder.with_name(f"gen{generation - 1}") / "archive.parquet").stat().st_mtime
        row = {"wall": archive - before, "work": light + max(shards.values())}
        if made:
            mine = [jobs[generation, name.split("-")[1]] for name in shards]
            began = [written[name] - shards[name] for name in shards]
            row["queue"] = statistics.fmean(start - submit for submit, start, _ in mine)
            row["start-up"] = statistics.fmean(b - start for b, (_, start, _) in zip(began, mine, strict=True))
            row["end and polling"] = archive - seconds["select"] - max(written.values())
        rows.append(row)
    return {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}


def records(made: Cluster) -> dict[tuple[int, str], tuple[float, float, float]]:
    """Submission, start and end of every evaluation, by generation and shard."""
    form = "%k|%V|%S|%e"
    found = {}
    for line in made.run("squeue", "--noheader", "--states", "all", "--format", form).splitlines():
        comment, *moments = line.split("|")
        if "rule_evaluate_wildcards_" in comment:
            words = comment.split("wildcards_")[1].split("_")
            found[int(words[2]), words[3]] = tuple(datetime.fromisoformat(moment).timestamp() for moment in moments)
    return found


def overhead(folder: Path) -> None:
    run = modelled(TEN, folder / "model")
    local = before_search(run, folder / "local")
    begun = time.monotonic()
    local.snakemake("search")
    print("local", round(searched(local)), round(time.monotonic() - begun), parts(local, None), flush=True)
    for options in ([], ["--", "--slurm-init-seconds-before-status-checks", "40"]):
        settings = run if not options else Run(run.folder, merged(TEN, {"search": {"generations": 3}}))
        with cluster() as made:
            there, seconds = on_a_cluster(settings, folder / f"cluster{len(options)}", made, *options)
            print("cluster", options, round(seconds), parts(there, made), flush=True)


def plan(folder: Path) -> None:
    for number, (name, settings) in enumerate(UNLIKE.items()):
        run = modelled(settings, folder / f"model{number}")
        # As many shards as the run's: here all nodes share the cores of one machine, so more shards slow each other.
        pilot = Run(run.folder, merged(settings, {"search": {"generations": 1}}))
        with cluster() as made:
            piloted, _ = on_a_cluster(pilot, folder / f"pilot{number}", made)
        with cluster() as made:
            there, seconds = on_a_cluster(run, folder / f"run{number}", made)
        for of, results in (("a pilot of one generation", piloted.results), ("the run itself", there.results)):
            times = planning.overheads(results, planning.Overheads())
            made_plan = planning.plan(load(settings), planning.costs(results), times, nodes=12)
            error = made_plan.search / seconds - 1
            print(
                f"{name}: from {of} {made_plan.search:.0f} s, measured {seconds:.0f} s ({error:+.0%}), {times}",
                flush=True,
            )


if __name__ == "__main__":
    target = Path(tempfile.mkdtemp(prefix="measuring-"))
    {"overhead": overhead, "plan": plan}[sys.argv[1]](target)
    print(yaml.safe_dump({"kept in": str(target)}))

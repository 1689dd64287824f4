"""What a run will cost on a cluster: the time, jobs and GPUs of its generations, from what a run like it recorded.

A generation is a chain: the light stages beside Snakemake, then the shards and the measuring as jobs, then selection.
The shards are laid on the nodes in the order of their submission; a job takes its start-up (SLURM's queue, and
Snakemake starting twice), the work, and its end; and it is seen to have ended only when the executor looks, at
intervals that grow as those of snakemake-executor-plugin-slurm do.
"""

import csv
import heapq
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from hamp.cluster.local import idle, local_stages
from hamp.cluster.slurm import LONGEST_LOOK_INTERVAL
from hamp.configuration.blocks import Config
from hamp.errors import UserError
from hamp.evolution.methods import METHODS
from hamp.hardware.devices import elsewhere

LIGHT = ("vary", "surrogate", "local_search", "select")
BEFORE = ("data", "pretrain", "space", "scores", "sensitivity", "profile")
"""Stages before the search, in a chain."""
TRAINING = ("pretrain", "scores", "sensitivity", "evaluate", "finetune", "test")
MEASURING = ("profile", "validation", "measure", "remeasure")
AFTER = ("test", "remeasure", "export")
"""Jobs after fine-tuning, side by side."""
LIKELY = (0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15)
"""By which factors the ends of jobs differ from one generation to the next."""
GOOD_ENOUGH = 1.05
"""Fewer shards are recommended where more would save less than a twentieth."""


@dataclass(frozen=True)
class Line:
    """Seconds of a job: `fixed` (starting Python, loading torch, the network and the data) and `each` candidate."""

    fixed: float
    each: float

    def of(self, number: int) -> float:
        """Seconds for a number of candidates."""
        return self.fixed + self.each * number


class Job(NamedTuple):
    """A job on a node: of which stage (`profile-nano` of a further device), and the seconds of its work."""

    stage: str
    work: float


@dataclass(frozen=True)
class Costs:
    """What the stages of a run took, in seconds.

    Attributes:
        light: a light stage, in one generation.
        evaluate: a shard.
        measure: a generation's measuring; None where latency is predicted.
        finetune: one job of fine-tuning, by its networks; None where it was not recorded.
        once: stages that run once, by name.
    """

    light: Mapping[str, float]
    evaluate: Line
    measure: Line | None = None
    finetune: Line | None = None
    once: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Overheads:
    """What a job costs beside its work, in seconds.

    Attributes:
        start: from submission until the stage begins: SLURM, and Snakemake starting twice.
        end: from the stage's last line in its log until the end of its job.
        step: Snakemake's own for a stage that runs beside it.
        look: from submission to the first look, and from each look that found a job finished to the next.
        growth: by which the interval grows with each look that found none.
    """

    start: float = 6.0
    end: float = 2.0
    step: float = 1.0
    look: float = 1.0
    growth: float = 10.0


@dataclass(frozen=True)
class Plan:
    """What a run is predicted to cost.

    Attributes:
        shards: among which the candidates of a generation are shared out.
        generation: seconds of one generation after the first.
        search: seconds of all generations.
        total: seconds of the run, as far as its stages were recorded.
        jobs: SLURM jobs.
        job_hours: of all jobs together, waiting for the controller's look not counted.
        gpu_hours: of those on GPUs.
        parts: seconds of a generation by what they go into.
    """

    shards: int
    generation: float
    search: float
    total: float
    jobs: int
    job_hours: float
    gpu_hours: float
    parts: Mapping[str, float]

    @property
    def limit(self) -> str:
        """What most of a generation's time goes into."""
        return max(self.parts, key=lambda name: self.parts[name])


def costs(results: Path) -> Costs:
    """What the stages of a run took, from its benchmarks.

    Raises:
        UserError: no generation was evaluated yet.
    """
    folder = results / "benchmarks"
    evaluations, measurings = [], []
    light: dict[str, list[float]] = {}
    for file in folder.glob("*/seed*/gen*/*.tsv"):
        seconds, stage = _seconds(file), file.stem
        tables = results / file.parent.relative_to(folder)
        if stage.startswith("evaluate-"):
            table = tables / f"{stage.replace('evaluate', 'errors')}.parquet"
            # Another number of shards, tried before, leaves benchmarks behind; a job that is run again has no table.
            if table.is_file():
                evaluations.append((_rows(table), seconds))
        elif stage == "measure" and (table := tables / "measured.parquet").is_file():
            measurings.append((_rows(table), seconds))
        elif stage in LIGHT:
            light.setdefault(stage, []).append(seconds)
    if not evaluations:
        raise UserError(f"{results}: no generation was evaluated yet; run it for one generation first")
    once = {file.stem: _seconds(file) for file in folder.glob("*.tsv") if "-of-" not in file.stem}
    start = once.get("scores", min(seconds for _, seconds in evaluations) / 2)
    tables_of = {
        file: results / "front" / f"{file.stem.replace('finetune', 'finetuned')}.parquet"
        for file in folder.glob("finetune-*.tsv")
    }
    tuned = [(_rows(table), _seconds(file)) for file, table in tables_of.items() if table.is_file()]
    return Costs(
        light={stage: statistics.fmean(values) for stage, values in light.items()},
        evaluate=line(evaluations, start),
        measure=line(measurings, start) if measurings else None,
        finetune=line(tuned, start) if tuned else None,
        once=once,
    )


def line(points: Sequence[tuple[int, float]], start: float) -> Line:
    """The fixed and the proportional part of jobs' times, neither negative.

    Args:
        points: candidates and seconds of each job.
        start: seconds that such a job takes to start, which tells the parts where all jobs had as many candidates.
    """
    numbers, seconds = (np.array(values, dtype=np.float64) for values in zip(*points, strict=True))
    if len(set(numbers)) > 1:
        from scipy.optimize import nnls

        (fixed, each), _ = nnls(np.column_stack([np.ones_like(numbers), numbers]), seconds)
        return Line(float(fixed), float(each))
    mean = float(seconds.mean())
    fixed = min(start, mean)
    return Line(fixed, (mean - fixed) / max(float(numbers[0]), 1.0))


def overheads(results: Path, known: Overheads) -> Overheads:
    """Overheads of a run on a cluster, from when its files were written; `known` where they do not tell.

    Snakemake touches a table when it sees that its job has ended, so the end of a shard is read from its log, which has
    a line a candidate.

    Args:
        results: of a run that went through undisturbed.
        known: what else is assumed.
    """
    starts, steps = [], []
    for folder in results.glob("*/seed*/gen*"):
        records = results / "benchmarks" / folder.relative_to(results)
        logs = results / "logs" / folder.relative_to(results)
        made = _newest(folder, "initial", "variation", "offspring")
        if made is None or not (folder / "archive.parquet").is_file():
            continue
        shards = [shard.stem.replace("errors", "evaluate") for shard in folder.glob("errors-*.parquet")]
        ended = {shard: (logs / f"{shard}.log").stat().st_mtime for shard in shards}
        starts += [when - _seconds(records / f"{shard}.tsv") - made for shard, when in ended.items() if when > made]
        before = _newest(folder.with_name(f"gen{int(folder.name[3:]) - 1}"), "archive")
        light = [_seconds(records / f"{name}.tsv") for name in LIGHT[:-1] if (records / f"{name}.tsv").is_file()]
        if before is not None and light:
            steps.append((made - before - sum(light)) / len(light))
    return replace(known, start=_middle(starts, known.start), step=_middle(steps, known.step))


def looked(ends: Iterable[float], times: Overheads) -> list[float]:
    """When each job is seen to have ended, given when it ended: seconds since submission, sorted."""
    left, now, interval, seen = sorted(ends), times.look, times.look, []
    while left:
        found = [end for end in left if end <= now]
        seen += [now] * len(found)
        left = left[len(found) :]
        interval = times.look if found else min(interval + times.growth, LONGEST_LOOK_INTERVAL)
        now += interval
    return seen


def wave(works: Sequence[float], slots: int, times: Overheads) -> tuple[float, float]:
    """Seconds until jobs submitted together have all ended, and until they are all seen to have, on average.

    A job that takes a little longer than the last may miss a look, and the next is long after: so what is seen is
    averaged over the ends that are as likely.
    """
    free = [0.0] * slots
    ends = []
    for work in works:
        end = heapq.heappop(free) + times.start + work + times.end
        heapq.heappush(free, end)
        ends.append(end)
    seen = [looked([end * factor for end in ends], times)[-1] for factor in LIKELY]
    return max(ends), max(statistics.fmean(seen), max(ends))


def plan(settings: Config, recorded: Costs, times: Overheads, nodes: int, shards: int | None = None) -> Plan:
    """The cost of a run.

    Args:
        settings: of the run.
        recorded: what its stages take.
        times: what a job costs beside.
        nodes: jobs that run at once: nodes, or GPUs where each job takes one.
        shards: None: as the settings have it.
    """
    shards = shards or settings.shards
    searches = len(settings.methods) * len(settings.seeds)
    steps = 1 + max(3 if METHODS[method].surrogate else 1 for method in settings.methods)
    measured = recorded.measure if settings.measure.latency == "measured" else None
    light = searches * (sum(recorded.light.values()) + steps * times.step)
    if settings.measure.latency == "predicted" and recorded.measure is not None:
        light += searches * (recorded.measure.of(settings.search.offspring) + times.step)

    def jobs_of(candidates: int) -> list[Job]:
        sizes = [len(range(shard, candidates, shards)) for shard in range(shards)]
        works = [recorded.evaluate.of(size) for size in sizes if size] + [recorded.evaluate.fixed / 2] * sizes.count(0)
        jobs = [Job("evaluate", work) for work in works]
        return [*jobs, Job("measure", measured.of(candidates))] if measured else jobs

    # Of several methods, all are taken to go on for as long as the longest.
    generations = [settings.search.last(method) for method in settings.methods]
    first, later = jobs_of(settings.search.population), jobs_of(settings.search.offspring)
    ended, seen = wave(_works(later) * searches, nodes, times)
    longest = max(_works(later))
    parts = {
        "the slowest shard": recorded.evaluate.of(-(-settings.search.offspring // shards)),
        "measuring": max(longest - recorded.evaluate.of(-(-settings.search.offspring // shards)), 0.0),
        "starting jobs": times.start + times.end,
        "waiting for a free node": ended - longest - times.start - times.end,
        "polling": seen - ended,
        "the light stages": light,
    }
    generation = light + seen
    select = searches * (recorded.light.get("select", 0.0) + times.step)
    search = select + wave(_works(first) * searches, nodes, times)[1] + max(generations) * generation
    local = local_stages(settings)
    profiles = {f"profile-{name}": "profile_further" for name in settings.devices}
    validations = {f"validation-{name}": "validation_further" for name in settings.devices}
    stages = {**{name: name for name in recorded.once}, **profiles, **validations}

    def on_nodes(names: Iterable[str]) -> list[Job]:
        found = [name for name in names if name in recorded.once and stages[name] not in local]
        return [Job(name, recorded.once[name]) for name in found]

    alone = on_nodes((*BEFORE, *profiles))
    once = sum(wave([job.work], nodes, times)[1] for job in alone)
    while_searching = on_nodes(("validation", *validations))
    beside = [work for name, work in recorded.once.items() if stages[name] in local]
    once += sum(beside) + len(beside) * times.step
    tuning: list[Job] = []
    if recorded.finetune is not None:
        networks = settings.finetune.members + 1
        sizes = [len(range(shard, networks, settings.finetune.shards)) for shard in range(settings.finetune.shards)]
        tuning = [Job("finetune", recorded.finetune.of(size)) for size in sizes]
        once += wave(_works(tuning), nodes, times)[1]
    side = on_nodes(AFTER)
    if side:
        once += wave(_works(side), nodes, times)[1]
    in_search = first * searches + later * len(settings.seeds) * sum(generations)
    jobs = [*in_search, *alone, *while_searching, *tuning, *side]
    hours = [(job.work + times.start + times.end) / 3600 for job in jobs]
    return Plan(
        shards=shards,
        generation=generation,
        search=search,
        total=once + search,
        jobs=len(jobs),
        job_hours=sum(hours),
        gpu_hours=sum(spent for job, spent in zip(jobs, hours, strict=True) if _on_gpu(job.stage, settings)),
        parts=parts,
    )


def _works(jobs: Iterable[Job]) -> list[float]:
    return [job.work for job in jobs]


def _on_gpu(stage: str, settings: Config) -> bool:
    """Whether a job of the stage asks for a GPU, as its rule does."""
    if stage in TRAINING:
        return settings.hardware == "cuda" and not idle(stage, settings)
    kind, _, name = stage.partition("-")
    devices = settings.all_devices if kind in ("measure", "remeasure") else {name: settings.all_devices[name]}
    here = [device for device in devices.values() if not elsewhere(device)]
    return kind in MEASURING and any(device.processor == "cuda" for device in here)


def recommended(settings: Config, recorded: Costs, times: Overheads, nodes: int) -> int:
    """The fewest shards with which a generation takes hardly longer than with the best number."""
    most = max(settings.search.offspring, 1)
    plans = {shards: plan(settings, recorded, times, nodes, shards) for shards in range(1, most + 1)}
    best = min(made.generation for made in plans.values())
    return next(shards for shards, made in plans.items() if made.generation <= GOOD_ENOUGH * best)


def _seconds(file: Path) -> float:
    """Of a benchmark; of the last, where there are several."""
    with open(file, newline="") as lines:
        return float(list(csv.DictReader(lines, delimiter="\t"))[-1]["s"])


def _rows(file: Path) -> int:
    return pq.read_metadata(file).num_rows


def _newest(folder: Path, *names: str) -> float | None:
    """When the last of these tables was written; None where there is none."""
    files = [folder / f"{name}.parquet" for name in names]
    return max((file.stat().st_mtime for file in files if file.is_file()), default=None)


def _middle(values: Sequence[float], other: float) -> float:
    return max(statistics.median(values), 0.0) if values else other

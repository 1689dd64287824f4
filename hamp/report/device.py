"""Figures of the device and of the run: latency as predicted and as measured, and where the time went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from hamp.configuration.blocks import Config
from hamp.hardware.validation import figures, told
from hamp.report.style import COLOURS, FAINT, INK, MUTED, figure
from hamp.tables import columns

WITHIN = 0.1


def ratios(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and measured latency over the unpruned network's, each (n,).

    table: MEASURED of a search, or FRONT. Ratios, since clocks change between sessions.
    """
    predicted, measured, baseline = columns(table, ["latency_predicted_ms", "latency_ms", "baseline_latency_ms"]).T
    return predicted / baseline, measured / baseline


def latency_figure(search: pa.Table, front: pa.Table) -> Figure:
    """Predicted against measured latency, of the front's networks and of those measured in the search.

    Args:
        search: table MEASURED of the search; no rows where latency was predicted there.
        front: table FRONT.
    """
    made, (axes, errors) = figure(10.5, 5, 2, width_ratios=(5, 4))
    lines = []
    bins = np.linspace(-0.5, 0.5, 41).tolist()
    styles = (("search", search, "o", FAINT, 12), ("front", front, "D", COLOURS[0], 34))
    for name, table, marker, colour, size in styles:
        if not len(table):
            continue
        predicted, measured = ratios(table)
        axes.scatter(
            measured, predicted, s=size, marker=marker, color=colour, lw=0, label=name, rasterized=len(table) > 500
        )
        weights = np.full(len(measured), 100 / len(measured))
        relative = np.clip(predicted / measured - 1, -0.5, 0.5)
        errors.hist(relative, bins=bins, weights=weights, color=colour, alpha=0.75, label=name)
        if len(table) > 1:
            lines.append(f"{name}: {told(figures(predicted, measured))}")
    top = 1.05 * max(axes.get_xlim()[1], axes.get_ylim()[1])
    diagonal = np.array([0.0, top])
    axes.fill_between(diagonal, diagonal * (1 - WITHIN), diagonal * (1 + WITHIN), color=COLOURS[2], alpha=0.12, lw=0)
    axes.plot(diagonal, diagonal, color=MUTED, lw=1)
    axes.set(title="Predicted against measured", xlim=(0, top), ylim=(0, top), aspect="equal")
    axes.set(xlabel="measured latency / unpruned", ylabel="predicted latency / unpruned measured")
    axes.legend(loc="upper left")
    errors.axvspan(-WITHIN, WITHIN, color=COLOURS[2], alpha=0.12, lw=0)
    errors.set(title="Relative error of the prediction", xlabel="predicted / measured − 1", ylabel="networks (%)")
    errors.legend(loc="upper left")
    if lines:
        made.supxlabel("\n".join(lines), x=0.01, ha="left", color=INK, fontsize=9)
    return made


@dataclass(frozen=True)
class Cost:
    """What the jobs of one stage took together: seconds of wall time, their number, the largest memory in bytes."""

    seconds: float
    jobs: int
    memory: float


def costs(folder: Path, settings: Config) -> dict[str, Cost]:
    """Cost by stage from Snakemake's benchmark files in a folder, most seconds first.

    Other settings, tried before, may have left files behind; those do not count.
    """
    found: dict[str, Cost] = {}
    for file in sorted(folder.rglob("*.tsv")):
        if not _is_of(file.relative_to(folder), settings):
            continue
        rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
        stage = _stage(file.stem)
        for values in rows[1:]:
            row = dict(zip(rows[0], values, strict=True))
            known = found.get(stage, Cost(0.0, 0, 0.0))
            memory = max(known.memory, _number(row.get("max_rss", "")) * 2**20)
            found[stage] = Cost(known.seconds + _number(row["s"]), known.jobs + 1, memory)
    return dict(sorted(found.items(), key=lambda item: -item[1].seconds))


def time_figure(spent: Mapping[str, Cost]) -> Figure:
    """Wall time of all jobs of a stage together, and the largest memory of one."""
    made, (time, memory) = figure(10, 1.9 + 0.3 * len(spent), 2, width_ratios=(3, 2), sharey=True)
    stages: Sequence[str] = list(spent)
    rows = np.arange(len(stages))
    seconds = [spent[stage].seconds for stage in stages]
    time.barh(rows, seconds, 0.7, color=COLOURS[0])
    for row, stage in enumerate(stages):
        jobs = spent[stage].jobs
        text = f" {_duration(seconds[row])}" + (f" in {jobs} jobs" if jobs > 1 else "")
        time.text(seconds[row], row, text, va="center", fontsize=8, color=INK)
    time.set_yticks(rows, stages)
    time.set(title="Time", xlabel="seconds, all jobs together", xlim=(0, 1.3 * max(seconds, default=1.0)))
    memory.barh(rows, [spent[stage].memory / 2**30 for stage in stages], 0.7, color=COLOURS[4])
    memory.set(title="Largest memory of a job", xlabel="GiB")
    for axes in (time, memory):
        axes.grid(axis="y", visible=False)
    time.invert_yaxis()
    return made


def _is_of(file: Path, settings: Config) -> bool:
    """Whether a benchmark is of a job of these settings, by its search, its number of shards or its device."""
    stage, _, rest = file.stem.partition("-")
    if len(file.parts) > 1:
        method, seed, generation = file.parts[:3]
        searched = method in settings.methods and int(seed.removeprefix("seed")) in settings.seeds
        if not searched or int(generation.removeprefix("gen")) > settings.search.last(method):
            return False
    if shards := {"evaluate": settings.shards, "finetune": settings.finetune.shards}.get(stage):
        return rest.endswith(f"-of-{shards}")
    return not rest or rest in settings.devices


def _stage(stem: str) -> str:
    """`evaluate-0-of-2` is a shard of `evaluate`."""
    return stem.split("-")[0]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"

"""Figures of the search: how far it came, method against method, how good its models were, who survived."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hamp.report.style import COLOURS, INK, MUTED, figure, legend_below, signs

Search = tuple[str, int]


def hypervolume_figure(hypervolume: pa.Table) -> Figure:
    """Hypervolume against true evaluations, a line a method: median over the seeds, and their range as a band.

    hypervolume: table HYPERVOLUME.
    """
    made, (axes,) = figure(9, 5)
    for (method, runs), (colour, marker, dashes) in zip(_runs(hypervolume).items(), signs(), strict=False):
        evaluations = np.array([run["evaluations"] for run in runs])
        values = np.array([run["hypervolume"] for run in runs])
        middle = np.median(evaluations, axis=0)
        label = f"{method} ({len(runs)} seeds)" if len(runs) > 1 else method
        if len(runs) > 1:
            axes.fill_between(middle, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, lw=0)
        line = np.median(values, axis=0)
        step = max(1, len(line) // 10)
        axes.plot(middle, line, color=colour, ls=dashes, marker=marker, ms=5, markevery=step, label=label)
    axes.set(title="Hypervolume against true evaluations", xlabel="networks evaluated", ylabel="hypervolume")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(made, axes)
    return made


def methods_figure(hypervolume: pa.Table) -> Figure:
    """Hypervolume at the end, a row a method: each seed a point, the median a line. Best median on top."""
    final = final_hypervolumes(hypervolume)
    made, (axes,) = figure(9, 1.6 + 0.45 * len(final))
    order = sorted(final, key=lambda method: float(np.median(list(final[method].values()))))
    sign_of = dict(zip(final, signs(), strict=False))
    for row, method in enumerate(order):
        colour, marker, _ = sign_of[method]
        values = np.array(list(final[method].values()))
        axes.plot(values, np.full(len(values), row), marker, ls="none", color=colour, ms=7, alpha=0.75, mec="white")
        axes.vlines(np.median(values), row - 0.32, row + 0.32, color=INK, lw=2.2)
    axes.set_yticks(range(len(order)), order)
    axes.set(title="Hypervolume after the last generation", xlabel="hypervolume", ylim=(-0.6, len(order) - 0.4))
    axes.grid(axis="y", visible=False)
    return made


def final_hypervolumes(hypervolume: pa.Table) -> dict[str, dict[int, float]]:
    """Hypervolume after the last generation, by method and seed."""
    final: dict[str, dict[int, float]] = {}
    for row in hypervolume.to_pylist():
        final.setdefault(row["method"], {})[row["seed"]] = row["hypervolume"]
    return final


def surrogate_figure(models: Mapping[Search, Sequence[tuple[int, pa.Table]]]) -> Figure:
    """Cross-validated rank correlation of each modelled objective by generation, a line a method.

    models: by search, the tables SURROGATE of its generations.
    """
    fitted = [table for tables in models.values() for _, table in tables]
    objectives = sorted({name for table in fitted for name in _list(table, "objective")})
    made, panels = figure(4.6 * max(2, len(objectives)), 4.4, len(objectives), sharey=True)
    sign_of = dict(zip(dict.fromkeys(method for method, _ in models), signs(), strict=False))
    for objective, axes in zip(objectives, panels, strict=True):
        for method, (colour, marker, dashes) in sign_of.items():
            points: dict[int, list[float]] = {}
            for (name, _), tables in models.items():
                for generation, table in tables if name == method else ():
                    for row in table.to_pylist():
                        if row["objective"] == objective:
                            points.setdefault(generation, []).append(row["spearman"])
            if points:
                line = [float(np.median(values)) for values in points.values()]
                _range(axes, points, colour)
                axes.plot(list(points), line, color=colour, ls=dashes, marker=marker, ms=5, label=method)
        axes.axhline(0.95, color=MUTED, lw=1, ls=":")
        axes.set(title=objective, xlabel="generation")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("Spearman rank correlation")
    panels[0].set_ylim(min(0.0, *(min(table["spearman"].to_pylist()) for table in fitted)) - 0.03, 1.03)
    legend_below(made, panels[0])
    return made


def origins_figure(populations: Mapping[Search, Sequence[tuple[int, pa.Table]]]) -> Figure:
    """Where the survivors of every generation came from, as shares of the population, a panel a method.

    populations: by search, the tables EVALUATED of the survivors of its generations.
    """
    methods = list(dict.fromkeys(method for method, _ in populations))
    counts: dict[str, dict[int, Counter[str]]] = {method: {} for method in methods}
    for (method, _), tables in populations.items():
        for generation, table in tables:
            counts[method].setdefault(generation, Counter()).update(_list(table, "origin"))
    kinds = sorted({kind for by_generation in counts.values() for count in by_generation.values() for kind in count})
    made, panels = figure(max(8.0, 3.1 * len(methods)), 4.6, len(methods), sharey=True)
    for method, axes in zip(methods, panels, strict=True):
        generations = list(counts[method])
        total = np.array([counts[method][generation].total() for generation in generations])
        bottom = np.zeros(len(generations))
        for kind, colour, hatch in zip(kinds, _repeat(COLOURS), _repeat(HATCHES), strict=False):
            share = 100 * np.array([counts[method][generation][kind] for generation in generations]) / total
            axes.bar(generations, share, 0.85, bottom, label=kind, color=colour, hatch=hatch, edgecolor="white", lw=0.5)
            bottom += share
        axes.set(title=method, xlabel="generation", ylim=(0, 100))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="x", visible=False)
    panels[0].set_ylabel("survivors (%)")
    legend_below(made, panels[0], columns=6)
    return made


HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "ooo", "+++")


def _range(axes: Axes, points: Mapping[int, Sequence[float]], colour: str) -> None:
    if any(len(values) > 1 for values in points.values()):
        low, high = [min(values) for values in points.values()], [max(values) for values in points.values()]
        axes.fill_between(list(points), low, high, color=colour, alpha=0.15, lw=0)


def _runs(hypervolume: pa.Table) -> dict[str, list[dict[str, list[float]]]]:
    """Evaluations and hypervolumes by generation, of every seed of every method; the last value of a search that
    ended early goes on, so that seeds can be compared."""
    runs: dict[Search, dict[str, list[float]]] = {}
    for row in hypervolume.to_pylist():
        run = runs.setdefault((row["method"], row["seed"]), {"evaluations": [], "hypervolume": []})
        for name, values in run.items():
            values.append(row[name])
    longest = max(len(run["evaluations"]) for run in runs.values())
    by_method: dict[str, list[dict[str, list[float]]]] = {}
    for (method, _), run in runs.items():
        for values in run.values():
            values += values[-1:] * (longest - len(values))
        by_method.setdefault(method, []).append(run)
    return by_method


def _list(table: pa.Table, name: str) -> list[str]:
    return table[name].to_pylist()


def _repeat(signs: Sequence[str]) -> list[str]:
    return list(signs) * 4

"""The whole report of a run: what there is to show, and the files that show it."""

from collections import Counter
from collections.abc import Callable

import pyarrow as pa
from matplotlib.figure import Figure

from hamp import tables
from hamp.hardware import fingerprint
from hamp.hardware.devices import analytic
from hamp.report.chooser import chooser_page
from hamp.report.contents import files, validated
from hamp.report.device import costs, latency_figure, time_figure
from hamp.report.facts import devices_page, methods_page, run_page, validation_page
from hamp.report.front import front_figure
from hamp.report.networks import channels_figure, widths_figure
from hamp.report.search import hypervolume_figure, methods_figure, origins_figure, surrogate_figure
from hamp.report.style import save, styled
from hamp.results import Results, Search

FOLDER = "report"


def build(results: Results) -> None:
    """Write the report's files into `report/` of the results.

    Raises:
        UserError: the run is not finished.
    """
    folder = results.folder / FOLDER
    with styled():
        for name in files(results.settings):
            made = MAKERS[name](results)
            if isinstance(made, str):
                with tables.atomic(folder / name) as temporary:
                    temporary.write_text(made, encoding="utf-8")
            else:
                save(made, folder / name)


def _front(results: Results) -> Figure:
    described = analytic(results.settings.device)
    return front_figure(results.front, results.evaluated, results.unpruned["error"], described)


def _run_page(results: Results) -> str:
    splits = tables.read(results.folder / "data" / "splits.parquet", tables.SPLITS)
    devices = {
        name: fingerprint.of(results.profile(name, "profile.parquet", tables.PROFILE))
        for name in ("", *results.settings.devices)
    }
    return run_page(results.settings, Counter(splits["split"].to_pylist()), devices, results.unpruned)


def _validation(results: Results) -> str:
    names = validated(results.settings)
    return validation_page({name: results.profile(name, "validation.parquet", tables.VALIDATION) for name in names})


def _hypervolume(results: Results) -> pa.Table:
    return tables.read(results.folder / "pareto" / "hypervolume.parquet", tables.HYPERVOLUME)


def _measured(results: Results) -> pa.Table:
    """What the search measured; no rows where it predicted."""
    if results.settings.measure.latency == "predicted":
        return tables.empty(tables.MEASURED)
    by_search = _of_searches(results, "measured.parquet", tables.MEASURED)
    return tables.concatenate(
        [table.replace_schema_metadata(None) for found in by_search.values() for _, table in found]
    )


def _of_searches(results: Results, name: str, schema: pa.Schema) -> dict[Search, list[tuple[int, pa.Table]]]:
    """A table of every generation of every search that wrote it and has rows."""
    return {
        search: [(generation, table) for generation, table in results.generations(search, name, schema) if len(table)]
        for search in results.searches
    }


MAKERS: dict[str, Callable[[Results], Figure | str]] = {
    "front.html": chooser_page,
    "front.svg": _front,
    "widths.svg": lambda results: widths_figure(results.front, results.space),
    "channels.svg": lambda results: channels_figure(results.front, results.space),
    "hypervolume.svg": lambda results: hypervolume_figure(_hypervolume(results)),
    "methods.svg": lambda results: methods_figure(_hypervolume(results)),
    "methods.html": lambda results: methods_page(_hypervolume(results)),
    "surrogate.svg": lambda results: surrogate_figure(_of_searches(results, "surrogate.parquet", tables.SURROGATE)),
    "origins.svg": lambda results: origins_figure(_of_searches(results, "population.parquet", tables.EVALUATED)),
    "latency.svg": lambda results: latency_figure(_measured(results), results.front),
    "devices.html": lambda results: devices_page(results.front, results.settings),
    "validation.html": _validation,
    "time.svg": lambda results: time_figure(costs(results.folder / "benchmarks", results.settings)),
    "run.html": _run_page,
}

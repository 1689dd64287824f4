"""What the files of a run tell of how far it is."""

import time
from collections.abc import Collection, Iterator
from pathlib import Path

from hamp import tables
from hamp.progress import line
from hamp.results import Results, Search

REPORT = "report/front.html"
FINAL = {
    "model/weights.safetensors": "unpruned network ready",
    "space/space.parquet": "space found",
    "profile/profile.parquet": "device profiled",
    "front/members.parquet": "search finished, front to be fine-tuned",
    "front/exported.parquet": "networks exported",
    "pareto/front.parquet": "front measured and tested",
    REPORT: "report written: the run is complete",
}
"""Files by the time they come, and what each means."""


def lines(folder: Path, seen: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """A key and a line for everything that has happened so far, in the order of time, but for the keys in `seen`.

    Raises:
        UserError: the folder is not that of a run.
    """
    results = Results(folder)
    events = []
    for name, words in FINAL.items():
        if name not in seen and (folder / name).is_file() and (name != REPORT or finished(folder)):
            events.append(((folder / name).stat().st_mtime, name, words))
    for search in results.searches:
        events += list(_generations(results, search, seen))
    for moment, key, words in sorted(events):
        yield key, f"{time.strftime('%H:%M:%S', time.localtime(moment))}  {words}"


def finished(folder: Path) -> bool:
    """Whether the report, the last of a run, is newer than the front that it shows, and than the settings."""
    before = (folder / "pareto" / "front.parquet", folder / "settings.yaml")
    report = folder / REPORT
    made = report.is_file() and all(file.is_file() for file in before)
    return made and report.stat().st_mtime >= max(file.stat().st_mtime for file in before)


def _generations(results: Results, search: Search, seen: Collection[str]) -> Iterator[tuple[float, str, str]]:
    method, seed = search
    last = results.settings.search.last(method)
    begun: float | None = None
    for generation in range(last + 1):
        file = results.generation(search, generation) / "archive.parquet"
        if not file.is_file():
            return
        moment, key = file.stat().st_mtime, f"{method}/{seed}/{generation}"
        begun = moment if begun is None else begun
        if key in seen:
            continue
        archive = tables.read(file, tables.EVALUATED)
        if not {*results.settings.objectives} <= {*archive.column_names}:  # of other settings, to be made anew
            return
        words = line(archive, results.settings.objectives)
        left = ""
        if 0 < generation < last:
            left = f", about {_duration((moment - begun) / generation * (last - generation))} of searching left"
        name = f"{method} seed {seed}: " if len(results.searches) > 1 else ""
        yield moment, key, f"{name}generation {generation} of {last}: {words}{left}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

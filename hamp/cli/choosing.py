"""`hamp front` and `hamp pick`: the networks of a front, and the one to take."""

import csv
import io
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import typer

from hamp import tables
from hamp.choice import OBJECTIVES, Choice, Preference, choose
from hamp.cli.options import MaxError, MaxLatency, MaxMemory, ResultsArgument, folder_of, limits
from hamp.errors import UserError
from hamp.hardware.devices import analytic
from hamp.progress import digits
from hamp.results import Results

Network = Mapping[str, Any]

TableFormat = Literal["table", "csv", "json", "parquet"]

WORDS: dict[Preference, str] = {
    "accuracy": "the least validation error",
    "latency": "the least latency; of those as fast within the noise, the least validation error",
    "memory": "the least memory",
    "knee": "the best balance of error, latency and memory",
}
UNITS: dict[str, tuple[str, float, str]] = {
    "error_validation": ("validation error", 100, " %"),
    "latency_ms": ("latency", 1, " ms"),
    "memory_bytes": ("memory", 1e-6, " MB"),
}


def front(
    results: ResultsArgument = None,
    max_latency_ms: MaxLatency = None,
    max_memory_mb: MaxMemory = None,
    max_error: MaxError = None,
    form: Annotated[TableFormat, typer.Option("--format", "-f", help="How to write them.")] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; none: the terminal.")] = None,
) -> None:
    """List the networks of the front, those within limits if there are any, fastest first.

    Example: hamp front results/digits --max-error 0.05 --format csv
    """
    table = Results(folder_of(results)).front
    for name, limit in limits(max_latency_ms, max_memory_mb, max_error).items():
        table = table.filter(pc.field(name) <= limit)
    if form == "parquet":
        if output is None:
            raise UserError("--format parquet: not for a terminal; name a file with --output")
        tables.write(table, output)
        return
    text = {"table": _aligned, "csv": _csv, "json": _json}[form](table)
    if output is None:
        sys.stdout.write(text)
        return
    with tables.atomic(output) as temporary:
        temporary.write_text(text, encoding="utf-8")


def pick(
    results: ResultsArgument = None,
    max_latency_ms: MaxLatency = None,
    max_memory_mb: MaxMemory = None,
    max_error: MaxError = None,
    prefer: Annotated[Preference, typer.Option(help="What matters most among those within the limits.")] = "knee",
    name_only: Annotated[bool, typer.Option("--name", help="Print the name alone, for scripts.")] = False,
) -> None:
    """Choose one network of the front, and say why; the page report/front.html chooses alike.

    Example: hamp pick results/digits --max-latency-ms 3 --prefer accuracy
    """
    folder = folder_of(results)
    rows = Results(folder).front.to_pylist()
    given = limits(max_latency_ms, max_memory_mb, max_error)
    choice = choose(rows, given, prefer)
    if not choice.fits:
        raise UserError(nothing_fits(choice, given))
    if name_only:
        print(choice.network["candidate"])
        return
    predicted = analytic(Results(folder).settings.device)
    told = f"{choice.allowed} of {len(rows)} networks are within the limits; of these" if given else "of all networks"
    print("\n".join([*lines_of(choice.network, predicted), f"  chosen for   {told}, it has {WORDS[prefer]}"]))
    print(f"  take it      hamp export {choice.network['candidate']} --results {folder} --format onnx")


def lines_of(row: Network, predicted: bool) -> list[str]:
    """A network in some lines for people; `predicted`: for a described device, on which nothing is measured."""
    iqr, base = row["latency_iqr_ms"], row["baseline_latency_ms"]  # the whole of it, as `faster`: of the noise of both
    slow = base / (row["latency_ms"] + iqr)
    fast = base / (row["latency_ms"] - iqr) if iqr < row["latency_ms"] else math.inf
    speed = f"{base / row['latency_ms']:.3g} times as fast as the unpruned network ({slow:.3g} to {fast:.3g})"
    if not row["faster"]:
        speed = f"NOT faster than the unpruned network beyond the noise ({slow:.3g} to {fast:.3g} times)"
    measured, noise = digits(row["latency_ms"]), digits(iqr / 2, 2)
    latency = f"{measured} ± {noise} ms measured, {digits(row['latency_predicted_ms'])} predicted"
    if predicted:
        latency = f"{digits(row['latency_ms'])} ms predicted for the described device"
    points = 100 * (row["error_test"] - row["reference_error_test"])
    return [
        row["candidate"],
        f"  test error   {row['error_test']:.2%}, {points:+.2f} points against the unpruned network fine-tuned alike",
        f"  validation   {row['error_validation']:.2%}",
        f"  latency      {latency}",
        f"  speed        {speed}",
        f"  memory       {digits(row['memory_bytes'] / 1e6)} MB, {row['parameters']:,} parameters, "
        f"{digits(row['macs'] / 1e6)} M multiply-adds",
        f"  found by     {row['method']}, seed {row['seed']}",
    ]


def nothing_fits(choice: Choice, given: Mapping[str, float]) -> str:
    """Which limit is the nearest to being met, and by how much, in one line."""
    over = []
    for name in OBJECTIVES:
        if name in choice.excess:
            word, factor, unit = UNITS[name]
            value, excess = digits(factor * choice.network[name], 4), digits(factor * choice.excess[name])
            limit = f"{factor * given[name]:g}"
            over.append(f"its {word} of {value}{unit} is {excess}{unit} over the limit of {limit}{unit}")
    return f"no network is within the limits; the nearest is {choice.network['candidate']}: {' and '.join(over)}"


def _aligned(table: pa.Table) -> str:
    head = ("candidate", "validation %", "test %", "ms", "± ms", "speed-up", "MB", "M macs", "parameters", "method", "")
    lines = [head]
    for row in table.to_pylist():
        lines.append(
            (
                row["candidate"],
                f"{100 * row['error_validation']:.2f}",
                f"{100 * row['error_test']:.2f}",
                digits(row["latency_ms"]),
                digits(row["latency_iqr_ms"] / 2, 2),
                f"{row['baseline_latency_ms'] / row['latency_ms']:.3g}x",
                digits(row["memory_bytes"] / 1e6),
                digits(row["macs"] / 1e6),
                f"{row['parameters']:,}",
                f"{row['method']}/{row['seed']}",
                "" if row["faster"] else "not faster",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join(
            cell.ljust(width) if index in (0, 9, 10) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join(aligned) + "\n"


def _json(table: pa.Table) -> str:
    return json.dumps(table.to_pylist(), indent=2) + "\n"


def _csv(table: pa.Table) -> str:
    """Widths are one cell, separated by blanks."""
    text = io.StringIO()
    writer = csv.DictWriter(text, table.column_names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "widths": " ".join(map(str, row["widths"]))} for row in table.to_pylist())
    return text.getvalue()

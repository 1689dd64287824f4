"""Benchmarks, each figure with the plain way beside it, to results/bench/bench.parquet and docs/performance.md.

python -m tests.benchmarks            # all, some minutes on two quiet cores
python -m tests.benchmarks evaluate   # some, by name; the others' figures stay
"""

import argparse
import importlib
from pathlib import Path

import torch

from hamp import tables
from hamp.hardware.machine import processor
from tests.benchmarks.rows import Row

MODULES = {
    "prune": "pruning",
    "select": "evolution",
    "evaluate": "evaluation",
    "shards": "shards",
    "orchestration": "orchestration",
}
"""The module of each name; each has `rows()`."""

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "results" / "bench" / "bench.parquet"
DOCUMENT = ROOT / "docs" / "performance.md"
START, END = "<!-- figures: made by `make bench` -->", "<!-- end of figures -->"


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Speed, beside the plain way.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(MODULES)}; none: all of them")
    names = parser.parse_args().names
    if unknown := [name for name in names if name not in MODULES]:
        parser.error(f"'{unknown[0]}' is unknown; one of {', '.join(MODULES)}")
    torch.set_num_threads(1)
    new = []
    for name in names or MODULES:
        for row in importlib.import_module(f"tests.benchmarks.{MODULES[name]}").rows():
            new.append(row)
            print(f"{_figure(row['value']):>9} beside {_figure(row['peer']):>9} {row['unit']:16}", end="")
            print(f"{row['ratio']:6.2f}x  {row['benchmark']}", flush=True)
    fresh = {row["benchmark"] for row in new}
    kept = tables.read(TABLE, tables.BENCH).to_pylist() if names and TABLE.is_file() else []
    rows = [row for row in kept if row["benchmark"] not in fresh] + new
    columns = {name: [row[name] for row in rows] for name in tables.BENCH.names}
    tables.write(tables.build(tables.BENCH, columns), TABLE)
    before, _, rest = DOCUMENT.read_text().partition(START)
    DOCUMENT.write_text(f"{before}{START}\n{markdown(rows)}{END}{rest.partition(END)[2]}")


def markdown(rows: list[Row]) -> str:
    """The table as the documentation shows it, and the machine that it is of."""
    facts = processor()
    lines = [
        f"\nOn {facts['cores']} cores of {facts['processor']} ({facts['architecture']}, {facts['system']}), "
        f"PyTorch {torch.__version__}:\n",
        "| benchmark | value | plain way | unit | times better |",
        "| --- | --: | --: | --- | --: |",
    ]
    for row in rows:
        value, peer = _figure(row["value"]), _figure(row["peer"])
        lines.append(f"| {row['benchmark']} | {value} | {peer} | {row['unit']} | {row['ratio']:.2f} |")
    return "\n".join(lines) + "\n\n"


def _figure(value: float) -> str:
    """Three digits, or all those before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()

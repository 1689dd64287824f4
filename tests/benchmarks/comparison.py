"""Write docs/comparison.md and its figure from the tables in docs/data/.

python -m tests.benchmarks.comparison
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from hamp.analysis.statistics import friedman
from hamp.report.search import hypervolume_figure
from hamp.report.style import styled
from hamp.tables import CURVES, FORESIGHT, PAIRS, atomic, read

DOCS = Path(__file__).parents[2] / "docs"
BASELINES = ("nsga2", "netadapt", "sms_emoa", "moead", "random", "prescreen", "portfolio", "local_search")
PROBLEMS = {"true": "comparison", "measured": "comparison-measured", "resnet56": "comparison-resnet56"}
"""Folders in docs/data of the problems that were compared by true evaluations."""

Row = dict[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def methods(folder: Path) -> str:
    """A row a method: mean and spread over the seeds of what it reached, hamp over it, and where hamp met its value."""
    last, pairs = final(folder), read(folder / "pairs.parquet", PAIRS).to_pylist()
    against = {(row["other"], row["indicator"]): row for row in pairs if row["method"] == "hamp"}
    rows = []
    for method in (name for name in ("hamp", *BASELINES) if name in last):
        own = list(last[method].values())
        loose, strict = (against.get((method, name)) for name in ("hypervolume", "hypervolume_strict"))
        reach = (loose or {}).get("evaluations_to_reach")
        rows.append(
            (
                f"`{method}`",
                len(own),
                round(np.mean([row["evaluations"] for row in own])),
                spread(own, "hypervolume"),
                spread(own, "hypervolume_strict"),
                f"{np.mean([row['share'] for row in own]):.0%}",
                f"{loose['ratio']:.2f}, {strict['ratio']:.2f}" if loose and strict else "",
                f"{loose['wins']}, {strict['wins']} of {loose['common_seeds']}" if loose and strict else "",
                f"{reach:.0f}" if reach else "",
            )
        )
    head = ("method", "searches", "evaluations", "hypervolume", "strict", "of all found")
    return table((*head, "`hamp` over it", "seeds `hamp` wins", "`hamp` meets it after"), rows)


def final(folder: Path) -> dict[str, dict[int, Row]]:
    """By method and seed, the curves' row of the last generation."""
    last: dict[str, dict[int, Row]] = {}
    for row in read(folder / "curves.parquet", CURVES).to_pylist():
        last.setdefault(row["method"], {})[row["seed"]] = row
    return last


def ranks(folders: Sequence[Path]) -> str:
    """Mean ranks, over problems, of the methods that all of them have, by the mean hypervolume over the seeds."""
    problems = [final(folder) for folder in folders]
    common = [name for name in ("hamp", *BASELINES) if all(name in problem for problem in problems)]
    rows = []
    for indicator, name in (("hypervolume", "hypervolume"), ("hypervolume_strict", "strict")):
        means = [
            [np.mean([row[indicator] for row in problem[method].values()]) for method in common] for problem in problems
        ]
        ranking = friedman(means)
        rows.append((name, *(f"{rank:.2f}" for rank in ranking.ranks), f"{ranking.p:.3f}"))
    return table(("mean rank", *(f"`{method}`" for method in common), "p"), rows)


def spread(rows: Sequence[Row], name: str) -> str:
    """Mean, and the least and most where there are several."""
    values = [row[name] for row in rows]
    several = f" ({min(values):.4f} … {max(values):.4f})" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{several}"


def foresight() -> str:
    """Rank correlation by generation, over the searches of `hamp`."""
    rows = [
        row
        for row in read(DOCS / "data/comparison/foresight.parquet", FORESIGHT).to_pylist()
        if row["method"] == "hamp" and row["objective"] == "error"
    ]
    by_generation: dict[int, list[Row]] = {}
    for row in rows:
        by_generation.setdefault(row["generation"], []).append(row)
    found = []
    for generation, group in by_generation.items():
        ahead, held_out = ([row[name] for row in group] for name in ("spearman_ahead", "spearman"))
        chosen = ", ".join(sorted({row["model"] for row in group}))
        found.append((generation, f"{np.median(ahead):.3f}", f"{min(ahead):.3f}", f"{min(held_out):.3f}", chosen))
    return table(("generation", "median", "least", "cross-validated, least", "model"), found)


def variants(file: Path, limits: Sequence[str] = ("60%", "75%")) -> str:
    """A row a variant of `hamp`: means over the seeds."""
    rows = pq.read_table(file).to_pylist()
    found = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        group = [row for row in rows if row["variant"] == variant]
        mean = {name: np.mean([row[name] for row in group]) for name in group[0] if name != "variant"}
        values = [spread(group, name) for name in ("hypervolume", "hypervolume_strict")]
        for limit in limits:
            values += [f"{mean[f'hypervolume_{limit}']:.4f}", f"{mean[f'inside_{limit}']:.0%}"]
        found.append((variant, len(group), f"{mean['evaluations']:.0f}", *values))
    head = ["variant", "searches", "evaluations", "hypervolume", "strict"]
    return table([*head, *(name for limit in limits for name in (f"below {limit}", "population there"))], found)


def evidence() -> dict[str, str]:
    """What the landscape rests on."""
    metadata = pq.read_schema(DOCS / "data/landscape/curves.parquet").metadata
    return {name: metadata[name.encode()].decode() for name in ("evaluations", "spearman", "rmse")}


def document() -> str:
    """The whole of docs/comparison.md."""
    text = (DOCS / "data" / "comparison.md.in").read_text(encoding="utf-8")
    problems = {name: DOCS / "data" / folder for name, folder in PROBLEMS.items()}
    parts = {
        **{name: methods(folder) for name, folder in problems.items()},
        "fitted": methods(DOCS / "data/landscape"),
        "ranks": ranks(list(problems.values())),
        "foresight": foresight(),
        "limited": variants(DOCS / "data/limited.parquet", ("60%",)),
        "groups": variants(DOCS / "data/groups.parquet", ()),
        "ablations": variants(DOCS / "data/landscape/ablations.parquet"),
        **evidence(),
    }
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    return text


def main() -> None:
    with atomic(DOCS / "comparison.md") as temporary:
        temporary.write_text(document(), encoding="utf-8")
    with styled():
        made = hypervolume_figure(read(DOCS / "data/comparison/curves.parquet", CURVES))
        made.savefig(DOCS / "images" / "comparison.png", dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()

"""Write docs/comparison.md from the tables in docs/data/.

python -m tests.benchmarks.comparison
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from hamp.tables import CURVES, FORESIGHT, PAIRS, atomic, read

DOCS = Path(__file__).parents[2] / "docs"
BASELINES = ("nsga2", "netadapt", "sms_emoa", "moead", "random", "prescreen", "portfolio", "local_search")
Row = dict[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def methods(folder: Path) -> str:
    """A row a method: mean and spread over the seeds of what it reached, hamp over it, and where hamp met its value."""
    curves, pairs = (read(folder / f"{name}.parquet", schema).to_pylist() for name, schema in TABLES)
    last: dict[str, dict[int, Row]] = {}
    for row in curves:
        last.setdefault(row["method"], {})[row["seed"]] = row
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


TABLES = (("curves", CURVES), ("pairs", PAIRS))


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


def ablations() -> str:
    """A row a variant: means over the seeds."""
    rows = pq.read_table(DOCS / "data/landscape/ablations.parquet").to_pylist()
    found = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        group = [row for row in rows if row["variant"] == variant]
        mean = {name: np.mean([row[name] for row in group]) for name in group[0] if name != "variant"}
        values = [f"{mean[name]:.4f}" for name in ("hypervolume", "hypervolume_strict")]
        for limit in ("60%", "75%"):
            values += [f"{mean[f'hypervolume_{limit}']:.4f}", f"{mean[f'inside_{limit}']:.0%}"]
        found.append((variant, *values))
    head = ["variant", "hypervolume", "strict"]
    return table([*head, "below 60%", "population there", "below 75%", "population there"], found)


def evidence() -> dict[str, str]:
    """What the landscape rests on."""
    metadata = pq.read_schema(DOCS / "data/landscape/curves.parquet").metadata
    return {name: metadata[name.encode()].decode() for name in ("evaluations", "spearman", "rmse")}


def document() -> str:
    """The whole of docs/comparison.md."""
    text = (DOCS / "data" / "comparison.md.in").read_text(encoding="utf-8")
    parts = {
        "true": methods(DOCS / "data/comparison"),
        "fitted": methods(DOCS / "data/landscape"),
        "foresight": foresight(),
        "ablations": ablations(),
        **evidence(),
    }
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    return text


def main() -> None:
    with atomic(DOCS / "comparison.md") as temporary:
        temporary.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()

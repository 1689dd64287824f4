"""Tables of the report, as self-contained HTML pages: the methods compared, and what the run was."""

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from hamp.analysis.statistics import friedman, mann_whitney
from hamp.configuration.blocks import Config
from hamp.hardware.fingerprint import versions
from hamp.hardware.measuring import faster
from hamp.progress import digits
from hamp.report.chooser import device_text
from hamp.report.search import final_hypervolumes
from hamp.stages.pareto import TIMES
from hamp.tables import ENERGY, at

PACKAGES = (
    "torch",
    "torchvision",
    "onnx",
    "onnxruntime",
    "numpy",
    "scipy",
    "scikit-learn",
    "pymoo",
    "pyarrow",
    "snakemake",
)

_STYLE = """
:root { color-scheme: light dark; --ink: #1b2733; --muted: #5b6b7a; --line: #e3e8ed; --paper: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --muted: #9fb0c0; --line: #2d3a46; --paper: #141b22; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  padding: 1.5rem clamp(1rem, 4vw, 3rem); max-width: 62rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; }
p { color: var(--muted); max-width: 46rem; margin: .3rem 0 .8rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; }
th { font-weight: 600; } thead th { color: var(--muted); font-weight: 500; white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole HTML document that needs nothing else."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def section(title: str, explanation: str, rows: Sequence[Sequence[Any]], head: Sequence[str] = ()) -> str:
    """A titled table; numbers stand right."""
    sides = [' class="number"' if _is_number(value) else "" for value in rows[0]]
    cells = "".join(f"<th scope=col{side}>{escape(name)}</th>" for name, side in zip(head, sides, strict=False))
    header = f"<thead><tr>{cells}</tr></thead>" if head else ""
    lines = "".join(
        "<tr>" + f"<th scope=row>{escape(str(row[0]))}</th>" + "".join(map(_cell, row[1:])) + "</tr>" for row in rows
    )
    told = f"<p>{escape(explanation)}</p>" if explanation else ""
    return (
        f"<section><h2>{escape(title)}</h2>{told}<div class=scroll><table>{header}<tbody>{lines}</tbody></table></div>"
        "</section>"
    )


def methods_page(hypervolume: pa.Table) -> str:
    """The methods' final hypervolumes, each compared with the best one.

    hypervolume: table HYPERVOLUME.
    """
    final = final_hypervolumes(hypervolume)
    values = {method: np.array(list(by_seed.values())) for method, by_seed in final.items()}
    evaluations = Counter[str]()
    for row in hypervolume.to_pylist():
        evaluations[row["method"]] = max(evaluations[row["method"]], row["evaluations"])
    order = sorted(values, key=lambda method: -float(np.median(values[method])))
    best = values[order[0]]
    rows = []
    for method in order:
        own = values[method]
        compared = mann_whitney(best, own) if method != order[0] else None
        rows.append(
            (
                method,
                float(np.median(own)),
                float(own.min()),
                float(own.max()),
                len(own),
                evaluations[method],
                float(np.median(best) / np.median(own)) if np.median(own) > 0 else "–",
                compared.a12 if compared else 0.5,
                compared.p if compared else 1.0,
            )
        )
    head = ("method", "median", "least", "most", "seeds", "evaluations", f"{order[0]} / it", "A12", "p")
    body = [
        section(
            "Hypervolume after the last generation",
            f"The best median first, and {order[0]} compared with every other method over the seeds: A12 (Vargha and "
            "Delaney) is how often it has the larger value, 0.5 being no difference; p is that of the two-sided "
            "Mann–Whitney test. With few seeds p cannot be small: of 3 against 3 it is at least 0.1.",
            rows,
            head,
        )
    ]
    seeds = set.intersection(*(set(by_seed) for by_seed in final.values()))
    if len(order) >= 3 and len(seeds) >= 2:
        ranking = friedman([[final[method][seed] for method in order] for seed in sorted(seeds)])
        ranked = [(method, float(rank)) for method, rank in zip(order, ranking.ranks, strict=True)]
        body.append(
            section(
                "Mean ranks",
                f"Methods ranked on each of {len(seeds)} seeds, 1 being the best; methods of one seed start from one "
                f"initial population. Friedman's test that all are equal: p = {ranking.p:.3g}.",
                ranked,
                ("method", "mean rank"),
            )
        )
    return page("Methods compared", body)


def devices_page(front: pa.Table, settings: Config) -> str:
    """The front's networks on every device, fastest on the first one first.

    Args:
        front: table FRONT.
        settings: of the run.
    """
    head = ["network", "validation error"]
    energies = [name for name in settings.objectives if name.startswith(ENERGY)]
    devices = settings.all_devices
    for name in devices:
        head += [f"{name or 'device'} (ms)", "times as fast", "predicted (ms)"]
    head += [f"{name.partition('@')[2] or 'device'} (mJ)" for name in energies]
    rows = [_on_devices(row, devices, energies) for row in front.to_pylist()]
    explanation = (
        "Latency of one inference on each device, median ± half the interquartile range, and over the unpruned "
        "network's there; a tie: the difference is within the noise. On a described device nothing is measured."
    )
    told = [(name or "device", device_text(device)) for name, device in devices.items()]
    return page("The front on every device", [section("Devices", "", told), section("Front", explanation, rows, head)])


def _on_devices(row: Mapping[str, Any], devices: Iterable[str], energies: Iterable[str]) -> list[Any]:
    cells = [row["candidate"], f"{row['error_validation']:.2%}"]
    for name in devices:
        latency, spread, predicted, unpruned = (row[at(column, name)] for column in TIMES)
        cells += [
            f"{digits(latency)} ± {digits(spread / 2, 2)}",
            _speed(latency, spread, unpruned),
            digits(predicted),
        ]
    return [*cells, *(digits(row[name]) for name in energies)]


def _speed(latency: float, spread: float, unpruned: float) -> str:
    """How many times as fast as the unpruned network, where the difference is beyond the noise."""
    ratio = f"{unpruned / latency:.3g}"
    if faster(latency, spread, unpruned):
        return ratio
    return f"{ratio} (slower)" if faster(unpruned, spread, latency) else "a tie"


def validation_page(validations: Mapping[str, pa.Table]) -> str:
    """How far predictions of latency were off on held-out networks, beside the plain ways.

    validations: table VALIDATION of each device; the device of block `device` is called ``.
    """
    explanation = (
        "Random networks of every size, none of them in the profile, were measured, and their latency over the "
        "unpruned network's predicted in three ways: by the predictor, by the plain sum of its layers' latencies, and "
        "by multiply-adds alone. RMSPE: root mean square of the relative error; bias: its mean."
    )
    head = ("way", "networks", "within ±10%", "RMSPE", "bias", "Spearman", "Kendall")
    body = [f"<p>{explanation}</p>"]
    for name, table in validations.items():
        rows = [
            (
                row["way"],
                row["networks"],
                f"{row['within_10_percent']:.0%}",
                f"{row['rmspe']:.1%}",
                f"{row['bias']:+.1%}",
                f"{row['spearman']:.3f}",
                f"{row['kendall']:.3f}",
            )
            for row in table.to_pylist()
        ]
        title = f"Device {name}" if name else "Device"
        small = "<p>The space is too small for networks that the profile has not seen.</p>"
        body.append(section(title, "", rows, head) if rows else f"<section><h2>{title}</h2>{small}</section>")
    return page("What predictions of latency are worth", body)


def run_page(
    settings: Config,
    splits: Mapping[str, int],
    devices: Mapping[str, Mapping[str, str]],
    unpruned: Mapping[str, Any],
) -> str:
    """Settings, versions, device, seeds, images.

    Args:
        settings: of the run.
        splits: number of images by split.
        devices: fingerprint of each device, as its profile has it; that of block `device` is called ``.
        unpruned: the unpruned network as the search evaluated it (a row of EVALUATED).
    """
    network = [
        ("name", settings.network.name),
        ("weights", settings.network.weights or "trained by the pretrain stage"),
        ("parameters", unpruned["parameters"]),
        ("multiply-adds of an image", unpruned["macs"]),
        ("memory of inference (MB)", unpruned["memory_bytes"] / 1e6),
        ("latency in the search (ms)", unpruned["latency_ms"]),
        ("validation error in the search", f"{unpruned['error']:.2%}"),
    ]
    software = [("python", platform.python_version()), ("hamp", version("hamp-pruning")), *versions(*PACKAGES).items()]
    values = [
        (key, "–" if value is None else value) for key, value in _flat(settings.model_dump(mode="json")) if value != {}
    ]
    seeds = [("seed of the run", settings.seed), ("seeds of the searches", ", ".join(map(str, settings.seeds)))]
    images = [(split, splits[split]) for split in ("train", "validation", "test") if split in splits]
    depends = "What measured times depend on, as recorded with the profile."
    return page(
        f"Run {settings.name}",
        [
            section("The unpruned network", "", network),
            section("Images", "", images),
            *(section(f"Device {name}".strip(), depends, list(facts.items())) for name, facts in devices.items()),
            section("Seeds", "Every random choice is drawn from these.", seeds),
            section("Versions", "Of the environment that wrote this report.", software),
            section("Settings", "All of them, defaults included; settings.yaml holds the same.", values),
        ],
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if not _is_number(value):
        return f"<td>{escape(str(value))}</td>"
    text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return f"<td class=number>{text}</td>"

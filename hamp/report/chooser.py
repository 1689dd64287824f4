"""The page to choose a network with: one file that needs nothing else, not even a network connection.

Its parts (HTML, CSS, scripts) lie in `page/` and are put together here with the run's figures.
"""

import json
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from hamp.configuration.blocks import Device
from hamp.hardware.devices import analytic
from hamp.progress import worded
from hamp.results import Results

PARTS = Path(__file__).parent / "page"
EVALUATED = 5000
"""Most evaluated candidates that are drawn behind the front; of more, every so many-th."""

MEASURED = (
    "Latency is the median over interleaved rounds with the unpruned network, ± half the interquartile range. With "
    "“latency first”, networks whose difference is within that noise count as equally fast."
)
DESCRIBED = "Latency is predicted from the description of the device; nothing was measured."

_COLUMNS = (
    *("candidate", "widths", "error_validation", "error_test", "latency_ms", "latency_iqr_ms", "latency_predicted_ms"),
    *("baseline_latency_ms", "memory_bytes", "parameters", "macs", "model", "onnx", "faster", "method", "seed"),
)


def chooser_page(results: Results) -> str:
    """The whole page as HTML.

    Raises:
        UserError: the run has no front yet.
    """
    settings = results.settings
    first = results.front.slice(0, 1).to_pylist()[0]
    unpruned = {
        "latency_ms": first["baseline_latency_ms"],
        **{name: results.unpruned[name] for name in ("memory_bytes", "macs", "parameters")},
        **{name: first[name] for name in ("baseline_error_test", "reference_error_validation", "reference_error_test")},
    }
    data = {
        "about": _about(results),
        "results": results.folder.as_posix(),
        "described": analytic(settings.device),
        "networks": results.front.select(_COLUMNS).to_pylist(),
        "unpruned": unpruned,
        "groups": results.space.select(["name", "channels"]).to_pylist(),
        "evaluated": _drawn(results.evaluated),
        "evaluations": len(results.evaluated),
    }
    latency = DESCRIBED if analytic(settings.device) else MEASURED
    return _filled(f"{settings.name}: choose a network", data, latency)


def _filled(title: str, data: dict[str, Any], latency: str) -> str:
    # In a script element only `</` and `<!--` have a meaning of their own.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    values = {"title": escape(title), "data": text, "latency": escape(latency)}
    for name, file in (("style", "style.css"), ("choice", "choice.js"), ("charts", "charts.js"), ("page", "page.js")):
        values[name] = (PARTS / file).read_text(encoding="utf-8")
    template = (PARTS / "front.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def _about(results: Results) -> str:
    settings = results.settings
    how = "Their latency is that of" if analytic(settings.device) else "Measured on"
    return (
        f"{len(results.front)} pruned networks of {settings.network.name} on {settings.data.source}, none of which "
        f"another beats in {_told(settings.objectives)}. {how} {device_text(settings.device)}."
    )


def _told(objectives: Sequence[str]) -> str:
    """Objectives in words: `error, latency and latency on nano`."""
    *others, last = map(worded, objectives)
    return f"{', '.join(others)} and {last}"


def device_text(device: Device) -> str:
    """A device in a few words."""
    if device.runtime == "roofline":
        return f"the described device {device.description} (predicted, not measured), batch size {device.batch_size}"
    where = f"{device.host} over ssh" if device.runtime == "remote" else device.processor.upper()
    threads = f", {device.threads} thread{'s' if device.threads > 1 else ''}" if device.processor == "cpu" else ""
    return f"{device.runtime} on {where}, {device.data_type}, batch size {device.batch_size}{threads}"


def _drawn(evaluated: np.ndarray) -> list[list[float]]:
    """Latency and error of what is drawn behind the front, to four digits."""
    step = -(-len(evaluated) // EVALUATED)
    return [[float(f"{value:.4g}") for value in row] for row in evaluated[::step].tolist()]

"""One look for all figures: colours that colour-blind readers tell apart, never without a second sign."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from hamp.tables import atomic

INK, MUTED, GRID, FAINT = "#1b2733", "#5b6b7a", "#e3e8ed", "#b8c2cc"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#7a4fb5", "#4d4d4d", "#a6400f", "#00796b")
"""After Okabe and Ito, *Color Universal Design* (2008); darkened where they are too pale for lines on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))
MAP = "cividis"

MEGABYTE = 1e6

_RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "path",
    "svg.hashsalt": "hamp",
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}


@contextmanager
def styled() -> Iterator[None]:
    """The look, for figures that are made and saved inside."""
    with matplotlib.rc_context(_RC):
        yield


def signs() -> Iterator[tuple[str, str, object]]:
    """Colour, marker and dashes of one series after another; no two of the first ten share a colour or a marker."""
    return zip(cycle(COLOURS), cycle(MARKERS), cycle(DASHES), strict=False)


def figure(width: float, height: float, columns: int = 1, **grid: Any) -> tuple[Figure, list[Axes]]:
    """A figure of `width` by `height` inches with axes side by side."""
    made = Figure(figsize=(width, height), layout="constrained")
    axes = made.subplots(1, columns, squeeze=False, **grid)
    return made, list(axes[0])


def legend_below(made: Figure, axes: Axes, columns: int = 5) -> None:
    """One legend for the figure, under it."""
    handles, labels = axes.get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)))


def save(made: Figure, path: Path) -> None:
    """Write an SVG file; equal figures give equal bytes."""
    FigureCanvasSVG(made)
    content = io.BytesIO()
    made.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    with atomic(path) as temporary:
        temporary.write_bytes(content.getvalue())

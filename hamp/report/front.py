"""Figure of the front: what the search found, and what became of it."""

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hamp.choice import PREFERENCES, choose
from hamp.report.style import COLOURS, FAINT, INK, MAP, MEGABYTE, MUTED, figure
from hamp.tables import columns

NAMES = {"accuracy": "most accurate", "latency": "fastest", "memory": "smallest", "knee": "balanced"}


def front_figure(front: pa.Table, evaluated: np.ndarray, unpruned_error: float, described: bool = False) -> Figure:
    """Error against latency: the front after fine-tuning, and beside it all that was evaluated in the search.

    Args:
        front: table FRONT.
        evaluated: latency (ms) in the front's session and error of all that the searches evaluated, (n, 2).
        unpruned_error: validation error of the unpruned network, as evaluated in the search.
        described: the device is, so that no latency was measured.
    """
    made, (near, whole) = figure(12, 5.6, 2, width_ratios=(3, 2))
    _front(made, near, front, "predicted" if described else "measured")
    whole.scatter(*_percent(evaluated), s=9, color=FAINT, lw=0, rasterized=True, label="evaluated in the search")
    whole.scatter(
        *_percent(columns(front, ["latency_ms", "error_validation"])),
        s=22,
        color=COLOURS[0],
        label="front, after fine-tuning",
    )
    base = front["baseline_latency_ms"][0].as_py()
    whole.plot(base, 100 * unpruned_error, "*", ms=13, color=COLOURS[1], label="unpruned")
    whole.set(title="The whole search", xlabel="latency (ms)", ylabel="validation error (%)")
    whole.set_ylim(bottom=-2)
    whole.set_xlim(left=0)
    for axes in (near, whole):
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(-0.02, -0.13),
            ncols=3 if axes is near else 2,
            columnspacing=1.2,
            handletextpad=0.4,
        )
    return made


def _front(made: Figure, axes: Axes, front: pa.Table, how: str) -> None:
    latency, noise, validation, test, memory = columns(
        front, ["latency_ms", "latency_iqr_ms", "error_validation", "error_test", "memory_bytes"]
    ).T
    validation, test, memory = 100 * validation, 100 * test, memory / MEGABYTE
    axes.errorbar(latency, validation, xerr=noise / 2, fmt="none", ecolor=MUTED, elinewidth=1, capsize=2, zorder=2)
    axes.vlines(latency, validation, test, color=FAINT, lw=1, zorder=1)
    axes.plot(latency, test, "_", ms=8, color=INK, label="test error", zorder=2)
    span = np.ptp(memory) or 1.0
    size = 40 + 160 * (memory - memory.min()) / span
    points = axes.scatter(
        latency, validation, s=size, c=memory, cmap=MAP, edgecolor="white", lw=0.8, zorder=3, label="validation error"
    )
    first = front.slice(0, 1).to_pylist()[0]
    base = (first["baseline_latency_ms"], 100 * first["reference_error_validation"])
    axes.plot(*base, "*", ms=16, color=COLOURS[1], label="unpruned, fine-tuned alike", zorder=3)
    axes.plot(base[0], 100 * first["reference_error_test"], "_", ms=8, color=COLOURS[1], zorder=2)
    _name(axes, front)
    made.colorbar(points, ax=axes, label="memory (MB), also the size of a point", pad=0.01, aspect=35)
    axes.set(title="The front, after fine-tuning", xlabel=f"{how} latency (ms)", ylabel="error (%)")
    axes.margins(0.08)


def _name(axes: Axes, front: pa.Table) -> None:
    """Write the named choices beside their points."""
    rows = front.to_pylist()
    told: dict[str, list[str]] = {}
    for prefer in PREFERENCES:
        told.setdefault(choose(rows, {}, prefer).network["candidate"], []).append(NAMES[prefer])
    axes.autoscale_view()
    left, right = axes.get_xlim()
    for number, row in enumerate(row for row in rows if row["candidate"] in told):
        # above and to the right of a point there is no other of the front, nor below and to its left
        below, place = number % 2, (row["latency_ms"] - left) / (right - left)
        to_left = place > 0.75 or (below and place > 0.15)
        axes.annotate(
            ", ".join(told[row["candidate"]]),
            (row["latency_ms"], 100 * row["error_validation"]),
            xytext=(-9 if to_left else 9, -15 if below else 7),
            ha="right" if to_left else "left",
            textcoords="offset points",
            color=INK,
            fontsize=9,
            fontweight="bold",
        )


def _percent(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return points[:, 0], 100 * points[:, 1]

"""Figures of the front's networks: their widths, and where the channels went."""

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from hamp.progress import digits
from hamp.report.style import COLOURS, FAINT, INK, MAP, figure
from hamp.tables import matrix

ANNOTATED = 700
"""Cells up to which each shows its number."""


def widths_figure(front: pa.Table, space: pa.Table) -> Figure:
    """Share of its channels that each group keeps in each member of the front, fastest member first.

    Args:
        front: table FRONT, ascending in latency.
        space: columns `name` and `channels`, one row a group.
    """
    widths, channels = matrix(front).T, space["channels"].to_numpy()
    groups, members = widths.shape
    made, (axes,) = figure(max(8.0, 2.6 + 0.42 * members), 1.9 + 0.27 * groups)
    image = axes.imshow(widths / channels[:, None], cmap=MAP, vmin=0, vmax=1, aspect="auto")
    if groups * members <= ANNOTATED:
        for group, member in np.ndindex(groups, members):
            dark = widths[group, member] / channels[group] < 0.55
            colour = "white" if dark else INK
            axes.text(member, group, str(widths[group, member]), ha="center", va="center", fontsize=7.5, color=colour)
    names = [f"{name} ({whole})" for name, whole in zip(space["name"].to_pylist(), channels, strict=True)]
    axes.set_yticks(range(groups), names, fontsize=8)
    labels = [digits(latency) for latency in front["latency_ms"].to_pylist()]
    axes.set_xticks(range(members), labels, fontsize=8, rotation=90 if members > 20 else 0)
    axes.set(title="Channels kept", xlabel="member of the front, by its latency (ms)", ylabel="group (channels)")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    made.colorbar(image, ax=axes, label="share of the channels kept", pad=0.01, aspect=30)
    return made


def channels_figure(front: pa.Table, space: pa.Table) -> Figure:
    """Where the channels went: per group, the channels removed in the median member, of all it has.

    Args:
        front: table FRONT.
        space: columns `name` and `channels`, one row a group.
    """
    channels = space["channels"].to_numpy()
    kept = matrix(front)
    low, middle, high = (np.percentile(kept, q, axis=0) for q in (0, 50, 100))
    groups = len(channels)
    made, (count, share) = figure(10, 1.9 + 0.27 * groups, 2, sharey=True)
    rows = np.arange(groups)
    count.barh(rows, channels, 0.75, color="white", edgecolor=FAINT, hatch="////", label="removed")
    count.barh(rows, middle, 0.75, color=COLOURS[0], label="kept by the median member")
    count.set(title="Channels", xlabel="channels of the group")
    share.barh(rows, 100 * middle / channels, 0.75, color=COLOURS[0], alpha=0.85)
    share.hlines(rows, 100 * low / channels, 100 * high / channels, color=INK, lw=1.4, label="least and most")
    for edge in (low, high):
        share.plot(100 * edge / channels, rows, "|", color=INK, ms=8)
    share.set(title="Share kept, and its range over the front", xlabel="channels kept (%)", xlim=(0, 102))
    for axes in (count, share):
        axes.set_yticks(rows, space["name"].to_pylist(), fontsize=8)
        axes.grid(axis="y", visible=False)
    count.invert_yaxis()
    handles, labels = count.get_legend_handles_labels()
    more = share.get_legend_handles_labels()
    made.legend(handles + more[0], labels + more[1], loc="outside lower center", ncols=3)
    return made

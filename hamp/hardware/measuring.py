"""Measuring latency: networks by turns with the unpruned one, and what the numbers are worth."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from hamp import tables
from hamp.candidates import UNPRUNED
from hamp.configuration.blocks import Device, Measure
from hamp.errors import UserError
from hamp.hardware import fingerprint
from hamp.hardware.devices import analytic, load

# Tukey's outer fence: a duration beyond it is no ordinary scatter.
OUTLIER = 3.0
# Interquartile range of the unpruned network, as a share of its median, above which a machine is called busy.
BUSY = 0.25
# Seconds that a short network runs untimed before it is timed. Beside a process that fills the shared cache, the
# unpruned ResNet-20 (0.4 ms) as a candidate came out 6 to 9% slower than itself as the reference, which runs at every
# other turn and is never quite cold, after one untimed run; 1 to 3% after four, 0.5% after eight.
SETTLE = 0.004
# Share of interrupted runs that is told.
INTERRUPTED = 0.05


def measure(
    networks: Mapping[str, Any],
    device: Device,
    settings: Measure,
    *,
    seed: int,
    reference: str = UNPRUNED,
    say: bool = True,
) -> pa.Table:
    """Latency of prepared networks (`devices.load(device).prepare`), one row each, by `tables.LATENCY`.

    Each duration is divided by that of the unpruned network around it; `latency_ms` is the median of
    these ratios times the median of the unpruned network: `latency_ms / baseline_latency_ms` sees no drift.
    The device's fingerprint is in the table's metadata. Outliers, a busy machine and a budget that left fewer
    rounds than wanted are told on stderr, in one line.

    Raises:
        UserError: the reference is not among the networks, or nothing can be measured on the device.
    """
    if reference not in networks:
        raise UserError(f"measuring needs the network '{reference}' to compare with; got {', '.join(networks)}")
    if analytic(device):
        raise UserError(f"nothing is measured on a described device; runtime '{device.runtime}' predicts")
    played = load(device).play(
        networks,
        reference=reference,
        rounds=settings.rounds,
        warmup=settings.warmup,
        seconds=settings.seconds,
        seed=seed,
        settle=SETTLE,
    )
    facts = {**fingerprint.take(device), **played.get("fingerprint", {})}
    if say:
        for line in remarks(played, reference):
            print(line, file=sys.stderr)
    return fingerprint.attach(summary(played, reference), facts)


def summary(played: Mapping[str, Any], reference: str) -> pa.Table:
    """`tables.LATENCY` from played rounds (`timing.play`)."""
    baseline = float(np.median(played["times"][reference]))
    rows = []
    for name in played["times"]:
        ratios = ratios_of(played, name, reference)
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        rows.append((name, 1e3 * baseline * middle, 1e3 * baseline * (high - low), 1e3 * baseline))
    columns = dict(zip(tables.LATENCY.names, zip(*rows, strict=True), strict=True))
    return tables.build(tables.LATENCY, columns)


def ratios_of(played: Mapping[str, Any], name: str, reference: str) -> np.ndarray:
    """Durations of one network over the reference's beside them (for the reference: over its median)."""
    times = np.asarray(played["times"][name])
    if name == reference:
        return times / np.median(times)
    return times / np.asarray(played["references"][name])


def remarks(played: Mapping[str, Any], reference: str) -> list[str]:
    """What a reader of the times must know: a busy machine, outliers, fewer rounds than wanted."""
    times = np.asarray(played["times"][reference])
    low, middle, high = np.percentile(times, [25, 50, 75])
    told = []
    if (high - low) / middle > BUSY:
        told.append(
            f"the machine is busy or its clock unsteady: the unpruned network took {1e3 * low:.3g} to "
            f"{1e3 * high:.3g} ms (quartiles)"
        )
    if played["interrupted"] > INTERRUPTED:
        told.append(
            f"other processes interrupted {played['interrupted']:.0%} of the runs (repeated; "
            f"{played['disturbed']:.0%} could not be had undisturbed)"
        )
    share = np.mean(np.concatenate([_outliers(ratios_of(played, name, reference)) for name in played["times"]]))
    if share > 0.02:
        told.append(f"{share:.0%} of the durations are outliers (medians do not see them)")
    if played["rounds"] < played["wanted"]:
        told.append(f"the time budget allowed {played['rounds']} of {played['wanted']} rounds (measure.seconds)")
    return ["measuring: " + "; ".join(told)] if told else []


def faster(latency_ms: ArrayLike, latency_iqr_ms: ArrayLike, baseline_latency_ms: ArrayLike) -> np.ndarray:
    """Whether the gain over the unpruned network is beyond the noise: more than the interquartile range."""
    gain = np.asarray(baseline_latency_ms) - np.asarray(latency_ms)
    return np.asarray(gain > np.asarray(latency_iqr_ms))


def _outliers(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values, [25, 75])
    return values > high + OUTLIER * (high - low)

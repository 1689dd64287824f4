"""How far a prediction of latency can be trusted: figures on whole networks that it was not fitted on."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from scipy.stats import kendalltau, spearmanr

from hamp import tables
from hamp.hardware import fingerprint, predictor
from hamp.pruning.space import Space


def validate(profile: pa.Table, space: Space, widths: np.ndarray, latency: pa.Table) -> pa.Table:
    """Figures by `tables.VALIDATION` of the predictor, of the plain sum of the layers' tables, and of MACs alone.

    All three predict the ratio to the unpruned network. RMSPE and the share within 10% are nn-Meter's (Zhang et
    al., MobiSys 2021), rank correlation is HELP's (Lee et al., NeurIPS 2021).

    Args:
        profile: by `tables.PROFILE`, of a measured device.
        space: of the network.
        widths: (n, groups) of networks that are not in the profile.
        latency: their measured `latency_ms` and `baseline_latency_ms`, in the same order.

    Raises:
        UserError: the times are from an unlike device.
    """
    fingerprint.check(fingerprint.of(profile), fingerprint.of(latency), ("the profile", "the measured networks"))
    ours, baseline = tables.columns(latency, ["latency_ms", "baseline_latency_ms"]).T
    full = np.asarray(space.channels, dtype=np.int32)[None, :]
    features = predictor.layer_latencies(profile, space)
    ways = {
        "predictor": predictor.predict(profile, space, widths) / predictor.baseline_of(profile),
        "sum of layers": features(widths)[:, :-1].sum(axis=1) / features(full)[:, :-1].sum(),
        "macs": space.costs(widths)["macs"] / space.costs(full)["macs"],
    }
    rows = [{"way": way, **figures(ratios, ours / baseline)} for way, ratios in ways.items()]
    return tables.build(tables.VALIDATION, {name: [row[name] for row in rows] for name in tables.VALIDATION.names})


def told(found: Mapping[str, float]) -> str:
    """Figures in a few words."""
    return (
        f"{found['networks']} networks, {found['within_10_percent']:.0%} within ±10%, "
        f"RMSPE {found['rmspe']:.1%}, bias {found['bias']:+.1%}, "
        f"Spearman {found['spearman']:.3f}, Kendall {found['kendall']:.3f}"
    )


def figures(predicted: np.ndarray, measured: np.ndarray) -> dict[str, float]:
    """RMSPE, share within 10%, Spearman, Kendall and bias (mean relative error) of predictions."""
    error = predicted / measured - 1.0
    return {
        "networks": len(measured),
        "rmspe": float(np.sqrt(np.mean(error**2))),
        "within_10_percent": float(np.mean(np.abs(error) <= 0.1)),
        "spearman": float(spearmanr(predicted, measured).statistic),
        "kendall": float(kendalltau(predicted, measured).statistic),
        "bias": float(np.mean(error)),
    }

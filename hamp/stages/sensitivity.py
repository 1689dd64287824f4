"""Stage `sensitivity`: how much the error depends on each group, found by cutting one at a time."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from hamp.evolution.domain import domain_of, repair
from hamp.pruning.space import Space
from hamp.stages.state import candidates
from hamp.tables import SENSITIVITY, build


def sensitivity(space: Space, fractions: Sequence[float], errors: Callable[[pa.Table], pa.Table]) -> pa.Table:
    """Table SENSITIVITY: each group cut to each of the fractions of its channels (or as near as it may), alone.

    Args:
        space: of the network.
        fractions: of the channels that are kept.
        errors: from candidates (CANDIDATES) to their errors (ERRORS), in the same order.
    """
    full = np.asarray(space.channels)
    groups = np.repeat(np.arange(len(full)), len(fractions))
    widths = np.repeat(full[None, :], len(groups), axis=0).astype(float)
    widths[np.arange(len(groups)), groups] *= np.tile(fractions, len(full))
    probes = np.concatenate([full[None, :], repair(widths, domain_of(space))])
    error = errors(candidates(probes, ["sensitivity"] * len(probes)))["error"].to_numpy()
    return build(
        SENSITIVITY,
        {
            "group": groups,
            "name": [space.names[group] for group in groups],
            "width": probes[1:][np.arange(len(groups)), groups],
            "error": error[1:],
            "increase": error[1:] - error[0],
        },
    )


def by_group(table: pa.Table, groups: int) -> np.ndarray:
    """Mean increase of the error per group, not below 0, (groups,)."""
    rows = table["group"].to_numpy()
    increase = np.bincount(rows, weights=table["increase"].to_numpy(), minlength=groups)
    return np.maximum(increase / np.maximum(np.bincount(rows, minlength=groups), 1), 0.0)

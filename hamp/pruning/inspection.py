"""Tables for people: what can be pruned, and what is left whole and why."""

import numpy as np
import pyarrow as pa
from torch import nn

from hamp.pruning.space import Space


def inspect(model: nn.Module, space: Space) -> pa.Table:
    """One row a group: group, name, layers, channels, minimum, multiple, branch, and what depends on it.

    `macs_share`, `parameters_share`: the fraction of the network's multiply-adds and parameters that goes when this
    group alone is at its smallest width, extrapolated to none of its channels left.
    """
    full = space.channels
    total = space.costs(full)
    alone = np.repeat(full[None, :], space.groups, axis=0)
    np.fill_diagonal(alone, np.where(space.minimum < full, space.minimum, full))
    cut = space.costs(alone)
    kept = np.diagonal(alone) / full
    shares = {name: (1 - cut[name] / total[name][0]) / np.maximum(1 - kept, 1e-12) for name in ("macs", "parameters")}
    return pa.table(
        {
            "group": pa.array(np.arange(space.groups), pa.int32()),
            "name": list(space.names),
            "layers": [list(layers) for layers in space.layers],
            "channels": full,
            "minimum": space.minimum,
            "multiple": space.multiple,
            "branch": space.branches,
            "macs_share": shares["macs"],
            "parameters_share": shares["parameters"],
        }
    )


def frozen_table(space: Space) -> pa.Table:
    """One row for each layer and reason: layer, channels left whole, of how many, reason."""
    return pa.Table.from_pylist(
        [{"layer": f.layer, "channels": f.channels, "of": f.of, "reason": f.reason} for f in space.frozen],
        schema=pa.schema(
            [("layer", pa.string()), ("channels", pa.int32()), ("of", pa.int32()), ("reason", pa.string())]
        ),
    )

"""Sharing out of candidates among jobs."""

import numpy as np
import pyarrow as pa

from hamp.candidates import REFERENCE
from hamp.pruning.space import Space
from hamp.tables import matrix


def shard_of(candidates: pa.Table, shard: int, shards: int) -> pa.Table:
    """The rows of one shard: every `shards`-th one, so that shards are alike."""
    return candidates.take(pa.array(np.arange(shard, len(candidates), shards)))


def networks_of(members: pa.Table, space: Space, shard: int = 0, shards: int = 1) -> dict[str, np.ndarray]:
    """Widths by name of the networks that one shard fine-tunes: the unpruned one as reference, and the members."""
    networks = {REFERENCE: space.channels}
    networks |= dict(zip(members["candidate"].to_pylist(), matrix(members), strict=True))
    return dict(list(networks.items())[shard::shards])

"""Sharing out of networks among jobs."""

import heapq

import numpy as np
import pyarrow as pa

from hamp.candidates import REFERENCE
from hamp.pruning.space import Space
from hamp.tables import matrix

FIXED = 1 / 3
"""What the time of a network begins with, as a share of what the unpruned network's multiply-adds take: so it was in
training steps on a ResNet-20, unpruned and with two fifths of its multiply-adds (float32, one thread)."""


def share(space: Space, widths: np.ndarray, shard: int, shards: int) -> np.ndarray:
    """Ascending positions of the networks that one of `shards` jobs takes, so that all take about as long.

    From the costliest network down, each goes to the job that has least to do so far: the last job to end takes at
    most 4/3 of the time that any sharing could reach (Graham, 1969, longest processing time first).

    Args:
        space: of the network.
        widths: int32 (n, groups).
        shard: number of the job, from 0.
        shards: number of jobs.
    """
    macs = space.costs(widths)["macs"]
    seconds = macs + FIXED * space.costs(space.channels)["macs"]
    jobs = [(0.0, job) for job in range(shards)]
    taken = []
    for position in np.argsort(-seconds, kind="stable"):
        busy, job = heapq.heappop(jobs)
        heapq.heappush(jobs, (busy + seconds[position], job))
        if job == shard:
            taken.append(position)
    return np.sort(np.array(taken, dtype=np.int64))


def shard_of(candidates: pa.Table, space: Space, shard: int, shards: int) -> pa.Table:
    """The rows of one shard."""
    return candidates.take(pa.array(share(space, matrix(candidates), shard, shards)))


def networks_of(members: pa.Table, space: Space, shard: int = 0, shards: int = 1) -> dict[str, np.ndarray]:
    """Widths by name of the networks that one shard fine-tunes: the unpruned one as reference, and the members."""
    names = [REFERENCE, *members["candidate"].to_pylist()]
    widths = np.vstack([space.channels, matrix(members)])
    return {names[position]: widths[position] for position in share(space, widths, shard, shards)}

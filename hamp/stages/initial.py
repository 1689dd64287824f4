"""Stage `initial`: the first candidates of a search."""

import pyarrow as pa

from hamp.evolution.domain import domain_of
from hamp.evolution.initial import population
from hamp.pruning.space import Space
from hamp.seeding import generator
from hamp.stages.state import candidates


def initial(space: Space, size: int, seed: int) -> pa.Table:
    """Table CANDIDATES of at most `size` networks, the unpruned one first; equal for all methods of a seed."""
    return candidates(*population(domain_of(space), size, generator(seed, "initial")))

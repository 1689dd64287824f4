"""Stage `initial`: the first candidates of a search."""

from collections.abc import Sequence

import pyarrow as pa

from hamp.evolution.domain import domain_of
from hamp.evolution.initial import Kind, population
from hamp.pruning.space import Space
from hamp.seeding import generator
from hamp.stages.sensitivity import by_group
from hamp.stages.state import candidates


def initial(space: Space, size: int, seed: int, kinds: Sequence[Kind], sensitivity: pa.Table | None = None) -> pa.Table:
    """Table CANDIDATES of at most `size` networks, the unpruned one first; equal for all methods of a seed.

    Args:
        space: of the network.
        size: how many.
        seed: of the search.
        kinds: what they are, in equal parts.
        sensitivity: of the groups (SENSITIVITY), where it is one of the kinds.
    """
    found = None if sensitivity is None else by_group(sensitivity, space.groups)
    return candidates(*population(domain_of(space), size, generator(seed, "initial"), kinds, found))

"""Networks shared out among jobs."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hamp.configuration.blocks import Network
from hamp.models.build import build
from hamp.pruning import discover
from hamp.stages.shards import FIXED, share

SPACE = discover(build(Network(name="resnet20"), 10, 3), torch.zeros(2, 3, 32, 32))


@settings(max_examples=25)
@given(count=st.integers(1, 30), shards=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_each_network_goes_to_one_job_and_no_job_could_give_one_away(count, shards, seed):
    drawn = np.random.default_rng(seed)
    widths = SPACE.canonical(drawn.integers(SPACE.minimum, np.array(SPACE.channels) + 1, (count, SPACE.groups)))
    shares = [share(SPACE, widths, job, shards) for job in range(shards)]
    assert sorted(np.concatenate(shares)) == list(range(count))
    assert [len(positions) > 0 for positions in shares] == [job < count for job in range(shards)]
    costs = SPACE.costs(widths)["macs"] + FIXED * SPACE.costs(SPACE.channels)["macs"]
    loads = [costs[positions].sum() for positions in shares]
    busiest = shares[int(np.argmax(loads))]
    assert max(loads) - costs[busiest].min() <= min(loads) + 1e-3


def test_the_largest_network_has_a_job_to_itself_where_it_takes_as_long_as_all_others():
    unpruned, smallest = np.array(SPACE.channels), np.array(SPACE.minimum)
    widths = np.stack([smallest, unpruned, smallest, smallest])
    assert share(SPACE, widths, 0, 2).tolist() == [1]
    assert share(SPACE, widths, 1, 2).tolist() == [0, 2, 3]

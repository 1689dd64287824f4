"""Networks for the tests of pruning, their spaces, and widths to draw."""

from functools import cache

import networks_odd
import numpy as np
import torch
from benchmarks.coverage import randomise
from hypothesis import strategies as st
from torch import Tensor, nn

from hamp.configuration.blocks import Network
from hamp.models.build import build
from hamp.pruning import Space, discover

torch.set_num_threads(1)

OURS = ("resnet_small", "resnet20", "vgg16_bn_small", "mobilenet_v1_small")
ODD = tuple(network.__name__ for network in networks_odd.ALL)
SIDES = {"Flattened": 20, **dict.fromkeys(OURS, 32)}


@cache
def network(name: str) -> nn.Module:
    """A network in float64 with random weights and BatchNorm statistics; not to be changed."""
    torch.manual_seed(0)
    made = getattr(networks_odd, name)() if name in ODD else build(Network(name=name), 10, 3)
    return randomise(made).double()


def images(name: str, number: int = 3, seed: int = 0) -> Tensor:
    """Random input for the network."""
    side = SIDES.get(name, 16)
    return torch.rand(number, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@cache
def space(name: str) -> Space:
    """Its space, with removable branches and few limits."""
    return discover(network(name), images(name), minimum_fraction=0.01, branch_removal=True)


def allowed(space: Space, group: int) -> list[int]:
    """All widths that a group may have, by the definition in `Space`."""
    low, full, multiple = (int(x[group]) for x in (space.minimum, space.channels, space.multiple))
    widths = {w for w in range(low, full + 1) if w % multiple == 0} | {full}
    return sorted(widths | ({0} if space.branch[group] else set()))


def widths_of(space: Space) -> st.SearchStrategy[np.ndarray]:
    """Allowed widths of all groups."""
    return st.tuples(*(st.sampled_from(allowed(space, g)) for g in range(space.groups))).map(np.array)

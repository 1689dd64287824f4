"""Memory as it is counted while a network runs."""

import numpy as np
import pytest
import torch
from hardware_networks import SHAPE, chain
from torch import nn

from hamp.configuration.blocks import Device, Network
from hamp.hardware.memory import peak_bytes
from hamp.models.build import build
from hamp.pruning import discover, prune, score


def test_a_chain_by_hand():
    """Weights; input, which the caller holds; input and output of the layer at which they are largest."""
    model = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.ReLU(inplace=True), nn.Conv2d(8, 16, 1, bias=False)).eval()
    weights = 3 * 8 + 8 * 16
    for batch in (1, 4):
        expected = weights + batch * 100 * (3 + 8 + 16)
        assert peak_bytes(model, (3, 10, 10), Device(batch_size=batch)) == 4 * expected


def test_what_is_not_in_place_counts_twice():
    def model(inplace):
        return nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.ReLU(inplace=inplace)).eval()

    counted = [peak_bytes(model(inplace), (3, 10, 10), Device(batch_size=1)) for inplace in (True, False)]
    assert counted[1] - counted[0] == 4 * 8 * 100


def test_what_was_released_no_longer_counts():
    class Wide(nn.Module):
        def forward(self, x):
            for _ in range(50):
                x = x + 1
            return x

    assert peak_bytes(Wide().eval(), (1, 10, 10), Device(batch_size=1)) <= 4 * 100 * 3


def test_half_the_bytes_a_number_half_the_memory():
    single, half = (
        peak_bytes(chain(), SHAPE, Device(batch_size=2, data_type=kind)) for kind in ("float32", "bfloat16")
    )
    assert half == pytest.approx(single / 2, rel=0.01)
    assert torch.get_default_dtype() == torch.float32


UNLIKE = {
    "resnet20": (3, 32, 32),
    "mobilenet_v1_small": (3, 32, 32),
    "torchvision:squeezenet1_1": (3, 64, 64),
    "torchvision:shufflenet_v2_x0_5": (3, 64, 64),
    "torchvision:mobilenet_v3_small": (3, 64, 64),
    "torchvision:densenet121": (3, 64, 64),
}


@pytest.mark.parametrize(
    "name", ["resnet20", *(pytest.param(name, marks=pytest.mark.slow) for name in UNLIKE if name != "resnet20")]
)
def test_what_is_computed_is_what_is_counted(name):
    model = build(Network(name=name), 10, 3).eval()
    space = discover(model, torch.zeros(2, *UNLIKE[name]), branch_removal=True)
    rng = np.random.default_rng(0)
    widths = space.repair(rng.uniform(0.1, 1.0, space.groups) * space.channels)
    pruned = prune(model, space, widths, score(model, space, "random"))
    for network, of in ((model, space.channels), (pruned, widths)):
        computed = space.costs(of, batch_size=8, eager=True)["memory_bytes"][0]
        assert peak_bytes(network, UNLIKE[name], Device(batch_size=8)) == pytest.approx(computed, rel=0.02)
    planned, eager = (space.costs(widths, eager=eager)["memory_bytes"][0] for eager in (False, True))
    assert planned <= eager

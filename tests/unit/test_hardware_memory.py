"""Memory as it is counted while a network runs."""

import pytest
import torch
from hardware_networks import SHAPE, chain
from torch import nn

from hamp.configuration.blocks import Device
from hamp.hardware.memory import peak_bytes


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

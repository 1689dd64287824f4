"""Strided 1x1 convolutions have the right gradients, and training with them does not harm the process."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hamp.training.pointwise import UnstridedPointwise

SMALL = st.integers(1, 20)
TRAINING = """
import torch
from torch import nn
from hamp.configuration import blocks
from hamp.data.images import ImageSet
from hamp.training.loop import train
from hamp.training.tasks import task

torch.set_num_threads(1)
pixels = torch.randint(0, 256, (64, 3, 128, 128), dtype=torch.uint8)
images = ImageSet(pixels, torch.arange(64), torch.arange(64) % 10, torch.full((3,), 0.5), torch.ones(3), ())
model = nn.Sequential(
    nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 8, 1, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
)
settings = blocks.Optimisation(epochs=10, batch_size=32, learning_rate=0.01)
history = train(model, images, None, task("classification"), settings, blocks.Augment(crop=0), 0, progress=False)
assert history["loss"].to_numpy()[-1] < 3
"""


def gradients(convolution: tuple[object, ...], x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, and the gradients for inputs and weights."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    outputs = F.conv2d(x, weight, *convolution)
    outputs.square().sum().backward()
    return outputs.detach(), x.grad, weight.grad


@settings(max_examples=60)
@given(
    SMALL,
    SMALL,
    st.integers(1, 3),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(5, 9), st.integers(5, 9)),
    st.sampled_from([0, 1, (0, 0), (0, 1), "valid"]),
)
def test_outputs_and_gradients_are_those_of_the_convolution(inputs, outputs, size, stride, pixels, padding):
    torch.manual_seed(0)
    x, weight = torch.randn(2, inputs, *pixels), torch.randn(outputs, inputs, size, size)
    convolution = (None, stride, padding)
    expected = gradients(convolution, x.double(), weight.double())
    last = torch.channels_last
    with UnstridedPointwise():
        found = gradients(convolution, x.to(memory_format=last), weight.to(memory_format=last))
    for one, two in zip(expected, found, strict=True):
        assert torch.allclose(one.float(), two, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_training_with_few_inputs_of_a_strided_convolution_survives():
    result = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr

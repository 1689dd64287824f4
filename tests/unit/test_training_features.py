"""The features that a pruned network shares with the unpruned one, and training towards them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning_networks import ODD, OURS, images, network, space, widths_of
from test_training import CLASSIFICATION, PLAIN, optimisation, stripes
from test_training import network as small
from torch import Tensor, nn

from hamp.pruning import discover, masked, prune
from hamp.pruning.slicing import kept_positions
from hamp.training.features import LastFeatures, distance, last_channels
from hamp.training.loop import train
from hamp.training.teaching import teacher


def last_features(model: nn.Module, x: Tensor) -> Tensor | None:
    with torch.no_grad(), LastFeatures() as last:
        model.eval()(x)
    return last.features


@pytest.mark.parametrize("name", [*ODD, *OURS])
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_they_are_those_of_the_silenced_network_at_the_channels_that_stay(name: str, data) -> None:
    model, found, x = network(name), space(name), images(name)
    widths = data.draw(widths_of(found))
    pruned = prune(model, found, widths)
    channels = last_channels(model.eval(), pruned, kept_positions(1, model, found, widths), x)
    if channels is None:
        assert name == "Parameters"  # whose channels come last
    else:
        features, silenced = last_features(pruned, x), last_features(masked(model, found, widths), x)
        assert torch.allclose(features, silenced[:, channels], rtol=1e-9, atol=1e-9)


def test_a_network_without_features_before_a_classifier_has_none() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
    x = torch.rand(2, 3, 8, 8)
    found = discover(model, x, keep_first=False)
    assert last_features(model, x) is None
    assert last_channels(model, prune(model, found, [4]), kept_positions(1, model, found, [4]), x) is None


def test_features_that_a_classifier_is_given_in_another_order_are_left_alone() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = nn.Conv2d(3, 8, 3), nn.Linear(8 * 36, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.conv(x).permute(0, 2, 3, 1).flatten(1))

    model, x = Turned(), torch.rand(2, 3, 8, 8)
    found = discover(model, x, keep_first=False)
    assert last_channels(model, prune(model, found, [4]), kept_positions(1, model, found, [4]), x) is None


@given(st.integers(0, 99), st.floats(0.01, 100))
def test_the_distance_counts_in_variances_of_the_teachers_channels(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    spread = torch.tensor([0.5, 1.0, 1.5, 2.0]).view(1, 4, 1, 1)
    teacher, noise = spread * torch.randn(2, 64, 4, 5, 5, generator=generator)
    assert distance(scale * teacher, scale * teacher) == 0
    found = distance(scale * (teacher + noise), scale * teacher)
    assert float(found) == pytest.approx(1, rel=0.2)
    assert float(distance(teacher + noise, teacher)) == pytest.approx(float(found), rel=1e-3)


def test_features_without_variance_give_a_finite_distance_of_none() -> None:
    assert float(distance(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4))) == 0


def test_training_towards_them_brings_them_closer() -> None:
    model = small(1)
    train(model, stripes(), None, CLASSIFICATION, optimisation(), PLAIN, 0, progress=False)
    shown = stripes(seed=3)
    x = shown.normalised(shown.images)
    wanted, off = last_features(model, x), {}
    for weight in (0.0, 4.0):
        student = small(2)
        own = teacher(model, shown, "float32", "cpu", features=True)
        given = {"teacher": own, "features": weight, "channels": torch.arange(wanted.shape[1]), "progress": False}
        train(student, stripes(), None, CLASSIFICATION, optimisation(epochs=6), PLAIN, 0, **given)
        off[weight] = float(distance(last_features(student, x), wanted))
    assert off[4.0] < off[0.0] / 2

"""The features that a pruned network shares with the unpruned one, and training towards them."""

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning_networks import ODD, OURS, images, network, space, widths_of
from test_training import CLASSIFICATION, PLAIN, optimisation, stripes
from test_training import network as small
from torch import Tensor, nn

from hamp.pruning import Space, discover, masked, prune
from hamp.pruning.slicing import kept_positions
from hamp.training.features import distance, last_channels, last_features
from hamp.training.loop import train
from hamp.training.tasks import Task
from hamp.training.teaching import teacher


def matched(model: nn.Module, found: Space, widths: Sequence[int], x: Tensor) -> tuple[nn.Module, Tensor | None]:
    """The pruned network, and which of the last features' channels it has."""
    pruned, silenced = prune(model, found, widths), masked(model, found, widths)
    return pruned, last_channels(model, pruned, silenced, kept_positions(1, model, found, widths), x)


@pytest.mark.parametrize("name", [*ODD, *OURS])
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_they_are_those_of_the_silenced_network_at_the_channels_that_stay(name: str, data) -> None:
    model, found, x = network(name), space(name), images(name)
    widths = data.draw(widths_of(found))
    pruned, channels = matched(model, found, widths, x)
    if channels is None:
        assert name == "Parameters"  # whose channels come last
    else:
        features, silenced = (last_features(one.eval(), x) for one in (pruned, masked(model, found, widths)))
        assert torch.allclose(features, silenced[:, channels], rtol=1e-9, atol=1e-9)


class Headed(nn.Module):
    """Two convolutions, and a classifier after what `head` makes of their features."""

    def __init__(self, head: Callable[[nn.Module, Tensor], Tensor], inputs: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.linear = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(inputs, 2)
        self.five, self.head = nn.Conv2d(8, 8, 4), head

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.head(self, self.two(self.one(x).relu()).relu()))


def concatenated(_: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)


def dropped(net: nn.Module, x: Tensor, inplace: bool = False) -> Tensor:
    return F.dropout2d(x + 0, 0.5, net.training, inplace).flatten(1)


def supervised(net: nn.Module, x: Tensor) -> Tensor:
    made = x.mean((2, 3))
    if net.training:
        x[:, :, :2].mean((2, 3))
    return made


HEADS = {
    "by keyword": (lambda _, x: torch.mean(input=x, dim=(2, 3)), 8, True),
    "one of two": (lambda _, x: x.flatten(2).max(2)[0], 8, True),
    "flattened": (lambda _, x: x.flatten(1), 8 * 16, True),
    "dropped": (dropped, 8 * 16, True),
    "dropped in place": (lambda net, x: dropped(net, x, True), 8 * 16, False),
    "in another order": (lambda _, x: x.permute(0, 2, 3, 1).flatten(1), 8 * 16, False),
    "concatenated": (concatenated, 16, False),
    "others in training": (supervised, 8, False),
    "by a convolution alone": (lambda net, x: net.five(x)[:, :, 0, 0], 8, False),
}


@pytest.mark.parametrize("name", HEADS)
def test_what_lies_between_features_and_classifier(name: str) -> None:
    """Features are matched where that is safe, and are then those that are compared in training."""
    head, inputs, safe = HEADS[name]
    model, x = Headed(head, inputs), torch.rand(2, 3, 8, 8)
    found = discover(model, x, keep_first=False)
    pruned, channels = matched(model, found, found.repair(found.channels // 2), x)
    assert (channels is not None) == safe
    if safe:
        torch.manual_seed(1)
        assert torch.equal(last_features(pruned.train(), x), last_features(pruned.eval(), x))
        assert len(channels) == 4


def test_a_network_without_features_before_a_classifier_has_none() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
    x = torch.rand(2, 3, 8, 8)
    assert last_features(model, x) is None
    assert matched(model, discover(model, x, keep_first=False), [4], x)[1] is None


def test_a_teacher_that_would_teach_other_features_teaches_none(
    capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    """Made ready for inference, a network may run its layers in another order."""
    given, inputs = stripes(), stripes().normalised(stripes().images[:16])
    assert teacher(small(), given, "float32", "cpu", features=True).lesson((0, 0), inputs).features is not None
    monkeypatch.setattr("hamp.training.teaching.lower", lambda *_: [small(1)])
    assert teacher(small(), given, "float32", "cpu", features=True).lesson((0, 0), inputs).features is None
    assert "features are not taught" in capsys.readouterr().err


def test_outputs_are_not_compared_where_features_alone_are_taught() -> None:
    def never(*_: object) -> Tensor:
        raise AssertionError

    own = teacher(small(1), stripes(), "float32", "cpu", features=True)
    alone = Task("classification", CLASSIFICATION.loss, CLASSIFICATION.error, never)
    given = {"teacher": own, "features": 1.0, "channels": torch.arange(8), "progress": False}
    train(small(), stripes(), None, alone, optimisation(epochs=1), PLAIN, 0, **given)


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

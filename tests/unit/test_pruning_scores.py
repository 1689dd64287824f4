"""Scores of channels: known answers on weights of a few numbers, and what holds of all methods."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning_networks import images, network, space
from torch import nn

from hamp.errors import UserError
from hamp.pruning import discover, score, scores_from_table, scores_to_table
from hamp.pruning.importance import METHODS


def pair(*middle: nn.Module, outputs: int = 1) -> nn.Sequential:
    """A group of three channels: a 1x1 convolution from two channels, `middle`, and one to `outputs`."""
    return nn.Sequential(nn.Conv2d(2, 3, 1, bias=False), *middle, nn.Conv2d(3, outputs, 1, bias=False))


def with_weights(model: nn.Sequential, first: list[list[float]], last: list[list[float]]) -> nn.Sequential:
    with torch.no_grad():
        for layer, values in ((model[0], first), (model[-1], last)):
            layer.weight.copy_(torch.tensor(values).reshape(layer.weight.shape))
    return model


def space_of(model: nn.Module, **settings):
    return discover(model, torch.zeros(2, 2, 4, 4), keep_first=False, **settings)


FIRST, LAST = [[3.0, -4.0], [0.0, 1.0], [5.0, 12.0]], [[1.0, -2.0, 6.0]]


@pytest.mark.parametrize(
    ("method", "first", "last"),
    [
        ("l1", [7, 1, 17], [1, 2, 6]),
        ("l2", [5, 1, 13], [1, 2, 6]),
    ],
)
def test_norms_are_averaged_over_the_layers_each_with_mean_one(method, first, last):
    model = with_weights(pair(), FIRST, LAST)
    expected = np.mean([first / np.mean(first), last / np.mean(last)], axis=0)
    assert score(model, space_of(model), method)[0] == pytest.approx(expected)


def test_fpgm_is_the_distance_to_the_other_filters_of_the_layer():
    model = with_weights(pair(), [[0.0, 0.0], [3.0, 4.0], [0.0, 8.0]], LAST)
    distances = np.array([5 + 8, 5 + 5, 8 + 5])
    assert score(model, space_of(model), "fpgm")[0] == pytest.approx(distances / distances.mean(), rel=1e-5)


def test_bn_scale_is_the_magnitude_of_its_weight():
    model = pair(nn.BatchNorm2d(3))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([0.5, -2.0, 1.0]))
    assert score(model, space_of(model), "bn_scale")[0] == pytest.approx(np.array([0.5, 2.0, 1.0]) / 3.5 * 3)


def test_without_batch_norm_bn_scale_is_l1():
    model = with_weights(pair(), FIRST, LAST)
    assert score(model, space_of(model), "bn_scale")[0] == pytest.approx(score(model, space_of(model), "l1")[0])


def test_taylor_is_the_squared_change_of_the_loss_by_autograd():
    """A gate of 1 on every channel has, as its gradient, the sum of weights times their gradients."""
    torch.manual_seed(0)
    model = pair(nn.ReLU(), outputs=2).double()
    batches = [(torch.randn(4, 2, 5, 5).double(), torch.randn(4, 2, 5, 5).double()) for _ in range(3)]
    parts = []
    for position in (0, 1):  # on what the first layer makes, and on what the second reads; ReLU lets both pass
        total = np.zeros(3)
        for x, y in batches:
            gate = torch.ones(1, 3, 1, 1, dtype=torch.float64, requires_grad=True)
            x = model[0](x)
            x = model[2](model[1](x * gate) if position == 0 else model[1](x) * gate)
            total += torch.autograd.grad(nn.functional.mse_loss(x, y), gate)[0].flatten().square().numpy()
        parts.append(total / total.mean())
    found = score(model, space_of(model), "taylor", batches, nn.functional.mse_loss)[0]
    assert found == pytest.approx(np.mean(parts, axis=0))
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_all_methods_score_every_channel_of_every_group(method):
    model, of = network("resnet20"), space("resnet20")
    batches = [(images("resnet20", seed=k), torch.tensor([0, 1, 2])) for k in range(2)]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    scores, again = (score(model, of, method, batches, seed=3) for _ in range(2))
    assert [len(s) for s in scores] == of.channels.tolist()
    assert all(s.dtype == np.float64 and np.isfinite(s).all() and (s >= 0).all() for s in scores)
    assert all(np.array_equal(a, b) for a, b in zip(scores, again, strict=True))
    if method != "random":
        assert all(s.mean() == pytest.approx(1) for s in scores)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_random_scores_depend_on_the_seed_alone():
    of = space("resnet20")
    one, same, other = (score(network("resnet20"), of, "random", seed=s) for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert all(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("method", ["l1", "l2", "fpgm", "random"])
def test_channels_that_only_go_together_share_a_score(method):
    model = nn.Sequential(nn.Conv2d(2, 12, 1), nn.Conv2d(12, 24, 3, padding=1, groups=4), nn.Conv2d(24, 2, 1))
    of = space_of(model)
    units = score(model, of, method)[0].reshape(4, 3)
    assert (units == units[:, :1]).all()
    assert len(np.unique(units)) == 4


@settings(max_examples=20)
@given(factor=st.floats(0.01, 100), method=st.sampled_from(["l1", "l2", "fpgm"]))
def test_the_scale_of_a_layer_does_not_matter(factor, method):
    torch.manual_seed(0)
    model, scaled = pair(), pair()
    with_weights(scaled, (factor * model[0].weight).tolist(), model[1].weight.tolist())
    of = space_of(model)
    assert score(scaled, of, method)[0] == pytest.approx(score(model, of, method)[0], rel=1e-4)


def test_the_table_holds_all_scores_in_any_order_of_rows():
    scores = score(network("resnet20"), space("resnet20"), "random", seed=5)
    table = scores_to_table(scores)
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    for again in (scores_from_table(table), scores_from_table(shuffled)):
        assert all(np.array_equal(a, b) for a, b in zip(scores, again, strict=True))


@pytest.mark.parametrize(
    ("method", "batches", "message"),
    [
        ("l3", None, r"scoring method `l3` is unknown; choose one of l1, l2, bn_scale, fpgm, taylor, random"),
        ("taylor", None, r"scoring by taylor needs batches of training data"),
        ("taylor", [], r"scoring by taylor needs batches of training data; there were none"),
    ],
)
def test_what_cannot_be_scored_is_refused(method, batches, message):
    with pytest.raises(UserError, match=message):
        score(network("resnet20"), space("resnet20"), method, batches)

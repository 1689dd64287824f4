"""A pruned network computes what the full one does with the removed channels silenced."""

import copy

import numpy as np
import pytest
import torch
from benchmarks.coverage import difference
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning_networks import ODD, OURS, allowed, images, network, space, widths_of
from torch import nn

from hamp.errors import UserError
from hamp.pruning import discover, masked, prune, score
from hamp.pruning.program import Program

TOLERANCE = 1e-9
NAMES = [*ODD, "resnet20", *(pytest.param(n, marks=pytest.mark.slow) for n in OURS if n != "resnet20")]
DRAWS = settings(max_examples=4)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", NAMES)
@settings(DRAWS)
@given(data=st.data())
def test_equals_the_silenced_network_before_and_after_a_step_of_training(name, training, data):
    widths = data.draw(widths_of(space(name)))
    assert difference(network(name), space(name), widths, images(name), training=training) <= TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_equals_it_at_the_smallest_widths_and_without_any_branch(name):
    found = space(name)
    for at in (0, -1):
        widths = np.array([allowed(found, g)[at] for g in range(found.groups)])
        assert difference(network(name), found, widths, images(name), training=False) <= TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_full_widths_give_the_network_itself(name):
    model, x = network(name), images(name)
    again = prune(model, space(name), space(name).channels)
    expected, found = (torch.utils._pytree.tree_leaves(n.eval()(x)) for n in (model, again))
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("name", ["Padded", "Twice", "Nested", "resnet20"])
def test_the_given_network_is_left_alone(name):
    model = copy.deepcopy(network(name)).train()
    before = copy.deepcopy(model.state_dict())
    found = discover(model, images(name), branch_removal=True)
    smallest = np.array([allowed(found, g)[0] for g in range(found.groups)])
    made = [make(model, found, smallest) for make in (prune, masked)]
    for candidate in made:
        candidate(images(name)).sum().backward()
        with torch.no_grad():
            for tensor in (*candidate.parameters(), *candidate.buffers()):
                tensor.zero_()
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@settings(max_examples=20)
@given(data=st.data())
def test_the_best_channels_stay_in_their_order(data):
    model = nn.Sequential(nn.Conv2d(3, 9, 3), nn.BatchNorm2d(9), nn.ReLU(), nn.Conv2d(9, 4, 3, bias=False))
    found = discover(model, torch.zeros(1, 3, 8, 8), keep_first=False)
    scores = [np.array(data.draw(st.permutations(range(9))), dtype=float)]
    width = data.draw(st.integers(1, 9))
    small = prune(model, found, [width], scores)
    stay = np.sort(np.argsort(-scores[0])[:width])
    for key in ("0.weight", "0.bias", "1.weight", "1.running_mean"):
        assert torch.equal(small.state_dict()[key], model.state_dict()[key][stay])
    assert torch.equal(small[3].weight, model[3].weight[:, stay])
    assert (small[0].out_channels, small[1].num_features, small[3].in_channels) == (width, width, width)


def test_of_equal_scores_the_first_channels_stay():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3))
    found = discover(model, torch.zeros(1, 3, 8, 8), keep_first=False)
    small = prune(model, found, [4], [np.ones(6)])
    assert torch.equal(small[0].weight, model[0].weight[:4])


def test_without_scores_the_channels_go_by_their_l1_norm():
    model, found = network("resnet20"), space("resnet20")
    widths = np.array([allowed(found, g)[1] for g in range(found.groups)])
    ours, given_scores = (prune(model, found, widths, s).state_dict() for s in (None, score(model, found, "l1")))
    assert all(torch.equal(ours[key], given_scores[key]) for key in given_scores)


class Removable(nn.Module):
    """A residual branch whose constant can be worked out by hand, and a second way on."""

    def __init__(self):
        super().__init__()
        self.stem, self.into, self.out = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.last(x + self.norm(self.out(self.into(x).relu())))


def test_a_removed_branch_is_the_constant_that_it_would_be():
    torch.manual_seed(0)
    model = Removable().double().eval()
    for tensor in (model.norm.running_mean, model.norm.running_var, model.norm.weight, model.norm.bias):
        nn.init.uniform_(tensor, 0.5, 1.5)
    found = discover(model, torch.zeros(1, 3, 5, 5, dtype=torch.float64), branch_removal=True)
    assert found.names == ("into",)
    assert found.branch.all()
    small = prune(model, found, [0])
    assert not hasattr(small, "into")
    assert sum(p.numel() for p in small.parameters()) == found.costs([0])["parameters"][0]
    n = model.norm
    constant = (model.out.bias - n.running_mean) / (n.running_var + n.eps).sqrt() * n.weight + n.bias
    x = torch.rand(2, 3, 5, 5, dtype=torch.float64)
    expected = model.last(model.stem(x) + constant.reshape(1, -1, 1, 1))
    assert torch.allclose(small(x), expected, rtol=1e-12)


def test_a_removed_branch_trains_on_a_single_image():
    model, found = network("resnet20"), space("resnet20")
    widths = np.where(found.branch, 0, found.channels)
    small = prune(model, found, widths).train()
    assert torch.isfinite(small(images("resnet20", 1))).all()


@pytest.mark.parametrize("name", ["Padded", "Twice", "DualPath", "Shuffled", "resnet20"])
def test_recorded_code_holds_no_tensor_longer_than_the_network_would(name):
    from hamp.hardware.memory import _counted

    model, x = network(name).eval(), images(name)
    again = prune(model, space(name), space(name).channels).eval()
    assert any(isinstance(module, Program) for module in again.modules())
    with torch.no_grad():
        assert _counted(again, x) <= _counted(model, x)


@pytest.mark.parametrize("name", ["Padded", "resnet20"])
def test_nothing_outlives_a_pruned_network(name):
    """Memory is given back at once, not when Python next looks for reference cycles."""
    import gc
    import weakref

    model, found = network(name), space(name)
    gc.collect()
    gc.disable()
    try:
        small = prune(model, found, found.channels)
        small(images(name)).sum().backward()
        alive = [weakref.ref(tensor) for tensor in small.parameters()]
        del small
        assert all(ref() is None for ref in alive)
    finally:
        gc.enable()


@pytest.mark.parametrize("make", [prune, masked])
def test_scores_and_networks_that_do_not_fit_are_refused(make):
    model, found = network("resnet20"), space("resnet20")
    some = np.where(found.branch, found.minimum, found.channels)
    good = score(model, found)
    with pytest.raises(UserError, match=r"scores for 1 groups; this space has 11"):
        make(model, found, some, good[:1])
    with pytest.raises(UserError, match=r"scores of group 0 \(layer1.0.conv1\) have shape \(3,\); it has 16 channels"):
        make(model, found, some, [good[0][:3], *good[1:]])
    with pytest.raises(UserError, match="one network has one integer for each of 11 groups"):
        make(model, found, [some, some])


def test_a_network_that_is_not_that_of_the_space_is_refused():
    found = space("resnet20")
    for use in (lambda model: prune(model, found, found.minimum), lambda model: score(model, found)):
        with pytest.raises(UserError, match=r"the network has no conv1.weight|which the space cuts"):
            use(network("vgg16_bn_small"))
        with pytest.raises(UserError, match=r"layer1.0.conv1.weight of the network has shape \(1, 16, 3, 3\)"):
            use(prune(network("resnet20"), found, np.where(found.stages == 0, found.minimum, found.channels)))

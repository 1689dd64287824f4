"""Weights of pruned networks fitted to what the layers gave before pruning."""

from copy import deepcopy

import numpy as np
import pruning_networks
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hamp.configuration.blocks import Network
from hamp.errors import Diverged
from hamp.models.build import build
from hamp.pruning.discovery import discover
from hamp.pruning.slicing import kept_positions, prune
from hamp.pruning.space import Space
from hamp.training import refitting
from hamp.training.recalibration import recalibrate
from hamp.training.refitting import observe, refit


def pictures(count: int, seed: int, channels: int = 3, size: int = 12) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def cut(model: nn.Module, space: Space, widths: np.ndarray, images: Tensor, fitted: bool = True) -> nn.Module:
    """The pruned network with BatchNorm statistics of the images, fitted to them or not."""
    network = prune(model, space, widths).eval()
    if fitted:
        refit(network, kept_positions(0, model, space, widths), observe(model, images, 0))
    else:
        recalibrate(network, [images])
    return network


def off(network: nn.Module, model: nn.Module, images: Tensor) -> float:
    with torch.no_grad():
        return float((network(images) - model(images)).square().mean())


@pytest.fixture(scope="module")
def residual() -> tuple[nn.Module, Space]:
    """A residual network with statistics of its own, and its space."""
    torch.manual_seed(0)
    model = build(Network(name="resnet_small"), 5, 3).eval()
    recalibrate(model, [pictures(64, 0)])
    return model, discover(model, torch.zeros(2, 3, 12, 12), branch_removal=True)


def test_the_unpruned_network_computes_what_it_did(residual) -> None:
    model, space = residual
    images = pictures(64, 0)
    network = cut(model, space, np.array(space.channels), images)
    with torch.no_grad():
        assert off(network, model, images) < 1e-3 * float(model(images).var(dim=0).mean())


@pytest.mark.parametrize("gone", [False, True], ids=["channels", "branches"])
def test_what_stays_makes_up_for_what_goes(residual, gone: bool) -> None:
    """On images that it was not fitted on."""
    model, space = residual
    widths = np.array(space.channels) // 2 if not gone else np.where(space.branch, 0, space.channels)
    widths = space.repair(widths)
    images, unseen = pictures(256, 1), pictures(64, 2)
    before, after = (off(cut(model, space, widths, images, fitted), model, unseen) for fitted in (False, True))
    assert after < 0.7 * before


def test_the_statistics_are_those_of_the_fitted_network(residual) -> None:
    model, space = residual
    images = pictures(64, 1)
    network = cut(model, space, space.repair(np.array(space.channels) // 2), images)
    found = {name: value.clone() for name, value in network.named_buffers()}
    assert not any(module.training for module in network.modules())
    recalibrate(network, [images])
    for name, value in network.named_buffers():
        assert torch.allclose(value.float(), found[name].float(), atol=1e-4), name


def test_channels_that_say_nothing_new_are_not_missed(monkeypatch) -> None:
    """Half of the channels are the other half scaled: without a ridge the outputs are as before."""
    monkeypatch.setattr(refitting, "RIDGE", 1e-6)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.Flatten(), nn.Linear(6 * 64, 4)).eval()
    with torch.no_grad():
        model[0].weight[4:], model[0].bias[4:] = 0.3 * model[0].weight[:4], 0.3 * model[0].bias[:4]
    space = discover(model, torch.zeros(2, 3, 12, 12), keep_first=False, exclude=["2"])
    network = cut(model, space, np.array([4]), pictures(64, 0))
    assert off(network, model, pictures(64, 1)) < 1e-6 < off(prune(model, space, [4]), model, pictures(64, 1))


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    dilation=st.integers(1, 2),
    padding=st.sampled_from([0, 1, (1, 0), "valid", "same"]),
    mode=st.sampled_from(["zeros", "reflect", "circular"]),
    bias=st.booleans(),
    places=st.sampled_from([7, 4096]),
)
def test_a_layer_is_fitted_by_ridge_regression(kernel, stride, dilation, padding, mode, bias, places) -> None:
    """Against the textbook's formula, on patches that `unfold` finds."""
    stride = 1 if padding == "same" else stride
    torch.manual_seed(0)
    options = {"stride": stride, "dilation": dilation, "padding": padding, "padding_mode": mode, "bias": bias}
    layer, wanted = (nn.Conv2d(2, 3, kernel, **options) for _ in range(2))
    images = pictures(3, 0, channels=2, size=7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refitting, "PLACES", places)
        observed = observe(nn.Sequential(wanted), images, seed=1)
    start = layer.weight.detach().flatten(1).double()
    refit(nn.Sequential(layer), {}, observed)

    padded = nn.functional.pad(
        images, layer._reversed_padding_repeated_twice, mode="constant" if mode == "zeros" else mode
    )
    patches = nn.functional.unfold(padded, kernel, dilation, 0, stride).movedim(1, -1)
    image, row, column = observed.layers["0"].places
    with torch.no_grad():
        outputs = wanted(images)
    x = patches[image, row * outputs.shape[3] + column].double()
    y = outputs.movedim(1, -1)[image, row, column].double()
    assert len(x) == min(places, outputs[:, 0].numel())
    if bias:
        x, y = x - x.mean(0), y - y.mean(0)
    system = x.T @ x
    system += refitting.RIDGE * system.diagonal().mean() * torch.eye(len(system))
    found = start + torch.linalg.solve(system, x.T @ (y - x @ start.T)).T
    assert torch.allclose(layer.weight.detach().flatten(1).double(), found, atol=1e-3)


def test_layers_that_run_twice_and_grouped_ones_stay_as_they_were_cut() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again, self.grouped = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, groups=4)
            self.one, self.two = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
            self.two.weight = self.one.weight
            self.tokens, self.own, self.vector = nn.Linear(4, 2), Own(2, 2), nn.Linear(2, 2)
            self.given = nn.Parameter(torch.ones(2))

        def forward(self, x: Tensor) -> Tensor:
            x = self.two(self.one(self.grouped(self.again(self.again(self.first(x))))))
            return self.own(self.tokens(x.permute(0, 2, 3, 1))) + self.vector(self.given)

    class Own(nn.Linear):
        pass

    assert set(observe(Twice(), pictures(8, 0), 0).layers) == {"first", "tokens"}


@pytest.mark.parametrize("name", [*pruning_networks.ODD, "resnet20"])
@settings(max_examples=2, deadline=None)
@given(data=st.data())
def test_any_network_can_be_fitted(name: str, data) -> None:
    """All kinds that can be pruned."""
    model, space = deepcopy(pruning_networks.network(name)).float().eval(), pruning_networks.space(name)
    widths = data.draw(pruning_networks.widths_of(space))
    images = pruning_networks.images(name, 32).float()
    network = prune(model, space, widths)
    refit(network, kept_positions(0, model, space, widths), observe(model, images, 0))
    with torch.no_grad():
        found = torch.utils._pytree.tree_leaves(network(images))
    assert all(output.isfinite().all() for output in found)


def test_a_constant_counts_where_no_batch_norm_follows() -> None:
    """Half of the inputs of a layer without bias go; those that stay have to make up for their mean too."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4, bias=False), nn.BatchNorm1d(4)).eval()
    bare = model[:3]
    images = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    assert [observe(net, images, 0).layers["2"].normalised for net in (model, bare)] == [True, False]
    space = discover(bare, torch.zeros(2, 3), keep_first=False)
    observed, missed = observe(bare, images, 0), {}
    for normalised in (False, True):
        layers = {path: sample._replace(normalised=normalised) for path, sample in observed.layers.items()}
        network = prune(bare, space, [4])
        refit(network, kept_positions(0, bare, space, [4]), observed._replace(layers=layers))
        missed[normalised] = off(network, bare, images)
    assert missed[False] < missed[True]


def test_padding_that_was_changed_afterwards_counts() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    model[0].dilation, model[0].padding = (2, 2), (2, 2)
    before = model[0].weight.detach().clone()
    refit(model, {}, observe(deepcopy(model), pictures(8, 0), 0))
    assert torch.allclose(model[0].weight, before, atol=1e-4)


def test_layers_that_are_given_nothing_stay_as_they_were_cut() -> None:
    """All inputs equal: no weight can be told from another."""
    model = nn.Sequential(nn.Linear(3, 2))
    before = model[0].weight.detach().clone()
    refit(model, {}, observe(nn.Sequential(nn.Linear(3, 2)), torch.zeros(5, 3), 0))
    assert torch.equal(model[0].weight, before)


def test_weights_are_found_in_float32_where_features_are_bfloat16(residual) -> None:
    model, space = residual
    widths, images = space.repair(np.array(space.channels) // 2), pictures(64, 1)
    kept = kept_positions(0, model, space, widths)
    found = [prune(model, space, widths) for _ in range(2)]
    for network, precision in zip(found, ("float32", "bfloat16"), strict=True):
        refit(network, kept, observe(model, images, 0, precision), precision)
    fitted, rounded = (network.layer1[0].conv1.weight for network in found)
    moved = (fitted - prune(model, space, widths).layer1[0].conv1.weight).norm()
    assert (fitted - rounded).norm() < 0.1 * moved


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_told_of(value: float) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))
    observed = observe(model, pictures(8, 0), 0)
    with pytest.raises(Diverged, match=r"^layer '0': no finite weights fit what it is given"):
        refit(model, {}, observed._replace(images=observed.images * value))

"""Weights of pruned networks fitted to what the layers gave before pruning."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hamp.configuration.blocks import Network
from hamp.models.build import build
from hamp.pruning.discovery import discover
from hamp.pruning.slicing import kept_outputs, prune
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
        refit(network, kept_outputs(model, space, widths), observe(model, images, 0))
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
    refitting_places, refitting.PLACES = refitting.PLACES, places
    try:
        observed = observe(nn.Sequential(wanted), images, seed=1)
    finally:
        refitting.PLACES = refitting_places
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
            self.tokens = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.tokens(self.grouped(self.again(self.again(self.first(x)))).permute(0, 2, 3, 1))

    assert set(observe(Twice(), pictures(8, 0), 0).layers) == {"first", "tokens"}


def test_layers_that_are_given_nothing_stay_as_they_were_cut() -> None:
    """All inputs equal: no weight can be told from another."""
    model = nn.Sequential(nn.Linear(3, 2))
    before = model[0].weight.detach().clone()
    refit(model, {}, observe(nn.Sequential(nn.Linear(3, 2)), torch.zeros(5, 3), 0))
    assert torch.equal(model[0].weight, before)

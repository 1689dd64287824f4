"""Networks made ready for fast inference compute the same."""

import copy
import math
import warnings
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamp.configuration import blocks
from hamp.models.build import build
from hamp.pruning.discovery import discover
from hamp.pruning.slicing import prune
from hamp.training.lowering import FusedConvolution, lower

torch.set_num_threads(1)


def lively(model: nn.Module) -> nn.Module:
    """The model in evaluation mode, with BatchNorm statistics and weights as after a training."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            if module.track_running_stats:
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return model.eval()


def network(name: str) -> nn.Module:
    return lively(build(blocks.Network(name=name), 10, 3))


def difference(one: Tensor, two: Tensor) -> float:
    return float((one - two).abs().max() / one.abs().max())


def check(model: nn.Module, size: int = 32, tolerance: float = 1e-5) -> nn.Module:
    """Lower the model; outputs agree, and the model is left as it was."""
    x = torch.randn(3, 3, size, size).to(memory_format=torch.channels_last)
    before = copy.deepcopy(model.state_dict())
    with torch.inference_mode():
        expected = model(x)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lowered, rounded = lower(model, x[:1], torch.float32, torch.bfloat16)
        assert difference(expected, lowered(x)) < tolerance
        assert difference(expected, rounded(x)) < 0.1
        assert torch.equal(expected, model(x))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    return lowered


@pytest.mark.parametrize(
    "name",
    [
        "resnet_small",
        "resnet20",
        "mobilenet_v1_small",
        "torchvision:mobilenet_v2",
        "torchvision:mobilenet_v3_small",
        "torchvision:resnet18",
        "torchvision:googlenet",
        "torchvision:shufflenet_v2_x0_5",
    ],
)
def test_networks_compute_the_same(name: str) -> None:
    lowered = check(network(name))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in lowered.modules())


def test_densenet_keeps_the_norms_that_come_first() -> None:
    lowered = check(network("torchvision:densenet121"))
    assert 0 < sum(isinstance(module, nn.BatchNorm2d) for module in lowered.modules()) < 121


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of PyTorch is without oneDNN")
def test_additions_and_activations_are_computed_inside() -> None:
    lowered = check(network("resnet20"))
    kinds = Counter(type(module) for module in lowered.modules())
    assert kinds[FusedConvolution] == 19
    functions = [node for node in lowered.network.graph.nodes if node.op in ("call_function", "call_method")]
    assert len(functions) == 6, "two shortcuts of two steps, pooling and flattening"


@pytest.mark.parametrize("name", ["resnet_small", "resnet20"])
def test_pruned_networks_compute_the_same(name: str) -> None:
    model = network(name)
    space = discover(model, torch.zeros(2, 3, 32, 32))
    lowered = check(prune(model, space, [max(1, width * 5 // 8) for width in space.channels]))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in lowered.modules())


class Odd(nn.Module):
    """What must not be folded or fused."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(3, 3, 3, padding=1)
        self.norm, self.other = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.reflecting = nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")
        self.same = nn.Conv2d(3, 3, 3, padding="same")
        self.pooled = nn.Conv2d(3, 3, 1)
        self.stateless = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.shared(x)) + self.other(self.shared(x))
        used_twice = self.reflecting(x)
        x = self.relu(used_twice) + used_twice
        x = self.same(x) + self.same(x)
        x = self.stateless(x)
        # A sum that is broadcast.
        return x + self.pooled(x.mean((2, 3), keepdim=True))


def test_what_cannot_be_fused_is_left() -> None:
    check(lively(Odd()))


class Branching(nn.Module):
    """A block whose path depends on values."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if float(x.mean()) > 1e9 else x + 1


def test_a_block_that_cannot_be_traced_is_one_step() -> None:
    def convolution() -> list[nn.Module]:
        return [nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU()]

    lowered = check(lively(nn.Sequential(*convolution(), Branching(), *convolution())))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in lowered.modules())


class NormAndActivation(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x))


class SamePadding(nn.Conv2d):
    """Pads by what the size of the images asks for."""

    def forward(self, x: Tensor) -> Tensor:
        pad = max(self.kernel_size[0] - math.ceil(x.shape[-1] / x.shape[-1]), 0)
        return super().forward(F.pad(x, (pad // 2, pad - pad // 2) * 2))


def doubled(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda module, inputs, output: 2 * output)
    return module


class Written(nn.Module):
    """Writes into features and reads them afterwards."""

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0
        x.relu_()
        y = x
        x += 1
        return x * y


def convolution() -> nn.Module:
    return nn.Conv2d(3, 3, 3, padding=1)


@pytest.mark.parametrize(
    "layers",
    [
        [convolution(), NormAndActivation(3), convolution()],
        [SamePadding(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU()],
        [doubled(convolution()), nn.BatchNorm2d(3), nn.ReLU()],
        [convolution(), doubled(nn.BatchNorm2d(3)), nn.ReLU()],
        [convolution(), Written(), convolution()],
    ],
    ids=["own BatchNorm", "own convolution", "hook of a convolution", "hook of a BatchNorm", "in place"],
)
@pytest.mark.filterwarnings("ignore:the network is evaluated as it is")
def test_modules_that_do_more_than_their_class_keep_doing_it(layers: list[nn.Module]) -> None:
    model, x = lively(nn.Sequential(*layers)), torch.randn(3, 3, 8, 8).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = model(x)
        lowered, rounded = lower(model, x[:1], torch.float32, torch.bfloat16)
        assert difference(expected, lowered(x)) < 1e-5
        assert difference(expected, rounded(x)) < 0.1
        assert torch.equal(expected, model(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_network_that_cannot_be_traced_is_told(dtype: torch.dtype) -> None:
    model, x = Branching().eval(), torch.randn(2, 3, 4, 4)
    with pytest.warns(UserWarning, match="cannot be traced"):
        (lowered,) = lower(model, x[:1], dtype)
    assert torch.equal(lowered(x), model(x))

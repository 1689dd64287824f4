"""Networks whose code does what channels alone do not tell: pruned exactly, or refused with a reason."""

import copy
import math
import random
import threading
from collections import namedtuple
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmarks.coverage import difference, randomise
from torch import Tensor, nn

from hamp.errors import UserError
from hamp.pruning import Space, discover, prune
from hamp.pruning.program import Program

TOLERANCE = 1e-9


def conv(into: int, out: int, **more: Any) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, padding=1, **more)


class Body(nn.Module):
    """Between two convolutions, what is to be tried: `a` of 12 and `b` of 16 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = conv(3, 8), conv(8, 12), conv(12, 16)
        self.to_b, self.last, self.back, self.head = conv(12, 16), conv(16, 12), conv(12, 8), conv(8, 5)
        self.second, self.norm, self.inner = conv(8, 12), nn.BatchNorm2d(8), conv(12, 12)

    def forward(self, x: Tensor) -> Any:
        x = F.relu(self.stem(x))
        return self.head(self.body(x)).mean((2, 3))

    def body(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Compared(Body):
    """A projection only where numbers of channels differ, as in many a ResNet for CIFAR."""

    def body(self, x):
        y = self.a(x)
        z = self.b(F.relu(y))
        if y.shape[1] != z.shape[1]:
            y = self.to_b(y)
        return self.back(self.last(F.relu(y + z)))


class Scaled(Body):
    """By the square root of a number of channels."""

    def body(self, x):
        y = F.relu(self.a(x))
        return self.back(y / math.sqrt(y.shape[1]))


class Added(Body):
    def body(self, x):
        y = F.relu(self.a(x))
        return self.back(y + y.size(1))


class Decided(Body):
    def body(self, x):
        y = self.a(x)
        return self.back(F.relu(y) if y.shape[1] > 8 else y)


class Folded(Body):
    """Channels as images of their own."""

    def body(self, x):
        y = self.a(x)
        n, c, h, w = y.shape
        y = F.avg_pool2d(y.view(n * c, 1, h, w), 3, 1, 1).view(n, c, h, w)
        return self.back(F.relu(y))


class Written(Body):
    """A constant that is no longer one number."""

    def body(self, x):
        y = F.relu(self.a(x))
        z = torch.zeros(1, 12, 1, 1, dtype=y.dtype)
        z[:, 6:] = 1.0
        return self.back(y * z)


class TwoBranches(Body):
    """A sum of which both addends might go."""

    def body(self, x):
        return F.relu(self.back(F.relu(self.a(x))) + self.norm(self.back(F.relu(self.second(x)))))


class Pooled(Body):
    """A branch beside an addend of one pixel."""

    def body(self, x):
        return self.norm(self.back(F.relu(self.a(x)))) + F.adaptive_avg_pool2d(x, 1)


class NormAndActivation(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x))


class OwnNorm(Body):
    """A branch that ends in a BatchNorm which does more than that."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = NormAndActivation(8)

    def body(self, x):
        return x + self.norm(self.back(F.relu(self.a(x))))


class OwnLayer(Body):
    """A branch that ends in a convolution which does more than that."""

    class Convolution(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(super().forward(x))

    def __init__(self) -> None:
        super().__init__()
        self.back = self.Convolution(12, 8, 3, padding=1)

    def body(self, x):
        return x + self.back(F.relu(self.a(x)))


class LayerNormOfImages(Body):
    """Normalised over channels and pixels, and with weights of other names."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = nn.LayerNorm([12, 8, 8])
        self.gain, self.shift = nn.Parameter(torch.randn(12)), nn.Parameter(torch.randn(12))

    def body(self, x):
        y = F.relu(self.whole(self.a(x))).permute(0, 2, 3, 1)
        y = F.layer_norm(y, (y.shape[-1],), self.gain, self.shift).permute(0, 3, 1, 2)
        return self.back(y)


class NumPys(Body):
    """Arguments by the names that NumPy has for them, and inputs by name."""

    def body(self, x):
        y = F.conv2d(input=x, weight=self.a.weight, bias=self.a.bias, padding=1)
        z = torch.cat([y, self.second(x)], axis=1)
        z = z - torch.mean(input=z, dim=(2, 3), keepdim=True)
        z = z / (z.var((2, 3), False, True) + 1e-3).sqrt()
        return self.back(z[:, :12].type_as(self.stem.weight) + z[:, 12:])


class Kind(Enum):
    PLAIN = 0


class Told(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = conv(12, 12)

    def forward(self, x: Tensor, kind: Kind) -> Tensor:
        n, c, h, w = x.shape
        return self.layer(x).view(n, 2, c // 2, h, w).flatten(1, 2) if kind is Kind.PLAIN else x


class Enumerated(Body):
    """A module that is given what cannot be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Told()

    def body(self, x):
        return self.back(self.inner(self.a(x), Kind.PLAIN))


class ComparedBesideAWideLayer(Compared):
    """Its smallest width is more than the others have: at it, they would not be compared."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(conv(8, 2000), nn.Conv2d(2000, 5, 1))


class ComparedWithTheFirst(Body):
    """A projection only where the number of channels is not that of the first convolution, which stays whole."""

    def body(self, x):
        y = F.relu(self.a(x))
        return self.back(self.inner(y)) + (y if y.shape[1] == x.shape[1] else self.back(y)) + x


class PlainTensors(Body):
    """Numbers that are no parameters, in a module whose code has numbers of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.full((1, 8, 1, 1), 0.5, dtype=torch.float64)

    def body(self, x):
        return self.back(F.adaptive_avg_pool2d(F.relu(self.a(x - self.mean)), 1).view(-1, 12, 1, 1)) + self.back(
            self.a(x)
        )


class ScaledBranch(Body):
    """A branch by a number that is no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.tensor(0.3, dtype=torch.float64)

    def body(self, x):
        return F.relu(x + self.scale * self.back(F.relu(self.a(x))))


class Gains(Body):
    """A number a channel, brought to the shape of features in several ways."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.shift, self.slope = (nn.Parameter(torch.rand(12) + 0.5) for _ in range(3))

    def body(self, x):
        y = self.a(x) * self.gain[:, None, None] + self.shift.view(1, 12, 1, 1)
        return self.back(F.prelu(y, torch.sigmoid(self.slope)) / self.second.weight.std())


class Beside(Body):
    """New tensors of the type of features."""

    def body(self, x):
        y = F.relu(self.a(x))
        return self.back(y + y.new_zeros((y.shape[0], 1, 1, 1)) + y.new_empty((y.shape[0], 1, 1, 1)).fill_(2.0))


class Enlarged(Body):
    """Channels that become pixels, of images that are wider than there are channels."""

    def __init__(self) -> None:
        super().__init__()
        self.tail = conv(3, 8)

    def body(self, x):
        return self.tail(F.pixel_shuffle(F.relu(self.a(x)), 2))


class GroupNormed(Body):
    """A branch with a GroupNorm, without channels where the branch is gone, beside code that counts channels."""

    def __init__(self) -> None:
        super().__init__()
        self.groups, self.tail = nn.GroupNorm(4, 12), conv(12, 8)

    def body(self, x):
        y = self.second(F.relu(x + self.back(self.groups(self.a(x)))))
        return self.tail(y * y.shape[1] ** -0.5)


class Idle(Body):
    """A step of a branch that does nothing, in a module that needs a program."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Identity()

    def body(self, x):
        return F.relu(x + self.back(self.drop(F.relu(self.a(x)))))


class OwnBatchNorm(nn.BatchNorm2d):
    """With the activation inside, as timm has it."""

    def forward(self, x):
        return F.relu(super().forward(x))


class Activated(Body):
    """A branch that ends in a norm of one's own class."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = OwnBatchNorm(8)

    def body(self, x):
        return F.relu(x + self.norm(self.back(F.relu(self.a(x)))))


class Largest(Body):
    """The largest of the pixels, with their places, in a module whose code has numbers of channels."""

    def body(self, x):
        y = torch.max(self.a(x).flatten(2), 2)[0].view(-1, 12)
        return self.back(F.relu(self.a(x)) * y[:, :, None, None])


NETWORKS = [
    *(GroupNormed, Idle, Activated, Largest),
    *(ComparedBesideAWideLayer, ComparedWithTheFirst, PlainTensors, ScaledBranch, Gains, Beside, Enlarged),
    *(TwoBranches, Pooled, OwnNorm, OwnLayer, LayerNormOfImages, NumPys, Compared),
    *(Scaled, Added, Decided, Written, Folded, Enumerated),
]


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    model = kind()
    randomise(model)
    return model.double()


def found(model: nn.Module) -> Space:
    return discover(model, torch.zeros(2, 3, 8, 8, dtype=torch.float64), minimum_fraction=0.01, branch_removal=True)


def tried(space: Space) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    drawn = [rng.uniform(0, 1, space.groups) * space.channels for _ in range(3)]
    drawn += [np.where(space.branch, 0, space.channels), space.minimum, np.full(space.groups, 8), space.channels]
    return [space.repair(widths) for widths in drawn]


@pytest.mark.parametrize("kind", NETWORKS, ids=lambda kind: kind.__name__)
def test_what_the_code_does_with_channels_stays_as_it_is(kind):
    model = made(kind)
    space = found(model)
    assert space.groups
    for widths in tried(space):
        for batch in (1, 2, 3):
            x = torch.rand(batch, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
            assert difference(model, space, widths, x, training=False) <= TOLERANCE


def names(kind: type[nn.Module]) -> set[str]:
    return set(found(made(kind)).names)


def test_what_can_be_pruned_is() -> None:
    assert {"a", "back"} <= names(Beside)
    assert "a" in names(Enlarged)
    assert "a" in names(ScaledBranch)
    assert "a" in names(Largest)
    assert "a" in names(Several)
    for kind in (Idle, Activated, GroupNormed):
        assert found(made(kind)).branch.any(), kind


Pair = namedtuple("Pair", ["scores", "more"])


class Several(Body):
    """Outputs with names, which cannot be stored, and one layer whose channels the code counts."""

    def forward(self, x):
        y = self.b(F.relu(self.a(F.relu(self.stem(x))))).mean((2, 3)).view(-1, 16)
        return Pair(y, -y)


class NotYetScaled(Body):
    """A branch whose last scale is zero before any training, and whose code counts channels."""

    def body(self, x):
        y = F.relu(self.a(x))
        return F.relu(x + self.norm(self.back(y * y.shape[1] ** -0.5)))


def test_what_weights_of_zero_hide_is_seen() -> None:
    model = made(NotYetScaled)
    trained = copy.deepcopy(model)
    nn.init.zeros_(model.norm.weight)
    space = found(model)
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    assert "a" in space.names
    assert difference(trained, space, space.repair(space.channels / 2), x, training=False) <= TOLERANCE


class Remembering(Body):
    """What the first image's size decides is kept, as anchors are."""

    def __init__(self, keeps: bool = True) -> None:
        super().__init__()
        self.keeps, self.grid = keeps, None

    def body(self, x):
        grid = self.grid if self.keeps and self.grid is not None else torch.ones_like(x[:, :1])
        self.grid = grid
        return self.back(F.relu(self.a(x)) * grid)


def test_memory_is_that_of_the_first_run() -> None:
    peaks = []
    for keeps in (True, False):
        model = randomise(Remembering(keeps))
        space = discover(model, torch.zeros(2, 3, 8, 8))
        peaks.append(space.costs(space.channels, eager=True)["activation_bytes"].item())
    assert peaks[0] == peaks[1]


class Hook:
    """As fastai's: kept by the module that it looks at, and by another."""

    def __init__(self, module: nn.Module) -> None:
        self.seen: Tensor | None = None
        module.register_forward_hook(self.look)

    def look(self, module, inputs, output):
        self.seen = output


class Hooked(Body):
    def __init__(self) -> None:
        super().__init__()
        self.hook = Hook(self.a)

    def body(self, x):
        y = F.relu(self.a(x))
        return self.back(torch.relu(self.hook.seen) + y)


def test_what_two_attributes_share_is_shared_in_the_copy() -> None:
    space = found(made(Hooked))
    assert "a" in space.names
    assert not space.programs["modules"]


class KeptNorm(Body):
    """A BatchNorm that stays as it is in training, in a module whose code has numbers of channels."""

    def body(self, x):
        return F.relu(self.norm(self.back(self.a(x).view(-1, 12, *x.shape[2:]))))

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.norm.eval()
        return self


def test_what_stays_as_it_is_in_training_does_in_a_recorded_program() -> None:
    model = made(KeptNorm)
    space = found(model)
    widths = space.repair(space.channels / 2)
    pruned, x = prune(model, space, widths), torch.rand(3, 3, 8, 8, dtype=torch.float64)
    assert isinstance(pruned, Program)
    assert difference(model, space, widths, x, training=True) <= TOLERANCE
    assert not pruned.train().norm.training
    assert pruned.a.training
    assert copy.deepcopy(pruned).train().norm.training is False


class AtRandom(Body):
    """A branch that training leaves out now and then, in a module whose code has numbers of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.more, self.less = conv(8, 10), conv(10, 8)

    def body(self, x):
        if not self.training or random.random() < 0.5:
            y = self.a(x)
            x = x + self.back(y * self.second(x).mean((2, 3)).view(y.shape[0], 12, 1, 1))
        return self.less(F.relu(self.more(x)))


class Gated(AtRandom):
    """The same by a factor."""

    def body(self, x):
        y = self.a(x)
        y = self.back(y * self.second(x).mean((2, 3)).view(y.shape[0], 12, 1, 1))
        x = x + y * float(not self.training or random.random() < 0.5)
        return self.less(F.relu(self.more(x)))


@pytest.mark.parametrize("kind", [AtRandom, Gated])
def test_what_happens_by_chance_still_does(kind: type[nn.Module]) -> None:
    model = made(kind)
    spaces = []
    for seed in range(3):
        random.seed(seed)
        spaces.append(found(model))
    assert all(space.programs == spaces[0].programs and space.names == spaces[0].names for space in spaces)
    pruned = prune(model, spaces[0], spaces[0].minimum).train()
    x = torch.rand(3, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        outputs = {pruned(x).double().sum().item() for _ in range(20)}
    assert len(outputs) == 2


class TwoNames(Body):
    """A layer of a branch with a second name."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(self.a, nn.ReLU(), self.back)

    def body(self, x):
        return F.relu(x + self.branch(x))


def test_a_layer_of_two_names_goes_with_its_branch() -> None:
    model = made(TwoNames)
    space = found(model)
    assert space.branch.any()
    widths = np.where(space.branch, 0, space.channels)
    pruned = prune(model, space, widths)
    assert not any(name.startswith("a.") for name, _ in pruned.named_parameters())
    whole, left = (sum(p.numel() for p in network.parameters()) for network in (model, pruned))
    assert whole - left == np.subtract(*space.costs(np.stack([space.channels, widths]))["parameters"])


@dataclass
class Result:
    scores: Tensor


class Wrapped(Body):
    def forward(self, x):
        return Result(self.head(self.back(self.a(self.stem(x)))).mean((2, 3)))


def test_an_output_that_cannot_be_looked_into_is_refused():
    with pytest.raises(UserError, match="returns a Result; let it return a tensor"):
        found(made(Wrapped))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda model: setattr(model, "lock", threading.Lock()), r"its attribute 'lock' \(lock\) cannot be copied"),
        (lambda model: setattr(model, "a", torch.jit.script(model.a)), "a is scripted"),
    ],
    ids=["lock", "script"],
)
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_what_cannot_be_copied_is_told(change, told):
    model = made(Scaled)
    change(model)
    with pytest.raises(UserError, match=f"the network cannot be pruned: {told}"):
        found(model)


class Tiled(Body):
    """Two views of each image go through one convolution, and pixels become channels."""

    def __init__(self) -> None:
        super().__init__()
        self.tail = conv(3, 8)

    def body(self, x):
        y = self.a(torch.cat([x, x.flip(3)], 0))
        one, other = y.chunk(2, 0)
        return self.tail(F.pixel_shuffle(F.relu(one + other), 2))


def test_multiply_adds_are_counted_as_they_are_computed():
    model = made(Tiled)
    space = found(model)
    for widths in tried(space):
        done = 0

        def count(layer: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            nonlocal done
            done += output.numel() * layer.weight[0].numel()

        pruned = prune(model, space, widths)
        for layer in pruned.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(count)
        pruned(torch.zeros(2, 3, 8, 8, dtype=torch.float64))
        assert space.costs(widths)["macs"][0] == done / 2

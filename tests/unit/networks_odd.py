"""Networks as users write them, with none of hamp's code in them and numbers of channels all over their code."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations


def conv(into: int, out: int, kernel: int = 3, **more) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(into, out, kernel, padding=kernel // 2, bias=False, **more), nn.BatchNorm2d(out), nn.ReLU(True)
    )


class DualPath(nn.Module):
    """Part of each block's output is added, the rest concatenated (DPN)."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 24)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(24 + 8 * i, 20), nn.Conv2d(20, 24, 3, padding=1)) for i in range(3)
        )
        self.head = nn.Linear(24 + 8 * 3, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        residual, dense = x[:, :16], x[:, 16:]
        for block in self.blocks:
            out = block(torch.cat([residual, dense], 1))
            residual = residual + out[:, :16]
            dense = torch.cat([dense, out[:, 16:, :, :]], dim=1)
        return self.head(F.relu(torch.cat([residual, dense], dim=1)).mean((2, 3)))


class Shuffled(nn.Module):
    """Grouped 1x1 convolutions with a channel shuffle between them, and split halves (ShuffleNet)."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 24)
        self.first = conv(24, 24, 1, groups=3)
        self.depthwise = conv(24, 24, 3, groups=24)
        self.left, self.right = conv(12, 16), conv(12, 16)
        self.last = nn.Linear(32, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.stem(x))
        n, c, h, w = x.shape
        x = x.view(n, 3, c // 3, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        x = self.depthwise(x)
        a, b = torch.split(x, [12, 12], dim=1)
        x = torch.stack([self.left(a), self.right(b)], dim=2).flatten(1, 2)
        return self.last(F.adaptive_avg_pool2d(x, 1).view(-1, 32))


class Padded(nn.Module):
    """Shortcuts padded with zeros in three ways."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = conv(3, 8), conv(8, 16), conv(16, 24), conv(24, 48)
        self.b2, self.c2 = conv(16, 16), conv(24, 24)
        self.fc = nn.Linear(48, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x = F.relu(self.b2(self.b(x)) + F.pad(x, (0, 0, 0, 0, 4, 4)))
        zeros = torch.zeros(x.shape[0], 8, x.shape[2], x.shape[3], dtype=x.dtype, device=x.device)
        x = F.relu(self.c2(self.c(x)) + torch.cat((x, zeros), 1))
        x = F.relu(self.d(x) + torch.cat((x, x.mul(0)), 1))
        return self.fc(F.avg_pool2d(x, x.shape[-1]).flatten(1))


class Twice(nn.Module):
    """A convolution called twice, a shuffle shared by two widths, and tied weights."""

    def __init__(self):
        super().__init__()
        self.stem, self.shared, self.widen = conv(3, 16), conv(16, 16), conv(16, 32)
        self.mix = nn.ChannelShuffle(4)
        self.one, self.two = nn.Linear(32, 12), nn.Linear(32, 12)
        self.two.weight = self.one.weight
        self.out = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.mix(self.shared(self.shared(x)))
        x = self.mix(self.widen(x)).amax((-1, -2))
        return self.out(torch.cat([self.one(x), torch.tanh(self.two(x))], -1))


class Flattened(nn.Module):
    """A functional flatten with its size written out, a functional classifier, and a reshape with -1."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 10, 5), nn.Conv2d(10, 14, 5)
        self.weight, self.bias = nn.Parameter(torch.randn(30, 14 * 4) * 0.1), nn.Parameter(torch.zeros(30))
        self.fc = nn.Linear(30, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)[:, :, :2, :2]
        x = x.reshape(x.shape[0], 14 * 2 * 2)
        return self.fc(F.relu(F.linear(x, self.weight, self.bias)).view(x.size(0), -1))


class Parameters(nn.Module):
    """Parameters added to and multiplied with a feature map, PReLU, and norms of several kinds."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.position = nn.Parameter(torch.randn(1, 12, 16, 16))
        self.scale = nn.Parameter(torch.rand(20) + 0.5)
        self.gain = nn.Parameter(torch.ones(1))
        self.body = nn.Conv2d(12, 20, 3, padding=1)
        self.act, self.norm, self.last_norm = nn.PReLU(20), nn.GroupNorm(5, 20), nn.LayerNorm(24)
        self.up = nn.ConvTranspose2d(20, 24, 2, stride=2)
        self.instance = nn.InstanceNorm2d(24, affine=True)
        self.fc = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x) + self.position)
        x = self.norm(self.act(self.body(x) * self.scale.view(1, -1, 1, 1) * self.gain))
        x = self.instance(self.up(x))
        x = self.last_norm(x.permute(0, 2, 3, 1))
        return self.fc(x.mean(dim=(1, 2)))


class Squeezed(nn.Module):
    """Squeeze-and-excitation by hand, with sizes from the input, inside residual branches; a list and a dict out."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 16)
        self.expand, self.depth = (
            nn.ModuleList(conv(16, 32, 1) for _ in range(2)),
            nn.ModuleList(conv(32, 32, groups=32) for _ in range(2)),
        )
        self.down, self.up = (
            nn.ModuleList(nn.Linear(32, 8) for _ in range(2)),
            nn.ModuleList(nn.Linear(8, 32) for _ in range(2)),
        )
        self.project = nn.ModuleList(nn.Sequential(nn.Conv2d(32, 16, 1), nn.BatchNorm2d(16)) for _ in range(2))
        self.fc = nn.Linear(16, 9)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.stem(x)
        maps = [x]
        for expand, depth, down, up, project in zip(
            self.expand, self.depth, self.down, self.up, self.project, strict=True
        ):
            y = depth(expand(x))
            b, c, _, _ = y.size()
            s = torch.sigmoid(up(F.relu(down(F.adaptive_avg_pool2d(y, 1).view(b, c))))).view(b, c, 1, 1)
            y = project(y * s.expand_as(y))
            y += x
            x = y
            maps.append(x)
        return {"out": self.fc(x.mean([2, 3])), "maps": maps[-1]}


class Stubborn(nn.Module):
    """Much that cannot be pruned: computed weights, products of feature maps, channels that are averaged."""

    def __init__(self):
        super().__init__()
        self.stem, self.normed = conv(3, 8), parametrizations.weight_norm(nn.Conv2d(8, 8, 3, padding=1))
        self.query, self.key, self.gate = nn.Conv2d(8, 6, 1), nn.Conv2d(8, 6, 1), nn.Conv2d(2, 1, 7, padding=3)
        self.free, self.value = conv(8, 12), conv(12, 8)
        self.register_buffer("threshold", torch.tensor(0.5))
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.normed(self.stem(x))
        q, k = self.query(x).flatten(2), self.key(x).flatten(2)
        attention = torch.softmax(q.transpose(1, 2) @ k, -1)
        v = self.value(self.free(x))
        x = (v.flatten(2) @ attention).view_as(v)
        gate = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True).values], 1)
        x = x * self.gate(gate).sigmoid()
        if self.threshold.item() > 0.1:  # needs data
            x = x * 2
        return self.fc(x.mean((2, 3)))


class Nested(nn.Module):
    """Residual branches within a plain forward, in place, with a projection that isn't removable."""

    def __init__(self):
        super().__init__()
        self.stem, self.narrow = conv(3, 12), nn.Conv2d(12, 20, 1, stride=2)
        self.one = nn.Sequential(nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 18, 3, padding=1), nn.Conv2d(18, 12, 1))
        self.two = nn.Sequential(conv(12, 16, 3, stride=2), nn.Conv2d(16, 20, 1), nn.BatchNorm2d(20))
        self.scale = nn.Parameter(torch.full((20, 1, 1), 0.3))
        self.three = nn.Sequential(conv(20, 14), conv(14, 14), nn.Conv2d(14, 20, 1, bias=False), nn.BatchNorm2d(20))
        self.fc = nn.Linear(20, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.one(x)
        x = F.relu(self.narrow(x) + self.two(x))
        y = self.three(x) * self.scale
        y += x
        return self.fc(torch.flatten(F.relu_(y).mean(3).mean(2), 1))


class Bound(nn.Module):
    """Methods kept as attributes: its own, as wrappers do with `forward`, and one of a module that comes later."""

    def __init__(self):
        super().__init__()
        later = conv(12, 16)
        self.stem = conv(3, 12)
        self.middle = later.forward
        self.later = later
        self.fc = nn.Linear(16, 5)
        self.forward = self.run

    def run(self, x: Tensor) -> Tensor:
        return self.fc(self.middle(self.stem(x)).mean((2, 3)))


class TwoHeads(nn.Module):
    """Two outputs, by name."""

    def __init__(self):
        super().__init__()
        self.body, self.norm = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 12, 3)), nn.BatchNorm2d(12)
        self.mask, self.label = nn.Conv2d(12, 2, 1), nn.Linear(12, 4)

    def forward(self, x):
        x = self.norm(self.body(x)).relu()
        return {"mask": self.mask(x), "label": self.label(x.mean((2, 3)))}


ALL = (DualPath, Shuffled, Padded, Twice, Flattened, Parameters, Squeezed, Stubborn, Nested, Bound)

"""Residual networks for small images (He et al., Deep Residual Learning for Image Recognition, 2016,
section 4.2).

Shortcuts have no parameters: they take every second pixel and pad with channels of zeros (option A). The
names in the state dict are those of the widely used checkpoints of akamaster/pytorch_resnet_cifar10.
"""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

Shortcut = Callable[[int, int, int], nn.Module]
"""From channels before, channels after and stride to a shortcut."""


class ZeroPadShortcut(nn.Module):
    """Every `stride`-th pixel, with `before` and `after` channels of zeros around the input's."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.before, self.after, self.stride = before, after, stride

    def forward(self, x: Tensor) -> Tensor:
        """Features with more channels and fewer pixels."""
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.before, self.after))


def projection(channels: int, width: int, stride: int) -> nn.Module:
    """A 1x1 convolution to another width or resolution (option B)."""
    if stride == 1 and channels == width:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))


def zero_padding(channels: int, width: int, stride: int) -> nn.Module:
    """Channels of zeros on either side (option A)."""
    if stride == 1 and channels == width:
        return nn.Identity()
    before = (width - channels) // 2
    return ZeroPadShortcut(before, width - channels - before, stride)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, channels: int, width: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the block."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.shortcut(x))


class SmallResNet(nn.Module):
    """Stages of basic blocks; each after the first halves the resolution."""

    def __init__(
        self,
        classes: int,
        channels: int,
        blocks: Sequence[int],
        widths: Sequence[int],
        shortcut: Shortcut,
        *,
        stem: int,
        stem_stride: int = 1,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, stem, 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        before = stem
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            strides = [1 if stage == 0 else 2] + [1] * (count - 1)
            layers = [
                BasicBlock(before if i == 0 else width, width, stride, shortcut) for i, stride in enumerate(strides)
            ]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
            before = width
        self.stages = len(blocks)
        self.linear = nn.Linear(before, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of images."""
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.linear(x)


def cifar_resnet(depth: int, classes: int, channels: int) -> SmallResNet:
    """ResNet-`depth` for CIFAR: (depth - 2) / 6 blocks of 16, 32 and 64 channels a stage."""
    return SmallResNet(classes, channels, [(depth - 2) // 6] * 3, (16, 32, 64), zero_padding, stem=16)


def resnet_small(
    classes: int, channels: int, blocks: Sequence[int] = (2, 2, 2), widths: Sequence[int] = (32, 64, 128)
) -> SmallResNet:
    """A residual network that trains in seconds, for images of little detail.

    Its first convolution is small and halves the resolution, so that nearly all of its work can be pruned.
    """
    return SmallResNet(classes, channels, blocks, widths, projection, stem=16, stem_stride=2)

"""Networks without shortcuts for small images."""

from torch import Tensor, nn


class Plain(nn.Module):
    """`features`, then the mean of each channel, then a linear `classifier`."""

    def __init__(self, features: nn.Sequential, width: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of images."""
        return self.classifier(self.pool(self.features(x)).flatten(1))


def vgg16_bn_small(classes: int, channels: int, width: float = 1.0) -> Plain:
    """VGG-16 with BatchNorm and one linear layer (Simonyan and Zisserman, 2015, configuration D)."""
    layers: list[nn.Module] = []
    before = channels
    for stage, (count, full) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))):
        if stage:
            layers.append(nn.MaxPool2d(2))
        for _ in range(count):
            layers += _convolution(before, round(full * width), 3)
            before = round(full * width)
    return Plain(nn.Sequential(*layers), before, classes)


def mobilenet_v1_small(classes: int, channels: int, width: float = 1.0) -> Plain:
    """MobileNet (Howard et al., 2017, table 1) without its first two strides, for images of 32 pixels."""
    before = round(32 * width)
    layers = _convolution(channels, before, 3)
    strides_and_widths = (
        *((1, 64), (1, 128), (1, 128), (2, 256), (1, 256), (2, 512)),
        *((1, 512), (1, 512), (1, 512), (1, 512), (1, 512), (2, 1024), (1, 1024)),
    )
    for stride, full in strides_and_widths:
        layers += _convolution(before, before, 3, stride, groups=before)
        layers += _convolution(before, round(full * width), 1)
        before = round(full * width)
    return Plain(nn.Sequential(*layers), before, classes)


def _convolution(before: int, after: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, size, stride, size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]

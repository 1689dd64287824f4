"""What a user brings along: images with masks, a network that finds the bright pixels, and the loss and error of it."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def images(image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random images and masks of where they are bright."""
    noise = torch.randn(240, 1, image_size, image_size, generator=torch.Generator().manual_seed(0))
    smooth = F.avg_pool2d(noise, 5, 1, 2)
    pixels = ((smooth - smooth.amin()) / (smooth.amax() - smooth.amin()) * 255).to(torch.uint8)
    return pixels.numpy(), (smooth[:, 0] > 0).float().numpy()


class Segmenter(nn.Module):
    """Encoder, one residual step, decoder with a concatenated shortcut."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.inner = nn.Conv2d(12, 12, 3, padding=1)
        self.up = nn.ConvTranspose2d(12, 8, 2, stride=2)
        self.last = nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        early = F.relu(self.first(x))
        deep = F.relu(self.norm(self.down(early)))
        deep = deep + F.relu(self.inner(deep))
        return self.last(torch.cat([early, self.up(deep)], dim=1))


def network(channels: int) -> nn.Module:
    """The network to prune."""
    return Segmenter(channels)


def pixelwise(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of the batch, and the share of wrong pixels of each image."""
    logits = outputs[:, 0]
    wrong = (logits > 0) != (targets > 0.5)
    return F.binary_cross_entropy_with_logits(logits, targets), wrong.float().mean(dim=(1, 2))

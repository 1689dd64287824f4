"""A network with its normalisation inside."""

import torch
from torch import Tensor, nn


class Normalised(nn.Module):
    """Takes float32 (n, channels, height, width) in [0, 1] and normalises it for `model`."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32).reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """The outputs of `model`."""
        return self.model((x - self.mean) / self.std)

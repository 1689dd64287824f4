"""Small networks for the tests of the hardware part."""

import torch
from torch import nn

from hamp.pruning import discover
from hamp.pruning.space import Space

SHAPE = (3, 12, 12)


def chain() -> nn.Sequential:
    """Convolutions, one of them depthwise, in a row; BatchNorm with statistics that matter."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 20, 3, padding=1, bias=False),
        nn.BatchNorm2d(20),
        nn.ReLU(inplace=True),
        nn.Conv2d(20, 20, 3, stride=2, padding=1, groups=20, bias=False),
        nn.BatchNorm2d(20),
        nn.ReLU(inplace=True),
        nn.Conv2d(20, 36, 1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(36, 5),
    )
    for module in model:
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
    return model.eval()


def space_of(model: nn.Module, shape: tuple[int, int, int] = SHAPE) -> Space:
    """Its space, all groups free."""
    return discover(model, torch.zeros(2, *shape), keep_first=False, minimum_fraction=0.1)

"""Parts of stochastic gradient descent: optimiser, schedule, and average of the weights over the steps."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hamp.configuration import blocks

Average = dict[str, Tensor]


def optimiser(model: nn.Module, settings: blocks.Optimisation) -> torch.optim.SGD:
    """Nesterov momentum, with weight decay on weights only: biases and normalisation have one dimension."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    momentum = settings.momentum
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        momentum=momentum,
        nesterov=momentum > 0,
        foreach=True,
    )


def learning_rate(step: int, total: int, settings: blocks.Optimisation) -> float:
    """Of step 0 to total - 1: a linear rise, then a half cosine towards 0 (Loshchilov and Hutter, 2017)."""
    rise = round(settings.warmup_fraction * total)
    if step < rise:
        return settings.learning_rate * (step + 1) / rise
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def start(model: nn.Module) -> Average:
    """The exponential moving average before the first step: parameters and BatchNorm statistics."""
    return {key: value.detach().clone() for key, value in model.state_dict().items() if value.is_floating_point()}


def follow(average: Average, model: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the model; in the first steps faster, so that it forgets where it began."""
    decay = min(decay, (1 + step) / (10 + step))
    state = model.state_dict()
    torch._foreach_lerp_(list(average.values()), [state[key].detach() for key in average], 1 - decay)


def replace(model: nn.Module, values: Average) -> None:
    """Copy `values` into the model."""
    state = model.state_dict()
    with torch.no_grad():
        for key, value in values.items():
            state[key].copy_(value)


@contextmanager
def averaged(model: nn.Module, average: Average) -> Iterator[None]:
    """Within it, the model has the averaged values; without an average, its own."""
    own = start(model) if average else {}
    replace(model, average)
    try:
        yield
    finally:
        replace(model, own)

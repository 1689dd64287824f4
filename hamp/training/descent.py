"""Parts of stochastic gradient descent: the step, its schedule, and an average of the weights over the steps."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from hamp.configuration import blocks

Average = dict[str, Tensor]
Momenta = dict[str, Tensor]


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def descend(parameters: dict[str, nn.Parameter], momenta: Momenta, rate: float, settings: blocks.Optimisation) -> None:
    """One step with Nesterov momentum, and weight decay on weights only: biases and normalisation have one dimension.

    The class `torch.optim.SGD` does the same by the same function, but imports PyTorch's compiler for it, which takes
    about as long as importing the rest of PyTorch.

    Args:
        parameters: with their gradients; those without one stay as they are.
        momenta: by parameter, empty before the first step; brought up to date.
        rate: learning rate.
        settings: momentum and weight decay.
    """
    gradients = {name: value.grad for name, value in parameters.items() if value.grad is not None}
    for decay, weights in ((settings.weight_decay, True), (0.0, False)):
        names = [name for name in gradients if (parameters[name].dim() > 1) == weights]
        if not names:
            continue
        buffers = [momenta.get(name) for name in names]
        with torch.no_grad():
            sgd(
                [parameters[name] for name in names],
                [gradients[name] for name in names],
                buffers,
                foreach=True,
                weight_decay=decay,
                momentum=settings.momentum,
                lr=rate,
                dampening=0.0,
                nesterov=settings.momentum > 0,
                maximize=False,
            )
        momenta.update({name: buffer for name, buffer in zip(names, buffers, strict=True) if buffer is not None})


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

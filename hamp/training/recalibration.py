"""BatchNorm statistics found anew."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hamp.training.hardware import mixed


def recalibrate(model: nn.Module, batches: Sequence[Tensor], precision: str = "float32") -> None:
    """Replace the running statistics of every BatchNorm by their mean over `batches`; the weights stay.

    Pruning changes what a layer is given, so the statistics of the unpruned network are wrong for it. The
    network is left in evaluation mode; without a BatchNorm or a batch, nothing else happens.

    Args:
        model: on the device of the batches.
        batches: normalised images.
        precision: of the features (`hardware.data_type`); the statistics are float32 all the same.
    """
    model.eval()
    if not norms_of(model) or not batches:
        return
    with torch.inference_mode(), recalibrating(model):
        for batch in batches:
            with mixed(precision, batch.device):
                model(batch)


@contextmanager
def recalibrating(model: nn.Module) -> Iterator[None]:
    """Within it, all BatchNorm statistics are found anew, as means over the batches that `model` is given.

    Afterwards the network is in evaluation mode.
    """
    model.eval()
    norms = norms_of(model)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the cumulative mean
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def norms_of(model: nn.Module) -> list[_BatchNorm]:
    """The BatchNorm layers that keep statistics."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]

"""BatchNorm statistics found anew."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hamp.training.hardware import mixed


def recalibrate(model: nn.Module, batches: Iterable[Tensor], precision: str = "float32") -> None:
    """Replace the running statistics of every BatchNorm by their mean over `batches`; the weights stay.

    Pruning changes what a layer is given, so the statistics of the unpruned network are wrong for it. The
    network is left in evaluation mode; without a BatchNorm or a batch, nothing else happens.

    Args:
        model: on the device of the batches.
        batches: normalised images.
        precision: of the features (`hardware.data_type`); the statistics are float32 all the same.
    """
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    with torch.inference_mode():
        for position, batch in enumerate(batches):
            if position == 0:
                for norm in norms:
                    norm.reset_running_stats()
                    norm.momentum = None  # the cumulative mean
                    norm.train()
            with mixed(precision, batch.device):
                model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()

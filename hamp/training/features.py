"""The features that a network classifies by, and how far those of a pruned network are from them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

FLOOR = 0.01
"""Share of the mean variance of a channel that is added to that of each."""
READERS = {F.linear, torch.conv1d, torch.conv2d, torch.conv3d}


class LastFeatures(TorchFunctionMode):
    """Within it, the last features with positions are kept: of which a function makes some without, as the pooling
    before a classifier does.

    Attributes:
        features: (n, channels, *positions); None: there are none.
        weight: of the layer that came next; None: there is none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features: Tensor | None = None
        self.weight: Tensor | None = None

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        """What `function` gives."""
        made = function(*arguments, **(options or {}))
        given = arguments[0] if arguments else None
        if isinstance(given, Tensor) and isinstance(made, Tensor) and made.is_floating_point():
            if _has_positions(given) and not _has_positions(made) and made.shape[:1] == given.shape[:1]:
                self.features, self.weight = given, None
            elif self.weight is None and function in READERS:
                self.weight = arguments[1] if len(arguments) > 1 else (options or {})["weight"]
        return made


def last_channels(model: nn.Module, pruned: nn.Module, kept: Mapping[str, Tensor], example: Tensor) -> Tensor | None:
    """Of the channels of the unpruned network's last features those that the pruned network has, int64, ascending.

    None where that cannot be told: a network has no such features, or hands them to its classifier in another way than
    as they are, pooled or flattened.

    Args:
        model: the unpruned network; it and the pruned one are left in evaluation mode.
        pruned: on the same device.
        kept: by parameter, the positions along its second dimension that stayed (`pruning.slicing.kept_positions`).
        example: images, (n, channels, height, width), on that device.
    """
    full, some = (_run(network, example) for network in (model, pruned))
    if full.features is None or some.features is None:
        return None
    channels = torch.arange(full.features.shape[1])
    stay = kept.get(next((name for name, value in model.named_parameters() if value is full.weight), ""))
    if stay is not None and full.weight is not None:
        channels = (stay.cpu() // max(1, full.weight.shape[1] // len(channels))).unique()
    matched = full.features.shape[:1] + channels.shape + full.features.shape[2:]
    return channels if some.features.shape == matched and len(channels) <= full.features.shape[1] else None


def distance(features: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of features, of each channel in variances of the teacher's, a scalar.

    After "hints" (Romero et al., FitNets, 2015); no layer is needed in between, since the channels are the same.
    Channels in which next to nothing happens count as if a little did (`FLOOR`).
    """
    features, teacher = features.float(), teacher.float()
    over = [dim for dim in range(teacher.dim()) if dim != 1]
    variances = teacher.var(dim=over)
    scale = variances + (FLOOR * variances.mean()).clamp_min(torch.finfo(teacher.dtype).tiny)
    return ((features - teacher).square().mean(dim=over) / scale).mean()


def _run(network: nn.Module, images: Tensor) -> LastFeatures:
    with torch.no_grad(), LastFeatures() as last:
        network.eval()(images)
    return last


def _has_positions(x: Tensor) -> bool:
    return x.shape[2:].numel() > 1

"""The features that a network classifies by, and how far those of a pruned network are from them."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from hamp.outputs import alike

FLOOR = 0.01
"""Share of the mean variance of a channel that is added to that of each."""
DROPOUTS = {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout}


class LastFeatures(TorchFunctionMode):
    """Within it, the last features with positions are kept: of which a function other than a convolution makes some
    without, as the pooling before a classifier does; before dropout, if there is any in between.

    Attributes:
        features: (n, channels, *positions); None: there are none.
        weight: of the layer that came next; None: there is none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features: Tensor | None = None
        self.weight: Tensor | None = None
        self._dropped: tuple[Tensor | None, Tensor | None] = None, None  # after dropout and before

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        """What `function` gives."""
        options = options or {}
        given = arguments[0] if arguments else options.get("input")
        version = given._version if isinstance(given, Tensor) and function in DROPOUTS else None
        result = function(*arguments, **options)
        if version is not None:
            self._dropped = result, given if given._version == version else None  # in place: they are lost
        elif _reads(function):
            if self.weight is None:
                self.weight = arguments[1] if len(arguments) > 1 else options.get("weight")
        elif isinstance(given, Tensor) and _has_positions(given) and _is_without(result, given):
            after, before = self._dropped
            self.features, self.weight = before if given is after else given, None
        return result


def last_channels(
    model: nn.Module, pruned: nn.Module, silenced: nn.Module, kept: Mapping[str, Tensor], example: Tensor
) -> Tensor | None:
    """Of the channels of the unpruned network's last features those that the pruned network has, int64, ascending, on
    the device.

    They are told by what the next layer reads, and compared with those of the silenced network. None where that fails:
    a network has no such features, or others in training, or hands them to its classifier neither as they are nor
    pooled or flattened.

    Args:
        model: the unpruned network; the networks are left in evaluation mode.
        pruned: on the same device.
        silenced: what it is to be compared with (`pruning.masked`), on the same device.
        kept: by parameter, the positions along its second dimension that stayed (`pruning.slicing.kept_positions`).
        example: a few images, (n, channels, height, width), on that device.
    """
    full = _run(model.eval(), example)
    some, wanted = (last_features(network.eval(), example) for network in (pruned, silenced))
    trained = last_features(deepcopy(pruned).train(), example)
    if full.features is None or some is None or wanted is None or trained is None:
        return None
    count = full.features.shape[1]
    channels = torch.arange(count, device=example.device)
    stay = kept.get(next((name for name, value in model.named_parameters() if value is full.weight), ""))
    if stay is not None and full.weight is not None:
        channels = (stay.to(example.device) // max(1, full.weight.shape[1] // count)).unique()
    if channels[-1] >= count or trained.shape != some.shape:
        return None
    return channels if alike(some, wanted[:, channels]) else None


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
        network(images)
    return last


def last_features(network: nn.Module, images: Tensor) -> Tensor | None:
    """Those of a network, in the mode in which it is."""
    return _run(network, images).features


def _reads(function: Callable[..., Any]) -> bool:
    name = getattr(function, "__name__", "")
    return "conv" in name or "linear" in name


def _is_without(result: Any, given: Tensor) -> bool:
    """Whether a function made features without positions of those given, for the same images."""
    made = next((leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)), None)
    return (
        made is not None and made.is_floating_point() and not _has_positions(made) and made.shape[:1] == given.shape[:1]
    )


def _has_positions(x: Tensor) -> bool:
    return x.shape[2:].numel() > 1

"""Strided 1x1 convolutions in training, around an error of oneDNN."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode


class UnstridedPointwise(TorchFunctionMode):
    """Within it, a strided 1x1 convolution on the CPU picks its positions first, which gives the same.

    oneDNN's gradient of its weights writes past its memory where features have the channels last and there are fewer
    inputs than a vector holds (8 with AVX2, 16 with AVX-512): the process crashes or hangs, or the gradient is wrong
    (oneDNN issue 6035; version 3.12, in PyTorch 2.14). Shortcuts of pruned residual networks are such layers.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        """What `function` gives."""
        called = _conv2d if function is torch.conv2d else function
        return called(*arguments, **(options or {}))


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    pointwise = weight.shape[2:] == (1, 1) and (padding == "valid" or not any(_pair(padding)))
    if pointwise and max(_pair(stride)) > 1 and input.device.type == "cpu":
        # a mean of one: as fast as oneDNN's own stride, where slices take twice as long
        input, stride = F.avg_pool2d(input, 1, stride), 1
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)

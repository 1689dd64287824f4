"""Whether two networks compute the same."""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

TOLERANCE = 1e-3


def alike(one: Any, other: Any) -> bool:
    """Whether outputs (a tensor, or a tuple, list or dict of them) are equal but for rounding, by the largest value."""
    ours, theirs = _tensors(one), _tensors(other)
    return len(ours) == len(theirs) and all(map(_close, ours, theirs))


def _tensors(outputs: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    one, other = one.double(), other.double()
    largest = float(other.nan_to_num(0.0, 0.0, 0.0).abs().max()) if other.numel() else 0.0
    return torch.allclose(one, other, TOLERANCE, TOLERANCE * largest, equal_nan=True)

"""What a training needs to go on at an epoch's end, so that a killed one ends in the same weights."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hamp import tables

SAMPLE = 512


def digest(texts: list[str], tensors: list[Tensor]) -> str:
    """Digest of settings and tensors; of many images, that of their number and of some spread evenly."""
    sha = hashlib.sha256("\0".join(texts).encode())
    for tensor in tensors:
        sha.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        if tensor.dim() and len(tensor) > SAMPLE and tensor.dtype == torch.uint8:
            tensor = tensor[torch.linspace(0, len(tensor) - 1, SAMPLE).long()]
        sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def save(path: Path, key: str, state: dict[str, Any]) -> None:
    """Write `state`, whole or not at all, for the training that `key` names."""
    with tables.atomic(path) as temporary:
        torch.save({"key": key, **state}, temporary)


def restore(path: Path, key: str) -> dict[str, Any] | None:
    """The state that was saved for `key`; None where there is none, or one of another training."""
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever is wrong with the file, the training can begin anew
        return None
    return state if isinstance(state, dict) and state.get("key") == key else None

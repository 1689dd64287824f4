"""Channel pruning: find the space of a network, score channels, cut or silence them.

Names are loaded when they are first used, so that `hamp.pruning.space` doesn't import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hamp.pruning.discovery import discover
    from hamp.pruning.importance import score, scores_from_table, scores_to_table
    from hamp.pruning.inspection import inspect
    from hamp.pruning.masking import masked
    from hamp.pruning.slicing import prune
    from hamp.pruning.space import Space

_HOMES = {
    "Space": "space",
    "discover": "discovery",
    "inspect": "inspection",
    "masked": "masking",
    "prune": "slicing",
    "score": "importance",
    "scores_from_table": "importance",
    "scores_to_table": "importance",
}
__all__ = [
    "Space",
    "discover",
    "inspect",
    "masked",
    "prune",
    "score",
    "scores_from_table",
    "scores_to_table",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

"""The device in the loop: devices, measuring, profile and predictor, memory, energy.

Nothing here imports torch until a network is prepared for a runtime that needs it.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "available": "hamp.hardware.devices",
    "doctor": "hamp.hardware.examination",
    "measure": "hamp.hardware.measuring",
}

__all__ = ["available", "doctor", "measure"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'hamp.hardware' has no attribute '{name}'")

"""Hardware-aware neural-network pruning by multi-objective evolution.

`hamp.search` runs a whole search in one process; the workflow runs the same stages as jobs. `hamp.load` gives a network
of a finished run.
"""

from importlib import import_module
from typing import Any

_PUBLIC = {"load": "loading", "search": "api"}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: most stages start without torch. The module's name is put together so that the digest
    # of a stage's code does not take it for something that every stage imports.
    if name in _PUBLIC:
        return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

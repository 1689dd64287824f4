"""The networks that the `finetune` stage made, as the stages after it take them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors import safe_open
from torch import nn

from hamp.candidates import UNPRUNED
from hamp.pruning.slicing import prune
from hamp.pruning.space import Space
from hamp.stages.shards import networks_of


def load_finetuned(
    model: nn.Module, space: Space, scores: list[np.ndarray], members: pa.Table, weights: Sequence[Path]
) -> Iterator[tuple[str, nn.Module]]:
    """The networks that the shards of `finetune` wrote, one after the other: the reference, then the members."""
    file_of = {key.partition("/")[0]: path for path in weights for key in _keys(path)}
    for name, widths in networks_of(members, space).items():
        network = prune(model, space, widths, scores)
        with safe_open(str(file_of[name]), "pt") as file:
            network.load_state_dict({key: file.get_tensor(f"{name}/{key}") for key in network.state_dict()})
        yield name, network.eval()


def unpruned_first(model: nn.Module, networks: Iterator[tuple[str, nn.Module]]) -> Iterator[tuple[str, nn.Module]]:
    """The unpruned network as it was given, then the others."""
    yield UNPRUNED, model
    yield from networks


def _keys(path: Path) -> list[str]:
    with safe_open(str(path), "pt") as file:
        return list(file.keys())

"""Scores by which the channels of a group are ranked: the lowest go first."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from hamp.errors import UserError
from hamp.pruning.copying import copy_modules
from hamp.pruning.fitting import check_fit
from hamp.pruning.space import Slice, Space

METHODS = ("l1", "l2", "bn_scale", "fpgm", "taylor", "random")
SCORES = pa.schema(
    [
        pa.field(name, kind, nullable=False, metadata={"unit": "", "meaning": meaning})
        for name, kind, meaning in (
            ("group", pa.int32(), "index of the group"),
            ("channel", pa.int32(), "index of the channel within the group"),
            ("score", pa.float64(), "importance; the lowest go first"),
        )
    ]
)


def score(
    model: nn.Module,
    space: Space,
    method: str = "l1",
    batches: Iterable[tuple[Tensor, Any]] | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    seed: int = 0,
) -> list[NDArray[np.float64]]:
    """Score every channel: one float64 array (channels,) a group, larger is kept longer.

    A group has its channels in several weights. In each the score of a channel is divided by the mean over the
    group, and the scores are then averaged over the weights (as Torch-Pruning does: Fang et al., "DepGraph", CVPR
    2023, section 3.3). Channels that only go together share one score. A group that has nothing that the method
    judges (no BatchNorm, for bn_scale) is scored by l1.

    Methods, of the weights of convolutions and linear layers that have or read the channel:
        l1, l2: norm (Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017).
        bn_scale: magnitude of BatchNorm's scale (Liu et al., "Network Slimming", ICCV 2017).
        fpgm: sum of distances to the layer's other filters (He et al., "Filter Pruning via Geometric Median", CVPR
            2019), of the weights that have the channel as output.
        taylor: squared first-order change of the loss without the channel, averaged over batches (Molchanov et al.,
            "Importance Estimation for Neural Network Pruning", CVPR 2019).
        random: uniform numbers from `seed`.

    Args:
        batches: (inputs, targets), for taylor.
        loss: of (outputs, targets), for taylor; None: cross entropy.

    Raises UserError for an unknown method, taylor without batches, or a model that doesn't match the space.
    """
    check_fit(model, space)
    if method not in METHODS:
        raise UserError(f"scoring method `{method}` is unknown; choose one of {', '.join(METHODS)}")
    if method == "random":
        rng = np.random.default_rng(seed)
        return [np.repeat(rng.random(n), u) for n, u in zip(space.units, space.unit, strict=True)]
    if method == "taylor":
        if batches is None:
            raise UserError("scoring by taylor needs batches of training data")
        measure = _taylor(model, space, batches, loss or nn.functional.cross_entropy)
    else:
        weights = {name: p.detach() for name, p in model.named_parameters(remove_duplicate=False)}

        def measure(s: Slice) -> Tensor:
            return _magnitude(_rows(weights[s.parameter], s.dim), method)

    modules = dict(model.named_modules(remove_duplicate=False))
    return [
        np.repeat(_group_score(slices, method, measure, modules), unit)
        for slices, unit in zip(space.slices, space.unit, strict=True)
    ]


def _group_score(
    slices: tuple[Slice, ...], method: str, measure: Callable[[Slice], Tensor], modules: dict[str, nn.Module]
) -> NDArray[np.float64]:
    """Score of every unit of one group: the mean over its weights, each with mean 1."""
    parts = [_by_unit(measure(s), s) for s in slices if _counts(s, modules[s.parameter.rpartition(".")[0]], method)]
    if not parts and method != "l1":  # no BatchNorm, or no weight with these channels as output
        return _group_score(slices, "l1", measure, modules)
    return np.mean(parts, axis=0) if parts else np.ones(len(slices[0].positions))


def _counts(s: Slice, owner: nn.Module, method: str) -> bool:
    """Whether this slice has a say in the score of its channels."""
    if s.parameter.rpartition(".")[2] != "weight":
        return False
    if method == "bn_scale":
        return isinstance(owner, _NormBase)
    is_output = s.dim == int(isinstance(owner, _ConvNd) and owner.transposed)
    return isinstance(owner, (_ConvNd, nn.Linear)) and (is_output or method != "fpgm")


def _rows(weight: Tensor, dim: int) -> Tensor:
    """One row for each position in dimension `dim`."""
    return weight.movedim(dim, 0).reshape(weight.shape[dim], -1)


def _magnitude(rows: Tensor, method: str) -> Tensor:
    if method == "fpgm":
        return torch.cdist(rows, rows).sum(dim=1)
    return torch.linalg.vector_norm(rows, ord=2 if method == "l2" else 1, dim=1)


def _by_unit(values: Tensor, s: Slice) -> NDArray[np.float64]:
    """Mean over the positions of each unit, divided by the mean over the group."""
    units = values.double().cpu().numpy()[s.positions].mean(axis=1)
    mean = units.mean()
    return units / mean if mean > 0 else np.ones_like(units)


def _taylor(
    model: nn.Module, space: Space, batches: Iterable[tuple[Tensor, Any]], loss: Callable[[Any, Any], Tensor]
) -> Callable[[Slice], Tensor]:
    """Per position, the square of the summed products of weights and gradients, summed over batches.

    The gradients are those of a copy in evaluation mode that shares the weights: `model` doesn't change.
    """

    def share(name: str, tensor: Tensor) -> Tensor:
        data = tensor.detach()
        return nn.Parameter(data) if isinstance(tensor, nn.Parameter) else data

    network = copy_modules(model, share).eval()
    parameters = dict(network.named_parameters(remove_duplicate=False))
    wanted = {(s.parameter, s.dim) for slices in space.slices for s in slices if s.parameter in parameters}
    sums = {(name, dim): torch.zeros(parameters[name].shape[dim], dtype=torch.float64) for name, dim in wanted}
    count = 0
    for inputs, targets in batches:
        count += 1
        network.zero_grad()
        with torch.enable_grad():
            loss(network(inputs), targets).backward()
        for (name, dim), total in sums.items():
            parameter = parameters[name]
            if parameter.grad is not None:
                product = (parameter.detach() * parameter.grad).double()
                total += _rows(product, dim).sum(dim=1).square().cpu()
    if not count:
        raise UserError("scoring by taylor needs batches of training data; there were none")
    return lambda s: sums[s.parameter, s.dim]


def scores_to_table(scores: list[NDArray[np.float64]]) -> pa.Table:
    """Scores as rows (group, channel, score)."""
    sizes = [len(s) for s in scores]
    columns = [
        np.repeat(np.arange(len(scores), dtype=np.int32), sizes),
        np.concatenate([np.arange(n, dtype=np.int32) for n in sizes]),
        np.concatenate(scores),
    ]
    return pa.Table.from_arrays([pa.array(c) for c in columns], schema=SCORES)


def scores_from_table(table: pa.Table) -> list[NDArray[np.float64]]:
    """The inverse of `scores_to_table`; rows may come in any order."""
    table = table.sort_by([("group", "ascending"), ("channel", "ascending")])
    groups, values = table["group"].to_numpy(), table["score"].to_numpy()
    return np.split(values.copy(), np.flatnonzero(np.diff(groups)) + 1)

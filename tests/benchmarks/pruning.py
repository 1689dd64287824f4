"""How fast candidates are made and judged, beside Torch-Pruning's way, on one thread.

    python -m tests.benchmarks.pruning

Torch-Pruning copies the network, traces it and prunes the copy, again for every candidate. Here the network is
followed once (`discover`), and a candidate is a selection of weights. Times are of the processor, medians, ours and
the peer's by turns in the same process.
"""

import copy
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch_pruning
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from hamp.models.resnet import SmallResNet, projection
from hamp.pruning import discover, prune, score
from hamp.pruning.slicing import axis_indices, kept_units
from hamp.seeding import generator

LARGEST = "regnet_y_128gf"  # of torchvision's convolutional networks, by parameters
CANDIDATES = 1000
TURN = 0.1  # seconds


def resnet56() -> nn.Module:
    """ResNet-56 for small images, with projections: Torch-Pruning breaks shortcuts padded with zeros."""
    return SmallResNet(10, 3, (9, 9, 9), (16, 32, 64), projection, stem=16)


CASES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet50": (lambda: models.resnet50(weights=None), 224),
    "vgg16_bn": (lambda: models.vgg16_bn(weights=None, init_weights=False), 224),
    "resnet56": (resnet56, 32),
}


def seconds(ways: list[Callable[[], Any]], rounds: int) -> list[float]:
    """Median processor time of one call of each way, by turns; in each turn what is short is called some times."""
    calls = [max(1, int(TURN / _time(way, 1))) for way in ways]
    times = [[_time(way, number) for way, number in zip(ways, calls, strict=True)] for _ in range(rounds)]
    return [statistics.median(taken) for taken in zip(*times, strict=True)]


def _time(way: Callable[[], Any], calls: int) -> float:
    began = time.process_time()
    for _ in range(calls):
        way()
    return (time.process_time() - began) / calls


def row(benchmark: str, value: float, peer: float, unit: str) -> dict[str, Any]:
    """One row of the benchmark table, of times; `ratio` is how many times faster than the peer."""
    return {"benchmark": benchmark, "value": value, "peer": peer, "ratio": peer / value, "unit": unit}


def by_torch_pruning(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """One candidate with half of the channels, as Torch-Pruning's documentation makes it."""
    model = copy.deepcopy(model)
    classifier = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    importance = torch_pruning.importance.MagnitudeImportance(p=1)
    pruner = torch_pruning.pruner.MagnitudePruner(
        model, x, importance=importance, pruning_ratio=0.5, ignored_layers=[classifier]
    )
    pruner.step()
    return model


def pruning(name: str, rounds: int = 5) -> Iterator[dict[str, Any]]:
    """One candidate with half of the channels, beside Torch-Pruning; and beside the selection of its weights alone."""
    torch.manual_seed(0)
    make, side = CASES[name]
    model, x = make().eval(), torch.zeros(1, 3, side, side)
    space = discover(model, x, keep_first=False)
    scores, widths = score(model, space), space.repair(space.channels * 0.5)
    kept, _ = kept_units(model, space, widths, scores)
    indices = axis_indices(space, kept)
    tensors = [
        (tensor.detach(), [(dim, indices[at]) for dim, at, _ in space.axes_of_parameters.get(key, ())])
        for key, tensor in (*model.named_parameters(), *model.named_buffers())
    ]

    def select() -> list[torch.Tensor]:
        selected = []
        for tensor, dims in tensors:
            for dim, index in dims:
                tensor = tensor if index is None else tensor.index_select(dim, index)
            selected.append(tensor if any(index is not None for _, index in dims) else tensor.clone())
        return selected

    def ours() -> nn.Module:
        return prune(model, space, widths, scores)

    value, peer = seconds([ours, lambda: by_torch_pruning(model, x)], rounds)
    yield row(f"prune-{name}", 1e3 * value, 1e3 * peer, "ms")
    value, peer = seconds([ours, select], rounds)
    yield row(f"prune-{name}: against copying", 1e3 * value, 1e3 * peer, "ms")


def costs(rounds: int = 5) -> dict[str, Any]:
    """MACs, parameters and memory of many candidates of resnet50, beside building each and counting."""
    model = CASES["resnet50"][0]().eval()
    x = torch.zeros(1, 3, 224, 224, device="meta")
    space = discover(model, x)
    drawn = generator(0, "benchmark").uniform(0.1, 1.0, (CANDIDATES, space.groups))
    population = space.repair(drawn * space.channels)
    scores = score(model, space)

    def build_and_count() -> tuple[int, int]:
        candidate = prune(model, space, population[0], scores).to("meta")
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            candidate(x)
        return counter.get_total_flops() // 2, sum(p.numel() for p in candidate.parameters())

    (value,) = seconds([lambda: space.costs(population)], rounds)
    (peer,) = seconds([build_and_count], 3)
    return row(f"costs-resnet50: {CANDIDATES} candidates", 1e3 * value, 1e3 * peer * CANDIDATES, "ms")


def discovery(rounds: int = 3) -> dict[str, Any]:
    """The space of the largest network, with removable branches, beside Torch-Pruning's dependency graph."""
    model = models.get_model(LARGEST, weights=None).eval()
    x = torch.zeros(1, 3, 64, 64)
    value, peer = seconds(
        [
            lambda: discover(model, x, branch_removal=True),
            lambda: torch_pruning.DependencyGraph().build_dependency(model, x),
        ],
        rounds,
    )
    return row(f"discover-{LARGEST}", value, peer, "s")


def rows() -> Iterator[dict[str, Any]]:
    """All of them; about two minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in CASES:
                yield from pruning(name)
            yield costs()
            yield discovery()
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    for found in rows():
        figures = (f"{found[key]:.4g}" for key in ("value", "peer", "ratio"))
        print("{:>8} beside {:>8} {unit}: {:>6} times  {benchmark}".format(*figures, **found), flush=True)

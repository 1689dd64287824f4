"""How far latency can be trusted: the predictor on held-out networks, and the same networks measured twice.

    python -m tests.benchmarks.hardware

Each row puts the plain way, of the same run, beside ours. Times differ by machine and by the hour; ratios less so.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau

from hamp.configuration.blocks import Device, Measure, Network, Profile
from hamp.hardware import memory, profile
from hamp.hardware.devices import load
from hamp.models.build import build
from hamp.pruning import Space, discover, prune, score
from hamp.seeding import generator, seed_of

Row = dict[str, Any]

CASES = {"resnet20": (3, 32, 32), "resnet56": (3, 32, 32), "torchvision:mobilenet_v2": (3, 224, 224)}
UNLIKE = {
    "resnet20": (3, 32, 32),
    "vgg16_bn_small": (3, 32, 32),
    "mobilenet_v1_small": (3, 32, 32),
    "torchvision:mobilenet_v2": (3, 96, 96),
    "torchvision:resnet18": (3, 96, 96),
    "torchvision:densenet121": (3, 64, 64),
}
# More than the defaults: a latency that many will rely on is worth some minutes.
PROFILE = Profile(points=10, networks=30, rounds=60, seconds=280.0)
MEASURE = Measure(rounds=100, seconds=3.0)


def network(name: str, shape: tuple[int, int, int]) -> tuple[torch.nn.Module, Space, list[np.ndarray]]:
    """A network with random weights, its space and scores."""
    torch.manual_seed(0)
    model = build(Network(name=name), 10, shape[0]).eval()
    space = discover(model, torch.zeros(2, *shape))
    return model, space, score(model, space, "l1")


def prediction(name: str, runtime: str, networks: int = 60) -> Iterator[Row]:
    """Errors of the predictor beside those of the plain sum of the layers and of MACs, on held-out networks."""
    shape = CASES[name]
    model, space, scores = network(name, shape)
    device = Device(runtime=runtime, batch_size=1)
    known = profile.build(model, space, shape, device, PROFILE, scores, 0)
    table = profile.validate(model, space, shape, device, MEASURE, scores, 1, known, networks)
    ways = {row["way"]: row for row in table.to_pylist()}
    for peer in ("sum of layers", "macs"):
        ours, plain = ways["predictor"], ways[peer]
        subject = f"latency of {name}, {runtime}, beside {peer}"
        yield row(f"{subject}: RMSPE", ours["rmspe"], plain["rmspe"], "fraction", smaller=True)
        for figure in ("within_10_percent", "spearman", "kendall"):
            yield row(f"{subject}: {figure}", ours[figure], plain[figure], "fraction")
        yield row(f"{subject}: bias", abs(ours["bias"]), abs(plain["bias"]), "fraction", smaller=True)


def repeatability(name: str, runtime: str, networks: int = 20) -> Iterator[Row]:
    """Rank correlation of the same networks measured in two sessions, beside that of plain means of durations."""
    shape = CASES[name]
    model, space, scores = network(name, shape)
    device = Device(runtime=runtime, batch_size=1)
    widths = profile.random_networks(space, networks, generator(2, "repeatability"))
    module = load(device)
    runs = [module.prepare(prune(model, space, widths_, scores), shape, device) for widths_ in widths]
    sessions, plain = [], []
    for session in range(2):
        seed = seed_of(session, "repeatability")
        timed = profile.time_networks(model, space, shape, widths, device, MEASURE, scores, seed)
        sessions.append(timed["latency_ms"].to_numpy()[1:])
        plain.append([mean(run, MEASURE.rounds) for run in runs])
    found, peer = (float(kendalltau(*pair).statistic) for pair in (sessions, plain))
    yield row(f"{name}, {runtime}, measured twice: Kendall", found, peer, "rank correlation")


def counted_memory(name: str, batch_size: int = 16) -> Iterator[Row]:
    """Computed peak memory beside the counted one, and beside the weights alone."""
    shape = UNLIKE[name]
    model, space, _ = network(name, shape)
    costs = space.costs(space.channels, batch_size=batch_size, eager=True)
    counted = memory.peak_bytes(model, shape, Device(batch_size=batch_size))
    ours, plain = (abs(float(costs[key][0]) / counted - 1.0) for key in ("memory_bytes", "weight_bytes"))
    yield row(f"memory of {name}: error", ours, plain, "fraction", smaller=True)


def mean(run: Any, rounds: int) -> float:
    """The plain way: the mean of some durations in a row."""
    from hamp.hardware.timing import once

    return float(np.mean([once(run)[0] for _ in range(rounds)]))


def row(benchmark: str, value: float, peer: float, unit: str, smaller: bool = False) -> Row:
    """One row of the benchmark table; `ratio` is how many times better than the peer."""
    better, worse = (peer, value) if smaller else (value, peer)
    ratio = better / worse if worse else float("inf")
    return {"benchmark": benchmark, "value": value, "peer": peer, "ratio": ratio, "unit": unit}


def rows() -> Iterator[Row]:
    """All of them; about half an hour."""
    for name in UNLIKE:
        yield from counted_memory(name)
    for name in CASES:
        for runtime in ("pytorch", "onnxruntime"):
            yield from prediction(name, runtime)
            yield from repeatability(name, runtime)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for found in rows():
        print(f"{found['value']:.3f} beside {found['peer']:.3f}  {found['benchmark']}", flush=True)

"""Timing of several networks by turns. Standard library only: this file is also what a remote device runs."""

import random
import statistics
import time
from collections.abc import Callable, Mapping

Run = Callable[[], float | None]
"""One inference. Returns its own duration in s (a device's events) or nothing: then the clock counts."""


def once(run: Run) -> float:
    """Duration in seconds of one run."""
    start = time.perf_counter()
    own = run()
    return time.perf_counter() - start if own is None else own


def warm_up(run: Run, least: int, seconds: float) -> list[float]:
    """Run until stable: until the last three runs are no faster than the three before (within 3%).

    At least `least` runs; ends after `seconds` (but never before two runs). Returns the durations.
    """
    durations: list[float] = []
    start = time.perf_counter()
    while True:
        durations.append(once(run))
        count = len(durations)
        if count >= 2 and time.perf_counter() - start > seconds:
            return durations
        if count >= max(least, 6) and min(durations[-3:]) > 0.97 * min(durations[-6:-3]):
            return durations


def play(
    runs: Mapping[str, Run],
    reference: str,
    rounds: int,
    warmup: int,
    seconds: float,
    seed: int,
    every: int = 1,
    sample: float = 0.0,
) -> dict[str, object]:
    """Time `runs` in interleaved rounds, each round in a new random order.

    The reference network is run before and after each `every` networks, so that each duration has one of the
    reference right beside it: their ratio does not see slow drift (clock, heat, neighbours). Random
    interleaving: Google Benchmark, `--benchmark_enable_random_interleaving`.

    Args:
        runs: the networks by name, the reference among them.
        reference: name of the network to compare with.
        rounds: rounds wanted; fewer (never below 3) where the budget does not allow them.
        warmup: warm-up runs of each network, at least.
        seconds: budget for one network, its share of the reference included.
        seed: of the order.
        every: networks between two runs of the reference.
        sample: a network is repeated until one sample lasts at least this many seconds.

    Returns:
        `times` and `references`: durations in seconds by name and round (for the reference itself: all its
        durations, in `times` and `references` alike); `rounds` played; `wanted`; `warmups`: warm-up runs.
    """
    others = [name for name in runs if name != reference]
    budget = seconds * max(1, len(runs))
    start = time.perf_counter()
    warm = {name: warm_up(run, warmup, 0.3 * seconds) for name, run in runs.items()}
    typical = {name: min(durations) for name, durations in warm.items()}
    repeats = {name: max(1, int(sample / max(duration, 1e-7))) for name, duration in typical.items()}

    def timed(name: str) -> float:
        if repeats[name] == 1:
            return once(runs[name])
        return sum(once(runs[name]) for _ in range(repeats[name])) / repeats[name]

    blocks = max(1, -(-len(others) // every))
    cost = sum(typical[name] * repeats[name] for name in others)
    cost += (blocks + 1) * typical[reference] * repeats[reference]
    left = budget - (time.perf_counter() - start)
    played = max(3, min(rounds, int(left / cost)))

    order = random.Random(seed)
    times: dict[str, list[float]] = {name: [] for name in runs}
    references: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(played):
        order.shuffle(others)
        before = timed(reference)
        times[reference].append(before)
        for first in range(0, len(others), every):
            block = others[first : first + every]
            for name in block:
                times[name].append(timed(name))
            after = timed(reference)
            times[reference].append(after)
            for name in block:
                references[name].append((before + after) / 2)
            before = after
    references[reference] = times[reference]
    return {
        "times": times,
        "references": references,
        "rounds": played,
        "wanted": rounds,
        "warmups": {name: len(durations) for name, durations in warm.items()},
    }


def noise(run: Run, seconds: float) -> tuple[float, float]:
    """Median duration in seconds of repeated runs, and their interquartile range as a share of it."""
    warm_up(run, 3, seconds / 4)
    durations: list[float] = []
    start = time.perf_counter()
    while len(durations) < 8 or time.perf_counter() - start < seconds:
        durations.append(once(run))
    low, middle, high = statistics.quantiles(durations, n=4)
    return middle, (high - low) / middle

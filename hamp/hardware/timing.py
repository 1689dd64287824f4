"""Timing of several networks by turns. Standard library only: this file is also what a remote device runs.

Three disturbances are met. Slow drift (clock, heat, neighbours): each duration is compared with those of a
reference network around it, of which the median counts, so that their own scatter does not. Interruption (another
process had the processor meanwhile): the system counts these, and an interrupted run is thrown away and run again.
Cold caches (another network ran before): a short network runs untimed before it is timed, as it would in a loop.
"""

from __future__ import annotations

import random
import resource
import statistics
import time
from typing import TYPE_CHECKING, Callable, Optional  # noqa: UP035 - Python 3.8 on the device

if TYPE_CHECKING:
    from collections.abc import Mapping

Run = Callable[[], Optional[float]]  # noqa: UP045
"""One inference. Returns its own duration in s (a device's events) or nothing: then the clock counts."""

# An interrupted run is repeated at most so often; then the shortest of them counts.
TRIES = 8
# A network that takes less than this many seconds runs untimed before a sample: filling the caches of a core (some MB)
# takes a tenth of a millisecond or more.
SHORT = 0.02
# A duration is compared with the median of so many runs of the reference before it, and as many after it. On a
# machine with eight times more processes than cores this halved the scatter between two sessions, against one before
# and one after.
NEAR = 6


def once(run: Run) -> tuple[float, bool]:
    """Duration in seconds of one run, and whether another process interrupted it."""
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    start = time.perf_counter()
    own = run()
    duration = time.perf_counter() - start
    if own is not None:
        return own, False
    return duration, resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw != switches


def undisturbed(run: Run, repeats: int, until: float) -> tuple[float, int]:
    """Duration in seconds of an uninterrupted run (mean over `repeats`), and how many were thrown away.

    When the clock has passed `until`, nothing is run again.
    """
    shortest = float("inf")
    for attempt in range(TRIES):
        if attempt and time.perf_counter() > until:
            break
        samples = [once(run) for _ in range(repeats)]
        clean = [duration for duration, interrupted in samples if not interrupted]
        if 2 * len(clean) > repeats:
            return sum(clean) / len(clean), attempt
        shortest = min(shortest, *(duration for duration, _ in samples))
    return shortest, TRIES


def warm_up(run: Run, least: int, seconds: float) -> list[float]:
    """Run until stable: until the last three runs are no faster than the three before (within 3%).

    At least `least` runs; ends after `seconds` (but never before two runs). Returns the durations.
    """
    durations: list[float] = []
    start = time.perf_counter()
    while True:
        durations.append(once(run)[0])
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
    settle: float = 0.0,
) -> dict[str, object]:
    """Time `runs` in interleaved rounds, each round in a new random order.

    The reference network is run before and after each `every` networks. Random interleaving is Google
    Benchmark's, `--benchmark_enable_random_interleaving`.

    Args:
        runs: the networks by name, the reference among them.
        reference: name of the network to compare with.
        rounds: rounds wanted; fewer (never below 3) where the budget does not allow them.
        warmup: warm-up runs of each network, at least.
        seconds: budget for one network, its share of the reference included.
        seed: of the order.
        every: networks between two runs of the reference.
        sample: a network is repeated until one sample lasts about this many seconds.
        settle: about how many seconds a short network runs untimed before a sample, once at least.

    Returns:
        `times` and `references`: durations in seconds by name and round, its own and the reference's around it
        (for the reference itself: all its durations, in both); `rounds` played and `wanted`; `warmups`: warm-up
        runs by name; `interrupted`: share of samples that another process interrupted; `disturbed`: of those that
        could not be had without.
    """
    others = [name for name in runs if name != reference]
    start = time.perf_counter()
    budget = seconds * max(1, len(runs))
    warm = {name: warm_up(run, warmup, 0.3 * seconds) for name, run in runs.items()}
    typical = {name: max(min(durations), 1e-7) for name, durations in warm.items()}
    order = random.Random(seed)
    times: dict[str, list[float]] = {name: [] for name in runs}
    position: dict[str, list[int]] = {name: [] for name in others}
    attempts: list[int] = []

    def timed(name: str) -> float:
        if typical[name] < SHORT:
            for _ in range(max(1, round(settle / typical[name]))):
                once(runs[name])
        duration, thrown = undisturbed(runs[name], max(1, int(sample / typical[name])), start + budget)
        times[name].append(duration)
        attempts.append(thrown)
        return duration

    played, longest = 0, 0.0
    while played < rounds and (played < 3 or time.perf_counter() - start + longest < budget):
        begun = time.perf_counter()
        order.shuffle(others)
        timed(reference)
        for first in range(0, len(others), every):
            for name in others[first : first + every]:
                position[name].append(len(times[reference]))
                timed(name)
            timed(reference)
        played += 1
        longest = max(longest, time.perf_counter() - begun)
    found = times[reference]
    references = {name: [around(found, place) for place in places] for name, places in position.items()}
    references[reference] = found
    return {
        "times": times,
        "references": references,
        "rounds": played,
        "wanted": rounds,
        "warmups": {name: len(durations) for name, durations in warm.items()},
        "interrupted": sum(attempt > 0 for attempt in attempts) / len(attempts),
        "disturbed": sum(attempt == TRIES for attempt in attempts) / len(attempts),
    }


def around(durations: list[float], place: int) -> float:
    """Median of the durations near a place between two of them."""
    return statistics.median(durations[max(0, place - NEAR) : place + NEAR])


def noise(run: Run, seconds: float) -> tuple[float, float, float]:
    """Median duration in s of repeated runs, their interquartile range over it, share of interrupted runs."""
    warm_up(run, 3, seconds / 4)
    samples: list[tuple[float, bool]] = []
    start = time.perf_counter()
    while len(samples) < 8 or time.perf_counter() - start < seconds:
        samples.append(once(run))
    low, middle, high = statistics.quantiles([duration for duration, _ in samples], n=4)
    return middle, (high - low) / middle, sum(interrupted for _, interrupted in samples) / len(samples)

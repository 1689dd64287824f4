"""Timing by turns, with networks that tell their own durations."""

from types import SimpleNamespace

import numpy as np
import pytest

from hamp.hardware import measuring, timing


class Clock:
    """A device whose clock slows down with every run."""

    def __init__(self, slope=0.0):
        self.slope, self.runs, self.names = slope, 0, []

    def network(self, name, seconds):
        def run():
            self.runs += 1
            self.names.append(name)
            return seconds * (1.0 + self.slope * self.runs)

        return run

    def networks(self, **seconds):
        return {name: self.network(name, own) for name, own in seconds.items()}


PLAN = {"reference": "unpruned", "rounds": 15, "warmup": 3, "seconds": 1.0, "seed": 0}


def ratio(played, name):
    return float(np.median(measuring.ratios_of(played, name, "unpruned")))


@pytest.mark.parametrize("slope", [0.0, 0.002, 0.02])
def test_the_ratio_does_not_see_drift(slope):
    clock = Clock(slope)
    networks = clock.networks(unpruned=0.03, a=0.015, b=0.0225, c=0.033)
    played = timing.play(networks, **PLAN)
    for name, expected in (("a", 0.5), ("b", 0.75), ("c", 1.1)):
        assert ratio(played, name) == pytest.approx(expected, rel=0.01)
    if slope == 0.02:  # without the reference beside it, drift would show
        assert np.ptp(played["times"]["a"]) > 0.5 * np.median(played["times"]["a"])


def test_each_network_is_timed_once_a_round_in_an_order_of_the_seed():
    def order(seed):
        clock = Clock()
        networks = clock.networks(unpruned=0.03, **{str(i): 0.03 for i in range(6)})
        played = timing.play(networks, **{**PLAN, "seed": seed})
        assert {len(times) for name, times in played["times"].items() if name != "unpruned"} == {15}
        assert len(played["times"]["unpruned"]) == 15 * 7
        return clock.names

    assert order(1) == order(1) != order(2)


def test_the_reference_is_shared_by_every_few():
    clock = Clock()
    networks = clock.networks(unpruned=0.03, **{str(i): 0.03 for i in range(8)})
    played = timing.play(networks, **PLAN, every=4)
    assert len(played["times"]["unpruned"]) == 15 * 3
    assert len(played["references"]["0"]) == 15


def test_the_reference_as_a_candidate_is_as_fast_as_itself_though_it_runs_more_often():
    """With a cache that a network fills in four runs, and that the others empty bit by bit."""
    filled: dict[str, float] = {}

    def network(name):
        def run():
            seconds = 0.001 * (1.2 - 0.2 * filled.get(name, 0.0))
            for other in filled:
                filled[other] *= 0.98
            filled[name] = min(1.0, filled.get(name, 0.0) + 0.25)
            return seconds

        return run

    networks = {name: network(name) for name in ("unpruned", "same", *map(str, range(8)))}
    assert ratio(timing.play(networks, **PLAN), "same") > 1.05
    assert ratio(timing.play(networks, **PLAN, settle=measuring.SETTLE), "same") == pytest.approx(1.0, abs=0.005)


def test_a_budget_leaves_fewer_rounds_but_never_fewer_than_three(monkeypatch):
    now = 0.0

    def network():
        nonlocal now
        now += 0.01

    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: now))
    networks = {"unpruned": network, "a": network}
    assert timing.play(networks, **{**PLAN, "seconds": 0.01})["rounds"] == 3
    begun = now
    played = timing.play(networks, **{**PLAN, "rounds": 1000, "seconds": 1.0})
    assert 10 < played["rounds"] < 1000
    assert now - begun < 2.1


def test_warm_up_ends_when_runs_no_longer_get_faster():
    falling = iter([10.0 / (1 + n) for n in range(20)] + [0.5] * 100)
    durations = timing.warm_up(lambda: next(falling), 3, seconds=60.0)
    assert len(durations) > 20
    assert timing.warm_up(lambda: 1.0, 10, seconds=60.0) == [1.0] * 10


def test_an_interrupted_run_is_run_again(monkeypatch):
    switches = iter([0, 1, 1, 1] + [1] * 100)
    monkeypatch.setattr(timing.resource, "getrusage", lambda _: SimpleNamespace(ru_nivcsw=next(switches)))
    runs = []
    duration, thrown = timing.undisturbed(lambda: runs.append(1), 1, until=float("inf"))
    assert len(runs) == 2
    assert thrown == 1
    assert duration < 1.0


def test_where_every_run_is_interrupted_the_shortest_counts_and_it_is_told(monkeypatch):
    switches = iter(range(100_000))
    monkeypatch.setattr(timing.resource, "getrusage", lambda _: SimpleNamespace(ru_nivcsw=next(switches)))
    played = timing.play({"unpruned": lambda: None, "a": lambda: None}, **PLAN)
    assert played["interrupted"] == played["disturbed"] == 1.0
    assert "interrupted 100%" in measuring.remarks(played, "unpruned")[0]


def test_noise_of_steady_work_is_nothing():
    assert timing.noise(lambda: 0.01, 0.01) == (0.01, 0.0, 0.0)

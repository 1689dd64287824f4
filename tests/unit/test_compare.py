"""Searches against each other: known answers, and what must hold of any comparison."""

import numpy as np
import pytest

from hamp.analysis.compare import Found, curves, pairs, ranking
from hamp.analysis.statistics import spearman
from hamp.stages.compare import compare
from hamp.stages.pareto import hypervolumes
from hamp.tables import EVALUATED, build


def found(*points, generation=None):
    F = np.array(points, dtype=float)
    return Found(F, np.zeros(len(F), dtype=np.int64) if generation is None else np.array(generation))


def test_searches_that_found_nothing_better_than_the_reference_are_compared_all_the_same():
    one, two = found([0.95, 0.9], [0.97, 0.8]), found([0.96, 1.0])
    first, second = curves({("hamp", 0): one, ("nsga2", 0): two})
    assert first["hypervolume"] == second["hypervolume"] == first["share"] == 0
    assert (first["igd_plus"], first["coverage"]) == (0, 1)
    assert second["igd_plus"] > 0


def test_curves_of_two_points_are_what_one_computes_by_hand():
    # Error over 0.9 and one other objective: boxes of 0.5 x 0.5, then beside it 0.25 x 0.25 more.
    one = found([0.45, 0.5], [0.225, 0.75], generation=[0, 1])
    two = found([0.45, 0.5])
    first, second, other = curves({("hamp", 0): one, ("nsga2", 0): two})
    assert [first["evaluations"], second["evaluations"]] == [1, 2]
    assert first["hypervolume"] == pytest.approx(0.25)
    assert second["hypervolume"] == pytest.approx(0.25 + 0.25 * 0.25)
    assert first["hypervolume_strict"] == 0  # an error of 0.45 is of no use there
    assert second["hypervolume_strict"] == pytest.approx((1 - 0.225 / 0.4) * 0.25)
    assert second["share"] == second["share_strict"] == pytest.approx(1)
    assert other["share"] == pytest.approx(0.25 / 0.3125)
    assert (second["igd_plus"], second["coverage"]) == (0, 1)
    # The other point of the union, (0.25, 0.75), is 0.25 from what (0.5, 0.5) dominates.
    assert (other["igd_plus"], other["coverage"]) == (pytest.approx(0.125), 0.5)


def searches(seeds, better, worse):
    """Two methods, the second of which finds `worse` where the first finds `better`; one step in between."""
    made = {}
    for seed in range(seeds):
        shift = 0.001 * seed
        made["good", seed] = found([0.5, 0.9], [better + shift, 0.3], [better + shift, 0.2], generation=[0, 1, 2])
        made["bad", seed] = found([0.5, 0.9], [worse + shift, 0.4], [worse + shift, 0.3], generation=[0, 1, 2])
    return made


def test_pairs_tell_the_better_method_from_the_worse():
    made = searches(5, better=0.1, worse=0.2)
    rows = curves(made)
    by_pair = {(row["method"], row["other"], row["indicator"]): row for row in pairs(rows, made)}
    for indicator in ("hypervolume", "hypervolume_strict", "igd_plus"):
        good, bad = by_pair["good", "bad", indicator], by_pair["bad", "good", indicator]
        assert (good["wins"], bad["wins"], good["common_seeds"]) == (5, 0, 5)
        assert (good["a12"], bad["a12"]) == (1, 0)
        assert good["p"] == bad["p"] == pytest.approx(2 / 252)  # 5 against 5, all apart
        assert good["ratio"] == pytest.approx(1 / bad["ratio"])
    assert by_pair["good", "bad", "hypervolume"]["evaluations_to_reach"] == 2
    assert by_pair["bad", "good", "hypervolume"]["evaluations_to_reach"] is None
    assert by_pair["good", "bad", "hypervolume"]["coverage"] == 1
    assert by_pair["bad", "good", "hypervolume"]["coverage"] == 0
    ranks = {(row["indicator"], row["method"]): row["rank"] for row in ranking(rows)}
    assert {ranks[indicator, "good"] for indicator in ("hypervolume", "igd_plus")} == {1.0}


def test_a_method_against_its_equal_is_a_draw():
    made = searches(3, better=0.1, worse=0.1)
    made = {(name, seed): made["good", seed] for name in ("one", "two") for seed in range(3)}
    for row in pairs(curves(made), made):
        assert (row["wins"], row["a12"], row["ratio"] or 1.0, row["coverage"]) == (0, 0.5, 1.0, 1.0)
    assert {row["rank"] for row in ranking(curves(made))} == {1.5}


def test_methods_need_not_have_run_the_same_seeds():
    made = searches(3, better=0.1, worse=0.2)
    del made["bad", 0], made["good", 2]
    (row,) = [row for row in pairs(curves(made), made) if (row["method"], row["indicator"]) == ("good", "hypervolume")]
    assert (row["wins"], row["common_seeds"]) == (1, 1)
    made = {("good", 0): made["good", 0], ("bad", 1): made["bad", 1]}
    assert ranking(curves(made)) == []
    assert pairs(curves(made), made)[0]["coverage"] is None


def test_the_stage_compares_archives_whatever_the_order_of_objectives():
    def archive(errors, latencies):
        n = len(errors)
        columns = {name: [0] * n for name in EVALUATED.names}
        columns |= {"candidate": [str(i) for i in range(n)], "widths": [[i] for i in range(n)]}
        columns |= {"origin": ["unpruned"] + ["local"] * (n - 1), "generation": range(n)}
        return build(EVALUATED, columns | {"error": errors, "latency_ms": latencies})

    archives = {("hamp", 0): archive([0.05, 0.45], [4.0, 2.0]), ("nsga2", 0): archive([0.05, 0.45], [4.0, 3.0])}
    one, two = (compare(archives, names) for names in (["error", "latency_ms"], ["latency_ms", "error"]))
    assert one.curves == two.curves
    last = {row["method"]: row["hypervolume"] for row in one.curves.to_pylist()}
    assert last["hamp"] == pytest.approx(0.25)
    assert last["nsga2"] == pytest.approx(0.125)
    assert set(one.pairs["indicator"].to_pylist()) == {"hypervolume", "hypervolume_strict", "igd_plus"}


def test_rank_correlation_agrees_with_scipy_and_is_0_where_there_is_none():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    a, b = rng.integers(6, size=(2, 40))
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert spearman(a, np.ones(40)) == 0


def test_searches_are_compared_in_units_of_one_unpruned_network():
    """Each search measured it, with noise; what they found is the same."""

    def archive(unpruned):
        columns = {name: [0, 0] for name in EVALUATED.names}
        columns |= {"candidate": ["a", "b"], "widths": [[0], [1]], "origin": ["unpruned", "local"]}
        return build(EVALUATED, columns | {"error": [0.9, 0.45], "latency_ms": [unpruned, 5.0]})

    archives = {("hamp", 0): archive(10.0), ("nsga2", 0): archive(10.4)}
    made = compare(archives, ["error", "latency_ms"])
    assert made.curves["hypervolume"].to_pylist() == [pytest.approx(0.5 * (1 - 5 / 10.2))] * 2
    volumes = hypervolumes(archives, ["error", "latency_ms"])["hypervolume"].to_pylist()
    assert volumes[0] == volumes[1]

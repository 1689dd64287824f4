"""Dominance, hypervolume, indicators and statistics against brute force, known values and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from hamp.analysis.dominance import non_dominated, ranks
from hamp.analysis.hypervolume import hypervolume, hypervolume_history
from hamp.analysis.quality import attainment, coverage, evaluations_to_reach, igd_plus
from hamp.analysis.statistics import friedman, mann_whitney

few = settings(max_examples=40)
# Few different values, so that ties and copies are common.
objectives = st.integers(2, 5).flatmap(
    lambda m: arrays(float, st.tuples(st.integers(1, 25), st.just(m)), elements=st.integers(0, 6).map(float))
)


def dominated(F, i):
    return any((other <= F[i]).all() and (other < F[i]).any() for other in F)


@few
@given(objectives)
def test_non_dominated_is_what_no_other_dominates(F):
    assert non_dominated(F).tolist() == [not dominated(F, i) for i in range(len(F))]


@few
@given(objectives)
def test_ranks_peel_front_after_front(F):
    found, rest, rank = np.full(len(F), -1), np.arange(len(F)), 0
    while len(rest):
        front = np.array([not dominated(F[rest], i) for i in range(len(rest))])
        found[rest[front]] = rank
        rest, rank = rest[~front], rank + 1
    np.testing.assert_array_equal(ranks(F), found)


def test_nothing_has_no_front():
    assert len(non_dominated(np.zeros((0, 3)))) == 0
    assert len(ranks(np.zeros((0, 3)))) == 0
    assert hypervolume(np.zeros((0, 3)), np.ones(3)) == 0


@pytest.mark.parametrize(
    ("F", "reference", "volume"),
    [
        ([[0, 0]], [1, 1], 1),
        ([[0.5, 0.5]], [1, 1], 0.25),
        ([[0, 1], [1, 0]], [2, 2], 3),
        ([[0, 1], [1, 0], [1, 1]], [2, 2], 3),
        ([[0, 0, 0]], [2, 3, 4], 24),
        ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], [2, 2, 2], 4),
        ([[0, 0, 0, 0, 0]], [1, 1, 1, 1, 2], 2),
        ([[0, 1]], [1, 1], 0),  # not better than the reference in the second objective
        ([[0, 5], [0.5, 0.5]], [1, 1], 0.25),
    ],
)
def test_known_hypervolumes(F, reference, volume):
    assert hypervolume(F, reference) == pytest.approx(volume)


@pytest.mark.parametrize("m", [2, 3, 5])
def test_hypervolume_is_the_share_of_random_points_dominated(m):
    rng = np.random.default_rng(m)
    F = rng.random((12, m)) * 1.2
    points = rng.random((20_000, m))
    share = (points[:, None] >= F).all(axis=2).any(axis=1).mean()
    assert hypervolume(F, np.ones(m)) == pytest.approx(share, abs=0.015)


@few
@given(objectives, st.integers(0, 10**6))
def test_hypervolume_only_grows(F, seed):
    order = np.random.default_rng(seed).permutation(len(F))
    volumes = [hypervolume(F[order[:k]], np.full(F.shape[1], 7.0)) for k in range(len(F) + 1)]
    assert (np.diff(volumes) >= -1e-9).all()
    assert volumes[-1] == pytest.approx(hypervolume(F[non_dominated(F)], np.full(F.shape[1], 7.0)))


@few
@given(objectives, st.data())
def test_history_is_the_hypervolume_of_all_until_then(F, data):
    generation = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(F), max_size=len(F))))
    reference = np.full(F.shape[1], 6.5)
    numbers, evaluations, volumes = hypervolume_history(F, generation, reference)
    assert numbers.tolist() == sorted(set(generation.tolist()))
    for number, count, volume in zip(numbers, evaluations, volumes, strict=True):
        assert count == (generation <= number).sum()
        assert volume == pytest.approx(hypervolume(F[generation <= number], reference))


@few
@given(objectives, st.integers(0, 10**6))
def test_igd_plus_is_the_mean_distance_to_what_is_dominated(F, seed):
    front = np.random.default_rng(seed).random((7, F.shape[1])) * 6
    distance = np.sqrt((np.maximum(F[None] - front[:, None], 0) ** 2).sum(axis=2)).min(axis=1)
    assert igd_plus(F, front) == pytest.approx(distance.mean())
    assert igd_plus(F, F) == 0
    assert igd_plus(F[:0], front) == np.inf


def test_coverage():
    A, B = [[0, 1], [1, 0]], [[0, 1], [1, 1], [0.5, 0.5], [2, 0]]
    assert coverage(A, B) == 0.75
    assert coverage(B, A) == 0.5
    assert coverage(np.zeros((0, 2)), A) == 0


def test_empty_reference_sets_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        coverage([[0, 1]], np.zeros((0, 2)))
    with pytest.raises(ValueError, match="at least one"):
        igd_plus([[0, 1]], np.zeros((0, 2)))


@pytest.mark.parametrize("m", [2, 3])
def test_attainment_surfaces_are_attained_by_that_many_runs(m):
    rng = np.random.default_rng(0)
    fronts = [rng.random((6, m)) for _ in range(4)]
    surfaces = attainment(fronts, (25, 50, 100))
    assert set(surfaces[:, -1]) == {25, 50, 100}
    for *point, percent in surfaces:
        runs = sum(bool((np.array(point) >= front).all(axis=1).any()) for front in fronts)
        assert runs >= percent / 100 * len(fronts)


def test_evaluations_to_reach():
    assert evaluations_to_reach([20, 40, 60], [0.1, 0.3, 0.3], 0.3) == 40
    assert evaluations_to_reach([20, 40, 60], [0.1, 0.3, 0.3], 0.31) is None


samples = st.lists(st.integers(0, 8).map(float), min_size=1, max_size=9)


@few
@given(samples, samples)
def test_mann_whitney_and_effect_size_agree_with_scipy(a, b):
    found = mann_whitney(a, b)
    test = stats.mannwhitneyu(a, b)
    np.testing.assert_allclose(found.p, test.pvalue)
    assert found.a12 == pytest.approx(test.statistic / (len(a) * len(b)))
    assert mann_whitney(b, a).a12 == pytest.approx(1 - found.a12)


def test_mann_whitney_of_samples_all_equal_is_no_difference():
    found = mann_whitney([0.5, 0.5, 0.5], [0.5, 0.5])
    assert (found.p, found.a12) == (1.0, 0.5)


def test_mann_whitney_needs_values():
    with pytest.raises(ValueError, match="at least one"):
        mann_whitney([], [1.0])


def test_friedman_agrees_with_scipy_and_ranks_the_best_first():
    values = np.array([[0.9, 0.5, 0.1], [0.8, 0.6, 0.2], [0.7, 0.3, 0.4], [0.9, 0.2, 0.1]])
    found = friedman(values)
    assert found.p == pytest.approx(stats.friedmanchisquare(*values.T).pvalue)
    np.testing.assert_allclose(found.ranks, [1, 2.25, 2.75])


@pytest.mark.parametrize("values", [[[1.0, 2.0, 3.0]], [[1.0, 2.0], [2.0, 1.0]], [[1.0, 1.0, 1.0]] * 3])
def test_friedman_without_anything_to_test(values):
    assert friedman(values).p == 1.0

"""Survivors: the portfolio's properties, known answers, and the baselines' survivors as pymoo has them."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hamp.analysis.dominance import non_dominated, ranks
from hamp.analysis.hypervolume import hypervolume
from hamp.evolution.gain import Gain
from hamp.evolution.generation import Archive, Settings, survivors
from hamp.evolution.methods import METHODS
from hamp.evolution.scenarios import Scale, rays, reference_point, scale_of, utilities
from hamp.evolution.selection import greedy, nsga2, portfolio, sms_emoa, tie

few = settings(max_examples=60)
seeds = st.integers(0, 2**20)
values = st.sampled_from(["hypervolume", "tchebycheff"])
# Few different values, so that ties and copies are common.
coarse = st.integers(2, 5).flatmap(
    lambda m: arrays(float, st.tuples(st.integers(1, 30), st.just(m)), elements=st.integers(0, 6).map(float))
)


# Five objectives of 29 candidates, a digit each: gains of dominated ones that are equal but for rounding.
DIGITS = """
20321 01001 00030 00013 00030 04000 00005 00400 00005 20000 00013 00030 00005 00030 00400
00005 00030 00101 00005 00005 00110 10321 00013 00005 00013 00030 00011 01001 00030
"""
ROUNDED = np.array([list(map(float, row)) for row in DIGITS.split()])


def cloud(n: int, objectives: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((n, objectives))


def rows(F: np.ndarray) -> list[tuple]:
    return sorted(map(tuple, F))


@few
@given(coarse, st.integers(0, 35), values)
def test_a_portfolio_is_a_subset_of_the_size_asked_for(F, size, value):
    chosen = portfolio(F, size, value=value)
    assert len(chosen.indices) == len(chosen.contribution) == min(size, len(F))
    assert len(np.unique(chosen.indices)) == len(chosen.indices)
    assert np.isin(chosen.indices, np.arange(len(F))).all()
    assert (chosen.contribution >= 0).all()
    assert chosen.contribution.sum() <= 1 + 1e-9


@few
@given(coarse, seeds, st.integers(1, 20), values)
def test_the_order_of_the_candidates_does_not_matter(F, seed, size, value):
    shuffled = F[np.random.default_rng(seed).permutation(len(F))]
    a, b = portfolio(F, size, value=value), portfolio(shuffled, size, value=value)
    assert rows(F[a.indices]) == rows(shuffled[b.indices])


@few
@example(ROUNDED, 15, "hypervolume", False)
@given(coarse, st.integers(1, 20), values, st.booleans())
def test_no_dominated_candidate_is_preferred_to_one_that_dominates_it(F, size, value, limited):
    limits = np.full(F.shape[1], 3.0) if limited else None
    chosen = portfolio(F, size, value=value, limits=limits).indices
    left = np.setdiff1d(np.arange(len(F)), chosen)
    for better in F[left]:
        assert not ((better <= F[chosen]).all(axis=1) & (better < F[chosen]).any(axis=1)).any()


@few
@given(st.integers(2, 5), st.integers(2, 40), seeds, values)
def test_the_unit_of_an_objective_does_not_matter(objectives, n, seed, value):
    F = cloud(n, objectives, seed)
    # Powers of two change no digit.
    scaled = F * 2.0 ** np.random.default_rng(seed).integers(-20, 20, objectives)
    np.testing.assert_array_equal(
        portfolio(F, n // 2, value=value).indices, portfolio(scaled, n // 2, value=value).indices
    )


@pytest.mark.parametrize("objectives", [2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_the_best_of_each_objective_stays(objectives, seed):
    F = cloud(300, objectives, seed)
    F /= np.linalg.norm(F, axis=1, keepdims=True)  # all on the front
    chosen = portfolio(F, 25).indices
    extent = np.ptp(F, axis=0)
    assert (F[chosen].min(axis=0) <= F.min(axis=0) + 0.06 * extent).all()
    if objectives == 2:
        assert set(F.argmin(axis=0)) <= set(chosen.tolist())


@pytest.mark.parametrize("objectives", [2, 3])
def test_the_volume_is_near_the_best_subsets(objectives):
    for seed in range(10):
        F = cloud(12, objectives, seed)
        scale = scale_of(F)
        reference = reference_point(scale, 4)
        Z = scale.normalise(F)
        best = max(hypervolume(Z[list(subset)], reference) for subset in combinations(range(12), 4))
        assert hypervolume(Z[portfolio(F, 4).indices], reference) >= 0.99 * best


@pytest.mark.parametrize("objectives", [2, 3, 4, 5])
def test_the_worth_in_all_scenarios_is_the_volume(objectives):
    """The mean of the reaches to the power of the objectives is the hypervolume, up to one factor for all sets."""
    factors = []
    for seed in range(4):
        Z = cloud(6, objectives, seed)
        worth = utilities(Z, rays(objectives, 20_000), np.full(objectives, 1.2), objectives)
        factors.append(worth.max(axis=1).mean() / hypervolume(Z, np.full(objectives, 1.2)))
    assert np.ptp(factors) < 0.03 * np.mean(factors)


@few
@given(arrays(float, st.tuples(st.integers(1, 12), st.integers(1, 9)), elements=st.integers(0, 9).map(float)), seeds)
def test_greedy_takes_what_adds_most(U, seed):
    size = 1 + seed % 9
    chosen, best = greedy(U, size), np.zeros(len(U))
    for pick in chosen:
        gains = np.maximum(U - best[:, None], 0).sum(axis=0)
        assert gains[pick] == gains.max() > 0
        best = np.maximum(best, U[:, pick])
    if len(chosen) < min(size, U.shape[1]):
        assert (best[:, None] >= U).all()


def test_greedy_is_within_its_bound_of_the_best():
    for seed in range(20):
        U = cloud(15, 9, seed) ** 4
        best = max(U[:, list(subset)].max(axis=1).sum() for subset in combinations(range(9), 3))
        assert U[:, greedy(U, 3)].max(axis=1).sum() >= (1 - 1 / np.e) * best


def test_limits_that_nothing_meets_together_are_approached():
    """Each is met by some network: within both, what is nearer would be worth nothing, as all else."""
    known = np.array([[0.1, 0.9], [0.9, 0.1], [0.5, 0.6]])
    nearer, aside, front = [0.45, 0.55], [0.65, 0.5], [0.05, 0.95]
    assert Gain(known, 256, limits=[0.4, 0.4]).best_of(np.array([aside, front, nearer]), 3).tolist() == [2]
    assert Gain(known, 256, limits=[np.inf, 0.05]).best_of(np.array([[0.95, 0.08], [0.3, 0.5]]), 2).tolist() == [0]


def test_netadapt_begins_with_the_unpruned_network():
    """Also where another of the first networks happens to have a smaller error."""
    X, F = np.array([[8, 8], [4, 8], [8, 2]], dtype=np.int32), np.array([[0.3, 1.0], [0.2, 0.8], [0.4, 0.6]])
    archive = Archive(X, F, np.zeros(3, dtype=np.int64), ["unpruned", "random", "random"], np.zeros(0, dtype=np.intp))
    first = survivors(METHODS["netadapt"], archive, np.arange(3), 20, Settings())
    assert first.tolist() == [0]
    later = Archive(X, F, np.array([0, 1, 1]), archive.origins, first)
    assert survivors(METHODS["netadapt"], later, np.array([1, 2]), 20, Settings()).tolist() == [1]


@few
@given(arrays(float, st.tuples(st.integers(1, 20), st.just(2)), elements=st.floats(0, 1)), st.floats(0.01, 0.5))
def test_values_within_the_noise_are_equal_and_others_keep_their_order(F, noise):
    tied = tie(F, [noise, 0.0])
    np.testing.assert_array_equal(tied[:, 1], F[:, 1])
    assert (np.abs(tied - F)[:, 0] <= noise).all()
    first, second = np.sort(F[:, 0]), tied[np.argsort(F[:, 0], kind="stable"), 0]
    assert (np.diff(second) >= 0).all()
    assert (np.diff(np.unique(second)) > noise).all()
    assert set(second) <= set(first)


def test_a_gain_within_the_noise_buys_no_place():
    error, latency = np.linspace(0.1, 0.9, 9), 1 - np.linspace(0.1, 0.9, 9)
    F = np.column_stack([error, latency])
    copies = F + np.array([0.001, -0.001])  # a bit worse in error, better in latency by less than can be measured
    chosen = portfolio(np.concatenate([F, copies]), 9, noise=[0.0, 0.01]).indices
    assert sorted(chosen.tolist()) == list(range(9))
    assert set(portfolio(np.concatenate([F, copies]), 9).indices.tolist()) & set(range(9, 18))


def test_limits_fill_most_places_inside_them():
    F = cloud(400, 3, 0)
    F /= np.linalg.norm(F, axis=1, keepdims=True)
    limits = np.array([np.inf, 0.4, np.inf])
    inside = F[:, 1] <= 0.4
    without, limited = portfolio(F, 20).indices, portfolio(F, 20, limits=limits).indices
    assert inside[limited].sum() >= 16 > inside[without].sum()
    # Inside, it's the front there that is spread over.
    reference = reference_point(scale_of(F), 20, limits)
    Z = scale_of(F).normalise(F)
    assert hypervolume(Z[limited], reference) > 1.02 * hypervolume(Z[without], reference)


def test_where_none_is_inside_the_nearest_to_the_limit_are_kept():
    F = np.column_stack([np.linspace(0, 1, 50), np.linspace(1, 0, 50)])
    chosen = portfolio(F, 10, limits=[np.inf, -0.1]).indices
    assert set(range(42, 50)) <= set(chosen.tolist())


def test_a_limit_beyond_all_that_is_known_leaves_a_gain_to_climb():
    F = np.column_stack([np.linspace(0, 1, 50), np.linspace(1, 0, 50)])
    for limit in (-0.1, -5.0):
        gain = Gain(F, 200, limits=[np.inf, limit])
        steps = np.array([[0.99, 0.01], [1.0, -0.01], [1.0, -0.05]])
        worth = np.maximum(gain.worth(steps) - gain.best[:, None], 0).sum(axis=0)
        assert 0 <= worth[0] < worth[1] < worth[2]


def test_preferences_draw_members_towards_an_objective():
    F = cloud(500, 2, 1)
    F /= np.linalg.norm(F, axis=1, keepdims=True)
    plain, first, second = (
        F[portfolio(F, 20, preferences=p).indices].mean(axis=0) for p in (None, [5.0, 1.0], [1.0, 5.0])
    )
    assert first[0] < plain[0] < second[0]
    assert first[1] > plain[1] > second[1]
    np.testing.assert_array_equal(
        portfolio(F, 20, preferences=[2, 2], value="tchebycheff").indices, portfolio(F, 20, value="tchebycheff").indices
    )


@pytest.mark.parametrize("preferences", [[1.0], [1.0, 0.0], [1.0, -1.0]])
def test_preferences_are_positive_weights_one_an_objective(preferences):
    with pytest.raises(ValueError, match="preferences"):
        portfolio(cloud(5, 2, 0), 2, preferences=preferences)


def test_the_scale_is_of_the_front_and_of_all_that_is_known():
    F = np.array([[0.0, 2.0], [1.0, 1.0], [3.0, 0.0], [9.0, 9.0]])
    scale = scale_of(F)
    assert scale.ideal.tolist() == [0, 0]
    assert scale.nadir.tolist() == [3, 2]
    flat = Scale(np.zeros(2), np.array([0.0, 1.0])).normalise(np.array([[5.0, 0.5]]))
    assert flat.tolist() == [[0, 0.5]]


@few
@given(st.integers(2, 3), st.integers(4, 30), seeds)
def test_the_batch_that_gains_most_starts_with_the_largest_gain(objectives, n, seed):
    archive, F = cloud(5, objectives, seed) + 0.3, cloud(n, objectives, seed + 1)
    gain = Gain(archive, 3000)
    batch = gain.best_of(F, 3)
    Z, known = gain.scale.normalise(F), gain.scale.normalise(archive)
    added = np.array([hypervolume(np.vstack([known, z]), gain.reference) for z in Z])
    added -= hypervolume(known, gain.reference)
    if len(batch):
        assert added[batch[0]] >= 0.8 * added.max() - 1e-3
    else:
        assert added.max() < 1e-3


@pytest.mark.parametrize("objectives", [2, 3])
def test_sms_emoa_drops_the_least_contribution(objectives):
    F = cloud(200, objectives, 3)
    F = F[non_dominated(F)][:12]
    reference = np.ones(objectives) * 1.0
    kept = sms_emoa(F, len(F) - 1)
    (dropped,) = np.setdiff1d(np.arange(len(F)), kept)
    Z = (F - F.min(axis=0)) / np.ptp(F, axis=0)
    lost = [hypervolume(Z, reference + 1) - hypervolume(np.delete(Z, i, axis=0), reference + 1) for i in range(len(F))]
    inner = np.setdiff1d(np.arange(len(F)), F.argmin(axis=0))
    assert dropped == inner[np.argmin(np.array(lost)[inner])] or lost[dropped] == min(lost)


@few
@given(coarse, seeds)
def test_nsga2_fills_by_rank(F, seed):
    size = 1 + seed % len(F)
    kept = nsga2(F, size)
    assert len(kept) == size == len(np.unique(kept))
    rank = ranks(F)
    assert sorted(rank[kept].tolist()) == np.sort(rank)[:size].tolist()


def test_one_objective_is_refused():
    with pytest.raises(ValueError, match="at least 2 objectives"):
        portfolio(np.arange(6.0)[:, None], 3)

"""Surrogates, local search and NetAdapt: against scikit-learn, what they were told, and what they promise."""

import tracemalloc

import numpy as np
import pytest
from evolution_domains import check_new, networks
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import Ridge

from hamp.evolution import models, surrogate
from hamp.evolution.baselines import netadapt
from hamp.evolution.domain import make_domain
from hamp.evolution.gain import Gain
from hamp.evolution.local_search import LocalSearch, _efficient, neighbours, propose
from hamp.evolution.selection import portfolio

DOMAIN = make_domain([16, 16, 32, 32, 64], minimum=1, stages=[0, 0, 1, 1, 2])


def objectives_of(X):
    """An error that grows as widths shrink, unlike for each group, and a cost that sinks."""
    fraction = X / DOMAIN.channels
    error = 1 / (1 + np.exp(-(np.array([1.0, 0.3, 1.5, 0.5, 0.8]) * (0.4 - fraction) * 4).sum(axis=1)))
    return np.column_stack([error, (fraction * [1, 2, 3, 4, 5]).sum(axis=1)])


def told(X):
    """The same as a surrogate that is sure of it."""
    F = objectives_of(X)
    return F, np.zeros_like(F)


def test_gaussian_process_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    U, v, at = rng.normal(size=(40, 3)), rng.normal(size=40), rng.normal(size=(7, 3))
    kernel = ConstantKernel(2.0) * Matern([0.5, 1.0, 3.0], nu=2.5) + WhiteKernel(0.05)
    theirs = GaussianProcessRegressor(kernel, alpha=models.JITTER, optimizer=None).fit(U, v)
    ours = models.gp(U, v, {"variance": 2.0, "lengths": [0.5, 1.0, 3.0], "noise": 0.05})
    mean, deviation = theirs.predict(at, return_std=True)
    np.testing.assert_allclose(ours.mean(at), mean, atol=1e-8)
    np.testing.assert_allclose(ours.deviation(at) ** 2 + 0.05, deviation**2, atol=1e-8)
    value, gradient = models._negative_evidence(np.log([2.0, 0.5, 1.0, 3.0, 0.05]), U, v)
    evidence, slope = theirs.log_marginal_likelihood(theirs.kernel_.theta, eval_gradient=True)
    assert value == pytest.approx(-evidence, rel=1e-6)
    np.testing.assert_allclose(gradient, -slope, rtol=1e-4, atol=1e-4)


def test_ridge_is_that_of_scikit_learn_on_all_monomials():
    rng = np.random.default_rng(0)
    U, v, at = rng.normal(size=(40, 6)), rng.normal(size=40), rng.normal(size=(7, 6))
    i, j = np.triu_indices(6)

    def monomials(A):
        return np.hstack([np.ones((len(A), 1)), A, A[:, i] * A[:, j]])

    P, Q = monomials(U), monomials(at)
    ours = models.ridge(U, v, {"penalty": 0.3, "deviation": 2.0})
    theirs = Ridge(0.3, fit_intercept=False).fit(P, v)
    np.testing.assert_allclose(ours.mean(at), theirs.predict(Q), atol=1e-9)
    leverage = (Q @ np.linalg.inv(P.T @ P + 0.3 * np.eye(P.shape[1])) * Q).sum(axis=1)
    np.testing.assert_allclose(ours.deviation(at), 2.0 * np.sqrt(1 + leverage), atol=1e-9)
    found = models.fit_ridge(U, v, rng)
    penalties = 10.0 ** np.arange(-3, 3.5, 0.5)
    left_out = [
        np.mean(
            [
                (Ridge(p, fit_intercept=False).fit(np.delete(P, k, 0), np.delete(v, k)).predict(P[[k]]) - v[k]) ** 2
                for k in range(len(v))
            ]
        )
        for p in penalties
    ]
    assert found["penalty"] == penalties[int(np.argmin(left_out))]
    assert found["deviation"] == pytest.approx(np.sqrt(min(left_out)), rel=1e-6)


def test_ridge_costs_little_with_many_groups():
    """A DenseNet-201 has 199 groups: 20,100 monomials, whose matrix would take 3 GB."""
    rng = np.random.default_rng(0)
    U, v = rng.normal(size=(60, 199)), rng.normal(size=60)
    found = models.fit_ridge(U, v, rng)
    tracemalloc.start()
    models.ridge(U, v, found).mean(U)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_of_many_points_some_tell_the_hyperparameters():
    rng = np.random.default_rng(0)
    U = rng.uniform(-1, 1, size=(1500, 2))
    v = np.sin(3 * U[:, 0]) + 0.1 * rng.normal(size=len(U))
    found = models.fit_gp(U, v, np.random.default_rng(1))
    assert found["noise"] == pytest.approx(0.01, rel=0.5)
    assert found["lengths"][1] > 5 * found["lengths"][0]
    drawn = np.sort(np.random.default_rng(1).choice(len(v), models.ENOUGH, replace=False))
    assert found == models.fit_gp(U[drawn], v[drawn], rng)


@pytest.mark.parametrize("name", ["gp", "ridge", "trees"])
def test_fitting_again_gives_the_same_surrogate(name):
    X, at = networks(DOMAIN, 50, 0), networks(DOMAIN, 20, 1)
    targets = {"error": surrogate.Target(objectives_of(X)[:, 0], "logit")}
    first = surrogate.fit(X, DOMAIN, targets, np.random.default_rng(0), names=(name,))
    again = surrogate.refit(first.describe(), X, DOMAIN, targets)
    for one, other in zip(first.predict(at), again.predict(at), strict=True):
        np.testing.assert_array_equal(one["error"], other["error"])
    for nothing in first.predict(at[:0]):  # as where a small space has no network left
        assert nothing["error"].shape == (0,)


def test_quality_is_that_of_unseen_networks():
    X, at = networks(DOMAIN, 80, 0), networks(DOMAIN, 200, 1)
    targets = {"error": surrogate.Target(objectives_of(X)[:, 0], "logit")}
    fitted = surrogate.fit(X, DOMAIN, targets, np.random.default_rng(0))
    unseen = spearmanr(fitted.predict(at)[0]["error"], objectives_of(at)[:, 0]).statistic
    assert unseen > 0.95
    assert fitted.fitted[0].spearman == pytest.approx(unseen, abs=0.05)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=20))
def test_rank_correlations_are_those_of_scipy(pairs):
    a, b = np.array(pairs, dtype=float).T
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert surrogate._rank_correlation(a, b) == surrogate._kendall(a, b) == 0
        return
    assert surrogate._rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert surrogate._kendall(a, b) == pytest.approx(kendalltau(a, b).statistic)


def test_latency_is_learnt_as_a_factor_on_the_prediction():
    X, at = networks(DOMAIN, 60, 0), networks(DOMAIN, 30, 1)
    predicted = objectives_of(X)[:, 1]
    targets = {"latency_ms": surrogate.Target(1.3 * predicted, "log", predicted)}
    fitted = surrogate.fit(X, DOMAIN, targets, np.random.default_rng(0), names=("ridge",))
    base = objectives_of(at)[:, 1]
    np.testing.assert_allclose(fitted.predict(at, {"latency_ms": base})[0]["latency_ms"], 1.3 * base, rtol=1e-3)


def test_quality_of_latency_is_not_that_of_the_noise_on_its_prediction():
    X = networks(DOMAIN, 80, 0)
    predicted = objectives_of(X)[:, 1]
    measured = predicted * np.exp(np.random.default_rng(1).normal(0, 0.003, len(X)))
    targets = {"latency_ms": surrogate.Target(measured, "log", predicted)}
    [fitted] = surrogate.fit(X, DOMAIN, targets, np.random.default_rng(0)).fitted
    assert fitted.spearman > 0.99
    assert fitted.kendall > 0.9


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_local_search_proposes_what_it_was_to_gain(seed):
    rng = np.random.default_rng(seed)
    X = networks(DOMAIN, 30, seed)
    F = objectives_of(X)
    best = portfolio(F, 10).indices
    found, predicted, origins = propose(X[best], F[best], X, F, DOMAIN, told, 8, rng)
    assert len(found)
    check_new(found, DOMAIN, X)
    np.testing.assert_array_equal(predicted, objectives_of(found))
    gain = Gain(F, LocalSearch().scenarios)
    near = neighbours(X[best[0]], DOMAIN, len(found), rng)
    assert gain.worth(predicted).max(axis=1).sum() >= gain.worth(objectives_of(near)).max(axis=1).sum()
    assert set(origins) == {"local"}
    explored = propose(X[best], F[best], X, F, DOMAIN, told, 8, rng, quality=0.0)[2]
    assert explored.count("explore") == round(8 * LocalSearch().explore)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(0.05, 1.0))
def test_netadapt_cuts_one_group_as_little_as_meets_the_step(seed, step):
    [x] = networks(DOMAIN, 1, seed)

    def latency(X):
        return objectives_of(X)[:, 1]

    now = latency(x[None])[0]
    for cut in netadapt(x, DOMAIN, latency, step):
        [group] = np.flatnonzero(cut != x)
        saved = now - latency(cut[None])[0]
        wider = cut.copy()
        wider[group] += 1
        if saved >= step:
            assert wider[group] == x[group] or now - latency(wider[None])[0] < step


def test_efficient_widths_are_tried_on_either_side():
    efficient = np.array([16, 32, 48, 56, 58, 60, 62, 96, 128])
    rng = np.random.default_rng(0)
    assert {_efficient(64, efficient, rng) for _ in range(100)} == {60, 62, 96, 128}
    assert {_efficient(16, efficient, rng) for _ in range(100)} == {32, 48}
    assert _efficient(16, np.array([16]), rng) == 16

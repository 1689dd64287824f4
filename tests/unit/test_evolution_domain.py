"""The decision space: every vector that the search makes is a network of the space, and no network has two."""

from itertools import product

import numpy as np
import pytest
from evolution_domains import check, check_new, domains, networks
from hypothesis import given, settings
from hypothesis import strategies as st

from hamp.evolution import baselines, initial, variation
from hamp.evolution.domain import (
    allowed_widths,
    canonical,
    domain_of,
    encode,
    from_levels,
    keys,
    make_domain,
    repair,
    to_levels,
    unpruned,
)
from hamp.evolution.generation import Archive, Settings, improved, survivors, varied
from hamp.evolution.local_search import LocalSearch, neighbours
from hamp.evolution.methods import METHODS
from hamp.pruning.space import Space

few = settings(max_examples=60)
fewer = settings(max_examples=15)
seeds = st.integers(0, 2**20)


def space_of(domain) -> Space:
    """A space with these widths, of no network."""
    groups = domain.groups
    return Space(
        domain.channels,
        domain.minimum,
        domain.multiple,
        np.ones(groups, dtype=np.int32),
        tuple(f"layer{g}" for g in range(groups)),
        ((),) * groups,
        ((),) * groups,
        domain.branches,
        domain.stages,
        (),
        None,  # no costs are asked for
        {},
        (3, 8, 8),
    )


@few
@given(domains(), seeds)
def test_domain_and_space_agree_on_what_a_network_is(domain, seed):
    space = space_of(domain)
    of_space = domain_of(space)
    wanted = np.random.default_rng(seed).uniform(-3, 1.2 * domain.channels.max(), (30, domain.groups))
    X = repair(wanted, of_space)
    np.testing.assert_array_equal(X, space.repair(wanted))
    np.testing.assert_array_equal(space.validate(X), X)
    np.testing.assert_array_equal(space.canonical(X), X)
    np.testing.assert_array_equal(canonical(np.where(wanted > 3, 1, 0), of_space), space.canonical(wanted > 3))


@few
@given(domains(), seeds)
def test_allowed_widths_are_the_networks_left_as_they_are(domain, seed):
    X = networks(domain, 40, seed)
    np.testing.assert_array_equal(repair(X, domain), X)
    np.testing.assert_array_equal(from_levels(to_levels(X, domain), domain), X)
    assert np.isfinite(encode(X, domain)).all()
    assert len(np.unique(encode(X, domain), axis=0)) == len(X)


def test_size_counts_networks():
    domain = make_domain([4, 3, 5, 2], 1, [2, 1, 1, 1], branches=[-1, 7, 3, 7])
    every = np.array(list(product([2, 4], range(4), range(6), range(3))))
    assert domain.size == len(np.unique(canonical(every, domain), axis=0)) == 2 * 6 * (1 + 3 * 2)


@few
@given(domains(), seeds)
def test_repair_finds_the_nearest_width_and_of_two_the_wider(domain, seed):
    wanted = np.random.default_rng(seed).uniform(0, 1.2 * domain.channels.max(), (20, domain.groups))
    wanted = np.maximum(np.round(2 * wanted) / 2, domain.lowest)  # halves are as near to two; no branch goes
    X = repair(wanted, domain)
    for group in range(domain.groups):
        allowed = allowed_widths(domain, group)[::-1]
        nearest = allowed[np.abs(allowed - wanted[:, group, None]).argmin(axis=1)]
        np.testing.assert_array_equal(X[:, group], nearest)


@few
@given(domains(), seeds)
def test_every_maker_of_widths_stays_in_the_domain(domain, seed):
    rng = np.random.default_rng(seed)
    X = networks(domain, 20, seed)
    mates = X[rng.integers(len(X), size=len(X))]
    check(unpruned(domain), domain)
    check(initial.uniform_sweep(domain, 9), domain)
    check(initial.sensitivity_sweep(domain, 9, rng.random(domain.groups)), domain)
    check(initial.latin_hypercube(domain, 9, rng), domain)
    check(initial.spread(rng.random((20, domain.groups)), domain), domain)
    check(from_levels(rng.integers(-3, 30, X.shape), domain), domain)
    check(from_levels(rng.integers(-3, 30, X.shape), domain, before=X), domain)
    check(variation.crossover(X, mates, domain, rng), domain)
    check(variation.mutate(X, domain, rng, rate=0.5), domain)
    check(np.concatenate([neighbours(x, domain, 10, rng) for x in X]), domain)
    for name, operator in variation.WIDTH_AWARE.items():
        if name != "branch" or domain.branch.any():
            check(np.stack([operator(x, domain, rng) for x in X]), domain)
    check(baselines.netadapt(X[-1], domain, lambda X: X.sum(axis=1) + 1.0, 2.0), domain)


@few
@given(domains(), seeds)
def test_a_child_has_each_branch_as_one_parent_or_the_other(domain, seed):
    rng = np.random.default_rng(seed)
    X = networks(domain, 20, seed)
    a, b = X[rng.integers(len(X), size=50)], X[rng.integers(len(X), size=50)]
    child = variation.crossover(a, b, domain, rng)
    gone, from_a, from_b = child == 0, a == 0, b == 0
    assert ((gone == from_a) | (gone == from_b)).all()
    assert (child[from_a & from_b] == 0).all()


def test_a_branch_goes_and_comes_back_as_one():
    domain = make_domain([16, 16, 8, 8], 2, 2, branches=[-1, 0, 0, 1])
    rng = np.random.default_rng(0)
    without = np.array([16, 0, 0, 8], dtype=np.int32)
    for make in (
        lambda x: neighbours(x, domain, 200, rng),
        lambda x: variation.mutate(np.repeat(x[None], 200, axis=0), domain, rng),
        lambda x: np.stack([variation.transfer(x, domain, rng) for _ in range(200)]),
        lambda x: np.stack([variation.toggle_branch(x, domain, rng) for _ in range(200)]),
    ):
        back = make(without)
        assert (back[:, 1] > 0).any()
        assert ((back[:, 1] > 0) == (back[:, 2] > 0)).all()
        narrow = make(np.array([16, 2, 2, 8], dtype=np.int32))
        assert (narrow[:, 1] == 0).any()


def test_a_branch_is_as_often_missing_with_many_groups_as_with_one():
    rng = np.random.default_rng(0)
    shares = []
    for branches in ([0, -1, -1, -1], [0, 0, 0, 0]):
        X = initial.latin_hypercube(make_domain([16] * 4, branches=branches), 2000, rng)
        shares.append(float((X[:, 0] == 0).mean()))
    assert shares[0] == pytest.approx(shares[1], abs=0.01)
    assert shares[0] == pytest.approx(1 / 17, abs=0.01)


def objectives(X, domain):
    """Error and two costs that pull the other way, in which the groups count differently."""
    share = X / domain.channels
    weight = 1 + np.arange(domain.groups) / domain.groups
    return np.column_stack([np.exp(-2 * (share @ weight)), share.mean(axis=1), share @ weight[::-1]])


@fewer
@given(domains(), st.sampled_from(sorted(METHODS)), seeds)
def test_no_method_proposes_a_network_twice(domain, method, seed):
    rng = np.random.default_rng(seed)
    X, origins = initial.population(domain, 8, rng)
    check_new(X, domain, X[:0])
    archive = Archive(X, objectives(X, domain), np.zeros(len(X), dtype=np.int64), origins, np.arange(len(X)))
    tuned = Settings(local_search=LocalSearch(starts=3, steps=3, neighbours=10, scenarios=50), children=3)

    def predicted(X):
        return objectives(X, domain) * 1.01, np.full((len(X), 3), 0.1)

    for generation in (1, 2):
        new, names = varied(METHODS[method], archive, domain, 6, rng, tuned, latency=lambda X: X.sum(axis=1) + 1.0)
        if METHODS[method].surrogate and len(new):
            new, names = improved(METHODS[method], archive, domain, new, names, 6, rng, tuned, predicted, 0.5)
            assert len(new) <= 6
        check_new(new, domain, archive.X)
        assert len(names) == len(new)
        grown = Archive(
            np.concatenate([archive.X, new]),
            np.concatenate([archive.F, objectives(new, domain)]),
            np.concatenate([archive.generation, np.full(len(new), generation)]),
            [*archive.origins, *names],
            archive.population,
        )
        kept = survivors(METHODS[method], grown, np.arange(len(archive.X), len(grown.X)), 8, tuned)
        assert len(np.unique(kept)) == len(kept) > 0
        archive = Archive(grown.X, grown.F, grown.generation, grown.origins, kept)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_space_is_searched_to_its_end(method):
    """Where fewer networks are left than are asked for, those are returned, or none."""
    domain = make_domain([2, 3], branches=[0, -1])
    every = np.array(list(product([0, 1, 2], [1, 2, 3])), dtype=np.int32)
    known = every[:-1]
    rng = np.random.default_rng(0)
    archive = Archive(known, objectives(known, domain), np.zeros(8, dtype=np.int64), ["latin"] * 8, np.arange(4))
    tuned = Settings(children=2)
    for _ in range(5):
        new, names = varied(METHODS[method], archive, domain, 4, rng, tuned, latency=lambda X: X.sum(axis=1) + 1.0)
        if METHODS[method].surrogate:
            predicted = lambda X: (objectives(X, domain), np.zeros((len(X), 3)))  # noqa: E731
            new, names = improved(METHODS[method], archive, domain, new, names, 4, rng, tuned, predicted, 1.0)
        check_new(new, domain, known)
        assert keys(new) in ([], keys(every[-1:]))

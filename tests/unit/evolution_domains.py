"""Domains to draw, and what being in one means."""

import numpy as np
from hypothesis import strategies as st

from hamp.evolution.domain import Domain, Widths, allowed_widths, keys, make_domain


@st.composite
def domains(draw: st.DrawFn) -> Domain:
    """Any domain of up to six groups, with branches of one or several groups, efficient widths or none."""
    groups = draw(st.integers(1, 6))

    def each(least: int, most: int) -> list[int]:
        return draw(st.lists(st.integers(least, most), min_size=groups, max_size=groups))

    channels = each(1, 24)
    efficient = [np.unique(draw(st.lists(st.integers(0, n), min_size=1))) for n in channels]
    return make_domain(
        channels,
        each(1, 8),
        each(1, 5),
        branches=each(-1, 2),
        stages=each(0, 2),
        efficient=draw(st.sampled_from([efficient, None])),
        encoding=draw(st.sampled_from(["log", "linear"])),
    )


def networks(domain: Domain, n: int, seed: int) -> Widths:
    """Different networks (up to `n`), each allowed width as likely as the others."""
    rng = np.random.default_rng(seed)
    X = np.stack([rng.choice(allowed_widths(domain, g), n) for g in range(domain.groups)], axis=1)
    for branch in np.unique(domain.branches[domain.branches >= 0]):
        X[np.ix_((X[:, domain.branches == branch] == 0).any(axis=1), domain.branches == branch)] = 0
    return np.unique(X, axis=0).astype(np.int32)


def check(X: Widths, domain: Domain) -> None:
    """Every row is an allowed network, written in the one way that it has."""
    assert X.dtype == np.int32
    assert X.ndim == 2
    for group in range(domain.groups):
        assert np.isin(X[:, group], allowed_widths(domain, group)).all()
    for branch in np.unique(domain.branches[domain.branches >= 0]):
        gone = X[:, domain.branches == branch] == 0
        assert (gone.all(axis=1) == gone.any(axis=1)).all()


def check_new(X: Widths, domain: Domain, known: Widths) -> None:
    """Besides, no row stands twice or in what's known."""
    check(X, domain)
    assert len({*keys(X), *keys(known)}) == len(X) + len(known)

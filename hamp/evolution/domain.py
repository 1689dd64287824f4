"""The decision space as the search sees it: per group, which widths are allowed."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Widths = NDArray[np.int32]


class SpaceLike(Protocol):
    """What the search needs to know of a space of prunable groups; each ``(groups,)``."""

    @property
    def channels(self) -> NDArray[np.int32]:
        """Width of the unpruned group."""

    @property
    def minimum(self) -> NDArray[np.int32]:
        """Smallest width, other than 0."""

    @property
    def multiple(self) -> NDArray[np.int32]:
        """What widths are multiples of."""

    @property
    def branches(self) -> NDArray[np.int32]:
        """Number of the branch that goes when the width is 0; -1: none."""

    @property
    def stages(self) -> NDArray[np.int32]:
        """Equal for groups at one resolution."""


@dataclass(frozen=True)
class Domain:
    """The allowed widths of each group: ``channels``; every multiple of ``multiple`` from ``minimum`` up to
    ``channels``; 0 in all groups of a branch or in none.

    channels, minimum, multiple: int32 ``(groups,)``. branches: int32 ``(groups,)``, equal for the groups that go
    together, -1 where the width can't be 0. stages: int32 ``(groups,)``, equal for groups at one resolution.
    efficient: per group the ascending widths that no wider width beats on the device, or None. encoding: how the
    surrogate sees a width, as the logarithm of the kept fraction or as the fraction.

    Every vector that a function of this package returns is in the domain, and each network has one vector there.
    """

    channels: Widths
    minimum: Widths
    multiple: Widths
    branches: NDArray[np.int32]
    stages: NDArray[np.int32]
    efficient: tuple[Widths, ...] | None = None
    encoding: Literal["log", "linear"] = "log"

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(self.channels)

    @property
    def lowest(self) -> Widths:
        """Smallest allowed width other than 0, ``(groups,)``."""
        return np.minimum(-(-self.minimum // self.multiple) * self.multiple, self.channels)

    @property
    def top(self) -> Widths:
        """Level of the unpruned width, ``(groups,)``: levels count the allowed widths other than 0 from 0."""
        return -(-(self.channels - self.lowest) // self.multiple)

    @property
    def size(self) -> float:
        """Number of different networks."""
        levels = self.top.astype(float) + 1
        return float(np.prod(levels[~self.branch]) * np.prod([1 + np.prod(levels[groups]) for groups in self.members]))

    @cached_property
    def branch(self) -> NDArray[np.bool_]:
        """Whether a group can have width 0, ``(groups,)``."""
        return self.branches >= 0

    @cached_property
    def leads(self) -> NDArray[np.bool_]:
        """Whether a group is the first of its branch: it alone decides where the branch's fate is drawn."""
        leads = np.zeros(self.groups, dtype=bool)
        leads[np.unique(self.branches, return_index=True)[1]] = True
        return leads & self.branch

    @cached_property
    def units(self) -> NDArray[np.intp]:
        """Number of the unit that a group belongs to, ``(groups,)``: the groups of a branch are one, others alone."""
        alone = self.branches.max(initial=-1) + 1 + np.arange(self.groups)
        return np.unique(np.where(self.branch, self.branches, alone), return_inverse=True)[1]

    @cached_property
    def by_unit(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The groups unit by unit, and where each unit begins there."""
        order = np.argsort(self.units, kind="stable")
        return order, np.unique(self.units[order], return_index=True)[1]

    @cached_property
    def members(self) -> tuple[NDArray[np.intp], ...]:
        """The groups of each branch."""
        return tuple(np.flatnonzero(self.branches == branch) for branch in np.unique(self.branches[self.branch]))


def make_domain(
    channels: ArrayLike,
    minimum: ArrayLike = 1,
    multiple: ArrayLike = 1,
    *,
    branches: ArrayLike = -1,
    stages: ArrayLike | None = None,
    efficient: list[Widths] | None = None,
    encoding: Literal["log", "linear"] = "log",
) -> Domain:
    """Build a domain; scalars hold for every group.

    Without ``stages`` the groups of equal ``channels`` form a stage. Efficient widths are kept where allowed.
    """
    channels = np.asarray(channels, dtype=np.int32)

    def each(value: ArrayLike, dtype: type) -> NDArray:
        return np.broadcast_to(np.asarray(value, dtype=dtype), channels.shape).copy()

    domain = Domain(
        channels=channels,
        minimum=np.clip(each(minimum, np.int32), 1, channels),
        multiple=np.maximum(each(multiple, np.int32), 1),
        branches=each(branches, np.int32),
        stages=np.unique(channels, return_inverse=True)[1].astype(np.int32)
        if stages is None
        else np.asarray(stages, dtype=np.int32),
        encoding=encoding,
    )
    if efficient is None:
        return domain
    allowed = [np.intersect1d(widths, allowed_widths(domain, g)) for g, widths in enumerate(efficient)]
    return replace(domain, efficient=tuple(w.astype(np.int32) for w in allowed))


def domain_of(space: SpaceLike, efficient: list[Widths] | None = None) -> Domain:
    """Build the domain of a space."""
    return make_domain(
        space.channels,
        space.minimum,
        space.multiple,
        branches=space.branches,
        stages=space.stages,
        efficient=efficient,
    )


def allowed_widths(domain: Domain, group: int) -> Widths:
    """Return the allowed widths of one group, ascending."""
    widths = domain.lowest[group] + domain.multiple[group] * np.arange(domain.top[group] + 1, dtype=np.int32)
    widths = np.minimum(widths, domain.channels[group])
    return np.concatenate([[0], widths]).astype(np.int32) if domain.branch[group] else widths.astype(np.int32)


def canonical(X: ArrayLike, domain: Domain) -> Widths:
    """Return the widths ``(n, groups)`` with 0 in all groups of a branch of which one is 0: the same network."""
    X = np.array(X, dtype=np.int32)
    X[_over_units(np.logical_or, X == 0, domain)] = 0
    return X


def together(X: Widths, before: Widths, domain: Domain) -> Widths:
    """Return ``X (n, groups)``, of which single groups were changed from ``before``, as networks.

    A branch that's there goes with the first of its groups; one that's gone comes back with the first of them, the
    others at the fraction of their channels that it has.
    """
    kept = _over_units(np.maximum, X / domain.channels, domain)
    back = _over_units(np.logical_and, before == 0, domain) & (kept > 0)
    whole = repair(np.maximum(kept * domain.channels, domain.lowest), domain)
    return canonical(np.where(back & (X == 0), whole, X), domain)


def _over_units(reduce: np.ufunc, values: NDArray, domain: Domain) -> NDArray:
    """Reduce values ``(n, groups)`` over the groups of each unit, and give each group its unit's."""
    order, starts = domain.by_unit
    return reduce.reduceat(values[:, order], starts, axis=1)[:, domain.units]


def from_levels(levels: ArrayLike, domain: Domain, before: Widths | None = None) -> Widths:
    """Return the widths ``(n, groups)`` at the given levels; level -1 is width 0 in a branch, else the lowest.

    before: the networks of which single levels were changed (:func:`together`).
    """
    clipped = np.clip(np.asarray(levels), np.where(domain.branch, -1, 0), domain.top)
    widths = np.minimum(domain.lowest + clipped * domain.multiple, domain.channels)
    return _whole(np.where(clipped < 0, 0, widths), domain, before)


def to_levels(X: ArrayLike, domain: Domain) -> Widths:
    """Return the level ``(n, groups)`` of each allowed width."""
    X = np.asarray(X)
    levels = -(-(X - domain.lowest) // domain.multiple)
    return np.where(domain.branch & (X == 0), -1, np.clip(levels, 0, domain.top)).astype(np.int32)


def repair(X: ArrayLike, domain: Domain, before: Widths | None = None) -> Widths:
    """Return the nearest allowed widths ``(n, groups)`` of real or integer ones; the wider one of two as near.

    before: the networks of which single widths were changed (:func:`together`).
    """
    X = np.asarray(X, dtype=float)
    below = np.floor((X - domain.lowest) / domain.multiple)
    lower, upper = from_levels(np.maximum(below, 0), domain), from_levels(np.maximum(below + 1, 0), domain)
    nearest = np.where(X - lower < upper - X, lower, upper)
    return _whole(np.where(domain.branch & (domain.lowest / 2 > X), 0, nearest), domain, before)


def _whole(X: NDArray, domain: Domain, before: Widths | None) -> Widths:
    return canonical(X, domain) if before is None else together(X, before, domain)


def unpruned(domain: Domain) -> Widths:
    """Return the widths ``(1, groups)`` of the unpruned network."""
    return domain.channels[None, :].copy()


def encode(X: ArrayLike, domain: Domain) -> NDArray[np.float64]:
    """Return the surrogate's view ``(n, groups)`` of widths.

    In the logarithm of the kept fraction equal steps are equal relative cuts. A dropped branch is put one halving
    below the lowest width.
    """
    X = np.asarray(X, dtype=float)
    if domain.encoding == "linear":
        return X / domain.channels
    return np.log(np.where(X > 0, X, domain.lowest / 2) / domain.channels)


def keys(X: Widths) -> list[bytes]:
    """Return a hashable key for each row of widths."""
    return [row.tobytes() for row in np.ascontiguousarray(X, dtype=np.int32)]


def first_new(X: Widths, exclude: frozenset[bytes] | set[bytes]) -> NDArray[np.intp]:
    """Return the indices of the rows that are neither in ``exclude`` nor equal to an earlier row."""
    seen = set(exclude)
    new = []
    for index, key in enumerate(keys(X)):
        if key not in seen:
            seen.add(key)
            new.append(index)
    return np.array(new, dtype=np.intp)

"""From joined atoms to groups: classes of channels that touch the same dimensions equally often.

A class is a set of channels that go together. Classes with one signature, the multiset of tensor dimensions that
they touch, are interchangeable: they form a group, of which any number may be kept, and every count of channels
in the network is linear in those numbers. So the 64 channels of a stream that zero-padded shortcuts widen from 16
are three groups: those that only the last stage has, and so on.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hamp.pruning.channels import Atlas, Atoms
from hamp.pruning.propagation import Propagation
from hamp.pruning.space import Slice

Key = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Group:
    """Interchangeable classes: `roots` (units,) are their representatives, in channel order of `primary`."""

    roots: Atoms
    unit: int
    primary: Key
    slices: tuple[Slice, ...]


@dataclass(frozen=True, eq=False)
class Grouping:
    """Groups, the reason of every pinned class, and which unit of which group each class is."""

    groups: tuple[Group, ...]
    pinned: dict[int, str]

    def numbering(self) -> tuple[Callable[[Atoms], NDArray[np.int64]], NDArray[np.int64]]:
        """A function from class representatives to unit numbers (0: stays; see `Space.axes`), and units to groups."""
        roots = np.concatenate([g.roots for g in self.groups] or [np.zeros(0, dtype=np.int64)])
        order = np.argsort(roots)
        groups = np.concatenate([[-1], np.repeat(np.arange(len(self.groups)), [len(g.roots) for g in self.groups])])

        def number(classes: Atoms) -> NDArray[np.int64]:
            if not len(roots):
                return np.zeros_like(classes)
            at = np.searchsorted(roots, classes, sorter=order).clip(max=len(roots) - 1)
            return np.where(roots[order[at]] == classes, order[at] + 1, 0)

        return number, groups.astype(np.int64)

    def unit_counts(self, classes: Atoms) -> tuple[int, dict[int, int]]:
        """Of an axis: channels that always stay, and per group the channels of one unit."""
        counts = {}
        for number, group in enumerate(self.groups):
            inside = int(np.isin(classes, group.roots).sum())
            if inside:
                counts[number] = inside // len(group.roots)
        prunable = sum(n * len(self.groups[g].roots) for g, n in counts.items())
        return len(classes) - prunable, counts


def group_channels(atlas: Atlas, propagations: list[Propagation], producers: list[Key]) -> Grouping:
    """Form the groups of all classes that touch a parameter and are not pinned.

    producers: parameter dimensions that are the outputs of convolutions and linear layers, in order.
    """
    for p in propagations:
        p.collapse()
    classes = {key: atlas.find(atoms) for key, atoms in atlas.axes.items()}
    pinned = atlas.pinned()
    touched: dict[int, list[tuple[int, int]]] = {}
    known: dict[bytes, int] = {}
    in_values = [atlas.find(c.atoms) for p in propagations for c in p.values.values() if len(c.dims) == 1]
    for axis in (*classes.values(), *in_values):
        data = axis.tobytes()
        if data not in known:
            known[data] = len(known)
            for root, count in zip(*(x.tolist() for x in np.unique(axis, return_counts=True)), strict=True):
                touched.setdefault(root, []).append((known[data], count))
    order = [*producers, *(key for key in classes if key not in set(producers))]
    members: dict[tuple, list[int]] = {}
    primary: dict[tuple, Key] = {}
    seen: set[int] = set()
    for key in order:
        for root in dict.fromkeys(classes[key].tolist()):
            if root not in seen and root not in pinned:
                seen.add(root)
                signature = tuple(touched[root])
                members.setdefault(signature, []).append(root)
                primary.setdefault(signature, key)
    groups = [_group(np.array(roots), primary[signature], classes) for signature, roots in members.items()]
    return Grouping(tuple(groups), pinned)


def _group(roots: Atoms, primary: Key, classes: dict[Key, Atoms]) -> Group:
    rank = np.argsort(roots)
    slices = []
    for (name, dim), axis in classes.items():
        at = np.searchsorted(roots, axis, sorter=rank).clip(max=len(roots) - 1)
        unit = rank[at]
        inside = roots[unit] == axis
        if inside.any():
            positions = np.flatnonzero(inside)
            positions = positions[np.argsort(unit[positions], kind="stable")]
            slices.append(Slice(name, dim, len(axis), positions.reshape(len(roots), -1).astype(np.int32)))
    unit_size = next(s.positions.shape[1] for s in slices if (s.parameter, s.dim) == primary)
    return Group(roots, unit_size, primary, tuple(slices))

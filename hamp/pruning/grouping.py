"""From joined atoms to groups: classes of channels that touch the same dimensions equally often.

A class is a set of channels that go together. Classes with one signature, the multiset of tensor dimensions that
they touch, are interchangeable: they form a group, of which any number may be kept, and every count of channels
in the network is linear in those numbers. So the 64 channels of a stream that zero-padded shortcuts widen from 16
are three groups: those that only the last stage has, and so on.
"""

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


class Units:
    """Numbers the units of all groups as `Space.axes` does: 0 for channels that stay, then group by group."""

    def __init__(self, atlas: Atlas, members: list[Atoms]):
        self._atlas = atlas
        self._roots = np.concatenate([*members, np.zeros(0, dtype=np.int64)])
        self._order = np.argsort(self._roots)
        self.sizes = np.array([len(roots) for roots in members], dtype=np.int64)
        self.group = np.concatenate([[-1], np.repeat(np.arange(len(members)), self.sizes)])
        self.first = 1 + np.concatenate([[0], np.cumsum(self.sizes)])

    def __call__(self, atoms: Atoms) -> NDArray[np.int64]:
        """The unit of each atom."""
        classes = self._atlas.find(atoms)
        if not len(self._roots):
            return np.zeros_like(classes)
        at = self._order[np.searchsorted(self._roots, classes, sorter=self._order).clip(max=len(self._roots) - 1)]
        return np.where(self._roots[at] == classes, at + 1, 0)

    def groups(self, atoms: Atoms) -> list[int]:
        """The groups that have some of these atoms."""
        return [g for g in np.unique(self.group[self(atoms)]).tolist() if g >= 0]

    def counts(self, atoms: Atoms) -> tuple[int, dict[int, int]]:
        """Of an axis: channels that always stay, and per group the channels of one unit."""
        per_group = np.bincount(self.group[self(atoms)] + 1, minlength=len(self.sizes) + 1)
        return int(per_group[0]), {
            int(g): int(per_group[g + 1] // self.sizes[g]) for g in np.flatnonzero(per_group[1:])
        }


@dataclass(frozen=True, eq=False)
class Grouping:
    """All groups, the unit of every atom, and the reason of every pinned class."""

    groups: tuple[Group, ...]
    units: Units
    pinned: dict[int, str]


def group_channels(atlas: Atlas, propagations: list[Propagation], producers: list[Key]) -> Grouping:
    """Form the groups of all classes that touch a parameter and are not pinned.

    producers: parameter dimensions that are the outputs of convolutions and linear layers, in order.
    """
    for p in propagations:
        p.collapse()
    classes = {key: atlas.find(atoms) for key, atoms in atlas.axes.items()}
    in_values = [atlas.find(c.atoms) for p in propagations for c in p.values.values() if len(c.dims) == 1]
    distinct = {axis.tobytes(): axis for axis in (*classes.values(), *in_values)}
    signatures = _signatures(list(distinct.values()))
    pinned = atlas.pinned()
    members: dict[tuple, list[int]] = {}
    primary: dict[tuple, Key] = {}
    seen: set[int] = set(pinned)
    for key in dict.fromkeys((*producers, *classes)):
        for root in classes[key].tolist():
            if root not in seen:
                seen.add(root)
                members.setdefault(signatures[root], []).append(root)
                primary.setdefault(signatures[root], key)
    roots = [np.array(found) for found in members.values()]
    units = Units(atlas, roots)
    slices = _slices(atlas, units)
    groups = []
    for number, (signature, found) in enumerate(zip(members, roots, strict=True)):
        first = primary[signature]
        unit = next(s.positions.shape[1] for s in slices[number] if (s.parameter, s.dim) == first)
        groups.append(Group(found, unit, first, tuple(slices[number])))
    return Grouping(tuple(groups), units, pinned)


def _signatures(axes: list[Atoms]) -> dict[int, tuple]:
    """By class, the axes that it touches and how often."""
    touched: dict[int, list[tuple[int, int]]] = {}
    for number, axis in enumerate(axes):
        for root, count in zip(*(x.tolist() for x in np.unique(axis, return_counts=True)), strict=True):
            touched.setdefault(root, []).append((number, count))
    return {root: tuple(found) for root, found in touched.items()}


def _slices(atlas: Atlas, units: Units) -> dict[int, list[Slice]]:
    """By group, where its units lie in each parameter dimension."""
    found: dict[int, list[Slice]] = {}
    known: dict[bytes, list[tuple[int, NDArray[np.int32]]]] = {}
    for (name, dim), atoms in atlas.axes.items():
        unit = units(atoms)
        data = unit.tobytes()
        if data not in known:
            order = np.argsort(unit, kind="stable").astype(np.int32)
            group = units.group[unit[order]]
            known[data] = [
                (g, order[group == g].reshape(units.sizes[g], -1)) for g in np.unique(group).tolist() if g >= 0
            ]
        for group_number, positions in known[data]:
            found.setdefault(group_number, []).append(Slice(name, dim, len(atoms), positions))
    return found

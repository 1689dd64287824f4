"""Symbolic channels: which must be kept or removed together.

Every channel of every tensor is an *atom*. Atoms that must share one fate are joined (union-find);
atoms that must stay are pinned, with a reason. A tensor's channels are an array of atoms that spans
one dimension or, between two reshapes, several.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Atoms = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Channels:
    """`atoms` has the sizes of `dims`, which increase. `origin` is set where `dims` are several.

    `origin` is (value, positions): the last value with channels in one dimension from which this one
    came by moving data only, and, with the full shape of this value, the flat position of every element there.
    """

    dims: tuple[int, ...]
    atoms: Atoms
    origin: tuple[int, np.ndarray] | None = None


class Atlas:
    """All atoms, their joins and pins, and the atoms of every parameter dimension."""

    def __init__(self) -> None:
        self._parent = np.zeros(1024, dtype=np.int64)
        self._size = 0
        self._pins: dict[int, str] = {}
        self.axes: dict[tuple[str, int], Atoms] = {}

    def fresh(self, n: int) -> Atoms:
        """n new atoms."""
        while self._size + n > len(self._parent):
            self._parent = np.concatenate([self._parent, np.zeros_like(self._parent)])
        atoms = np.arange(self._size, self._size + n)
        self._parent[atoms] = atoms
        self._size += n
        return atoms

    def find(self, atoms: Atoms) -> Atoms:
        """The representative of each atom's class."""
        root = self._parent[atoms]
        while True:
            above = self._parent[root]
            if np.array_equal(above, root):
                return root
            root = above

    def _root(self, atom: int) -> int:
        while (above := int(self._parent[atom])) != atom:
            atom = above
        return atom

    def join(self, a: Atoms, b: Atoms) -> None:
        """Atoms at equal places (arrays broadcast) share one fate."""
        a, b = np.broadcast_arrays(self.find(a), self.find(b))
        differ = a != b
        for x, y in set(zip(a[differ].tolist(), b[differ].tolist(), strict=True)):
            x, y = self._root(x), self._root(y)
            if x != y:
                low, high = min(x, y), max(x, y)
                self._parent[high] = low
                if high in self._pins:
                    self._pins.setdefault(low, self._pins[high])

    def pin(self, atoms: Atoms, reason: str) -> None:
        """These atoms stay."""
        for root in np.unique(self.find(atoms)).tolist():
            self._pins.setdefault(root, reason)

    def pinned(self) -> dict[int, str]:
        """Reason by class representative."""
        return {self._root(atom): reason for atom, reason in self._pins.items()}

    def axis(self, name: str, dim: int, size: int) -> Atoms:
        """Atoms of dimension `dim` of parameter `name`."""
        if (name, dim) not in self.axes:
            self.axes[name, dim] = self.fresh(size)
        return self.axes[name, dim]

    def bind(self, name: str, dim: int, atoms: Atoms) -> None:
        """Dimension `dim` of parameter `name` has these atoms."""
        if (name, dim) in self.axes:
            self.join(self.axes[name, dim], atoms)
        else:
            self.axes[name, dim] = atoms

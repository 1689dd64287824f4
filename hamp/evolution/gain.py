"""What candidates would add to everything evaluated so far."""

import numpy as np
from numpy.typing import ArrayLike

from hamp.evolution.scenarios import Array, rays, reference_point, scale_of, utilities
from hamp.evolution.selection import Indices, excess_over, greedy


class Gain:
    """What candidates would add to the hypervolume of everything evaluated so far, or to the part of it that the
    user's preferences and limits ask for."""

    def __init__(
        self, archive_F: Array, scenarios: int, preferences: ArrayLike | None = None, limits: ArrayLike | None = None
    ):
        self.scale = scale_of(archive_F)
        self.power = archive_F.shape[1]
        self.directions = rays(self.power, scenarios, preferences)
        limits = None if limits is None else _approached(archive_F, np.asarray(limits, dtype=float))
        self.reference = reference_point(self.scale, len(archive_F), limits)
        self.best = self.worth(archive_F).max(axis=1)

    def worth(self, F: Array) -> Array:
        """Return ``(scenarios, n)``: what each candidate is worth in each scenario."""
        return utilities(self.scale.normalise(F), self.directions, self.reference, self.power)

    def best_of(self, F: Array, n: int) -> Indices:
        """Return the indices of up to ``n`` candidates, each the one that adds most to those before it."""
        return greedy(self.worth(F), n, self.best)


def _approached(F: Array, limits: Array) -> Array:
    """Return the limits; where all of ``F`` exceeds them, widened to what does least: within narrower ones, what is
    a step nearer would be worth as little as what is not."""
    excess = excess_over(F, limits)
    if (excess == 0).any():
        return limits
    return np.where(np.isfinite(limits), np.maximum(limits, F[np.argmin(excess)]), limits)

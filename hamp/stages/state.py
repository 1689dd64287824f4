"""The state of a search as its tables hold it, and as the evolution wants it."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from hamp.candidates import name_of
from hamp.evolution.domain import Domain, domain_of
from hamp.evolution.generation import Archive
from hamp.hardware.predictor import efficient_widths
from hamp.pruning.space import Space
from hamp.tables import CANDIDATES, build, columns, matrix


def domain(space: Space, profile: pa.Table) -> Domain:
    """The widths that the search may choose, and those that are efficient on the device."""
    return domain_of(space, efficient_widths(profile, space))


def archive_of(archive: pa.Table, population: pa.Table, objectives: Sequence[str]) -> Archive:
    """All that was evaluated (table EVALUATED), and which of it is the population."""
    row = {name: index for index, name in enumerate(archive["candidate"].to_pylist())}
    return Archive(
        X=matrix(archive),
        F=columns(archive, ordered(objectives)),
        generation=archive["generation"].to_numpy().astype(np.int64),
        origins=archive["origin"].to_pylist(),
        population=np.array([row[name] for name in population["candidate"].to_pylist()], dtype=np.intp),
    )


def ordered(objectives: Sequence[str]) -> list[str]:
    """Objectives with the error first, as the evolution wants them."""
    return sorted(objectives, key=lambda name: name != "error")


def candidates(widths: np.ndarray, origins: Sequence[str]) -> pa.Table:
    """Table CANDIDATES of widths (n, groups)."""
    return build(CANDIDATES, {"candidate": [name_of(row) for row in widths], "widths": widths, "origin": list(origins)})


def passed_through(archive: pa.Table, generation: int) -> bool:
    """Whether the search converged: the generation before this one evaluated nothing."""
    return int(archive["generation"].to_numpy().max()) < generation - 1

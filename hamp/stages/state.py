"""The state of a search as its tables hold it, and as the evolution wants it."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hamp.candidates import UNPRUNED, name_of
from hamp.configuration.blocks import Portfolio
from hamp.evolution.domain import Domain, domain_of
from hamp.evolution.generation import Archive, Settings
from hamp.hardware.predictor import efficient_widths
from hamp.pruning.space import Space
from hamp.stages.known import Profiles
from hamp.tables import CANDIDATES, at, build, columns, matrix


def domain(space: Space, profiles: Profiles) -> Domain:
    """The widths that the search may choose, and those that are efficient on one device or another."""
    efficient = [efficient_widths(profile, space) for profile in profiles.values()]
    return domain_of(space, [reduce(np.union1d, widths) for widths in zip(*efficient, strict=True)])


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


def noise(table: pa.Table, objectives: Sequence[str]) -> np.ndarray:
    """How far each value may be off (n, objectives): latency by its interquartile range, which grows with it."""

    def widths(name: str) -> np.ndarray:
        quantity, _, device = name.partition("@")
        return table[at("latency_iqr_ms", device)].to_numpy() if quantity == "latency_ms" else np.zeros(len(table))

    return np.column_stack([widths(name) for name in objectives])


def settings(wanted: Portfolio, archive: pa.Table, objectives: Sequence[str], **others: Any) -> Settings:
    """What the evolution is told of the user's wishes; limits that are shares are taken of the unpruned network's.

    Args:
        wanted: the user's wishes.
        archive: all evaluated so far (EVALUATED).
        objectives: names.
        others: further fields of the evolution's settings.
    """
    names = ordered(objectives)
    unpruned = archive.filter(pc.equal(archive["origin"], UNPRUNED)).to_pylist()[0]

    def limit(name: str) -> float:
        value = wanted.limits.get(name, np.inf)
        return float(value.removesuffix("%")) / 100 * unpruned[name] if isinstance(value, str) else float(value)

    return Settings(
        preferences=[wanted.preferences.get(name, 1.0) for name in names] if wanted.preferences else None,
        limits=[limit(name) for name in names] if wanted.limits else None,
        noise=found if (found := noise(archive, names)).any() else None,
        value=wanted.value,
        **others,
    )


def candidates(widths: np.ndarray, origins: Sequence[str]) -> pa.Table:
    """Table CANDIDATES of widths (n, groups)."""
    return build(CANDIDATES, {"candidate": [name_of(row) for row in widths], "widths": widths, "origin": list(origins)})


def passed_through(archive: pa.Table, generation: int) -> bool:
    """Whether the search converged: the generation before this one evaluated nothing."""
    return int(archive["generation"].to_numpy().max()) < generation - 1

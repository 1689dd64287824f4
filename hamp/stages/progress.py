"""How far a search has come: its objectives over the unpruned network's, and their hypervolume."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hamp.analysis.hypervolume import hypervolume, hypervolume_history
from hamp.candidates import UNPRUNED
from hamp.tables import columns

REFERENCE_ERROR = 0.9
"""Error at the hypervolume's reference point; the other objectives' are the unpruned network's."""


def unpruned(archives: Iterable[pa.Table], objectives: Sequence[str]) -> np.ndarray:
    """Objectives of the unpruned network, (objectives,): the median over searches, each of which measured it."""
    rows = [archive.filter(pc.equal(archive["origin"], UNPRUNED)) for archive in archives]
    return np.median(np.concatenate([columns(row, objectives)[:1] for row in rows]), axis=0)


def history(
    archive: pa.Table,
    objectives: Sequence[str],
    base: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Generations, evaluations until then, and hypervolume of all found until then, each (generations,).

    The error is divided by `REFERENCE_ERROR`, other objectives by the unpruned network's (`base`, from `unpruned`;
    None: as this search measured it); the reference point is 1 in each.
    """
    return hypervolume_history(
        _scaled(archive, objectives, base), archive["generation"].to_numpy(), np.ones(len(objectives))
    )


def hypervolume_of(archive: pa.Table, objectives: Sequence[str]) -> float:
    """The last hypervolume of `history`, without those before."""
    return hypervolume(_scaled(archive, objectives, None), np.ones(len(objectives)))


def _scaled(archive: pa.Table, objectives: Sequence[str], base: np.ndarray | None) -> np.ndarray:
    base = unpruned([archive], objectives) if base is None else base
    return columns(archive, objectives) / np.where(np.array(objectives) == "error", REFERENCE_ERROR, base)

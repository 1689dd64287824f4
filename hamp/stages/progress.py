"""How far a search has come: its objectives over the unpruned network's, and their hypervolume."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hamp.analysis.hypervolume import hypervolume_history
from hamp.candidates import UNPRUNED
from hamp.tables import columns

REFERENCE_ERROR = 0.9
"""Error at the hypervolume's reference point; the other objectives' are the unpruned network's."""


def history(
    archive: pa.Table, objectives: Sequence[str], reference_error: float = REFERENCE_ERROR
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Generations, evaluations until then, and hypervolume of all found until then, each (generations,).

    The error is divided by `reference_error`, other objectives by the unpruned network's; the reference point is 1
    in each.
    """
    values = columns(archive, objectives)
    unpruned = values[np.asarray(pc.equal(archive["origin"], UNPRUNED))][0]
    scale = np.where(np.array(objectives) == "error", reference_error, unpruned)
    return hypervolume_history(values / scale, archive["generation"].to_numpy(), np.ones(len(objectives)))

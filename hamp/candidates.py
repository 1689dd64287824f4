"""Names of candidates."""

import hashlib
from collections.abc import Iterable

import numpy as np

UNPRUNED = "unpruned"


def name_of(widths: Iterable[int]) -> str:
    """Digest of the widths, 12 hexadecimal digits."""
    return hashlib.sha256(np.asarray(list(widths), dtype="<i4").tobytes()).hexdigest()[:12]

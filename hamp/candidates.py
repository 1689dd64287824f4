"""Names of candidates."""

import hashlib

import numpy as np

UNPRUNED = "unpruned"
"""The network as it was given or pre-trained."""

REFERENCE = "reference"
"""The unpruned network, fine-tuned as the front members are."""


def name_of(widths: np.ndarray) -> str:
    """Digest of the widths, 12 hexadecimal digits."""
    return hashlib.sha256(np.asarray(widths, dtype="<i4").tobytes()).hexdigest()[:12]

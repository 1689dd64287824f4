"""Random numbers that depend on what they are for, not on when or where they are drawn."""

import hashlib

import numpy as np


def seed_of(seed: int, stage: str, generation: int = 0, candidate: str = "") -> int:
    """A 63-bit seed for one purpose: the run's seed, the stage, the generation and the candidate."""
    name = f"{seed}/{stage}/{generation}/{candidate}".encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> 1


def generator(seed: int, stage: str, generation: int = 0, candidate: str = "") -> np.random.Generator:
    """A NumPy generator for one purpose (see `seed_of`)."""
    return np.random.default_rng(seed_of(seed, stage, generation, candidate))

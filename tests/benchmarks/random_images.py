"""Random images with the size and number of CIFAR-10's, for figures that do not depend on what is in them."""

import numpy as np

TRAIN, TEST = 50_000, 10_000


def cifar10() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 (n, 3, 32, 32) and classes int64 (n,), of training and of test."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (TRAIN + TEST, 3, 32, 32), dtype=np.uint8)
    targets = np.arange(TRAIN + TEST) % 10
    return images[:TRAIN], targets[:TRAIN], images[TRAIN:], targets[TRAIN:]

"""What every source of images gives."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Description:
    """What is known of a source without decoding its images.

    Attributes:
        classes: as of :class:`Source`.
        channels: as of :class:`Source`.
        placed: whether targets may tell places in the image (masks, boxes, points), which move when it is cropped.
    """

    classes: tuple[str, ...]
    channels: int
    placed: bool = False


@dataclass(frozen=True)
class Source:
    """A data set: its training rows, followed by the rows of its own test set, if it has one.

    Attributes:
        targets: one a row; a vector of integers is taken for classes, anything else for the user's own task.
        classes: names of the classes; empty where the targets are not classes.
        channels: channels of an image.
        n_test: how many rows, at the end, are the source's own test set.
        chunks: from increasing rows to their images in that order, as uint8 arrays (n, channels, size, size).
    """

    targets: np.ndarray
    classes: tuple[str, ...]
    channels: int
    n_test: int
    chunks: Callable[[np.ndarray], Iterator[np.ndarray]]


def from_arrays(images: np.ndarray, targets: np.ndarray, classes: tuple[str, ...], n_test: int, size: int) -> Source:
    """A source of images held in memory as uint8 (n, channels, height, width)."""
    from hamp.data.decode import resize

    def chunks(rows: np.ndarray, length: int = 4096) -> Iterator[np.ndarray]:
        for start in range(0, len(rows), length):
            yield resize(images[rows[start : start + length]], size)

    return Source(targets, classes, images.shape[1], n_test, chunks)

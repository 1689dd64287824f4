"""What every source of images gives."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from hamp.errors import UserError

Item = TypeVar("Item")
LOOKED_AT = 16
"""Images of which it is seen whether they are grey: a stray one among colours, or the other way round, shows."""
LUMA = np.array([19595, 38470, 7471], np.uint32)
"""Shares of red, green and blue in grey, of 65536, as Pillow has them (ITU-R 601-2)."""


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


def with_channels(source: Source, channels: int | None) -> Source:
    """The source with its images made grey (1 channel) or colour (3); None leaves them as they are.

    Raises:
        UserError: its images are neither.
    """
    if channels in (None, source.channels):
        return source
    if source.channels not in (1, 3):
        raise UserError(f"data.channels: {channels}, but the images have {source.channels} channels; set it to null")

    def chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
        for images in source.chunks(rows):
            yield np.repeat(images, 3, axis=1) if channels == 3 else _grey(images)

    return replace(source, channels=channels, chunks=chunks)


def _grey(images: np.ndarray) -> np.ndarray:
    return ((np.einsum("nchw,c->nhw", images, LUMA, dtype=np.uint32) + 32768) >> 16).astype(np.uint8)[:, None]


def spread(items: Sequence[Item], count: int) -> Sequence[Item]:
    """At most `count` of the items, at equal distances."""
    return items[:: max(1, -(-len(items) // count))]

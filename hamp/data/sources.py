"""The sources of images by name."""

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches

import numpy as np

from hamp import callables
from hamp.configuration import blocks
from hamp.data import folders, parquet, vision
from hamp.data.source import Description, Source, from_arrays, with_channels
from hamp.errors import UserError, one_line

DIGITS = tuple("0123456789")

Describe = Callable[[blocks.Data], Description]
Load = Callable[[blocks.Data], Source]


def describe(settings: blocks.Data) -> Description:
    """Classes and channels, found without decoding the images; the user's own code is run, since only it can tell.

    Raises:
        UserError: the source is unknown, its files are not there, or the user's own code gives something else.
    """
    if ":" in settings.source:
        source = load(settings)
        return Description(source.classes, source.channels, source.targets.ndim > 1)
    description = _named(settings)[0](settings)
    return replace(description, channels=settings.channels or description.channels)


def load(settings: blocks.Data) -> Source:
    """The data set that the settings name.

    Raises:
        UserError: the source is unknown, its files are not there, or the user's own code gives something
            else.
    """
    source = _own(settings) if ":" in settings.source else _named(settings)[1](settings)
    return with_channels(source, settings.channels)


def _named(settings: blocks.Data) -> tuple[Describe, Load]:
    sources: dict[str, tuple[Describe, Load]] = {
        "digits": (lambda _: Description(DIGITS, 1), _digits),
        "parquet": (parquet.describe, parquet.load),
        "image_folder": (folders.describe, folders.load),
        **dict.fromkeys(vision.DATA_SETS, (vision.describe, vision.load)),
        "imagenet": (vision.describe_imagenet, vision.load_imagenet),
    }
    if settings.source not in sources:
        near = get_close_matches(settings.source.lower(), sources, 1, 0.4)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UserError(
            f"data.source: '{settings.source}' is unknown; {hint}one of {', '.join(sorted(sources))}, "
            "or `path/to/file.py:callable`"
        )
    if settings.source != "digits" and settings.root is None:
        raise UserError(f"data.root: source '{settings.source}' needs the folder of its files")
    return sources[settings.source]


def _digits(settings: blocks.Data) -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    # Sixteen grey levels, 0 to 16.
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    return from_arrays(images, digits.target.astype(np.int64), DIGITS, 0, settings.image_size)


def _own(settings: blocks.Data) -> Source:
    function = callables.load(settings.source, "data.source")
    offered = {"root": settings.root, "image_size": settings.image_size}
    try:
        given = callables.call(function, offered, {})
    except Exception as error:
        raise callables.failure(settings.source, "data.source", error) from error
    if not isinstance(given, tuple) or len(given) not in (2, 4):
        raise UserError(
            f"data.source: '{settings.source}' must return (images, targets) or "
            "(images, targets, test_images, test_targets)"
        )
    images, targets, n_test = _arrays(given, settings.source)
    classes: tuple[str, ...] = ()
    if targets.ndim == 1 and targets.dtype == np.int64:
        if targets.min() < 0:
            row = targets.argmin()
            raise UserError(f"data.source: '{settings.source}' gave image {row} the class {targets[row]}; must be >= 0")
        classes = tuple(map(str, range(int(targets.max()) + 1)))
    elif images.shape[2:] != (settings.image_size, settings.image_size):
        # Targets such as masks or boxes belong to the size that the user's code chose.
        raise UserError(
            f"data.image_size: {settings.image_size}, but '{settings.source}' gave images of "
            f"{images.shape[2]}x{images.shape[3]}, and its targets are not classes; make them equal"
        )
    return from_arrays(images, targets, classes, n_test, settings.image_size)


def _arrays(given: tuple, spec: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Images and targets, those for testing last, and how many these are."""
    try:
        arrays = [np.asarray(array) for array in given]
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"data.source: '{spec}' gave what is no array ({one_line(error)})") from error
    for images, targets in zip(arrays[::2], arrays[1::2], strict=True):
        n = len(targets) if targets.ndim else 0
        if images.ndim != 4 or images.dtype != np.uint8 or len(images) != n:
            raise UserError(
                f"data.source: '{spec}' gave images {images.dtype} {images.shape} and "
                f"{n} targets; images must be uint8 (n, channels, height, width), one target each"
            )
    for kind in (arrays[::2], arrays[1::2]):
        first, last = kind[0], kind[-1]
        if first.shape[1:] != last.shape[1:]:
            raise UserError(
                f"data.source: '{spec}' gave {first.shape[1:]} to train on and {last.shape[1:]} to test on, each "
                "for one image; make them equal"
            )
    images, targets = (np.concatenate(arrays[start::2]) for start in (0, 1))
    if not images.size:
        raise UserError(f"data.source: '{spec}' gave images of shape {images.shape}; give at least one")
    return images, _stored(targets, spec), len(arrays[2]) if len(arrays) == 4 else 0


def _stored(targets: np.ndarray, spec: str) -> np.ndarray:
    """Targets in a type that the file of images has: masks of bytes stay what they are, for they are many."""
    kind = targets.dtype.kind
    if kind == "f":
        return targets.astype(np.float32)
    if targets.ndim > 1 and (kind == "b" or targets.dtype == np.uint8):
        return targets.astype(np.uint8)
    if kind in "biu":
        return targets.astype(np.int64)
    raise UserError(f"data.source: '{spec}' gave targets of type {targets.dtype}; must be integers, floats or bools")

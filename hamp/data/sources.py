"""The sources of images by name."""

from collections.abc import Callable
from difflib import get_close_matches

import numpy as np

from hamp import callables
from hamp.configuration import blocks
from hamp.data import folders, parquet, vision
from hamp.data.source import Description, Source, from_arrays
from hamp.errors import UserError

DIGITS = tuple("0123456789")

Describe = Callable[[blocks.Data], Description]
Load = Callable[[blocks.Data], Source]


def describe(settings: blocks.Data) -> Description:
    """Classes and channels, found without decoding the images; the user's own code is run, since only it can tell.

    Raises:
        UserError: the source is unknown, its files are not there, or the user's own code gives something else.
    """
    if ":" in settings.source:
        source = _own(settings)
        return Description(source.classes, source.channels, source.targets.ndim > 1)
    return _named(settings)[0](settings)


def load(settings: blocks.Data) -> Source:
    """The data set that the settings name.

    Raises:
        UserError: the source is unknown, its files are not there, or the user's own code gives something
            else.
    """
    return _own(settings) if ":" in settings.source else _named(settings)[1](settings)


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
    given = callables.call(function, offered, {})
    if not isinstance(given, tuple) or len(given) not in (2, 4):
        raise UserError(
            f"data.source: '{settings.source}' must return (images, targets) or "
            "(images, targets, test_images, test_targets)"
        )
    arrays = [np.asarray(array) for array in given]
    for images, targets in zip(arrays[::2], arrays[1::2], strict=True):
        if images.ndim != 4 or images.dtype != np.uint8 or len(images) != len(targets):
            raise UserError(
                f"data.source: '{settings.source}' gave images {images.dtype} {images.shape} and "
                f"{len(targets)} targets; images must be uint8 (n, channels, height, width), one target each"
            )
    images, targets = (np.concatenate(arrays[start::2]) for start in (0, 1))
    n_test = len(arrays[2]) if len(arrays) == 4 else 0
    classes: tuple[str, ...] = ()
    if targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer):
        classes = tuple(map(str, range(int(targets.max()) + 1)))
        targets = targets.astype(np.int64)
    elif np.issubdtype(targets.dtype, np.floating):
        targets = targets.astype(np.float32)
    if not classes and images.shape[2:] != (settings.image_size, settings.image_size):
        # Targets such as masks or boxes belong to the size that the user's code chose.
        raise UserError(
            f"data.image_size: {settings.image_size}, but '{settings.source}' gave images of "
            f"{images.shape[2]}x{images.shape[3]}, and its targets are not classes; make them equal"
        )
    return from_arrays(images, targets, classes, n_test, settings.image_size)

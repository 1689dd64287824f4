"""Images in folders, one a class."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hamp.configuration import blocks
from hamp.data.source import LOOKED_AT, Description, Source, spread
from hamp.errors import UserError

SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}


def describe(settings: blocks.Data) -> Description:
    """Classes are the names of the folders, sorted; images are grey if all of some, from all over, are."""
    from hamp.data.decode import channels_of

    train, _ = _folders(settings)
    classes = classes_of(train)
    if settings.channels is not None:
        return Description(classes, settings.channels)
    chosen = spread(classes, LOOKED_AT)
    some = [path for name in chosen for path in spread(_files(train / name), LOOKED_AT // len(chosen))]
    return Description(classes, channels_of(some, map(str, some)))


def load(settings: blocks.Data) -> Source:
    """Images of `root/train`, then of `root/test` or `root/val` (or `Train`, ...); without such folders, of `root`."""
    description = describe(settings)
    train, test = _folders(settings)
    return from_folders(train, test, description.classes, description.channels, settings.image_size)


def from_folders(train: Path, test: Path | None, classes: tuple[str, ...], channels: int, size: int) -> Source:
    """A source of the images in the folders `classes` of `train` and `test`."""
    if test is not None and (unknown := sorted(set(classes_of(test, 1)) - set(classes))):
        raise UserError(f"data.root: '{test}' has the folder '{unknown[0]}', which '{train}' has not")
    paths: list[Path] = []
    targets: list[int] = []
    n_train = 0
    for folder in (train, test):
        if folder is not None:
            for target, name in enumerate(classes):
                found = _files(folder / name)
                paths += found
                targets += [target] * len(found)
        if folder is train:
            n_train = len(paths)

    def chunks(rows: np.ndarray, length: int = 1024) -> Iterator[np.ndarray]:
        from hamp.data.decode import decode

        for start in range(0, len(rows), length):
            chosen = [paths[row] for row in rows[start : start + length]]
            yield decode(chosen, size, channels, [str(path) for path in chosen])

    return Source(np.array(targets, np.int64), classes, channels, len(paths) - n_train, chunks)


def _folders(settings: blocks.Data) -> tuple[Path, Path | None]:
    assert settings.root is not None
    root = Path(settings.root)
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder '{root}' (paths are relative to {Path.cwd()})")
    # Of `Train` and `train`, the latter, which comes after.
    found = {entry.name.lower(): entry for entry in sorted(root.iterdir()) if entry.is_dir()}
    if "train" not in found:
        return root, None
    return found["train"], found.get("test", found.get("val"))


def classes_of(folder: Path, least: int = 2) -> tuple[str, ...]:
    """Names of the folders that hold an image; others, such as those of an editor, are no classes."""
    folders = (entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    names = tuple(sorted(entry.name for entry in folders if any(_images(entry))))
    if len(names) < least:
        raise UserError(
            f"data.root: '{folder}' must hold one folder a class, at least {least}, with images "
            f"({', '.join(sorted(SUFFIXES))}); it has {len(names)}"
        )
    return names


def _files(folder: Path) -> list[Path]:
    return sorted(_images(folder))


def _images(folder: Path) -> Iterator[Path]:
    """All images below a folder but the hidden ones, which are an editor's or a file manager's copies."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("."):
                yield Path(place, name)

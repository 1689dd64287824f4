"""Images in folders, one a class."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hamp.configuration import blocks
from hamp.data.source import Description, Source
from hamp.errors import UserError

SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}


def describe(settings: blocks.Data) -> Description:
    """Classes are the names of the folders, sorted; channels are those of the first image."""
    from hamp.data.decode import channels_of

    train, _ = _folders(settings)
    classes = _classes(train)
    first = next((path for name in classes for path in _files(train / name)), None)
    if first is None:
        raise UserError(f"data.root: '{train}' has no image ({', '.join(sorted(SUFFIXES))}) in its class folders")
    return Description(classes, channels_of(first))


def load(settings: blocks.Data) -> Source:
    """Images of `root/train`, then of `root/test` or `root/val`; without such folders, of `root`."""
    description = describe(settings)
    train, test = _folders(settings)
    return from_folders(train, test, description.classes, description.channels, settings.image_size)


def from_folders(train: Path, test: Path | None, classes: tuple[str, ...], channels: int, size: int) -> Source:
    """A source of the images in the folders `classes` of `train` and `test`."""
    if test is not None and (unknown := sorted(set(_classes(test)) - set(classes))):
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
    if not (root / "train").is_dir():
        return root, None
    return root / "train", next((root / name for name in ("test", "val") if (root / name).is_dir()), None)


def _classes(folder: Path) -> tuple[str, ...]:
    names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    if len(names) < 2:
        raise UserError(f"data.root: '{folder}' must hold one folder a class, at least two; it has {len(names)}")
    return names


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []

"""The `data` stage: decode the images once and keep them as uint8 in one file, beside the table of splits.

The file is in the safetensors format, with the tensors `mean` and `std` (float32, one a channel), `targets`
(int64, float32 or uint8, one a row) and `images` (uint8, n x channels x size x size). Row i of the splits' table is
image i of the file. It is written chunk by chunk, because the safetensors library writes only what is in
memory.
"""

import json
import sys
from pathlib import Path

import numpy as np

from hamp import tables
from hamp.configuration import blocks
from hamp.data import sources
from hamp.data.source import Source
from hamp.data.split import split
from hamp.digest import file_digest
from hamp.errors import UserError

FLAT = 1 / 255 / 16
"""A channel with a smaller deviation is left as it is: divided by it, what augmentation adds would be huge."""
TYPES = {"uint8": "U8", "int64": "I64", "float32": "F32"}


def prepare(settings: blocks.Data, seed: int, images: Path, splits: Path) -> None:
    """Write the images and the table of splits (`tables.SPLITS`), each whole or not at all.

    Raises:
        UserError: see `hamp.data.sources.load` and `hamp.data.split.split`; or the normalisation does not
            fit.
    """
    source = sources.load(settings)
    for name in ("mean", "std"):
        values = getattr(settings, name)
        if values is not None and len(values) != source.channels:
            raise UserError(f"data.{name}: {len(values)} values, but the images have {source.channels} channels")
    table = split(source, settings, seed)
    index = table["index"].to_numpy()
    is_train = np.array(table["split"].to_pylist()) == "train"
    write(source, index, is_train, settings, images)
    # With the digest a change of the images shows in this small file.
    tables.write(table, splits, {"images": file_digest(images)})


def write(source: Source, index: np.ndarray, is_train: np.ndarray, settings: blocks.Data, path: Path) -> None:
    """Write the images of the rows `index`; mean and deviation, where not set, are the training images'."""
    size = settings.image_size
    targets = np.ascontiguousarray(source.targets[index])
    header, start = _header(source, targets, (len(index), source.channels, size, size))
    counts = np.zeros((source.channels, 256), np.int64)
    done = 0
    with tables.atomic(path) as temporary, open(temporary, "wb") as file:
        file.write(header)
        file.seek(start)
        file.write(targets.tobytes())
        for chunk in source.chunks(index):
            counts += _counts(chunk, np.flatnonzero(is_train[done : done + len(chunk)]))
            file.write(np.ascontiguousarray(chunk).tobytes())
            done += len(chunk)
            print(f"images: {done}/{len(index)}", file=sys.stderr, flush=True)
        mean, std = _moments(counts)
        file.seek(len(header))
        for given, found in ((settings.mean, mean), (settings.std, std)):
            file.write(np.asarray(found if given is None else given, np.float32).tobytes())


def _counts(chunk: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How often each channel has each value in some images, (channels, 256); a few at a time, to take little memory."""
    parts = [chunk[rows[start : start + 16]] for start in range(0, len(rows), 16)]
    found = [[np.bincount(part[:, c].ravel(), minlength=256) for c in range(chunk.shape[1])] for part in parts]
    return np.sum(found, axis=0) if found else np.zeros((chunk.shape[1], 256), np.int64)


def _moments(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel, of values from 0 to 1; the latter 1 where it is next to none."""
    values, total = np.arange(256) / 255, counts.sum(axis=1)
    mean = counts @ values / total
    std = np.sqrt((counts * np.square(values - mean[:, None])).sum(axis=1) / total)
    return mean, np.where(std < FLAT, 1.0, std)


def _header(source: Source, targets: np.ndarray, shape: tuple[int, ...]) -> tuple[bytes, int]:
    """The safetensors header and the position of the tensor `targets` in the file."""
    channel_bytes = 4 * source.channels
    tensors = [
        ("mean", np.dtype(np.float32), (source.channels,), channel_bytes),
        ("std", np.dtype(np.float32), (source.channels,), channel_bytes),
        ("targets", targets.dtype, targets.shape, targets.nbytes),
        ("images", np.dtype(np.uint8), shape, int(np.prod(shape, dtype=np.int64))),
    ]
    entries: dict[str, object] = {"__metadata__": {"classes": json.dumps(source.classes)}}
    offset = 0
    for name, dtype, dimensions, length in tensors:
        entries[name] = {
            "dtype": TYPES[dtype.name],
            "shape": list(dimensions),
            "data_offsets": [offset, offset + length],
        }
        offset += length
    text = json.dumps(entries).encode()
    # Padded, with the two statistics, so that the targets begin at a multiple of 8 bytes.
    text += b" " * (-(len(text) + 2 * channel_bytes) % 8)
    header = len(text).to_bytes(8, "little") + text
    return header, len(header) + 2 * channel_bytes

"""Images in Parquet files: columns `image` (encoded bytes) and `label`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hamp.configuration import blocks
from hamp.data.source import LOOKED_AT, Description, Source, spread
from hamp.errors import UserError


def describe(settings: blocks.Data) -> Description:
    """Classes from the metadata `classes` (comma-separated), else counted; images are grey if all of some are."""
    path, *_ = _paths(settings)
    file = _open(path)
    if file.metadata.num_rows == 0:
        raise UserError(f"{path}: it has no rows")
    return Description(_classes(file, path), settings.channels or _channels(file, path))


def load(settings: blocks.Data) -> Source:
    """Rows of `train.parquet`, followed by those of `test.parquet`, if there is one."""
    description = describe(settings)
    paths = _paths(settings)
    files = [_open(path) for path in paths]
    targets = [_labels(file, path, len(description.classes)) for file, path in zip(files, paths, strict=True)]
    starts = np.cumsum([0] + [len(labels) for labels in targets])

    def chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
        from hamp.data.decode import decode

        for file, path, start in zip(files, paths, starts, strict=False):
            position = 0
            for batch in file.iter_batches(batch_size=2048, columns=["image"]):
                low, high = np.searchsorted(rows, [start + position, start + position + len(batch)])
                wanted = rows[low:high] - start
                if len(wanted):
                    encoded = _encoded(batch["image"].take(pa.array(wanted - position)), path)
                    yield decode(encoded, settings.image_size, description.channels, _names(path, wanted))
                position += len(batch)

    n_test = len(targets[1]) if len(targets) > 1 else 0
    return Source(np.concatenate(targets), description.classes, description.channels, n_test, chunks)


def _paths(settings: blocks.Data) -> list[Path]:
    assert settings.root is not None
    root = Path(settings.root)
    if not (root / "train.parquet").is_file():
        raise UserError(f"data.root: '{root}' has no train.parquet (paths are relative to {Path.cwd()})")
    return [path for path in (root / "train.parquet", root / "test.parquet") if path.is_file()]


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
    for column in ("image", "label"):
        if column not in file.schema_arrow.names:
            raise UserError(f"{path}: column '{column}' is missing; it has {', '.join(file.schema_arrow.names)}")
    label = file.schema_arrow.field("label").type
    if not pa.types.is_integer(label):
        raise UserError(f"{path}: column 'label' is {label}, must be an integer")
    return file


def _classes(file: pq.ParquetFile, path: Path) -> tuple[str, ...]:
    names = (file.schema_arrow.metadata or {}).get(b"classes")
    if names is not None:
        return tuple(name.strip() for name in names.decode().split(","))
    return tuple(map(str, range(int(_labels(file, path, None).max()) + 1)))


def _channels(file: pq.ParquetFile, path: Path) -> int:
    """Channels of the first images of some row groups, from all over the file."""
    from hamp.data.decode import channels_of

    lengths = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    starts = np.cumsum([0, *lengths])
    groups = spread([group for group, length in enumerate(lengths) if length], LOOKED_AT)
    count = LOOKED_AT // len(groups)
    encoded: list[bytes] = []
    rows: list[int] = []
    for group in groups:
        batch = next(file.iter_batches(count, row_groups=[group], columns=["image"]))
        encoded += _encoded(batch["image"], path)
        rows += range(starts[group], starts[group] + len(batch))
    return channels_of(encoded, _names(path, rows))


def _names(path: Path, rows: Iterable[int]) -> list[str]:
    return [f"{path}: column 'image', row {row}" for row in rows]


def _labels(file: pq.ParquetFile, path: Path, classes: int | None) -> np.ndarray:
    column = file.read(columns=["label"])["label"]
    if column.null_count:
        raise UserError(f"{path}: column 'label', row {pc.index(pc.is_null(column), True)}: a value is missing")
    labels = column.to_numpy().astype(np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= (np.inf if classes is None else classes)))
    if len(wrong):
        raise UserError(
            f"{path}: column 'label', row {wrong[0]}: {labels[wrong[0]]} must be from 0 to "
            f"{'the number of classes' if classes is None else classes} - 1"
        )
    return labels


def _encoded(column: pa.Array, path: Path) -> list[bytes]:
    # Hugging Face's files have a structure of `bytes` and `path` here.
    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = column.field("bytes")
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise UserError(f"{path}: column 'image' is {column.type}, must be binary (an encoded image)")
    return column.to_pylist()

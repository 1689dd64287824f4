"""Parquet contracts: what every table that passes between stages holds.

A schema names the columns, their types, and in each field's metadata the unit and the meaning. Reading checks
the schema and says which file, column and row is wrong. Writing is atomic, and byte-identical for equal content.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hamp.claims import Claimed, overtaken
from hamp.errors import UserError

WIDTHS = pa.list_(pa.int32())


def _schema(*columns: tuple[str, pa.DataType, str, str], optional: tuple[str, ...] = ()) -> pa.Schema:
    """Schema from (name, type, unit, meaning); columns in `optional` may hold nulls."""
    return pa.schema(
        [
            pa.field(name, kind, nullable=name in optional, metadata={"unit": unit, "meaning": meaning})
            for name, kind, unit, meaning in columns
        ]
    )


SPLITS = _schema(
    ("index", pa.int64(), "", "row of the image in the data set"),
    ("label", pa.int64(), "", "class; 0 where the task has no classes"),
    ("split", pa.string(), "", "train, validation or test"),
)

CANDIDATES = _schema(
    ("candidate", pa.string(), "", "digest of the widths"),
    ("widths", WIDTHS, "channels", "channels kept, one integer a group"),
    ("origin", pa.string(), "", "how the candidate came to be"),
)

ERRORS = _schema(
    ("candidate", pa.string(), "", "digest of the widths"),
    ("error", pa.float64(), "fraction", "validation error"),
    ("images", pa.int64(), "images", "validation images on which it was judged"),
)

SENSITIVITY = _schema(
    ("group", pa.int32(), "", "number of the group that is cut, all others whole"),
    ("name", pa.string(), "", "layer that the group is named by"),
    ("width", pa.int32(), "channels", "channels that it keeps"),
    ("error", pa.float64(), "fraction", "validation error"),
    ("increase", pa.float64(), "fraction", "error over that of the unpruned network on the same images"),
)

MEASURED = _schema(
    ("candidate", pa.string(), "", "digest of the widths"),
    ("latency_ms", pa.float64(), "ms", "time of one inference: median, in a search scaled to the profile's session"),
    ("latency_iqr_ms", pa.float64(), "ms", "interquartile range over the rounds, scaled likewise; 0 where predicted"),
    ("latency_predicted_ms", pa.float64(), "ms", "the profile's prediction"),
    ("baseline_latency_ms", pa.float64(), "ms", "the unpruned network, by turns in the same session, scaled likewise"),
    ("memory_bytes", pa.int64(), "B", "peak memory of inference: weights and live activations"),
    ("macs", pa.int64(), "multiply-adds", "multiply-adds of one image"),
    ("parameters", pa.int64(), "", "parameters"),
)

LATENCY = _schema(
    ("candidate", pa.string(), "", "digest of the widths, or `unpruned`"),
    ("latency_ms", pa.float64(), "ms", "time of one inference: median over the rounds, drift removed"),
    ("latency_iqr_ms", pa.float64(), "ms", "interquartile range over the rounds, drift removed"),
    ("baseline_latency_ms", pa.float64(), "ms", "the unpruned network, by turns in the same session"),
)

PROFILE = _schema(
    ("kind", pa.string(), "", "`layer` (one cell of a layer's table) or `network`"),
    ("name", pa.string(), "", "signature of the layer, or the candidate"),
    ("in_channels", pa.int64(), "channels", "input width of the layer; elements, of an elementwise one"),
    ("out_channels", pa.int64(), "channels", "output width of the layer"),
    ("widths", WIDTHS, "channels", "widths of the network; empty for a layer"),
    ("latency_ms", pa.float64(), "ms", "median over the rounds, drift removed"),
    ("latency_iqr_ms", pa.float64(), "ms", "interquartile range over the rounds, drift removed"),
    ("baseline_latency_ms", pa.float64(), "ms", "the unpruned network in the same session; 0 for a layer"),
)

VALIDATION = _schema(
    ("way", pa.string(), "", "what predicts: the predictor, the sum of the layers' tables, or multiply-adds"),
    ("networks", pa.int64(), "", "held-out whole networks"),
    ("rmspe", pa.float64(), "fraction", "root mean square of the relative error of the ratio to the unpruned network"),
    ("within_10_percent", pa.float64(), "fraction", "networks whose ratio is predicted within 10%"),
    ("spearman", pa.float64(), "", "rank correlation with the measured ratio"),
    ("kendall", pa.float64(), "", "rank correlation with the measured ratio"),
    ("bias", pa.float64(), "fraction", "mean relative error"),
)

EVALUATED = _schema(
    ("candidate", pa.string(), "", "digest of the widths"),
    ("widths", WIDTHS, "channels", "channels kept, one integer a group"),
    ("generation", pa.int32(), "", "generation in which it was evaluated"),
    ("origin", pa.string(), "", "how the candidate came to be"),
    ("error", pa.float64(), "fraction", "validation error"),
    ("latency_ms", pa.float64(), "ms", "latency in the search: measured or predicted, as configured"),
    ("latency_iqr_ms", pa.float64(), "ms", "interquartile range of the latency; 0 where predicted"),
    ("memory_bytes", pa.int64(), "B", "peak memory of inference"),
    ("macs", pa.int64(), "multiply-adds", "multiply-adds of one image"),
    ("parameters", pa.int64(), "", "parameters"),
)

SURROGATE = _schema(
    ("objective", pa.string(), "", "modelled objective"),
    ("model", pa.string(), "", "kind of model"),
    ("transform", pa.string(), "", "scale in which the objective is modelled"),
    ("hyperparameters", pa.string(), "JSON", "hyperparameters found"),
    ("spearman", pa.float64(), "", "cross-validated rank correlation"),
    ("kendall", pa.float64(), "", "cross-validated rank correlation"),
    ("rmse", pa.float64(), "of the objective", "cross-validated root mean squared error"),
    ("n", pa.int64(), "", "evaluated candidates that it was fitted on"),
)

TRAINING = _schema(
    ("candidate", pa.string(), "", "digest of the widths, or `unpruned`"),
    ("epoch", pa.int32(), "", "pass over the training images, from 1"),
    ("loss", pa.float64(), "", "mean training loss"),
    ("error_validation", pa.float64(), "fraction", "validation error after the epoch"),
)

FINETUNED = _schema(
    ("candidate", pa.string(), "", "digest of the widths, or `unpruned`"),
    ("error_validation", pa.float64(), "fraction", "validation error after the last epoch"),
)

TESTED = _schema(
    ("candidate", pa.string(), "", "digest of the widths, or `unpruned`"),
    ("error_test", pa.float64(), "fraction", "error on the test images, read once"),
)

EXPORTED = _schema(
    ("candidate", pa.string(), "", "digest of the widths, or `unpruned`"),
    ("model", pa.string(), "", "weights and widths (safetensors), relative to the results"),
    ("onnx", pa.string(), "", "ONNX file, relative to the results"),
    ("largest_difference", pa.float64(), "", "between the ONNX file's outputs and the network's own"),
)

MEMBERS = _schema(
    ("candidate", pa.string(), "", "digest of the widths"),
    ("widths", WIDTHS, "channels", "channels kept, one integer a group"),
    ("method", pa.string(), "", "method that found it"),
    ("seed", pa.int64(), "", "seed of the search that found it"),
    ("error", pa.float64(), "fraction", "validation error in the search"),
    ("latency_ms", pa.float64(), "ms", "latency in the search"),
    ("memory_bytes", pa.int64(), "B", "peak memory of inference"),
    ("macs", pa.int64(), "multiply-adds", "multiply-adds of one image"),
    ("parameters", pa.int64(), "", "parameters"),
)

HYPERVOLUME = _schema(
    ("method", pa.string(), "", "search method"),
    ("seed", pa.int64(), "", "seed of the search"),
    ("generation", pa.int32(), "", "generation"),
    ("evaluations", pa.int64(), "", "true evaluations so far"),
    (
        "hypervolume",
        pa.float64(),
        "",
        "of the objectives over (0.9 for the error, else the unpruned network's)",
    ),
)

CURVES = _schema(
    ("method", pa.string(), "", "search method"),
    ("seed", pa.int64(), "", "seed of the search"),
    ("generation", pa.int32(), "", "generation"),
    ("evaluations", pa.int64(), "", "true evaluations so far"),
    ("hypervolume", pa.float64(), "", "of all found so far; reference error 0.9, else the unpruned network's"),
    ("hypervolume_strict", pa.float64(), "", "the same with reference error 0.4"),
    ("share", pa.float64(), "fraction", "hypervolume over that of the front of all searches together"),
    ("share_strict", pa.float64(), "fraction", "the same with reference error 0.4"),
    ("igd_plus", pa.float64(), "", "IGD+ to the front of all searches together, error over 0.9; 0 is best"),
    ("coverage", pa.float64(), "fraction", "part of the front of all searches that is found or dominated"),
)

PAIRS = _schema(
    ("method", pa.string(), "", "search method"),
    ("other", pa.string(), "", "method that it is compared with"),
    ("indicator", pa.string(), "", "column of the curves, after the last generation"),
    ("mean", pa.float64(), "", "of the method over its seeds"),
    ("other_mean", pa.float64(), "", "of the other method"),
    ("ratio", pa.float64(), "", "mean over the other's mean"),
    ("wins", pa.int64(), "seeds", "seeds on which the method is better"),
    ("common_seeds", pa.int64(), "seeds", "seeds that both methods ran"),
    ("a12", pa.float64(), "", "Vargha and Delaney: how often a run of the method is better than one of the other"),
    ("p", pa.float64(), "", "two-sided Mann–Whitney test"),
    ("evaluations_to_reach", pa.float64(), "", "median evaluations to reach the other's mean; null: not reached"),
    ("other_evaluations", pa.float64(), "", "mean evaluations of the other, all told"),
    ("coverage", pa.float64(), "fraction", "mean part of the other's front that the method's covers, seed by seed"),
    optional=("ratio", "evaluations_to_reach", "coverage"),
)

RANKS = _schema(
    ("indicator", pa.string(), "", "column of the curves, after the last generation"),
    ("method", pa.string(), "", "search method"),
    ("rank", pa.float64(), "", "mean rank over the seeds, 1 is best"),
    ("seeds", pa.int64(), "seeds", "seeds that all methods ran"),
    ("p", pa.float64(), "", "Friedman test that all methods are equal"),
)

FORESIGHT = _schema(
    ("method", pa.string(), "", "search method"),
    ("seed", pa.int64(), "", "seed of the search"),
    ("generation", pa.int32(), "", "generation that was predicted"),
    ("objective", pa.string(), "", "modelled objective"),
    ("model", pa.string(), "", "kind of model"),
    ("n", pa.int64(), "", "evaluated candidates that it was fitted on"),
    ("spearman", pa.float64(), "", "cross-validated rank correlation on those"),
    ("spearman_ahead", pa.float64(), "", "rank correlation of what was predicted and then found of the offspring"),
    ("rmse_ahead", pa.float64(), "of the objective", "root mean squared error of that prediction"),
)

FRONT = _schema(
    ("candidate", pa.string(), "", "digest of the widths"),
    ("widths", WIDTHS, "channels", "channels kept, one integer a group"),
    ("error_validation", pa.float64(), "fraction", "validation error after fine-tuning"),
    ("error_test", pa.float64(), "fraction", "test error after fine-tuning"),
    ("latency_ms", pa.float64(), "ms", "measured after fine-tuning: median"),
    ("latency_iqr_ms", pa.float64(), "ms", "measured after fine-tuning: interquartile range"),
    ("latency_predicted_ms", pa.float64(), "ms", "the profile's prediction"),
    ("baseline_latency_ms", pa.float64(), "ms", "the unpruned network, by turns in the same session"),
    ("memory_bytes", pa.int64(), "B", "peak memory of inference"),
    ("parameters", pa.int64(), "", "parameters"),
    ("macs", pa.int64(), "multiply-adds", "multiply-adds of one image"),
    ("model", pa.string(), "", "weights and widths (safetensors), relative to the results"),
    ("onnx", pa.string(), "", "ONNX file, relative to the results"),
    ("faster", pa.bool_(), "", "whether the gain over the unpruned network is beyond the noise"),
    ("method", pa.string(), "", "method that found it"),
    ("seed", pa.int64(), "", "seed of the search that found it"),
    ("baseline_error_test", pa.float64(), "fraction", "test error of the unpruned network as it was given"),
    ("reference_error_validation", pa.float64(), "fraction", "validation error of the unpruned one, fine-tuned alike"),
    ("reference_error_test", pa.float64(), "fraction", "test error of the unpruned one, fine-tuned alike"),
)

BENCH = _schema(
    ("benchmark", pa.string(), "", "what was timed or counted"),
    ("value", pa.float64(), "as in `unit`", "of this project"),
    ("peer", pa.float64(), "as in `unit`", "of the plain way, in the same run"),
    ("ratio", pa.float64(), "", "how many times better the value is; of a share, the share"),
    ("unit", pa.string(), "", "of value and peer"),
)


FURTHER = _schema(
    ("latency_ms", pa.float64(), "ms", "time of one inference on the further device"),
    ("latency_iqr_ms", pa.float64(), "ms", "interquartile range over the rounds; 0 where predicted"),
    ("latency_predicted_ms", pa.float64(), "ms", "the prediction of the device's profile"),
    ("baseline_latency_ms", pa.float64(), "ms", "the unpruned network there, by turns in the same session"),
    ("energy_mj", pa.float64(), "mJ", "energy of one inference: mean"),
    ("faster", pa.bool_(), "", "whether the gain over the unpruned network is beyond the noise there"),
)
"""Columns that a table has beyond its schema: `name@device` of each further device, and `energy_mj` where it counts."""

ENERGY = "energy_mj"


def at(name: str, device: str) -> str:
    """Name of a column or objective on a device; the device of block `device` is called ``."""
    return f"{name}@{device}" if device else name


def beyond(schema: pa.Schema, names: Iterable[str]) -> pa.Schema:
    """`schema` and, of `names`, the columns that a run may have beyond it (FURTHER)."""
    fields = []
    for name in names:
        quantity, further, _ = name.partition("@")
        if name not in schema.names and quantity in FURTHER.names and (further or quantity == ENERGY):
            fields.append(FURTHER.field(quantity).with_name(name))
    return pa.schema([*schema, *fields])


def read(path: Path | str, schema: pa.Schema) -> pa.Table:
    """The table at `path`, checked against `schema`, with the columns beyond it that the run has.

    Raises:
        UserError: the file is absent or not Parquet, or a column is missing, of another type, or holds a null.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the stage that makes it") from None
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a Parquet file ({str(error).splitlines()[0]}); delete it and run again") from None
    except OSError as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read ({first}); if it is damaged, delete it and run again") from None
    schema = beyond(schema, table.column_names)
    for field in schema:
        if field.name not in table.column_names:
            raise UserError(f"{path}: column '{field.name}' is missing; it has {', '.join(table.column_names)}")
        column = table[field.name]
        if column.type != field.type:
            raise UserError(f"{path}: column '{field.name}' is {column.type}, must be {field.type}")
        if not field.nullable and column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            raise UserError(f"{path}: column '{field.name}', row {row}: a value is missing")
    return table.select(schema.names).cast(schema.with_metadata(table.schema.metadata or None))


def build(schema: pa.Schema, columns: Mapping[str, Any]) -> pa.Table:
    """A table of `schema`, and of the columns beyond it that are given, from arrays or lists.

    A matrix becomes a list column.
    """
    schema = beyond(schema, columns)
    arrays = []
    for field in schema:
        values = columns[field.name]
        if pa.types.is_list(field.type):
            values = [np.asarray(row).tolist() for row in values]
        elif isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        arrays.append(pa.array(values, type=field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def concatenate(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of tables of one schema, one table after the other; one without rows need not have columns beyond it."""
    filled = [table for table in tables if len(table)]
    return pa.concat_tables(filled or list(tables)[:1]).combine_chunks()


def empty(schema: pa.Schema) -> pa.Table:
    """A table of `schema` without rows."""
    return schema.empty_table()


def write(table: pa.Table, path: Path | str, metadata: Mapping[str, str] | None = None) -> None:
    """Write `table`, whole or not at all; `metadata` is added to the file's own."""
    # None, not an empty mapping, which would be written down.
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **(metadata or {})} or None)
    with atomic(path) as temporary:
        pq.write_table(table.combine_chunks(), temporary, compression="zstd", store_schema=True)


class atomic:
    """Context that yields a temporary path and renames it to `path` at the end; nothing is left on failure.

    Raises:
        UserError: the file cannot be written there; or `path` was claimed for this process (`hamp.claims`), and another
            has claimed it since.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.place = path.place if isinstance(path, Claimed) else None
        folder, name = (self.place, self.path.name) if self.place else (self.path.parent, f".{self.path.name}")
        self.temporary = folder / f"{name}.{os.getpid()}.part"

    def __enter__(self) -> Path:
        if self.place is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.temporary.touch()  # so that a folder in which nothing can be written is told at once
            except OSError as error:
                raise self._unwritable(error) from error
        elif not self.place.is_dir():
            raise overtaken(self.path)
        return self.temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.temporary.unlink(missing_ok=True)
            return
        try:
            os.replace(self.temporary, self.path)
        except OSError as error:
            self.temporary.unlink(missing_ok=True)
            if self.place is not None and isinstance(error, FileNotFoundError):
                raise overtaken(self.path) from None
            raise self._unwritable(error) from error
        if self.place is not None:
            self.place.rmdir()

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"{self.path}: cannot be written ({error.strerror}); name another file")


def matrix(table: pa.Table, column: str = "widths") -> np.ndarray:
    """A list column as an int32 matrix (rows, groups)."""
    rows = table[column].to_pylist()
    return np.array(rows, dtype=np.int32).reshape(len(rows), -1)


def columns(table: pa.Table, names: Sequence[str]) -> np.ndarray:
    """Numeric columns as a float64 matrix (rows, names)."""
    return np.column_stack([table[name].to_numpy().astype(np.float64) for name in names]).reshape(len(table), -1)

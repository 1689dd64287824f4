"""Parquet contracts: written whole, byte-identical, and checked when read."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamp import tables
from hamp.errors import UserError

SCHEMAS = {name: value for name, value in vars(tables).items() if isinstance(value, pa.Schema)}


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_column_says_what_it_means(name):
    for field in SCHEMAS[name]:
        assert field.metadata[b"meaning"]
        assert b"unit" in field.metadata


@given(st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=3, max_size=3), min_size=1, max_size=20))
def test_what_is_written_is_read(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("tables")
    names = [str(index) for index in range(len(rows))]
    table = tables.build(tables.CANDIDATES, {"candidate": names, "widths": rows, "origin": names})
    tables.write(table, folder / "a.parquet")
    tables.write(tables.read(folder / "a.parquet", tables.CANDIDATES), folder / "b.parquet")
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()
    np.testing.assert_array_equal(tables.matrix(tables.read(folder / "b.parquet", tables.CANDIDATES)), rows)


def written(folder, columns):
    path = folder / "table.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"candidate": ["a"], "error": [0.5]}, ["'images' is missing", "candidate, error"]),
        ({"candidate": ["a"], "error": ["x"], "images": [1]}, ["'error' is string", "double"]),
        ({"candidate": ["a", "b"], "error": [0.5, None], "images": [1, 1]}, ["'error', row 1"]),
    ],
)
def test_a_wrong_table_is_named_with_column_and_row(tmp_path, columns, words):
    path = written(tmp_path, columns)
    with pytest.raises(UserError) as caught:
        tables.read(path, tables.ERRORS)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert all(word in message for word in words)


def test_absent_and_damaged_files_are_named(tmp_path):
    (tmp_path / "damaged.parquet").write_text("not Parquet")
    for name in ("absent.parquet", "damaged.parquet"):
        with pytest.raises(UserError, match=name):
            tables.read(tmp_path / name, tables.ERRORS)


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    def fail():
        with tables.atomic(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["folder", "file/inside", "x" * 250])
def test_a_path_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("before")
    with pytest.raises(UserError, match="cannot be written") as caught, tables.atomic(tmp_path / name) as temporary:
        temporary.write_text("new")
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert {path.name for path in tmp_path.rglob("*")} == {"folder", "file"}


def test_a_damaged_table_is_one_line(tmp_path):
    file = tmp_path / "errors.parquet"
    tables.write(
        tables.build(tables.ERRORS, {"candidate": ["a"] * 500, "error": np.linspace(0, 1, 500), "images": [2] * 500}),
        file,
    )
    content = bytearray(file.read_bytes())
    content[4:200] = bytes(196)
    file.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read") as caught:
        tables.read(file, tables.ERRORS)
    assert "\n" not in str(caught.value)

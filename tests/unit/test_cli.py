"""The command on a small front."""

import subprocess
import sys

import pytest

from hamp import tables

COMMAND = [sys.executable, "-c", "from hamp.cli import main; main()"]


def hamp(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture
def results(tmp_path):
    names = ["slow", "fast"]
    values = {
        "candidate": names,
        "widths": [[8, 8], [4, 4]],
        "error_validation": [0.01, 0.05],
        "error_test": [0.02, 0.06],
        "latency_ms": [4.0, 2.0],
        "latency_iqr_ms": [0.1, 0.1],
        "memory_bytes": [2_000_000, 1_000_000],
        "onnx": [f"export/{name}.onnx" for name in names],
        "faster": [False, True],
        "baseline_latency_ms": [4.0, 4.0],
    }
    blank = {"string": ["hamp"] * 2, "double": [0.0] * 2, "int64": [0] * 2}
    columns = {field.name: values.get(field.name, blank.get(str(field.type))) for field in tables.FRONT}
    tables.write(tables.build(tables.FRONT, columns), tmp_path / "pareto" / "front.parquet")
    return tmp_path


def test_front_and_pick(results):
    assert {"slow", "fast"} <= set(hamp("front", results).stdout.split())
    assert hamp("pick", results, "--prefer", "accuracy").stdout.startswith("slow")
    assert "not faster" in hamp("pick", results, "--prefer", "accuracy").stdout
    assert hamp("pick", results, "--prefer", "accuracy", "--max-latency-ms", 3).stdout.startswith("fast")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--max-latency-ms", 1), "no network is within the limits; fast comes nearest, over in latency_ms by 1"),
        (("--prefer", "speed"), "--prefer: 'speed' is not one of"),
    ],
)
def test_what_cannot_be_had_is_one_line(results, arguments, words):
    answer = hamp("pick", results, *arguments)
    assert answer.returncode == 1
    assert words in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_absent_results_are_one_line(tmp_path):
    answer = hamp("front", tmp_path / "nowhere")
    assert answer.returncode == 1
    assert "no such file" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1

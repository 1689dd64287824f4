"""The command on a made-up run: answers for people and for programs, mistakes in one line."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from made_results import DESCRIBED, make
from typer.main import get_command

from hamp import tables
from hamp.choice import choose
from hamp.cli.app import app
from hamp.results import Results

COMMAND = [sys.executable, "-c", "from hamp.cli import main; main()"]


def hamp(*arguments, **keywords):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, **keywords)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "results" / "made"
    make(folder)
    return folder


def test_front_in_every_format(results, tmp_path):
    rows = Results(results).front.to_pylist()
    names = [row["candidate"] for row in rows]
    table = hamp("front", results).stdout.splitlines()
    assert [line.split()[0] for line in table[1:]] == names
    assert json.loads(hamp("front", results, "--format", "json").stdout) == rows
    found = list(csv.DictReader(io.StringIO(hamp("front", results, "-f", "csv").stdout)))
    assert [float(row["latency_ms"]) for row in found] == [row["latency_ms"] for row in rows]
    assert hamp("front", results, "-f", "parquet", "-o", tmp_path / "x.parquet").returncode == 0
    assert tables.read(tmp_path / "x.parquet", tables.FRONT).to_pylist() == rows


def test_front_has_the_columns_that_the_run_has(results, tmp_path):
    table = Results(results).front
    further = {name: table["latency_ms"].to_pylist() for name in ("latency_ms@board", "energy_mj", "energy_mj@board")}
    columns = {name: table[name].to_pylist() for name in table.column_names} | further
    tables.write(tables.build(tables.FRONT, columns), tmp_path / "run" / "pareto" / "front.parquet")
    rows = Results(tmp_path / "run").front.to_pylist()
    limit = sorted(row["latency_ms"] for row in rows)[2]
    for form, read in {
        "csv": lambda file: pd.read_csv(file).to_dict("records"),
        "json": lambda file: json.loads(file.read_text()),
        "parquet": lambda file: tables.read(file, tables.FRONT).to_pylist(),
    }.items():
        file = tmp_path / f"front.{form}"
        answer = hamp("front", tmp_path / "run", "--max-latency-ms", limit, "-f", form, "-o", file)
        assert answer.returncode == 0, answer.stderr
        found = read(file)
        assert [row["energy_mj@board"] for row in found] == [
            row["latency_ms"] for row in rows if row["latency_ms"] <= limit
        ]
        assert list(found[0]) == list(rows[0])


def test_front_within_limits(results):
    rows = Results(results).front.to_pylist()
    limit = sorted(row["latency_ms"] for row in rows)[2]
    found = json.loads(hamp("front", results, "--max-latency-ms", limit, "-f", "json").stdout)
    assert found == [row for row in rows if row["latency_ms"] <= limit]


def test_pick_says_what_and_why(results):
    rows = Results(results).front.to_pylist()
    wanted = choose(rows, {"latency_ms": 4.0}, "accuracy").network
    answer = hamp("pick", results, "--max-latency-ms", 4, "--prefer", "accuracy").stdout
    assert answer.startswith(wanted["candidate"])
    assert f"{wanted['error_test']:.2%}" in answer
    assert "the least validation error" in answer
    assert f"hamp export {wanted['candidate']} --results {results}" in answer
    name = hamp("pick", results, "--max-latency-ms", 4, "--prefer", "accuracy", "--name").stdout
    assert name == wanted["candidate"] + "\n"


def test_a_network_that_is_not_faster_is_called_so(results, tmp_path):
    table = Results(results).front
    tied = {name: table[name].to_pylist() for name in table.column_names} | {"faster": [False] * len(table)}
    tables.write(tables.build(tables.FRONT, tied), tmp_path / "pareto" / "front.parquet")
    shutil.copy(results / "settings.yaml", tmp_path)
    assert "NOT faster than the unpruned network" in hamp("pick", tmp_path).stdout


def test_pick_calls_no_prediction_measured(tmp_path):
    make(tmp_path / "described", **DESCRIBED)
    answer = hamp("pick", tmp_path / "described").stdout
    assert "ms predicted for the described device" in answer
    assert "measured" not in answer


def test_the_only_run_here_needs_no_name(results):
    here = results.parents[1]
    assert hamp("front", cwd=here).stdout == hamp("front", results).stdout
    assert "which run?" in hamp("front", cwd=results).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pick", "{}", "--max-latency-ms", 0.5), "ms over the limit of 0.5 ms"),
        (("pick", "{}", "--max-error", 0), "validation error"),
        (("pick", "{}", "--prefer", "speed"), "'speed' is not one of"),
        (("pick", "{}", "--max-error", 5), "--max-error"),
        (("front", "{}/nowhere"), "is not a folder"),
        (("front", "{}", "-f", "parquet"), "name a file with --output"),
        (("front", "{}", "-f", "csv", "-o", "{}"), "cannot be written (Is a directory)"),
        (("export", "zz", "-r", "{}"), "images.safetensors: no such file"),
        (("watch", "{}/space", "--once"), "settings.yaml: no such file"),
        (("check", "{}/nothing.yaml"), "no such file"),
        (("measure", "a.onnx", "b"), "not both at once"),
        (("inspect", "a.yaml", "--classes", 10), "--classes: not beside a configuration; set it in a.yaml"),
        (("inspect", "a.yml", "--exclude", "x", "--branch-removal"), "--exclude, --branch-removal: not beside"),
        (("nonsense",), "No such command 'nonsense'"),
    ],
)
def test_mistakes_are_one_line(results, arguments, words):
    answer = hamp(*(str(argument).format(results) for argument in arguments))
    assert answer.returncode == 1
    assert words in answer.stderr
    assert answer.stderr.startswith("error: ")
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stdout == ""


@pytest.mark.slow
def test_init_writes_a_configuration_that_check_reads(tmp_path):
    made = hamp("init", "mine", "--data", "digits", "--network", "resnet_small", "--image-size", 32, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    file = tmp_path / "config" / "experiments" / "mine.yaml"
    assert file.is_file()
    assert "exists already" in hamp("init", "mine", cwd=tmp_path).stderr
    checked = hamp("check", file)
    assert checked.stdout == f"{file}: good\n", checked.stderr
    file.write_text(file.read_text() + "serch: {}\n")
    assert "nearest is 'search'" in hamp("check", file).stderr


def test_watch_tells_every_generation_once(results):
    (results / "report").mkdir(exist_ok=True)
    (results / "report" / "front.html").write_text("")
    lines = hamp("watch", results, timeout=60).stdout.splitlines()
    assert [f"generation {n} of 4" in line for n, line in enumerate(line for line in lines if "generation" in line)]
    assert sum("generation" in line for line in lines) == 5
    assert "60 evaluated" in "".join(lines)
    assert "the run is complete" in lines[-1]


def test_watch_of_a_run_that_is_made_anew_with_other_settings(results, tmp_path):
    shutil.copytree(results, run := tmp_path / "run")
    (run / "report").mkdir(exist_ok=True)
    (run / "report" / "front.html").write_text("")
    assert "complete" in hamp("watch", run, "--once").stdout
    settings = run / "settings.yaml"
    changed = yaml.safe_load(settings.read_text())
    changed["objectives"] = [*changed["objectives"], "latency_ms@nano"]
    changed["devices"] = {"nano": {"runtime": "roofline", "description": "jetson-nano"}}
    settings.write_text(yaml.safe_dump(changed))
    answer = hamp("watch", run, "--once")
    assert answer.returncode == 0, answer.stderr
    assert "complete" not in answer.stdout
    assert "generation" not in answer.stdout


def test_every_subcommand_has_an_example():
    commands = get_command(app).commands
    assert set(commands) >= {"front", "pick", "export", "inspect", "measure", "profile", "doctor", "init", "check"}
    for name, command in commands.items():
        assert f"Example: hamp {name}" in command.help


@pytest.mark.parametrize("arguments", [("--help",), ("front",), ("pick",)])
def test_light_commands_import_nothing_heavy(results, arguments):
    program = (
        "import sys, atexit\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'matplotlib', 'onnx'}\n"
        "atexit.register(lambda: print(*(heavy & set(sys.modules)), file=sys.stderr))\n"
        "from hamp.cli import main; main()"
    )
    folder = [str(results)] * (arguments != ("--help",))
    answer = subprocess.run(
        [sys.executable, "-c", program, *arguments, *folder], capture_output=True, text=True, env=os.environ
    )
    assert answer.returncode == 0
    assert answer.stderr.strip() == ""


def test_completion_is_offered():
    answer = hamp("--show-completion", "bash", env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert "complete" in answer.stdout
    assert "hamp" in answer.stdout


def test_the_unpruned_network_can_be_exported_before_there_is_a_front(tmp_path):
    """Only what it reads of the run is there."""
    make(tmp_path / "results" / "made")
    (tmp_path / "results" / "made" / "pareto" / "front.parquet").unlink()
    told = hamp("export", "unpruned", "--results", tmp_path / "results" / "made")
    assert "data/images.safetensors: no such file" in told.stderr
    (tmp_path / "results" / "made" / "data" / "images.safetensors").write_text("damaged")
    told = hamp("export", "unpruned", "--results", tmp_path / "results" / "made")
    assert "not a file of the data stage" in told.stderr
    assert len(told.stderr.splitlines()) == 1

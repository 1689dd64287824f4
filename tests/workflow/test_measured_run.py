"""A run that measures on this machine, with evaluation in two jobs at once, and plans for a described device too."""

import json
import re

import numpy as np
import pytest
from small_runs import SMALL, Run, merged

from hamp import tables
from hamp.hardware.predictor import predict
from hamp.results import Results
from hamp.stages.read import read_space

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

MEASURING = {"profile", "validation", "measure", "remeasure"}
CHANGES = {
    "name": "measured",
    "objectives": ["error", "latency_ms", "latency_ms@nano", "memory_bytes"],
    "device": {"runtime": "onnxruntime", "description": None, "batch_size": 1},
    "devices": {"nano": {"runtime": "roofline", "description": "jetson-nano", "batch_size": 1}},
    "measure": {"latency": "measured", "rounds": 5, "seconds": 0.2},
    "profile": {"points": 3, "networks": 4, "rounds": 5, "seconds": 5.0},
    "validation": {"networks": 5},
    "search": {"generations": 1},
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("measured"), merged(SMALL, CHANGES))
    run.snakemake()
    return run


def test_measuring_never_runs_beside_another_job(measured):
    """By the start and end of each job, as Snakemake records them."""
    records = [json.loads(file.read_text()) for file in (measured.folder / ".snakemake/metadata").rglob("*")]
    jobs = {(job["rule"], job["starttime"], job["endtime"]) for job in records}
    alone = [job for job in jobs if job[0] in MEASURING]
    assert {rule for rule, _, _ in alone} == MEASURING
    assert {rule for rule, _, _ in jobs} >= {"evaluate", "finetune", "vary"}
    for rule, start, end in alone:
        beside = [other for other, begin, finish in jobs if begin < end and finish > start and begin != start]
        assert not beside, rule


def test_predictions_are_put_to_the_test(measured):
    table = tables.read(measured.results / "profile" / "validation.parquet", tables.VALIDATION)
    assert table["way"].to_pylist() == ["predictor", "sum of layers", "macs"]
    assert (measured.results / "report" / "validation.html").is_file()


def test_two_devices_are_two_objectives_to_the_end(measured):
    results = Results(measured.results)
    front, archive = results.front, results.archives["hamp", 0]
    assert set(tables.beyond(tables.FRONT, front.column_names).names) == set(front.column_names)
    space = read_space(measured.results / "space" / "space.parquet")
    profiles = {name: results.profile(name, "profile.parquet", tables.PROFILE) for name in ("", "nano")}
    for table in (front, archive):
        nano = predict(profiles["nano"], space, tables.matrix(table))
        np.testing.assert_array_equal(table["latency_ms@nano"].to_numpy(), nano)
        assert (table["latency_iqr_ms"].to_numpy() > 0).all()
    text = (measured.results / "report" / "devices.html").read_text()
    assert all(row["candidate"] in text for row in front.to_pylist())


def test_the_file_that_the_shown_command_writes_is_as_fast_as_the_table_says(measured):
    shown = measured.hamp("pick", "--prefer", "latency", measured.results)
    ((command, candidate),) = re.findall(r"(hamp export (\S+) .*)", shown)
    (picked,) = (row for row in Results(measured.results).front.to_pylist() if row["candidate"] == candidate)
    file = measured.folder / "taken.onnx"
    measured.hamp(*command.split()[1:], "--output", file)
    device = [f"--device={key}={value}" for key, value in CHANGES["device"].items() if value is not None]
    unpruned = measured.results / "export/unpruned.onnx"
    told = measured.hamp("measure", unpruned, file, *device)
    speed = float(re.search(r"([\d.]+) times as fast", told)[1])
    assert speed == pytest.approx(picked["baseline_latency_ms"] / picked["latency_ms"], rel=0.3)

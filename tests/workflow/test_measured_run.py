"""A run that measures: on this machine, with evaluation in two jobs at once."""

import json

import pytest
from conftest import SMALL, Run, merged

from hamp import tables

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

MEASURING = {"profile", "validation", "measure", "remeasure"}
CHANGES = {
    "name": "measured",
    "device": {"runtime": "pytorch", "batch_size": 1},
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

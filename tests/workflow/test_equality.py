"""The result does not depend on shards, cores, the driver, or on having been killed."""

import os
import shutil
import signal
import subprocess
import time

import pytest

import hamp
from hamp.tables import write

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

POPULATIONS = "hamp/seed0/gen*/population.parquet"


def without_search(run):
    """The run before its search: what follows from it is gone too, or nothing would ask for it."""
    shutil.rmtree(run.results / "hamp")
    shutil.rmtree(run.results / "pareto")
    return run


def test_shards_do_not_matter(finished, run):
    three = without_search(run).changed(shards=3)
    three.snakemake("search")
    assert three.tables(POPULATIONS) == finished.tables(POPULATIONS)


def test_cores_do_not_matter(finished, run):
    without_search(run).snakemake("search", cores=1)
    assert run.tables(POPULATIONS) == finished.tables(POPULATIONS)


def test_the_api_finds_what_the_workflow_finds(finished, tmp_path):
    found = hamp.search(finished.settings)
    write(found.populations["hamp", 0], tmp_path / "population.parquet")
    last = finished.results / "hamp/seed0/gen2/population.parquet"
    assert (tmp_path / "population.parquet").read_bytes() == last.read_bytes()


def test_the_api_finds_the_same_sensitivity(run, tmp_path):
    guided = run.changed(search={"initial": ["sensitivity"], "generations": 0}, evaluate={"refit": False})
    table = guided.results / "space/sensitivity.parquet"
    guided.snakemake(str(table.relative_to(guided.folder)))
    write(hamp.search(guided.settings).problem.sensitivity, tmp_path / "sensitivity.parquet")
    assert (tmp_path / "sensitivity.parquet").read_bytes() == table.read_bytes()


@pytest.mark.parametrize("seconds", [5, 12])
def test_a_killed_run_goes_on_to_the_same_result(finished, run, seconds):
    without_search(run)
    process = subprocess.Popen(
        run.command("search"),
        cwd=run.folder,
        env=run.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    run.snakemake("--unlock")
    run.snakemake("search")
    assert run.tables(POPULATIONS) == finished.tables(POPULATIONS)

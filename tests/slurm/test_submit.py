"""`hamp submit`, `hamp status` and `hamp resume`, as a user types them, on a real cluster."""

import os
import signal

import pytest
from slurm_cluster import CPUS, cluster
from small_runs import Run, merged
from submitting import POPULATIONS, SETTINGS, Submitted, before_search, local_search, wait

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def test_a_run_whose_controller_was_killed_goes_on_to_the_local_result(tmp_path):
    local = local_search(tmp_path / "local")
    with cluster() as made:
        there = Submitted(before_search(local, tmp_path / "run"), made)
        there.submit()
        wait(there.stages)
        told = there.status()
        assert "jobs: " in told
        assert "still controls this run" in there.hamp("resume", "results/small", check=False)
        process = next(line for line in told.splitlines() if line.startswith("controller: process")).split()[2]
        os.kill(int(process), signal.SIGKILL)
        wait(there.ended)
        assert "`hamp resume" in there.status()
        there.resume()
        wait(there.ended)
        assert there.finished()
    assert there.run.tables(POPULATIONS) == local.tables(POPULATIONS)


def test_the_controller_may_be_a_job_and_what_is_measured_has_its_node_to_itself(tmp_path):
    device = {"runtime": "pytorch", "description": None, "batch_size": 4}
    settings = merged(SETTINGS, {"device": device, "measure": {"latency": "measured"}, "search": {"generations": 0}})
    (tmp_path / "model").mkdir()
    modelled = Run(tmp_path / "model", settings)
    modelled.snakemake("search")
    with cluster() as made:
        there = Submitted(before_search(modelled, tmp_path / "run").changed(search={"generations": 1}), made)
        there.submit("--job")
        assert "controller: job" in there.status()
        wait(there.ended)
        assert there.finished(), there.log
        lines = made.jobs("%i|%j|%k|%S|%e|%N|%C", "--states", "all")
    jobs = [line.split("|") for line in lines]
    assert sum(name.endswith("-controller") for _, name, *_ in jobs) == 1
    measuring = [job for job in jobs if "rule_measure_" in job[2]]
    assert len(measuring) == 2
    for number, _, _, begin, end, node, processors in measuring:
        assert int(processors) == CPUS
        beside = [job for job in jobs if job[5] == node and job[3] < end and job[4] > begin]
        assert [job[0] for job in beside] == [number]

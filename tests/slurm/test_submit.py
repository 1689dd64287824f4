"""`hamp submit`, `hamp status` and `hamp resume`, as a user types them, on a real cluster."""

import os
import signal

import pytest
from slurm_cluster import cluster
from submitting import POPULATIONS, Submitted, before_search, local_search, wait

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

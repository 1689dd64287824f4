"""What clusters do to a run, done on a real one: each drill ends in the result of an undisturbed local run.

`make drill-slurm`; they are no part of `make test`, since they take long. An evaluation is held (SIGSTOP), so that the
blow falls while it works.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from slurm_cluster import cluster
from small_runs import ROOT
from submitting import POPULATIONS, Submitted, before_search, local_search, wait


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return local_search(tmp_path_factory.mktemp("local"))


@pytest.fixture
def there(local, tmp_path, request):
    """A run to be submitted; after the drill, its result is that of the local one."""
    with cluster() as made:
        there = Submitted(before_search(local, tmp_path / "run"), made)
        begun = time.monotonic()
        yield there
        print(f"\n{request.node.name}: {time.monotonic() - begun:.0f} s, resumed: {'Unlocking' in there.log}")
        assert there.run.tables(POPULATIONS) == local.tables(POPULATIONS)


def held(there):
    """Stop one evaluation; give its process, job and node."""
    wait(there.stages)
    process = there.stages()[0]
    os.kill(process, signal.SIGSTOP)
    lines = Path(f"/proc/{process}/environ").read_text().split("\0")
    variables = dict(line.split("=", 1) for line in lines if "=" in line)
    return process, variables["SLURM_JOB_ID"], variables["SLURMD_NODENAME"]


def profile(there, **resources):
    """The profile that ships with other resources of evaluations; its folder."""
    settings = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    settings["set-resources"]["evaluate"] = resources
    folder = there.run.folder / "profile"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    return str(folder)


def test_a_job_is_cancelled(there):
    there.submit()
    _, job, _ = held(there)
    there.cluster.run("scancel", job)
    wait(there.ended)
    assert there.finished()


def test_a_node_crashes_during_evaluation(there):
    there.submit()
    _, _, node = held(there)
    there.cluster.crash(node)
    wait(there.ended)
    assert there.finished()


def test_a_slurmd_is_killed_while_its_job_lives_on(there):
    there.submit()
    process, _, node = held(there)
    there.cluster.kill_slurmd(node)
    wait(there.ended)
    assert there.finished()
    files = list(there.run.results.glob("hamp/seed0/gen*/*.parquet"))
    before = {file: file.stat().st_mtime_ns for file in files}
    # Where SLURM has not ended the first copy of the job, it goes on to its end, and may not touch the result.
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)
    wait(lambda: not Path(f"/proc/{process}").exists())
    assert {file: file.stat().st_mtime_ns for file in files} == before


def test_a_job_runs_out_of_memory(there):
    there.submit("--profile", profile(there, mem_mb="250 * attempt"))
    wait(there.ended)
    assert there.finished()
    assert "Error in rule evaluate" in there.log


def test_a_job_runs_out_of_time(there):
    there.submit("--profile", profile(there, runtime="attempt"))
    held(there)
    wait(there.ended)
    assert there.finished()
    assert "TIMEOUT" in there.log


def test_the_controller_is_killed_while_shards_run(there):
    there.submit()
    process, _, _ = held(there)
    line = next(line for line in there.status().splitlines() if line.startswith("controller: process"))
    os.kill(int(line.split()[2]), signal.SIGKILL)
    wait(there.ended)
    assert not there.finished()
    assert there.evaluating()
    assert "cancelling" in there.resume()
    wait(there.ended)
    assert there.finished()
    assert not Path(f"/proc/{process}").exists()


def test_slurmctld_is_away_for_a_minute(there):
    there.submit()
    wait(there.stages)
    there.cluster.stop_controller()
    time.sleep(60)
    there.cluster.start_controller()
    wait(there.ended)
    if not there.finished():
        there.resume()
        wait(there.ended)
    assert there.finished()


def test_the_disk_of_the_results_is_full(there):
    results = there.run.results
    aside = results.with_name("aside")
    results.rename(aside)
    results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", results], check=True)
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", results], check=True)
        there.submit("--", "--retries", "1")
        held_process, _, _ = held(there)
        filler = results / "filler"
        with suppress(OSError), open(filler, "wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        os.kill(held_process, signal.SIGCONT)
        wait(there.ended)
        assert not there.finished()
        filler.unlink()
        there.resume()
        wait(there.ended)
        assert there.finished()
        subprocess.run(["cp", "-a", f"{results}/.", aside], check=True)
    finally:
        subprocess.run(["umount", "--lazy", results], check=True)
        results.rmdir()
        aside.rename(results)

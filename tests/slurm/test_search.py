"""A search on a real SLURM cluster, through the profile that ships, finds what one machine finds, to the byte."""

import shutil
import subprocess
from collections import Counter

import pytest
from slurm_cluster import ACCOUNT, GPU_NODE, NODES, cluster
from small_runs import SMALL, Run, merged

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

POPULATIONS = "hamp/seed0/gen*/population.parquet"
SETTINGS = merged(SMALL, {"shards": 3, "search": {"generations": 1}})


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Run:
    """The search on this machine."""
    run = Run(tmp_path_factory.mktemp("local"), SETTINGS)
    run.snakemake("search")
    return run


def searched(run, there, *options):
    """Output of the search, run as a user of the cluster would."""
    result = subprocess.run(
        run.command("search", *options, profile="slurm"),
        cwd=run.folder,
        env=there.environment | {"PYTHONPATH": str(run.code)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def records(there) -> list[dict[str, str]]:
    """What slurmctld wrote down of every finished job."""
    lines = (there.folder / "log" / "jobs.txt").read_text().splitlines()
    return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]


def test_without_accounting_the_whole_search_is_the_local_one(local, tmp_path):
    run = Run(tmp_path, SETTINGS)
    with cluster() as there:
        searched(run, there)
        jobs = records(there)
    assert run.tables(POPULATIONS) == local.tables(POPULATIONS)
    assert Counter(job["JobState"] for job in jobs) == {"COMPLETED": 4 + 2 * SETTINGS["shards"]}


def test_with_accounting_and_gpus_the_search_is_the_local_one(local, tmp_path):
    run = local.copy(tmp_path / "run")
    shutil.rmtree(run.results / "hamp")
    shutil.rmtree(run.results / "pareto")
    with cluster(accounting=True) as there:
        options = ("--default-resources", f"slurm_account={ACCOUNT}", "mem_mb=1000", "runtime=10")
        searched(run, there, "--slurm-status-command", "sacct", *options, "--set-resources", "evaluate:gpu=1")
        columns = "state,nodelist,account,alloctres"
        lines = there.run("sacct", "-X", "-n", "-P", "-o", columns).splitlines()
    assert run.tables(POPULATIONS) == local.tables(POPULATIONS)
    assert len(lines) == 2 * SETTINGS["shards"]
    for line in lines:
        state, node, account, resources = line.split("|")
        assert (state, node, account) == ("COMPLETED", GPU_NODE, ACCOUNT)
        assert "gres/gpu=1" in resources


def test_the_cluster_of_the_tests_has_its_nodes_and_kills_what_takes_too_much_memory(tmp_path):
    with cluster() as there:
        assert len(there.run("sinfo", "-h", "-N").splitlines()) == len(NODES)
        program = "import time; x = bytearray(10**9); time.sleep(30)"
        there.run(
            "sbatch",
            "--wait",
            "--output",
            "/dev/null",
            "--mem",
            "100",
            "--wrap",
            f"python3 -c '{program}'",
            check=False,
        )
        (job,) = records(there)
    assert job["JobState"] != "COMPLETED"

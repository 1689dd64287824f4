"""Several methods in one run: compared; one alone: not."""

import subprocess

import psutil
import pytest

from hamp.tables import CURVES, EVALUATED, FORESIGHT, PAIRS, RANKS, read

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def test_several_searches_are_compared_and_one_alone_is_not(finished, run):
    assert not (finished.results / "compare").exists()
    run.changed(methods=["hamp", "nsga2"]).snakemake("search")
    folder = run.results / "compare"
    curves = read(folder / "curves.parquet", CURVES).to_pylist()
    last = {row["method"]: row for row in curves}
    for method, row in last.items():
        archive = read(run.results / method / "seed0" / "gen2" / "archive.parquet", EVALUATED)
        assert (row["generation"], row["evaluations"]) == (2, len(archive))
    assert max(row["share"] for row in curves) <= 1
    pairs = read(folder / "pairs.parquet", PAIRS)
    assert set(zip(*(pairs[name].to_pylist() for name in ("method", "other")), strict=True)) == {
        ("hamp", "nsga2"),
        ("nsga2", "hamp"),
    }
    assert set(read(folder / "ranks.parquet", RANKS)["method"].to_pylist()) == {"hamp", "nsga2"}
    foresight = read(folder / "foresight.parquet", FORESIGHT)
    assert foresight["generation"].to_pylist() == [1, 2]
    assert set(foresight["method"].to_pylist()) == {"hamp"}


def test_searches_that_wait_for_a_core_do_not_make_snakemake_look_ever_more_often(run):
    run = run.changed(methods=["nsga2", "random"], shards=1)
    with subprocess.Popen(
        run.command("search", cores=1), cwd=run.folder, env=run.environment, stderr=subprocess.PIPE, text=True
    ) as process:
        watched = psutil.Process(process.pid)
        threads = [watched.num_threads() for line in process.stderr if line.startswith("Finished jobid")]
    assert process.returncode == 0
    jobs = len(threads)
    assert jobs > 15
    # Each timer is a thread: without a limit on the rate there is none, with Snakemake's own about one a job.
    assert max(threads) < jobs / 2

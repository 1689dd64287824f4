"""Several methods in one run: compared; one alone: not."""

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

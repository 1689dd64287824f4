"""The report of a made-up run: whole, small, self-contained, and equal when made again."""

import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from made_results import make

from hamp.errors import UserError
from hamp.report.build import build
from hamp.report.contents import files
from hamp.report.device import Cost, costs
from hamp.results import Results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "made"
    make(folder, methods=("hamp", "nsga2", "random"), seeds=(0, 1, 2))
    build(Results(folder))
    return Results(folder)


def test_every_file_is_written_and_no_other(results):
    written = {file.name for file in (results.folder / "report").iterdir()}
    assert written == set(files(results.settings))
    assert {"front.html", "methods.svg", "surrogate.svg"} <= written


@pytest.mark.slow
def test_figures_are_svg_and_made_again_alike(results, tmp_path):
    make(tmp_path / "made", methods=("hamp", "nsga2", "random"), seeds=(0, 1, 2))
    build(Results(tmp_path / "made"))
    for name in files(results.settings):
        content = (results.folder / "report" / name).read_bytes()
        if name.endswith(".svg"):
            assert ElementTree.fromstring(content).tag.endswith("svg")
            assert (tmp_path / "made" / "report" / name).read_bytes() == content


def test_pages_need_nothing_else(results):
    for name in files(results.settings):
        if name.endswith(".html"):
            text = (results.folder / "report" / name).read_text()
            assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?!data:|\.\./|\$|`)[\w/]""", text)
            assert "@import" not in text
            assert "url(" not in text
            assert len(text) < 400_000


def test_the_page_holds_the_front_to_the_last_digit(results):
    text = (results.folder / "report" / "front.html").read_text()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])
    front = results.front.to_pylist()
    assert [row["candidate"] for row in data["networks"]] == [row["candidate"] for row in front]
    for name in ("latency_ms", "error_validation", "memory_bytes", "latency_iqr_ms", "widths", "faster"):
        assert [row[name] for row in data["networks"]] == [row[name] for row in front]
    assert len(data["evaluated"]) == sum(map(len, results.archives.values()))


def test_the_predictor_stands_beside_the_plain_ways(results):
    text = (results.folder / "report" / "validation.html").read_text()
    for cells in (("predictor", "95%", "4.0%", "+1.0%"), ("macs", "10%", "30.0%", "+25.0%")):
        assert re.search(".*".join(map(re.escape, cells)), text)


def test_names_are_text_and_no_markup(results):
    text = (results.folder / "report" / "run.html").read_text()
    assert "made up &lt;&amp;&gt;" in text
    assert "made up <" not in text


def test_methods_are_compared_with_the_best(results):
    text = (results.folder / "report" / "methods.html").read_text()
    assert all(f"<th scope=row>{method}</th>" in text for method in results.settings.methods)
    assert "Friedman" in text


@pytest.mark.parametrize(
    "options", [{"methods": ("nsga2",)}, {"generations": 0}, {"latency": "predicted"}, {"members": 1}]
)
def test_small_runs_have_a_report_of_what_there_is(tmp_path, options):
    make(tmp_path / "made", **options)
    results = Results(tmp_path / "made")
    build(results)
    assert {file.name for file in (tmp_path / "made" / "report").iterdir()} == set(files(results.settings))


def test_time_is_added_over_the_shards_of_a_stage(tmp_path):
    for number, seconds in enumerate((1.5, 2.5)):
        file = tmp_path / f"gen{number}" / "evaluate-0-of-1.tsv"
        file.parent.mkdir()
        file.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t{100 * (number + 1)}\n")
    assert costs(tmp_path) == {"evaluate": Cost(4.0, 2, 200 * 2**20)}


def test_an_unfinished_run_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"settings\.yaml: no such file"):
        build(Results(tmp_path))
    make(tmp_path / "made")
    (tmp_path / "made" / "pareto" / "front.parquet").unlink()
    with pytest.raises(UserError, match=r"front\.parquet: no such file; run the stage"):
        build(Results(tmp_path / "made"))


@pytest.mark.slow
def test_many_points_stay_small(tmp_path):
    make(tmp_path / "made", generations=9, size=500, members=40)
    results = Results(tmp_path / "made")
    build(results)
    folder = tmp_path / "made" / "report"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 4e6
    text = (folder / "front.html").read_text()
    shown = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])["evaluated"]
    assert len(shown) == 5000
    assert np.isfinite(shown).all()

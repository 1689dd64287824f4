"""The report of a made-up run: whole, small, self-contained, and equal when made again."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from made_results import BASELINE_MS, DESCRIBED, make

from hamp.configuration.blocks import Config
from hamp.configuration.validate import load
from hamp.errors import UserError
from hamp.progress import digits
from hamp.report.build import build
from hamp.report.chooser import chooser_page
from hamp.report.contents import files
from hamp.report.device import Cost, costs, time_figure
from hamp.report.facts import devices_page
from hamp.report.front import front_figure
from hamp.results import Results
from hamp.tables import FRONT
from hamp.tables import build as build_table


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
    "options", [{"methods": ("nsga2",)}, {"generations": 0}, {"latency": "predicted"}, {"members": 1}, DESCRIBED]
)
def test_small_runs_have_a_report_of_what_there_is(tmp_path, options):
    make(tmp_path / "made", **options)
    results = Results(tmp_path / "made")
    build(results)
    assert {file.name for file in (tmp_path / "made" / "report").iterdir()} == set(files(results.settings))


def record(folder, name, seconds, memory=100):
    file = folder / f"{name}.tsv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t{memory}\n")


def test_time_is_added_over_the_shards_of_a_stage(tmp_path):
    for number, seconds in enumerate((1.5, 2.5)):
        record(tmp_path, f"hamp/seed0/gen{number}/evaluate-{number}-of-2", seconds, 100 * (number + 1))
    assert costs(tmp_path, Config()) == {"evaluate": Cost(4.0, 2, 200 * 2**20)}


def test_time_that_other_settings_took_does_not_count(tmp_path):
    settings = load({"devices": {"board": DESCRIBED["device"]}, "objectives": ["error", "latency_ms@board"]})
    own = ["data", "profile", "profile-board", "finetune-1-of-2", "hamp/seed0/gen7/evaluate-0-of-2"]
    others = ["profile-nano", "finetune-0-of-3", "nsga2/seed0/gen1/select", "hamp/seed1/gen1/select"]
    others += ["hamp/seed0/gen8/select", "hamp/seed0/gen7/evaluate-0-of-4"]
    for name in (*own, *others):
        record(tmp_path, name, 1.0)
    jobs = {stage: cost.jobs for stage, cost in costs(tmp_path, settings).items()}
    assert jobs == {"data": 1, "profile": 2, "finetune": 1, "evaluate": 1}


@pytest.mark.parametrize(
    ("search", "shown"),
    [
        ({"generations": 2}, True),
        ({"generations": 2, "generations_of": {"hamp": 0}}, False),
        ({"generations": 0, "generations_of": {"hamp": 2}}, True),
    ],
)
def test_the_surrogate_is_shown_where_a_method_fits_one(search, shown):
    settings = load({"methods": ["hamp", "nsga2"], "search": search})
    assert ("surrogate.svg" in files(settings)) == shown


def test_predicted_latency_is_never_called_measured(tmp_path):
    make(tmp_path / "made", **DESCRIBED)
    build(Results(tmp_path / "made"))
    folder = tmp_path / "made" / "report"
    assert not (folder / "latency.svg").exists()
    about = json.loads(re.search(r'id="data">(.*?)</script>', (folder / "front.html").read_text())[1])["about"]
    assert about.endswith("that of the described device jetson-nano (predicted, not measured), batch size 16.")
    results = Results(tmp_path / "made")
    made = front_figure(results.front, results.evaluated, results.unpruned["error"], described=True)
    assert [axes.get_xlabel() for axes in made.axes][:2] == ["predicted latency (ms)", "latency (ms)"]


def test_the_page_tells_what_the_front_was_compared_by(tmp_path):
    make(tmp_path / "made", objectives=["error", "macs", "latency_ms"])
    told = chooser_page(Results(tmp_path / "made"))
    assert "another beats in error, multiply-adds and latency. Measured on pytorch" in told


@pytest.mark.parametrize(("latency", "told"), [(4.0, "1.5"), (5.8, "a tie"), (6.2, "a tie"), (8.0, "0.75 (slower)")])
def test_only_what_is_within_the_noise_is_a_tie(results, latency, told):
    row = results.front.slice(0, 1).to_pylist()[0]
    row |= {"latency_ms": latency, "latency_iqr_ms": 0.4, "baseline_latency_ms": 6.0, "faster": latency < 5}
    front = build_table(FRONT, {name: [value] for name, value in row.items()})
    assert f"<td>{told}</td>" in devices_page(front, results.settings)


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


def test_what_was_evaluated_is_shown_in_the_session_of_the_front(results):
    """As a run leaves them: the front was measured again, when the clock was higher."""
    front = results.front
    slow = replace(results)
    slow.__dict__["front"] = front.set_column(
        front.column_names.index("baseline_latency_ms"), "baseline_latency_ms", pa.array([BASELINE_MS / 2] * len(front))
    )
    np.testing.assert_allclose(slow.evaluated[:, 0], results.evaluated[:, 0] / 2)
    np.testing.assert_array_equal(slow.evaluated[:, 1], results.evaluated[:, 1])


def test_of_very_many_evaluations_some_are_drawn_and_all_are_counted(results, monkeypatch):
    monkeypatch.setattr("hamp.report.chooser.EVALUATED", 20)
    data = json.loads(re.search(r'id="data">(.*?)</script>', chooser_page(results))[1])
    assert len(data["evaluated"]) <= 20
    assert data["evaluations"] == len(results.evaluated)


def test_without_benchmarks_there_is_a_report_all_the_same(results, tmp_path):
    assert time_figure(costs(tmp_path, results.settings)).axes


@pytest.mark.parametrize(
    ("value", "told"),
    [(4089.3, "4089"), (1234.4, "1234"), (12.345, "12.3"), (0.012345, "0.0123"), (0, "0"), (-2.5, "-2.50")],
)
def test_digits_are_those_of_the_page(value, told):
    assert digits(value) == told

"""The cost model of a run on a cluster: known answers, and what must hold of any plan."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamp.cluster.local import check_reach, local_stages
from hamp.cluster.plan import Costs, Line, Overheads, costs, line, looked, overheads, plan, recommended, wave
from hamp.configuration.blocks import Config
from hamp.errors import UserError

# Looks every second, so that whole seconds are seen at once.
NONE = Overheads(start=0, end=0, step=0, look=1, growth=0)
TIMES = Overheads(start=6, end=1, step=1, look=1, growth=10)
seconds = st.floats(0.1, 300)


def configured(**changes):
    return Config.model_validate({"search": {"population": 20, "offspring": 16, "generations": 8}} | changes)


@pytest.mark.parametrize(
    ("ends", "seen"),
    [
        ([0.5], [1]),
        ([13], [33]),  # looks at 1, 12, 33, 64 s
        ([5, 13], [12, 13]),  # after one that found something, the next comes soon
        ([5, 14], [12, 24]),
        ([40, 40], [64, 64]),
    ],
)
def test_jobs_are_seen_when_the_executor_looks(ends, seen):
    assert looked(ends, TIMES) == seen


def test_the_executor_never_waits_longer_than_three_minutes():
    (seen,) = looked([100_000], TIMES)
    assert 100_000 <= seen <= 100_180


@given(st.lists(seconds, min_size=1, max_size=20), st.integers(1, 8))
def test_a_wave_is_as_long_as_its_longest_job_and_no_longer_than_all_in_turn(works, slots):
    ended, seen = wave(works, slots, TIMES)
    each = [TIMES.start + work + TIMES.end for work in works]
    assert max(each) - 1e-6 <= ended <= sum(each) + 1e-6
    assert ended <= seen
    assert wave(works, 1, TIMES)[0] == pytest.approx(sum(each))
    assert wave(works, len(works), TIMES)[0] == pytest.approx(max(each))


@given(st.floats(0, 100), st.floats(0, 10), st.lists(st.integers(1, 50), min_size=2, max_size=9, unique=True))
def test_the_parts_of_a_job_are_found_from_jobs_of_unlike_size(fixed, each, numbers):
    found = line([(number, fixed + each * number) for number in numbers], start=1.0)
    assert found.fixed == pytest.approx(fixed, abs=1e-6)
    assert found.each == pytest.approx(each, abs=1e-6)


def test_where_all_jobs_had_one_size_the_time_to_start_tells_the_parts():
    assert line([(4, 11.0), (4, 13.0)], start=4.0) == Line(4.0, 2.0)
    assert line([(4, 3.0)], start=4.0) == Line(3.0, 0.0)


def test_without_overheads_a_search_is_the_sum_of_its_longest_parts():
    recorded = Costs({"vary": 1, "surrogate": 2, "local_search": 3, "select": 4}, Line(10, 5), Line(1, 1))
    made = plan(configured(shards=4), recorded, NONE, nodes=5)
    assert made.generation == pytest.approx(10 + 10 + 5 * 4, abs=1)  # looks are a second apart
    assert made.search == pytest.approx(4 + (10 + 5 * 5) + 8 * 40, abs=9)
    assert made.jobs == 9 * (4 + 1)
    assert made.limit == "the slowest shard"
    assert made.gpu_hours == 0
    slow = Costs(recorded.light, Line(1, 1), Line(10, 5))
    assert plan(configured(shards=4), slow, NONE, nodes=5).limit == "measuring"


def test_generations_are_those_of_each_method():
    def made(*methods):
        search = {"population": 20, "offspring": 16, "generations": 8, "generations_of": {"netadapt": 30}}
        settings = configured(methods=methods, search=search, shards=4, measure={"latency": "predicted"})
        return plan(settings, Costs({}, Line(10, 5)), NONE, nodes=8)

    hamp, netadapt, both = made("hamp"), made("netadapt"), made("hamp", "netadapt")
    assert netadapt.jobs == hamp.jobs + 22 * 4
    assert netadapt.search > 3 * hamp.search
    assert both.jobs == hamp.jobs + netadapt.jobs


def test_profiles_of_further_devices_count():
    recorded = Costs({}, Line(10, 5), once={"profile": 50.0, "profile-nano": 100.0, "profile-former": 100.0})
    alone, two = (plan(configured(devices=devices), recorded, NONE, nodes=8) for devices in ({}, {"nano": {}}))
    assert two.total - alone.total == pytest.approx(100, abs=11)
    assert two.jobs == alone.jobs + 1


def test_gpu_hours_are_those_of_jobs_on_gpus():
    recorded = Costs({}, Line(0, 36.0))
    made = plan(configured(hardware="cuda", shards=4, measure={"latency": "predicted"}), recorded, NONE, nodes=4)
    assert made.gpu_hours == pytest.approx((20 + 8 * 16) * 36 / 3600)
    once = {"data": 36_000.0, "space": 3600.0, "profile": 3600.0, "remeasure": 7200.0, "pretrain": 1800.0}
    recorded = Costs({}, Line(0, 36.0), Line(0, 36.0), once=once)
    search = (20 + 8 * 16) * 36 / 3600
    for changes, hours in (
        ({"hardware": "cuda"}, search + 0.5),
        ({"device": {"hardware": "cuda"}}, search + 1 + 2),
        ({"hardware": "cuda", "device": {"hardware": "cuda"}}, 2 * search + 3.5),
    ):
        assert plan(configured(shards=4, **changes), recorded, NONE, nodes=4).gpu_hours == pytest.approx(hours)


@given(fixed=seconds, each=seconds, nodes=st.integers(1, 12), shards=st.integers(1, 20))
def test_recommended_shards_are_hardly_beaten(fixed, each, nodes, shards):
    recorded = Costs({"select": 2.0}, Line(fixed, each), Line(fixed, each / 10))
    best = recommended(configured(), recorded, TIMES, nodes)
    assert 1 <= best <= 16
    chosen = plan(configured(), recorded, TIMES, nodes, best)
    assert chosen.generation <= 1.05 * plan(configured(), recorded, TIMES, nodes, shards).generation + 1e-6
    assert sum(chosen.parts.values()) == pytest.approx(chosen.generation)


DESCRIBED = {"runtime": "roofline", "description": "jetson-nano"}
BOARD = {"runtime": "remote", "host": "board"}
ALWAYS = {
    *("settings", "initial", "vary", "surrogate", "local_search", "select"),
    *("hypervolume", "compare", "aggregate", "pareto", "report"),
}
FURTHER = {"profile_further", "validation_further"}


@pytest.mark.parametrize(
    ("device", "further", "latency", "expected"),
    [
        ({}, None, "measured", FURTHER),
        ({}, None, "predicted", {"measure", *FURTHER}),
        ({}, DESCRIBED, "measured", FURTHER),
        (DESCRIBED, None, "predicted", {"profile", "validation", "measure", "remeasure", *FURTHER}),
        (DESCRIBED, {}, "predicted", {"profile", "validation", "measure"}),
        (DESCRIBED, {}, "measured", {"profile", "validation"}),
        (BOARD, DESCRIBED, "measured", {"profile", "validation", "measure", "remeasure", *FURTHER}),
        ({}, BOARD, "measured", FURTHER),
    ],
)
def test_stages_run_beside_snakemake_where_they_use_no_device_of_a_node(device, further, latency, expected):
    devices = {} if further is None else {"other": further}
    settings = configured(device=device, devices=devices, measure={"latency": latency})
    assert set(local_stages(settings)) == ALWAYS | expected
    downloading = configured(device=device, devices=devices, measure={"latency": latency}, data={"download": True})
    assert set(local_stages(downloading)) == ALWAYS | expected | {"data"}


def test_a_device_of_a_node_beside_one_over_ssh_is_refused():
    for device, further in ((BOARD, DESCRIBED), ({}, DESCRIBED), (DESCRIBED, BOARD), ({}, {})):
        check_reach(configured(device=device, devices={"other": further}))
    with pytest.raises(UserError, match=r"^devices.other.runtime: 'remote'.*device \('pytorch'\)"):
        check_reach(configured(device={}, devices={"other": BOARD}))
    with pytest.raises(UserError, match=r"^device.runtime: 'remote'.*devices.other \('pytorch'\)"):
        check_reach(configured(device=BOARD, devices={"other": {}}))


def test_what_runs_beside_snakemake_is_no_job():
    recorded = Costs({}, Line(1, 1), Line(1, 1), once={"profile": 50.0, "remeasure": 50.0})
    near, far = (configured(device=DESCRIBED, devices={"other": other}) for other in ({}, BOARD))
    assert plan(near, recorded, NONE, nodes=1).jobs == plan(far, recorded, NONE, nodes=1).jobs + 1


def test_costs_are_read_from_what_a_run_recorded(tmp_path):
    def record(name, seconds):
        file = tmp_path / "benchmarks" / f"{name}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\n{seconds}\t-\n")

    def table(name, rows):
        file = tmp_path / f"{name}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"candidate": ["c"] * rows}), file)

    with pytest.raises(UserError, match="no generation was evaluated yet"):
        costs(tmp_path)
    for generation, rows in enumerate((5, 3)):
        folder = f"hamp/seed0/gen{generation}"
        record(f"{folder}/evaluate-0-of-1", 10 + 2 * rows)
        table(f"{folder}/errors-0-of-1", rows)
        record(f"{folder}/measure", 1 + rows)
        table(f"{folder}/measured", rows)
        record(f"{folder}/select", 3 + generation)
    record("hamp/seed0/gen1/evaluate-0-of-9", 1000)  # of a number of shards that was given up
    record("hamp/seed0/gen2/measure", 1000)  # run again now: Snakemake has removed its table
    record("finetune-0-of-2", 1000)
    record("pretrain", 100)
    found = costs(tmp_path)
    assert (found.evaluate.fixed, found.evaluate.each) == (pytest.approx(10), pytest.approx(2))
    assert (found.measure.fixed, found.measure.each) == (pytest.approx(1), pytest.approx(1))
    assert found.light == {"select": 3.5}
    assert found.once == {"pretrain": 100}
    assert found.finetune is None


def test_the_start_of_jobs_is_read_from_logs_since_tables_are_touched_later(tmp_path):
    folder, records, logs = (tmp_path / part / "hamp/seed0/gen0" for part in ("", "benchmarks", "logs"))
    for place in (folder, records, logs):
        place.mkdir(parents=True)
    moments = {folder / "initial.parquet": 100, folder / "archive.parquet": 160}
    for shard, end in enumerate((121, 123)):
        (records / f"evaluate-{shard}-of-2.tsv").write_text(f"s\th:m:s\n{15 + shard}\t-\n")
        moments |= {folder / f"errors-{shard}-of-2.parquet": 150, logs / f"evaluate-{shard}-of-2.log": end}
    for file, moment in moments.items():
        file.touch()
        os.utime(file, (moment, moment))
    assert overheads(tmp_path, TIMES).start == pytest.approx((121 - 15 - 100 + 123 - 16 - 100) / 2)
    assert overheads(tmp_path / "nothing", TIMES) == TIMES

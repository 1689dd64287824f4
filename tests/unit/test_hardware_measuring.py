"""What is made of times: tables, remarks, fingerprints."""

from importlib.metadata import PackageNotFoundError

import numpy as np
import pyarrow as pa
import pytest

from hamp import tables
from hamp.configuration.blocks import Device, Measure
from hamp.errors import UserError
from hamp.hardware import fingerprint, measuring

CPU = Device(batch_size=1)


def networks(**seconds):
    return {name: (lambda own=own: own) for name, own in seconds.items()}


def test_measure_gives_latency_beside_the_unpruned_network(capsys):
    table = measuring.measure(networks(unpruned=0.004, a=0.003, b=0.005), CPU, Measure(), seed=0)
    rows = {row["candidate"]: row for row in table.to_pylist()}
    assert table.schema.equals(tables.LATENCY)
    assert rows["a"]["latency_ms"] == pytest.approx(3.0)
    assert rows["b"]["baseline_latency_ms"] == pytest.approx(4.0)
    assert rows["a"]["latency_iqr_ms"] == pytest.approx(0.0)
    assert capsys.readouterr().err == ""


def test_the_fingerprint_goes_through_a_file(tmp_path):
    table = measuring.measure(networks(unpruned=0.004), CPU, Measure(), seed=0)
    tables.write(table, tmp_path / "latency.parquet")
    facts = fingerprint.of(tables.read(tmp_path / "latency.parquet", tables.LATENCY))
    assert facts["batch size"] == "1"
    assert {"processor", "torch", "threads", "data type", "load"} <= set(facts)


def test_results_of_unlike_devices_do_not_mix():
    one, two = fingerprint.take(CPU), fingerprint.take(Device(batch_size=2, threads=2))
    with pytest.raises(UserError, match="batch size: 1 / 2; threads: 1 / 2"):
        fingerprint.check(one, two)
    fingerprint.check(one, {**one, "load": "17", "temperature": "90"})


def test_a_table_without_fingerprint_is_refused():
    with pytest.raises(UserError, match="fingerprint"):
        fingerprint.of(tables.empty(tables.LATENCY))


def test_a_package_for_gpus_stands_in_for_the_one_for_processors(tmp_path, monkeypatch):
    for name, version in (("onnxruntime_gpu", "1.23.0"), ("both", "2.0"), ("both_gpu", "1.0")):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert fingerprint.versions("onnxruntime", "both") == {"onnxruntime": "1.23.0", "both": "2.0"}
    with pytest.raises(PackageNotFoundError):
        fingerprint.versions("absent")


def test_measuring_needs_the_reference():
    with pytest.raises(UserError, match="'unpruned'"):
        measuring.measure(networks(a=0.1), CPU, Measure(), seed=0)


def test_nothing_is_measured_on_a_described_device():
    with pytest.raises(UserError, match="roofline"):
        measuring.measure(networks(unpruned=0.1), Device(runtime="roofline", description="a100"), Measure(), seed=0)


def played(times, references=None, **told):
    times = {name: list(values) for name, values in times.items()}
    quiet = {"rounds": 10, "wanted": 10, "interrupted": 0.0, "disturbed": 0.0}
    return {"times": times, "references": references or times, **quiet, **told}


def test_remarks_name_each_disturbance():
    steady = [1.0] * 40
    assert measuring.remarks(played({"unpruned": steady}), "unpruned") == []
    assert "busy" in measuring.remarks(played({"unpruned": [1.0, 2.0] * 20}), "unpruned")[0]
    assert "outliers" in measuring.remarks(played({"unpruned": [*np.linspace(1, 1.01, 36), 5, 5, 5, 5]}), "unpruned")[0]
    assert "3 of 10 rounds" in measuring.remarks(played({"unpruned": steady}, rounds=3), "unpruned")[0]


def test_summary_holds_the_spread_of_the_ratio():
    times = {"unpruned": [2.0, 4.0, 2.0, 4.0], "a": [1.0, 2.0, 1.0, 2.0]}
    references = {"unpruned": times["unpruned"], "a": [2.0, 4.0, 2.0, 4.0]}
    row = measuring.summary(played(times, references), "unpruned").to_pylist()[1]
    assert row["latency_ms"] == pytest.approx(1e3 * 3.0 * 0.5)
    assert row["latency_iqr_ms"] == 0.0


def test_a_gain_within_the_noise_is_no_gain():
    assert measuring.faster([1.0, 1.9, 2.0, 2.5], [0.2, 0.2, 0.0, 0.0], [2.0] * 4).tolist() == [
        True,
        False,
        False,
        False,
    ]


def test_metadata_is_kept_beside_other_metadata():
    table = pa.table({"x": [1]}).replace_schema_metadata({"other": "kept"})
    assert fingerprint.attach(table, {"a": "b"}).schema.metadata[b"other"] == b"kept"

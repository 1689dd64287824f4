"""Energy counters, with a folder that looks like the kernel's."""

import os

import pytest

from hamp.configuration.blocks import Device
from hamp.errors import UserError
from hamp.hardware import energy


@pytest.fixture
def rapl(tmp_path):
    """Two packages, of which the first has a counter of its cores too."""
    for folder, name in {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:1": "package-1"}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "name").write_text(f"{name}\n")
        (tmp_path / folder / "energy_uj").write_text("900\n")
        (tmp_path / folder / "max_energy_range_uj").write_text("1000\n")
    return tmp_path


@pytest.fixture
def processors(tmp_path, monkeypatch):
    """Processors of which every second one is in package 1."""
    for cpu in range(os.cpu_count()):
        (folder := tmp_path / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (folder / "physical_package_id").write_text(f"{cpu % 2}\n")
    monkeypatch.setattr(energy, "PROCESSORS", tmp_path)


def test_the_counter_goes_on_where_it_wraps_round(rapl):
    read = energy.meter(Device(), rapl)
    before = read()
    (rapl / "intel-rapl:0" / "energy_uj").write_text("100\n")
    assert read() - before == pytest.approx(200e-6)
    (rapl / "intel-rapl:0" / "energy_uj").write_text("400\n")
    assert read() - before == pytest.approx(500e-6)


@pytest.mark.parametrize(("allowed", "counted"), [({0}, [0]), ({1}, [1]), ({0, 1}, [0, 1]), ({2, 4}, [0])])
def test_the_packages_are_those_on_which_the_process_may_run(rapl, processors, monkeypatch, allowed, counted):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: allowed)
    (rapl / "cpu2" / "topology").mkdir(parents=True, exist_ok=True)
    (rapl / "cpu2" / "topology" / "physical_package_id").write_text("0\n")
    read = energy.meter(Device(), rapl)
    before = read()
    for package, joules in ((0, 1e-5), (1, 3e-5)):
        (rapl / f"intel-rapl:{package}" / "energy_uj").write_text(f"{900 + round(1e6 * joules)}\n")
    assert read() - before == pytest.approx(sum({0: 1e-5, 1: 3e-5}[package] for package in counted))


def test_energy_of_one_inference_is_the_mean(rapl):
    joules = 0.0

    def run():
        nonlocal joules
        joules += 0.002

    assert energy.per_inference(run, lambda: joules, 0.01) == pytest.approx(2.0)


def test_a_machine_that_does_not_tell_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"energy_mj.*does not tell"):
        energy.available(Device(), tmp_path / "absent")


@pytest.mark.parametrize(
    ("settings", "counter"), [({"provider": "tensorrt"}, "GPU"), ({"hardware": "cuda", "provider": "cpu"}, "RAPL")]
)
def test_the_counter_is_that_of_the_processor_on_which_networks_run(rapl, monkeypatch, settings, counter):
    monkeypatch.setattr("hamp.hardware.nvidia.joules", lambda: "GPU")
    monkeypatch.setattr(energy, "_rapl", lambda folder: "RAPL")
    assert energy.meter(Device(runtime="onnxruntime", **settings), rapl) == counter


@pytest.mark.parametrize("runtime", ["roofline", "remote"])
def test_devices_without_a_counter_are_an_error(runtime):
    with pytest.raises(UserError, match=f"energy_mj.*{runtime}"):
        energy.available(Device(runtime=runtime))

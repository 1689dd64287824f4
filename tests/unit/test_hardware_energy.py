"""Energy counters, with a folder that looks like the kernel's."""

import pytest

from hamp.configuration.blocks import Device
from hamp.errors import UserError
from hamp.hardware import energy


@pytest.fixture
def rapl(tmp_path):
    (tmp_path / "energy_uj").write_text("900\n")
    (tmp_path / "max_energy_range_uj").write_text("1000\n")
    return tmp_path


def test_the_counter_goes_on_where_it_wraps_round(rapl):
    read = energy.meter(Device(), rapl)
    before = read()
    (rapl / "energy_uj").write_text("100\n")
    assert read() - before == pytest.approx(200e-6)
    (rapl / "energy_uj").write_text("400\n")
    assert read() - before == pytest.approx(500e-6)


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

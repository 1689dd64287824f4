"""The doctor's words."""

from types import SimpleNamespace

from hamp.configuration.blocks import Device
from hamp.hardware import doctor, examination, timing


def test_it_tells_what_is_here_and_what_is_missing():
    devices = {"": Device(), "board": Device(runtime="roofline", description="none")}
    found = {finding.subject: finding for finding in doctor(devices, 0.05)}
    assert found["torch"].state == "good"
    assert "CPUExecutionProvider" in found["onnxruntime"].words
    assert found["device"].words == "pytorch: can be used"
    assert found["device board"].state == "bad"
    assert "'none'" in found["device board"].words
    assert {"processor", "load", "noise", "CUDA", "ssh"} <= set(found)
    assert all("\n" not in finding.words for finding in found.values())
    asked = [finding.words for finding in found.values() if finding.state == "missing"]
    assert all("needed" in words and "choose" not in words and "remove it" not in words for words in asked)


def test_steady_work_is_called_steady():
    assert examination.noise(0.01, lambda: 0.01).state == "good"


def test_unsteady_work_is_called_unsteady():
    durations = iter([0.01, 0.02] * 100_000)
    finding = examination.noise(0.01, lambda: next(durations))
    assert finding.state == "bad"
    assert "more rounds" in finding.words


def test_interruptions_are_told(monkeypatch):
    switches = iter(range(10_000_000))
    monkeypatch.setattr(timing.resource, "getrusage", lambda _: SimpleNamespace(ru_nivcsw=next(switches)))
    finding = examination.noise(0.01, lambda: None)
    assert finding.state == "bad"
    assert "interrupted 100%" in finding.words


def test_a_package_that_is_not_installed_is_missing():
    assert examination._package("no-such-package", "needed by nobody") == examination.Finding(
        "missing", "no-such-package", "not installed; needed by nobody"
    )

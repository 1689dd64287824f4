"""What `hamp doctor` tells: what is here, what is missing, and how noisy this machine is, in plain words."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError
from typing import Literal, NamedTuple

from hamp.configuration.blocks import Device
from hamp.errors import UserError
from hamp.hardware import energy, timing
from hamp.hardware.fingerprint import versions
from hamp.hardware.machine import processor

# Interquartile range over the median, and share of interrupted runs, from which a machine is called unsteady or busy.
UNSTEADY, BUSY = 0.10, 0.05


class Finding(NamedTuple):
    """One line of the examination."""

    state: Literal["good", "missing", "bad"]
    subject: str
    words: str


def doctor(devices: Mapping[str, Device] | None = None, seconds: float = 2.0) -> list[Finding]:
    """Examine this machine, and the devices where some are given.

    Args:
        devices: of the configuration by name; that of block `device` is called ``.
        seconds: how long the noise of this machine is watched.
    """
    found = [*_system(), *_runtimes(), *_extras(), noise(seconds)]
    return found + [_device(name, device) for name, device in (devices or {}).items()]


def noise(seconds: float, run: timing.Run | None = None) -> Finding:
    """How much the time of one fixed piece of work varies here."""
    middle, spread, interrupted = timing.noise(run or _work(), seconds)
    told = f"the same work of {1e3 * middle:.2g} ms varied by {spread:.0%} (quartiles)"
    if interrupted > BUSY:
        return Finding("bad", "noise", f"{told}; others interrupted {interrupted:.0%} of it: end them before measuring")
    if spread > UNSTEADY:
        return Finding("bad", "noise", f"{told}: the clock is unsteady or the machine shared; use more rounds")
    return Finding("good", "noise", f"{told}; hardly interrupted: fit for measuring")


def _system() -> Iterator[Finding]:
    facts = processor()
    yield Finding("good", "Python", f"{sys.version.split()[0]} at {sys.executable}")
    words = f"{facts['processor']}, {facts['cores']} cores, {facts['vector channels']} channels in a register"
    yield Finding("good", "processor", words)
    load, cores = os.getloadavg()[0], os.cpu_count() or 1  # of the whole machine, as the load is
    if load > cores:
        yield Finding("bad", "load", f"{load:.1f} processes want {cores} cores: times measured now are doubtful")
    else:
        yield Finding("good", "load", f"{load:.1f} on {cores} cores")
    if facts.get("governor", "performance") != "performance":
        yield Finding("bad", "clock", f"governor '{facts['governor']}': set 'performance' for steadier times")


def _runtimes() -> Iterator[Finding]:
    for package, use in (("torch", "needed for training and to measure in PyTorch"), ("onnx", "needed for export")):
        yield _package(package, use)
    finding = _package("onnxruntime", "needed by the runtime 'onnxruntime'")
    if finding.state == "good":
        import onnxruntime

        finding = finding._replace(words=f"{finding.words}: {', '.join(onnxruntime.get_available_providers())}")
    yield finding

    from hamp.hardware.devices.pytorch import cuda_lack

    lack = cuda_lack()
    words = f"{lack}; needed for `cuda` only" if lack else "driver and GPU are here"
    yield Finding("missing" if lack else "good", "CUDA", words)


def _extras() -> Iterator[Finding]:
    for name, hardware in (("energy of the processor", "cpu"), ("energy of the GPU", "cuda")):
        lack = energy.lack(Device(hardware="cuda" if hardware == "cuda" else "cpu"))
        words = f"{lack}; needed for objective `energy_mj` only"
        yield Finding("missing", name, words) if lack else Finding("good", name, "can be read")
    for program, use in (("ssh", "for the runtime 'remote'"), ("sbatch", "to submit to SLURM")):
        path = shutil.which(program)
        yield Finding("good" if path else "missing", program, path or f"not found; needed {use} only")


def _device(name: str, device: Device) -> Finding:
    from hamp.hardware.devices import available

    subject = f"device {name}".strip()
    try:
        available(device)
    except UserError as error:
        return Finding("bad", subject, f"{device.runtime}: {error}")
    return Finding("good", subject, f"{device.runtime}: can be used")


def _package(name: str, use: str) -> Finding:
    try:
        return Finding("good", name, versions(name)[name])
    except PackageNotFoundError:
        return Finding("missing", name, f"not installed; {use}")


def _work() -> timing.Run:
    """One convolution, on one thread."""
    from hamp.hardware.devices import pytorch
    from hamp.hardware.layers import Family, Layer

    family = Family("conv", (3, 3), (1, 1), (1, 1), (1, 1), size=(32, 32), output_size=(32, 32), positions=1024)
    return pytorch.prepare_layer(Layer(family, 32, 32), Device(batch_size=1))

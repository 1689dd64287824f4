"""Energy of inference, where the device can tell: NVML for NVIDIA GPUs, RAPL for Intel and AMD processors."""

import os
from collections.abc import Callable
from pathlib import Path

from hamp.configuration.blocks import Device
from hamp.errors import UserError
from hamp.hardware import timing

# Runtimes in this process, beside which a counter can be read.
TELLING = ("pytorch", "onnxruntime")
RAPL = Path("/sys/class/powercap")
PROCESSORS = Path("/sys/devices/system/cpu")


def available(settings: Device, rapl: Path = RAPL) -> None:
    """Check that the device tells its energy.

    Raises:
        UserError: it does not, and what to do.
    """
    meter(settings, rapl)


def lack(settings: Device, rapl: Path = RAPL) -> str | None:
    """Why the device does not tell its energy, in words."""
    try:
        meter(settings, rapl)
    except UserError as error:
        return str(error).partition(": ")[2].rpartition("; ")[0]
    return None


def meter(settings: Device, rapl: Path = RAPL) -> Callable[[], float]:
    """Function that gives the energy used so far, in joules, since an arbitrary zero.

    The counter is that of the whole processor package or GPU: it includes what other processes use.

    Raises:
        UserError: the device has no such counter, or it may not be read.
    """
    if settings.runtime not in TELLING:
        raise UserError(f"objective 'energy_mj': a device of runtime '{settings.runtime}' does not tell its energy")
    if settings.processor == "cuda":
        from hamp.hardware.nvidia import joules

        return joules()
    return _rapl(rapl)


def per_inference(run: timing.Run, read: Callable[[], float], seconds: float) -> float:
    """Energy of one inference in millijoule: mean over repeated runs of at least `seconds`."""
    import time

    timing.warm_up(run, 3, seconds / 4)
    count, before, start = 0, read(), time.perf_counter()
    while time.perf_counter() - start < seconds:
        run()
        count += 1
    return 1e3 * (read() - before) / count


def _rapl(folder: Path) -> Callable[[], float]:
    """Of the packages on which this process may run, all counted together."""
    packages = {path.name: path for path in sorted(folder.glob("intel-rapl:*")) if path.name.count(":") == 1}
    if not packages:
        raise UserError(
            f"objective 'energy_mj': this processor does not tell its energy (no {folder}/intel-rapl:0); remove it"
        )
    used = {f"package-{number}" for number in _packages_in_use()}
    counters = [_counter(path) for path in packages.values() if (path / "name").read_text().strip() in used]
    counters = counters or [_counter(path) for path in packages.values()]
    return lambda: sum(counter() for counter in counters)


def _packages_in_use() -> set[str]:
    files = (PROCESSORS / f"cpu{cpu}" / "topology" / "physical_package_id" for cpu in os.sched_getaffinity(0))
    return {file.read_text().strip() for file in files if file.is_file()}


def _counter(package: Path) -> Callable[[], float]:
    counter = package / "energy_uj"
    try:
        counter.read_text()
        span = int((package / "max_energy_range_uj").read_text())
    except PermissionError:
        raise UserError(
            f"objective 'energy_mj': {counter} may not be read; allow it (chmod a+r, as root) or remove it"
        ) from None
    last, turns = int(counter.read_text()), 0

    def read() -> float:
        # The counter wraps round at `span`.
        nonlocal last, turns
        value = int(counter.read_text())
        turns += value < last
        last = value
        return (value + turns * span) / 1e6

    return read

"""What a measured time depends on, and whether two measured times may be compared."""

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from hamp.configuration.blocks import Device
from hamp.errors import UserError
from hamp.hardware.devices import load

KEY = b"fingerprint"
# Observed while measuring and changing by the minute: told, but not a reason to keep results apart.
OBSERVED = ("clock", "temperature", "load")


def take(settings: Device) -> dict[str, str]:
    """Fingerprint of the device, sorted by key."""
    facts = {
        "runtime": settings.runtime,
        "hardware": settings.hardware,
        "data type": settings.data_type,
        "batch size": str(settings.batch_size),
        **load(settings).fingerprint(settings),
    }
    return dict(sorted(facts.items()))


def attach(table: pa.Table, fingerprint: Mapping[str, str]) -> pa.Table:
    """`table` with the fingerprint in its metadata."""
    return table.replace_schema_metadata({**(table.schema.metadata or {}), KEY: json.dumps(dict(fingerprint))})


def of(table: pa.Table) -> dict[str, str]:
    """Fingerprint in the metadata of a table.

    Raises:
        UserError: there is none.
    """
    text = (table.schema.metadata or {}).get(KEY)
    if text is None:
        raise UserError("table of measured times without the device's fingerprint; measure again")
    facts: dict[str, str] = json.loads(text)
    return facts


def check(a: Mapping[str, str], b: Mapping[str, str], names: tuple[str, str] = ("the first", "the second")) -> None:
    """Refuse to mix results of unlike devices.

    Raises:
        UserError: names each difference.
    """
    keys = [key for key in sorted({*a, *b}) if key not in OBSERVED and a.get(key) != b.get(key)]
    if keys:
        told = "; ".join(f"{key}: {a.get(key, 'none')} / {b.get(key, 'none')}" for key in keys)
        raise UserError(f"times of unlike devices do not mix ({names[0]} / {names[1]}): {told}; measure both on one")


def processor() -> dict[str, str]:
    """Processor of this machine: model, cores that this process may use, vector width, clock, load."""
    info = _cpuinfo()
    facts = {
        "processor": info.get("model name") or info.get("Model") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "vector channels": str(vector_channels(info.get("flags", info.get("Features", "")))),
        "load": f"{os.getloadavg()[0]:.2f}",
    }
    readable = {
        "governor": Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "clock": Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"),
        "temperature": Path("/sys/class/thermal/thermal_zone0/temp"),
    }
    for key, path in readable.items():
        if path.is_file():
            facts[key] = path.read_text().strip()
    if "clock" not in facts and "cpu MHz" in info:
        facts["clock"] = f"{info['cpu MHz']} MHz"
    return facts


def vector_channels(flags: str) -> int:
    """Channels in one vector register of float32: the step in which a layer's width costs time."""
    words = set(flags.split())
    if "avx512f" in words:
        return 16
    return 8 if "avx2" in words or "avx" in words else 4


def versions(*packages: str) -> dict[str, str]:
    """Versions of installed packages, read without importing them."""
    return {package: version(package) for package in packages}


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    pairs = (line.partition(":") for line in path.read_text().splitlines() if ":" in line)
    first: dict[str, str] = {}
    for key, _, value in pairs:
        first.setdefault(key.strip(), value.strip())
    return first

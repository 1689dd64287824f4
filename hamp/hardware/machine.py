"""This machine's processor, in words. Standard library only: a remote device runs this file too."""

from __future__ import annotations

import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def processor() -> dict[str, str]:
    """Model, cores that this process may use, vector width, system; clock, temperature and load now."""
    info = _cpuinfo()
    facts = {
        "processor": info.get("model name") or info.get("Model") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
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
        try:
            facts[key] = path.read_text().strip()
        except OSError:  # not told here, or not to this user
            continue
    if "clock" not in facts and "cpu MHz" in info:
        facts["clock"] = f"{info['cpu MHz']} MHz"
    return facts


def vector_channels(flags: str) -> int:
    """Channels in one vector register of float32: the step in which a layer's width costs time."""
    words = set(flags.split())
    if "avx512f" in words:
        return 16
    return 8 if "avx" in words else 4


def _cpuinfo() -> dict[str, str]:
    """The first value of each key."""
    first: dict[str, str] = {}
    if CPUINFO.is_file():
        for line in CPUINFO.read_text().splitlines():
            key, colon, value = line.partition(":")
            if colon:
                first.setdefault(key.strip(), value.strip())
    return first

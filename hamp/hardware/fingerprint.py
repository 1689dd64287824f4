"""What a measured time depends on, and whether two measured times may be compared."""

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import pyarrow as pa

from hamp import tables
from hamp.configuration.blocks import Device
from hamp.errors import UserError
from hamp.hardware.devices import load

KEY = "fingerprint"
# Observed while measuring and changing by the minute: told, but not a reason to keep results apart.
OBSERVED = ("clock", "temperature", "load")


def take(settings: Device) -> dict[str, str]:
    """Fingerprint of the device, sorted by key."""
    facts = {
        "runtime": settings.runtime,
        "hardware": settings.processor,
        "data type": settings.data_type,
        "batch size": str(settings.batch_size),
        **load(settings).fingerprint(settings),
    }
    return dict(sorted(facts.items()))


def attach(table: pa.Table, fingerprint: Mapping[str, str], device: str = "") -> pa.Table:
    """`table` with the fingerprint in its metadata; `device`: name of a further device, of which it is."""
    added = {tables.at(KEY, device): json.dumps(dict(fingerprint))}
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **added})


def of(table: pa.Table, device: str = "") -> dict[str, str]:
    """Fingerprint in the metadata of a table.

    Raises:
        UserError: there is none.
    """
    text = (table.schema.metadata or {}).get(tables.at(KEY, device).encode())
    if text is None:
        raise UserError("table of measured times without the device's fingerprint; measure again")
    facts: dict[str, str] = json.loads(text)
    return facts


def check(
    a: Mapping[str, str],
    b: Mapping[str, str],
    names: tuple[str, str] = ("the first", "the second"),
    advice: str = "measure both on one",
) -> None:
    """Refuse to mix results of unlike devices.

    Raises:
        UserError: names each difference.
    """
    keys = [key for key in sorted({*a, *b}) if key not in OBSERVED and a.get(key) != b.get(key)]
    if keys:
        told = "; ".join(f"{key}: {a.get(key, 'none')} / {b.get(key, 'none')}" for key in keys)
        raise UserError(f"times of unlike devices do not mix ({names[0]} / {names[1]}): {told}; {advice}")


def versions(*packages: str) -> dict[str, str]:
    """Versions of installed packages, read without importing them; that with `-gpu` may stand in for one.

    Raises:
        PackageNotFoundError: one is not installed.
    """
    return {package: _version(package) for package in packages}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # as `onnxruntime`, which `onnxruntime-gpu` provides too
        return version(f"{package}-gpu")

"""A device reached over ssh, such as an edge board: ONNX files go there, times come back as JSON.

Keys, host names and host checking are the user's ssh's. The other side needs Python 3.8 or newer and ONNX Runtime;
the measuring code is sent along each time and removed with its folder.
"""

import io
import json
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hamp.configuration.blocks import Device
from hamp.errors import UserError
from hamp.hardware.devices import onnxruntime

if TYPE_CHECKING:
    from torch import nn

    from hamp.hardware.layers import Layer

# By their whole names, so that they count as this module's imports (hamp.digest).
CODE = ("hamp.hardware.machine", "hamp.hardware.timing", "hamp.hardware.sessions", "hamp.hardware.remote_session")
# Unpacks what comes on its standard input into a folder of its own and runs it there. A full disk is told as the
# session tells what is wrong. Where the connection breaks (its standard output is read no more), it ends, so that
# nothing runs beside the next attempt.
RECEIVE = """
import json, os, runpy, select, shutil, sys, tarfile, tempfile, threading
def end_with_connection(folder):
    poll = select.poll()
    poll.register(1, 0)
    poll.poll()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
try:
    with tempfile.TemporaryDirectory(prefix="hamp-") as folder:
        threading.Thread(target=end_with_connection, args=(folder,), daemon=True).start()
        tarfile.open(fileobj=sys.stdin.buffer, mode="r|").extractall(folder)
        sys.path.insert(0, folder)
        sys.argv[1:] = [os.path.join(folder, "plan.json")]
        runpy.run_module("hamp.hardware.remote_session", run_name="__main__", alter_sys=True)
except OSError as error:
    print("\\n" + json.dumps({"error": "%s (%s)" % (error.strerror, error.filename or tempfile.gettempdir())}))
"""
# After the user's own options, of which ssh takes the first: no question on a terminal, and a dead line is noticed.
OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15")


@dataclass(frozen=True)
class Sent:
    """An ONNX file for a device."""

    content: bytes
    settings: Device


def check(settings: Device) -> None:
    """Raise `UserError` where no host is named, or the execution provider cannot do what is asked."""
    if settings.host is None:
        raise UserError("device.host: missing; runtime 'remote' needs the name of the machine, as your ssh knows it")
    onnxruntime.check(settings)


def available(settings: Device) -> None:
    """Raise `UserError` where the host cannot be reached or lacks Python, ONNX Runtime or the provider."""
    fingerprint(settings)


def fingerprint(settings: Device) -> dict[str, str]:
    """What the other side tells of itself."""
    facts: dict[str, str] = _session(settings, {}, {})["fingerprint"]
    return {"host": str(settings.host), **facts}


def prepare(model: "nn.Module", shape: tuple[int, int, int], settings: Device) -> Sent:
    """The network as an ONNX file for batches of images of `shape` (channels, height, width)."""
    from hamp.hardware import onnx_files

    return prepare_file(onnx_files.network(model, shape, settings.batch_size), settings)


def prepare_layer(layer: "Layer", settings: Device) -> Sent:
    """A single layer as an ONNX file."""
    from hamp.hardware import onnx_files

    return prepare_file(onnx_files.layer(layer, settings.batch_size), settings)


def prepare_file(content: bytes, settings: Device) -> Sent:
    """An ONNX file whose input has a fixed size."""
    return Sent(content, settings)


def play(prepared: Mapping[str, Sent], **plan: Any) -> dict[str, Any]:
    """Send the networks and time them there by turns (`timing.play`).

    Raises:
        UserError: the connection broke, or what the other side said is wrong.
    """
    settings = next(iter(prepared.values())).settings
    return _session(settings, {name: sent.content for name, sent in prepared.items()}, plan)


def _session(settings: Device, networks: Mapping[str, bytes], play: Mapping[str, Any]) -> dict[str, Any]:
    files = {name: f"{number}.onnx" for number, name in enumerate(networks)}
    plan = {
        "provider": onnxruntime.provider(settings),
        "threads": settings.threads,
        "half": settings.data_type == "float16",
        "networks": files,
        "play": dict(play),
    }
    remote = f"{shlex.join([settings.python, '-c', RECEIVE])}; exit $?"
    command = [*settings.ssh, *OPTIONS, str(settings.host), remote]
    with tempfile.TemporaryFile() as archive:
        _pack(archive, plan, {files[name]: content for name, content in networks.items()})
        archive.seek(0)
        try:
            done = subprocess.run(command, stdin=archive, capture_output=True, text=True, errors="replace")
        except FileNotFoundError:
            raise UserError(f"device.ssh: there is no program '{settings.ssh[0]}'; install OpenSSH") from None
    return _answer(settings, done)


def _answer(settings: Device, done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    said = done.stderr.strip().splitlines()
    last = said[-1] if said else "it said nothing"
    if done.returncode == 255:
        raise UserError(f"the connection to '{settings.host}' failed or broke: {last}; check `ssh`, and run again")
    if done.returncode == 127:
        raise UserError(f"device.python '{settings.python}': no such program on '{settings.host}' ({last})")
    if done.returncode > 128:
        number = done.returncode - 128
        raise UserError(f"measuring on '{settings.host}' was killed there (signal {number}; memory?); run again")
    # A shell there may say something of its own, before or after.
    answer = next((found for line in done.stdout.splitlines()[::-1] if (found := _parsed(line)) is not None), None)
    if done.returncode or answer is None:
        raise UserError(f"measuring on '{settings.host}' failed (exit status {done.returncode}): {last}")
    if "error" in answer:
        raise UserError(f"device '{settings.host}': {answer['error']}")
    return answer


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _pack(archive: IO[bytes], plan: Mapping[str, Any], networks: Mapping[str, bytes]) -> None:
    files = [f"{name.replace('.', '/')}.py" for name in CODE]
    contents = {file: (Path(__file__).parents[3] / file).read_bytes() for file in files}
    contents |= {"hamp/__init__.py": b"", "hamp/hardware/__init__.py": b"", "plan.json": json.dumps(plan).encode()}
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in {**contents, **networks}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))

"""The remote device, against a real sshd."""

import os
import subprocess
import sys
import time

import pytest
import sshd
from hardware_networks import SHAPE, chain, space_of

from hamp.configuration.blocks import Device, Measure, Profile
from hamp.errors import UserError
from hamp.hardware import fingerprint, measuring
from hamp.hardware.devices import available, remote
from hamp.hardware.profile import build
from hamp.pruning import score

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ssh(tmp_path_factory):
    with sshd.running(tmp_path_factory.mktemp("sshd")) as command:
        yield command


@pytest.fixture
def device(ssh):
    return Device(runtime="remote", host="board", ssh=ssh, python=sys.executable, batch_size=1)


def measure(device):
    model = chain()
    networks = {"unpruned": remote.prepare(model, SHAPE, device), "half": remote.prepare(model[:6], SHAPE, device)}
    return measuring.measure(networks, device, Measure(rounds=5, seconds=0.5), seed=0)


def through(device, folder, script):
    """The device, its Python started by a shell script."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return device.model_copy(update={"python": str(path)})


def one_line(device, words):
    """The measuring fails with one line; then, at the sound device, it can be run again."""
    with pytest.raises(UserError, match=words) as raised:
        measure(device)
    assert len(str(raised.value).splitlines()) == 1


def test_networks_are_timed_there(device):
    table = measure(device)
    rows = {row["candidate"]: row for row in table.to_pylist()}
    assert 0 < rows["half"]["latency_ms"] < rows["unpruned"]["latency_ms"]
    facts = fingerprint.of(table)
    assert facts["host"] == "board"
    assert facts["provider"] == "cpu"
    available(device)


def test_a_profile_is_built_there(device):
    model = chain()
    space = space_of(model)
    settings = Profile(points=3, networks=3, rounds=3, seconds=2.0)
    profile = build(model, space, SHAPE, device, settings, score(model, space, "l1"), 0)
    assert {"layer", "network"} == set(profile["kind"].to_pylist())


def test_nothing_stays_there(device, tmp_path):
    there = through(device, tmp_path, f'TMPDIR={tmp_path}/left exec {sys.executable} "$@"')
    (tmp_path / "left").mkdir()
    measure(there)
    assert list((tmp_path / "left").glob("hamp-*")) == []


def test_a_missing_python_is_told(device):
    one_line(device.model_copy(update={"python": "no-such-python"}), "'no-such-python': no such program on 'board'")


def test_a_missing_package_is_told(device, tmp_path):
    there = through(device, tmp_path, f'exec {sys.executable} -S "$@"')  # without site-packages
    with pytest.raises(UserError, match=r"lacks the package onnxruntime.*install it"):
        available(there)
    one_line(there, "lacks the package onnxruntime")
    measure(device)


def test_a_broken_connection_is_told(device, tmp_path):
    # The shell's parent is the server's process of this connection.
    there = through(device, tmp_path, "kill -9 $(cut -d' ' -f4 /proc/$PPID/stat); sleep 5")
    one_line(there, "connection to 'board' failed or broke")
    measure(device)


def test_an_unknown_host_is_told(device):
    one_line(device.model_copy(update={"host": "no-such-host.invalid"}), "connection to 'no-such-host.invalid' failed")


def test_a_changed_host_key_is_told(device, ssh, tmp_path):
    (tmp_path / "known_hosts").write_text(
        "board ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
    )
    other = [*ssh, "-o", f"UserKnownHostsFile={tmp_path}/known_hosts"]
    one_line(device.model_copy(update={"ssh": other}), "connection to 'board' failed.*[Vv]erification")


def test_a_killed_run_is_told(device, tmp_path):
    there = through(device, tmp_path, f'exec 3<&0; {sys.executable} "$@" <&3 & sleep 0.1; kill -9 $!; wait $!')
    one_line(there, "was killed there .signal 9")
    measure(device)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk to fill")
def test_a_full_disk_is_told(device, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk to fill: {mounted.stderr.strip()}")
    try:
        one_line(through(device, tmp_path, f'TMPDIR={disk} exec {sys.executable} "$@"'), "No space left on device")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    measure(device)


def test_what_a_login_shell_says_is_no_answer(device, tmp_path):
    measure(through(device, tmp_path, f'printf "Welcome {{user}}!"; {sys.executable} "$@"; echo bye'))


def test_it_ends_there_when_the_connection_breaks(tmp_path):
    """While it waits for the rest of the files, and nobody reads what it says."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", remote.RECEIVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    while not list(tmp_path.glob("hamp-*")):
        time.sleep(0.05)
    process.stdout.close()
    assert process.wait(10) == 1
    assert list(tmp_path.glob("hamp-*")) == []
    process.stdin.close()

"""A real sshd on the loopback, from Debian's packages, with keys and a configuration of its own."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PACKAGES = ("openssh-server", "libwrap0")


@contextmanager
def running(folder: Path) -> Iterator[list[str]]:
    """Start sshd in `folder`; gives the ssh command that reaches it as host `board`. Skips where it can't be had."""
    sshd, libraries = _program(folder)
    for name in ("host", "user"):
        _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)])
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        "StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
        f"PermitRootLogin prohibit-password\nPidFile {folder}/pid\nPermitUserEnvironment no\n"
    )
    kind, key, *_ = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"board {kind} {key}\n")
    (folder / "ssh_config").write_text(
        f"Host board\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n HostKeyAlias board\n"
        f" IdentityFile {folder}/user\n IdentitiesOnly yes\n UserKnownHostsFile {folder}/known_hosts\n"
        " StrictHostKeyChecking yes\n"
    )
    log = folder / "log"
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
    server = subprocess.Popen([str(sshd), "-D", "-f", str(folder / "sshd_config"), "-E", str(log)], env=environment)
    try:
        _wait(port, server, log)
        yield ["ssh", "-F", str(folder / "ssh_config")]
    finally:
        server.terminate()
        server.wait(10)


def _program(folder: Path) -> tuple[Path, str]:
    """Path of sshd and of the libraries it needs, unpacked from Debian's packages."""
    for program in ("apt-get", "dpkg-deb", "ssh", "ssh-keygen"):
        if shutil.which(program) is None:
            pytest.skip(f"sshd for the test comes from Debian's packages; there is no {program} here")
    if os.geteuid() == 0:  # sshd run by root wants its own user and an empty folder
        Path("/run/sshd").mkdir(exist_ok=True)
        if subprocess.run(["getent", "passwd", "sshd"], capture_output=True).returncode:
            _run(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "sshd"])
    packages = folder / "packages"
    packages.mkdir()
    _run(["apt-get", "download", "-qq", *PACKAGES], packages)
    for package in packages.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(folder / "root")])
    library = next((folder / "root").rglob("libwrap.so.0"))
    return folder / "root" / "usr" / "sbin" / "sshd", str(library.parent)


def _run(command: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        pytest.skip(f"no sshd for the test: {command[0]} failed: {last}")


def _wait(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            pytest.skip(f"no sshd for the test: it ended: {log.read_text()[-300:]}")
        time.sleep(0.1)
    pytest.skip("no sshd for the test: it does not answer")

"""A real SLURM cluster on this machine, for tests: slurmctld, several slurmd as nodes, munge, and slurmdbd if wanted.

Everything lives in one folder and on the loopback device; nothing of the system's own SLURM is read or changed.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol")
ACCOUNTING_PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db", "sacctmgr", "sacct")
NODES = ("n1", "n2", "n3")
GPU_NODE = "n1"
CPUS = 4
MEMORY_MB = 64_000
ACCOUNT = "lab"

CONFIGURATION = """\
ClusterName=lab
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# cred_expire: how long a requeued job waits before it may start again.
AuthInfo=socket={folder}/munge/socket,cred_expire=15
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
MailProg=/bin/true
MpiDefault=none
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
# Of processes, not of cgroups, which a container may not offer; memory is then watched by polling.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# A node may declare more than this machine has.
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
MinJobAge={min_job_age}
# A dead slurmd is DOWN, and its jobs have failed, after about this long.
SlurmdTimeout=20
ReturnToService=2
KillWait=5
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobs.txt
{accounting}
GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES DefaultTime=60 MaxTime=INFINITE State=UP
"""

DATABASE_CONFIGURATION = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={database_port}
SlurmUser=root
CommunicationParameters=NoInAddrAny
PidFile={folder}/slurmdbd.pid
LogFile={folder}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql_port}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""


def missing(accounting: bool) -> str | None:
    """Why there can be no cluster here; None where there can."""
    if os.geteuid() != 0:
        return "a SLURM cluster of one's own needs root"
    wanted = (*PROGRAMS, *(ACCOUNTING_PROGRAMS if accounting else ()))
    absent = [name for name in wanted if shutil.which(name, path=PATH) is None]
    packages = "slurmctld slurmd slurm-client munge slurmdbd mariadb-server"
    return f"not installed: {', '.join(absent)} (Debian: {packages})" if absent else None


@contextmanager
def cluster(accounting: bool = False, min_job_age: int = 3600) -> Iterator["Cluster"]:
    """A cluster for the time of a `with` block; the test is skipped where there can be none."""
    if reason := missing(accounting):
        pytest.skip(reason)
    # Not pytest's folder: the path of a socket may have 108 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    made = Cluster(folder, accounting, min_job_age)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Cluster:
    """Daemons as children of this process, so that ending them needs no search for them.

    Args:
        folder: of everything that the daemons write.
        accounting: whether slurmdbd (with MariaDB) keeps accounts.
        min_job_age: seconds for which slurmctld remembers a finished job.
    """

    def __init__(self, folder: Path, accounting: bool, min_job_age: int) -> None:
        self.folder = folder
        self.accounting = accounting
        self.daemons: dict[str, subprocess.Popen] = {}
        self.node_ports = dict(zip(NODES, _free_ports(len(NODES)), strict=True))
        controller, database, self.sql_port = _free_ports(3)
        folder.chmod(0o755)
        for name in ("log", "controller", "munge", "devices", "bin", *(f"spool/{node}" for node in NODES)):
            (folder / name).mkdir(parents=True)
        (folder / "munge").chmod(0o711)
        self._write_configuration(controller, database, min_job_age)

    def _write_configuration(self, controller_port: int, database_port: int, min_job_age: int) -> None:
        # A GPU must have a device file of its own; these are /dev/null by another name.
        devices = [self.folder / "devices" / f"gpu{number}" for number in range(2)]
        for device in devices:
            subprocess.run(["mknod", device, "c", "1", "3"], check=True)
        (self.folder / "gres.conf").write_text(f"NodeName={GPU_NODE} Name=gpu File={','.join(map(str, devices))}\n")
        nodes = [
            f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} "
            f"RealMemory={MEMORY_MB} State=UNKNOWN" + (f" Gres=gpu:{len(devices)}" if node == GPU_NODE else "")
            for node, port in self.node_ports.items()
        ]
        accounting = "AccountingStorageType=accounting_storage/none"
        if self.accounting:
            accounting = (
                "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\n"
                f"AccountingStoragePort={database_port}\nAccountingStoragePass={self.folder}/munge/socket\n"
                # Jobs of unknown accounts are refused, as most clusters do.
                "AccountingStorageEnforce=associations\nAccountingStorageTRES=gres/gpu"
            )
            file = self.folder / "slurmdbd.conf"
            file.write_text(
                DATABASE_CONFIGURATION.format(folder=self.folder, database_port=database_port, sql_port=self.sql_port)
            )
            file.chmod(0o600)
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                folder=self.folder,
                controller_port=controller_port,
                min_job_age=min_job_age,
                accounting=accounting,
                nodes="\n".join(nodes),
            )
        )
        # Snakemake removes SLURM_CONF before it calls srun, so wrappers, found first on PATH, put it back.
        for name in ("srun", "sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr", "sshare"):
            if program := shutil.which(name, path=PATH):
                wrapper = self.folder / "bin" / name
                wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {program} "$@"\n')
                wrapper.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """In which SLURM's commands speak to this cluster."""
        return os.environ | {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{self.folder / 'bin'}:{PATH}",
            # Tells the processes of this cluster from all others; jobs keep it, as they keep no SLURM variable.
            "TEST_CLUSTER": str(self.folder),
        }

    def run(self, *command: str, check: bool = True) -> str:
        """The output of one of SLURM's commands."""
        return subprocess.run(
            command, env=self.environment, check=check, stdout=subprocess.PIPE, text=True, timeout=60
        ).stdout

    def jobs(self, form: str = "%i", *options: str) -> list[str]:
        """A line for every job that is queued or runs, in `squeue`'s format."""
        return self.run("squeue", "--noheader", "--format", form, *options).splitlines()

    def start(self) -> None:
        """Start all daemons, and wait until every node can be used."""
        munge = self.folder / "munge"
        (munge / "key").write_bytes(os.urandom(1024))
        (munge / "key").chmod(0o400)
        options = [f"--{name}-file={munge / name}" for name in ("key", "pid", "log", "seed")]
        self._launch("munged", "munged", "--foreground", "--force", f"--socket={munge / 'socket'}", *options)
        _until(lambda: self._works("munge", "--socket", str(munge / "socket"), "--no-input"), "munged does not answer")
        if self.accounting:
            self._start_accounting()
        self.start_controller()
        for node in NODES:
            self.start_node(node)

    def _start_accounting(self) -> None:
        data, socket_file = self.folder / "mysql", self.folder / "mysql.sock"
        self._quietly(
            *("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}"),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
        )
        self._launch(
            *("mariadbd", "mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={socket_file}"),
            *(f"--pid-file={self.folder / 'mysql.pid'}", "--bind-address=127.0.0.1", f"--port={self.sql_port}"),
            *("--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=0"),
        )
        client = ["mariadb", "--no-defaults", f"--socket={socket_file}", "--user=root", "--execute"]
        _until(lambda: self._works(*client, "select 1"), "mariadbd does not answer")
        self._quietly(
            *client,
            "create database slurm; create user slurm@localhost identified by 'slurm'; "
            "create user slurm@'127.0.0.1' identified by 'slurm'; grant all on slurm.* to slurm@localhost; "
            "grant all on slurm.* to slurm@'127.0.0.1';",
        )
        self._launch("slurmdbd", "slurmdbd", "-D")
        _until(lambda: self._works("sacctmgr", "-n", "list", "cluster"), "slurmdbd does not answer")
        for words in ("add cluster lab", f"add account {ACCOUNT}", f"add user root account={ACCOUNT}"):
            self._quietly("sacctmgr", "-i", *words.split())

    def start_controller(self) -> None:
        self._launch("slurmctld", "slurmctld", "-D")
        _until(lambda: "UP" in self.run("scontrol", "ping", check=False), "slurmctld does not answer")

    def start_node(self, node: str) -> None:
        self._launch(node, "slurmd", "-D", "-N", node)
        _until(lambda: self._state(node) in ("idle", "mixed", "allocated"), f"node {node} does not come up")

    def _state(self, node: str) -> str:
        return self.run("sinfo", "--noheader", "--nodes", node, "--format", "%T", check=False).strip()

    def stop_controller(self) -> None:
        """As when slurmctld is restarted or its machine is away; running jobs are not disturbed."""
        self._end("slurmctld", signal.SIGTERM)

    def kill_slurmd(self, node: str) -> None:
        """Kill a node's slurmd alone: what its jobs run lives on."""
        self._end(node, signal.SIGKILL)

    def crash(self, node: str) -> None:
        """Kill a node's slurmd and everything that runs there, as when the machine loses power."""
        self._end(node, signal.SIGKILL)
        for process in self.processes(f"TEST_NODE={node}") + self.processes(f"SLURMD_NODENAME={node}"):
            _kill(process)

    def processes(self, *variables: str) -> list[int]:
        """Processes of this cluster that have these variables (`NAME=value`) in their environment."""
        wanted = {f"TEST_CLUSTER={self.folder}", *variables}
        found = []
        for file in Path("/proc").glob("[0-9]*/environ"):
            try:
                content = set(file.read_bytes().decode(errors="replace").split("\0"))
            except OSError:
                continue
            if wanted <= content and int(file.parent.name) != os.getpid():
                found.append(int(file.parent.name))
        return found

    def stop(self) -> None:
        """End all daemons, and what jobs have left."""
        if "slurmctld" in self.daemons:
            self.run("scancel", "--user", "root", check=False)
        for name in (*NODES, "slurmctld", "slurmdbd", "mariadbd", "munged"):
            self._end(name, signal.SIGTERM)
        for process in self.processes():
            _kill(process)

    def _launch(self, name: str, *command: str) -> None:
        with open(self.folder / "log" / f"{name}.log", "ab") as log:
            self.daemons[name] = subprocess.Popen(
                command,
                env=self.environment | ({"TEST_NODE": name} if name in NODES else {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _end(self, name: str, number: signal.Signals) -> None:
        if daemon := self.daemons.pop(name, None):
            daemon.send_signal(number)
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _works(self, *command: str) -> bool:
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    def _quietly(self, *command: str) -> None:
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{shlex.join(command)}: {result.stdout}{result.stderr}"


def _until(condition: Callable[[], bool], words: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, words
        time.sleep(0.1)


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports

"""The Snakemake that controls a run on a cluster: started as a process here or as a job, found again, and resumed."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import yaml

from hamp.cluster import slurm
from hamp.cluster.freezing import PROFILE, SETTINGS, frozen_folder
from hamp.errors import UserError, one_line
from hamp.tables import atomic

RECORD = "run.json"
LOG = "controller.log"
SECONDS_TO_END = 120


@dataclass(frozen=True)
class Run:
    """A run that was submitted.

    Attributes:
        folder: the frozen copy, in which it runs.
        prefix: begins the names of all of its jobs, and of no other run's.
        options: for Snakemake: targets and options of the user.
        job: the controller's, where it is a job.
        host: on which the controller runs, where it is a process.
        process: its number.
        started: when it was started, in seconds since 1970, as the system knows it.
    """

    folder: Path
    prefix: str
    options: tuple[str, ...] = ()
    job: str | None = None
    host: str | None = None
    process: int | None = None
    started: float = 0.0

    @property
    def log(self) -> Path:
        """What the controller says."""
        return self.folder / LOG

    def save(self) -> None:
        """Write down what `load` reads."""
        with atomic(self.folder / RECORD) as temporary:
            temporary.write_text(json.dumps({**asdict(self), "folder": str(self.folder)}, indent=1))


def load(results: Path) -> Run:
    """The run whose results are in `results`.

    Raises:
        UserError: it was not submitted.
    """
    results = results.absolute()
    file = frozen_folder(results.parent.parent, results.name) / RECORD
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        raise UserError(f"{results}: not submitted from here ('{file}' is absent); `hamp submit` does that") from None
    return Run(**{**content, "folder": Path(content["folder"]), "options": tuple(content["options"])})


def prefix_of(results: Path) -> str:
    """Prefix of the jobs' names: readable, and another for every folder of results."""
    readable = re.sub(r"[^A-Za-z0-9-]", "-", results.name)[:30]
    return f"hamp-{readable}-{sha256(str(results.absolute()).encode()).hexdigest()[:8]}"


def jobs(run: Run) -> list[slurm.Job]:
    """The run's own jobs that are queued or run, without its controller."""
    return [job for job in slurm.jobs_of() if job.name.startswith(f"{run.prefix}_")]


def alive(run: Run, gone: bool = False) -> bool:
    """Whether the controller runs, or waits to.

    Args:
        run: that it controls.
        gone: so is the other machine on which it ran as a process, which can't be asked.

    Raises:
        UserError: that cannot be told from here.
    """
    if run.job is not None:
        return any(job.identifier == run.job and job.state not in slurm.ENDING for job in slurm.jobs_of())
    if run.process is None:
        return False
    if run.host != socket.gethostname():
        if gone:
            return False
        raise UserError(
            f"the controller of this run was started on {run.host}; ask there, or, if {run.host} is gone, go on with "
            "`hamp resume --gone` (or `hamp submit --gone`)"
        )
    try:
        process = psutil.Process(run.process)
        return abs(process.create_time() - run.started) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def finished(run: Run) -> bool:
    """Whether the controller said that all is done."""
    if not run.log.is_file():
        return False
    end = run.log.read_text(errors="replace")[-4000:]
    return "(100%) done" in end or "Nothing to be done" in end


def start(run: Run, sbatch: Sequence[str] | None) -> Run:
    """Start the controller: as a job, given options of sbatch, else as a process of its own that outlives this one."""
    command = snakemake(run, "--slurm-status-command", slurm.status_command(slurm.configuration()), *run.options)
    environment = _environment(run)
    if sbatch is not None:
        output = subprocess.run(
            [
                *("sbatch", "--parsable", "--no-requeue", f"--job-name={run.prefix}-controller"),
                *(f"--output={run.log}", "--open-mode=append", f"--chdir={run.folder}", "--export=ALL"),
                *("--cpus-per-task=1", "--mem=4000", *_account(run), *sbatch, f"--wrap={shlex.join(command)}"),
            ],
            env=environment,
            capture_output=True,
            text=True,
        )
        if output.returncode:
            raise UserError(f"sbatch failed: {output.stderr.strip()}")
        run = replace(run, job=output.stdout.strip().partition(";")[0], host=None, process=None)
    else:
        with open(run.log, "ab") as log:
            process = subprocess.Popen(
                command,
                cwd=run.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = psutil.Process(process.pid).create_time()
        run = replace(run, job=None, host=socket.gethostname(), process=process.pid, started=started)
    run.save()
    return run


def clear(run: Run, say: Callable[[str], None], gone: bool = False) -> None:
    """Cancel the run's orphans and wait until they have ended.

    Args:
        run: whose controller has ended.
        say: tells what is cancelled.
        gone: as of `alive`.

    Raises:
        UserError: the controller lives, or some jobs would not end.
    """
    if alive(run, gone):
        raise UserError(f"{_words(run)} still controls this run; `hamp status` tells how far it is")
    orphans = [job for job in jobs(run) if job.state not in slurm.ENDING]
    if orphans:
        say(f"cancelling {len(orphans)} jobs that a controller left behind: {', '.join(j.identifier for j in orphans)}")
        slurm.cancel(orphans)
    end = time.monotonic() + SECONDS_TO_END
    while left := [job for job in jobs(run) if job.state not in slurm.ENDING]:
        if time.monotonic() > end:
            raise UserError(
                f"jobs {', '.join(job.identifier for job in left)} do not end; `scancel` them, then try again"
            )
        time.sleep(1)


def unlock(run: Run) -> None:
    """Unlock the directory, which a controller that was killed leaves locked.

    Raises:
        UserError: Snakemake cannot, such as where it finds the configuration wrong.
    """
    result = subprocess.run(
        snakemake(run, "--unlock"), cwd=run.folder, env=_environment(run), capture_output=True, text=True
    )
    if result.returncode:
        raise UserError(f"unlocking failed: {(result.stdout + result.stderr).strip().splitlines()[-1]}")


def snakemake(run: Run, *options: str) -> list[str]:
    """The command that runs the workflow from the frozen copy."""
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(run.folder / "Snakefile")),
        *("--configfile", SETTINGS, "--workflow-profile", PROFILE, "--slurm-jobname-prefix", run.prefix),
        *options,
    ]


def profile_of(folder: Path) -> dict[str, Any]:
    """The settings of a Snakemake profile.

    Raises:
        UserError: there is none, or it is not for SLURM.
    """
    file = folder / "config.yaml"
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{file}: no such file; give the folder of a profile, such as workflow/profiles/slurm"
        ) from None
    except yaml.YAMLError as error:
        raise UserError(f"{file}: not YAML: {one_line(error)}") from None
    if not isinstance(settings, dict):
        raise UserError(f"{file}: must be settings of Snakemake, one `key: value` a line")
    if settings.get("executor") != "slurm":
        raise UserError(f"{file}: executor: {settings.get('executor')}, must be slurm")
    return settings


def _account(run: Run) -> list[str]:
    """Account, partition and QOS of the profile, for the controller's own job."""
    given = profile_of(run.folder / PROFILE).get("default-resources") or {}
    if isinstance(given, list):  # of NAME=VALUE, the other form that Snakemake takes
        given = dict(item.split("=", 1) for item in given)
    names = {"slurm_account": "account", "slurm_partition": "partition", "qos": "qos"}
    return [f"--{names[key]}={given[key]}" for key in names if given.get(key) not in (None, "none")]


def _environment(run: Run) -> dict[str, str]:
    """With the frozen code before any that is installed."""
    paths = [str(run.folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def _words(run: Run) -> str:
    return f"job {run.job}" if run.job else f"process {run.process}"

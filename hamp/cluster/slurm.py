"""What SLURM tells: its configuration, and the jobs of a run."""

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hamp.errors import UserError

LONGEST_LOOK_INTERVAL = 180
"""Seconds: the executor never looks at its jobs more seldom than this (snakemake-executor-plugin-slurm 2.8)."""

MEMORY_NEEDED = LONGEST_LOOK_INTERVAL + 60
"""Seconds for which slurmctld must remember a finished job, or squeue never shows it as finished."""

ENDING = ("COMPLETING", "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED")
"""States in which a job starts nothing any more."""


@dataclass(frozen=True)
class Job:
    """A job that is queued or runs.

    Attributes:
        identifier: SLURM's number of it.
        state: PENDING, RUNNING, ...
        name: begins with the prefix of its run.
        stage: rule that it is of, where it is one of Snakemake's.
        reason: why it waits, or the nodes on which it runs, as squeue shows it.
    """

    identifier: str
    state: str
    name: str
    stage: str
    reason: str


def configuration() -> dict[str, str]:
    """Settings of slurm.conf, as slurmctld has them.

    Raises:
        UserError: slurmctld doesn't answer, or there is no SLURM here.
    """
    lines = ask("scontrol", "show", "config").splitlines()
    return {
        key.strip(): value.strip() for key, separator, value in (line.partition("=") for line in lines) if separator
    }


def status_command(settings: Mapping[str, str]) -> str:
    """`sacct` where there is accounting, else `squeue`: what the executor can learn the fate of its jobs from.

    Args:
        settings: as `configuration` gives them.

    Raises:
        UserError: neither can tell it, and the run would wait for ever.
    """
    if "slurmdbd" in settings.get("AccountingStorageType", ""):
        return "sacct"
    if (age := _seconds(settings)) >= MEMORY_NEEDED:
        return "squeue"
    raise UserError(
        f"MinJobAge: {age} s in slurm.conf, without accounting: finished jobs are forgotten before they are seen; have "
        f"it set to {MEMORY_NEEDED} or more, or slurmdbd set up"
    )


def check_status_command(chosen: str | None, settings: Mapping[str, str]) -> None:
    """Check that the command which the executor was told to use will not leave it waiting for ever.

    Raises:
        UserError: it would.
    """
    good = status_command(settings)
    if chosen == "sacct" and good != "sacct":
        raise UserError("slurm-status-command: 'sacct', but this cluster keeps no accounts; say 'squeue'")
    if chosen == "squeue" and good == "sacct" and (age := _seconds(settings)) < MEMORY_NEEDED:
        raise UserError(f"slurm-status-command: 'squeue', but MinJobAge is only {age} s here; say 'sacct'")


def stand_in(settings: Mapping[str, str], folder: Path) -> None:
    """Where there are no accounts, let `folder`, which has a stand-in for sacct, come first on PATH."""
    if "slurmdbd" not in settings.get("AccountingStorageType", ""):
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def _seconds(settings: Mapping[str, str]) -> int:
    match = re.match(r"\d+", settings.get("MinJobAge", ""))
    return int(match[0]) if match else 0


def jobs_of(user: str | None = None) -> list[Job]:
    """All jobs of a user (None: who runs this) that are queued or run.

    Raises:
        UserError: slurmctld doesn't answer.
    """
    form = "%i|%T|%j|%R|%k"
    lines = ask("squeue", "--noheader", "--user", user or getpass.getuser(), "--format", form).splitlines()
    jobs = []
    for line in lines:
        identifier, state, name, reason, comment = line.split("|", 4)
        stage = comment.removeprefix("rule_").partition("_wildcards_")[0] if comment.startswith("rule_") else ""
        jobs.append(Job(identifier, state, name, stage, reason))
    return jobs


def cancel(jobs: Iterable[Job]) -> None:
    """Cancel jobs; those that have ended meanwhile are no mistake."""
    if identifiers := [job.identifier for job in jobs]:
        subprocess.run(["scancel", *identifiers], check=False, capture_output=True)


def ask(*words: str) -> str:
    """The output of one of SLURM's commands.

    Raises:
        UserError: there is no such command, or it failed.
    """
    if shutil.which(words[0]) is None:
        raise UserError(f"{words[0]}: no such command; run this where SLURM is, such as on a login node")
    result = subprocess.run(words, capture_output=True, text=True)
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["no reason given"]
        raise UserError(f"{words[0]} failed: {lines[-1]}")
    return result.stdout

"""Two writers of one output: the one that began last wins, and what the other made is thrown away.

On a cluster a job may live on after its Snakemake was killed, or after SLURM gave its node up, while another job makes
the same output. So a stage claims its outputs when it begins: it makes a folder of its own beside each, and takes
away the folders of others. It writes there and then renames (`hamp.tables.atomic`); a writer whose folder is gone can
do neither, at whatever moment it was overtaken. A job that was stopped before its claim, and goes on when the other has
finished, finds an output that is younger than itself, and ends.
"""

import glob
import shutil
import uuid
from pathlib import Path, PosixPath

import psutil

from hamp.errors import UserError

MARGIN = 2.0
"""Seconds by which the clocks of a node and of its file server may differ."""


class Claimed(PosixPath):
    """The path of an output that this process claimed.

    Attributes:
        place: the folder in which to write it; None for other paths that were derived from this one.
    """

    place: Path | None = None


def claim(path: Path | str) -> Claimed:
    """Claim an output, from whoever claimed it before.

    Raises:
        UserError: it was finished by another job since this one began.
    """
    claimed = Claimed(path)
    claimed.parent.mkdir(parents=True, exist_ok=True)
    if claimed.exists() and claimed.stat().st_mtime > began() + MARGIN:
        raise overtaken(claimed)
    place = claimed.parent / f".{claimed.name}.{uuid.uuid4().hex[:12]}"
    for other in claimed.parent.glob(f".{glob.escape(claimed.name)}.{'[0-9a-f]' * 12}"):
        # In one step: no file can be made in it while it is emptied.
        shutil.rmtree(other.rename(other.with_name(f"{other.name}-lost")), ignore_errors=True)
    place.mkdir()
    claimed.place = place
    return claimed


def began() -> float:
    """When this job began, in seconds since the epoch: its step on a cluster's node, otherwise this process.

    So too where someone sits at a terminal in a step, in which much may be made again, or where others' processes are
    hidden.
    """
    process = psutil.Process()
    try:
        parents = [] if process.terminal() else process.parents()
        step = next((parent for parent in parents if parent.name() == "slurmstepd"), process)
    except psutil.Error:
        step = process
    return step.create_time()


def overtaken(path: Path) -> UserError:
    """What the loser is told."""
    return UserError(f"{path}: another job began to make it after this one, whose work is thrown away")

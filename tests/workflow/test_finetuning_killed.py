"""A fine-tuning job that is killed again and again ends in the same bytes."""

import os
import random
import re
import signal
import subprocess
import time

import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

KILLS = 5


def test_killed_at_random_moments_ends_in_the_same_bytes(run):
    run = run.changed(finetune={"epochs": 8, "distillation": 0.5, "features": 4, "average": 0.9})
    front = run.results / "front"
    table, weights = (front / f"finetuned-0-of-2.{suffix}" for suffix in ("parquet", "safetensors"))
    target = str(table.relative_to(run.folder))
    log = run.results / "logs/finetune-0-of-2.log"
    planned = run.snakemake("--dry-run", "--printshellcmds", "--nocolor", "--forcerun", "finetune", target).stdout
    command = re.search(r"\S+ -P \S+finetune\.py .*-0-of-2.*", planned)[0]

    def start():
        for file in (table, weights, log):
            file.unlink(missing_ok=True)
        return subprocess.Popen(command, shell=True, cwd=run.folder, env=run.environment, start_new_session=True)

    def until_training(job):
        while not (log.is_file() and "epoch" in log.read_text()):
            assert job.poll() is None, log.read_text()
            time.sleep(0.02)

    job = start()
    until_training(job)
    begun = time.monotonic()
    assert job.wait() == 0, log.read_text()
    duration = time.monotonic() - begun
    expected = table.read_bytes(), weights.read_bytes()

    kills = 0
    while kills < KILLS:
        job = start()
        until_training(job)
        # Short enough that it does not come to its end in all of them together.
        time.sleep(random.uniform(0, duration / (KILLS + 2)))
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        if table.exists():  # The machine is faster than it was, and the job had done its work.
            break
        kills += 1
    assert kills
    assert start().wait() == 0, log.read_text()
    assert (table.read_bytes(), weights.read_bytes()) == expected
    assert not list(front.glob("*.checkpoints"))

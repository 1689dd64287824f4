"""What a run asks of a cluster, as a dry run with the profile for SLURM lists it."""

import re
import subprocess

import pytest
from small_runs import SMALL, Run, merged

pytestmark = pytest.mark.workflow

MEASURED = {"measure": {"latency": "measured"}}
ONNX = {"runtime": "onnxruntime", "description": None}


def planned(folder, changes):
    """The dry run."""
    run = Run(folder, merged(SMALL, changes))
    command = run.command("--dry-run", "--nocolor", profile="slurm")
    return subprocess.run(command, cwd=folder, env=run.environment, capture_output=True, text=True)


def test_only_what_measures_asks_for_the_gpu_of_the_execution_provider(tmp_path):
    device = ONNX | {"hardware": "cpu", "provider": "tensorrt", "data_type": "float16"}
    answer = planned(tmp_path, MEASURED | {"device": device})
    assert answer.returncode == 0, answer.stderr
    jobs = re.findall(r"^(?:local)?rule (\w+):$(.*?)^\s+resources: (.*?)$", answer.stdout, re.MULTILINE | re.DOTALL)
    asking = {rule for rule, _, resources in jobs if "gpu=1" in resources}
    assert asking == {"profile", "validation", "measure", "remeasure"}
    assert "localrules directive specifies rules that are not" not in answer.stdout + answer.stderr


def test_devices_that_no_single_place_reaches_are_refused(tmp_path):
    changes = {"objectives": ["error", "latency_ms", "latency_ms@board"], "device": ONNX}
    answer = planned(tmp_path, MEASURED | changes | {"devices": {"board": {"runtime": "remote", "host": "x"}}})
    assert answer.returncode == 1
    assert re.search(r"^devices.board.runtime: 'remote' is reached from the login node", answer.stderr, re.MULTILINE)

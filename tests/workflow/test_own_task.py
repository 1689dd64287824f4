"""A network that is no classifier, with the user's own images, loss and error, through the whole workflow."""

import re
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
from own_task import images, network
from safetensors.torch import save_file
from small_runs import SMALL, Run, merged

from hamp.check import check
from hamp.configuration.validate import load

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

FILE = Path(__file__).parents[1] / "own_task.py"


def test_images_are_not_moved_away_from_their_masks():
    settings = {"data": {"source": f"{FILE}:images", "image_size": 16}, "network": {"name": f"{FILE}:network"}}
    [mistake] = check(load({**settings, "task": f"{FILE}:pixelwise"}))
    assert mistake.startswith("augment: crop 2, flip false move the images, but not their targets")


def own_run(folder, task=FILE, weights=None) -> Run:
    own = {
        "name": "own",
        "task": f"{task}:pixelwise",
        "data": {"source": f"{FILE}:images", "image_size": 16},
        "augment": {"crop": 0},
        "pretrain": {"epochs": 6},
        "search": {"generations": 1},
    }
    return Run(folder, merged(SMALL, own) | {"network": {"name": f"{FILE}:network", "weights": weights}})


@pytest.mark.parametrize(("weights", "first"), [(None, "pretrain"), ("weights.safetensors", "scores")])
def test_a_changed_task_reruns_what_asks_it_for_the_loss(tmp_path, weights, first):
    """Where weights are given, training is not among it."""
    shutil.copy(FILE, tmp_path / "task.py")
    save_file(network(1).state_dict(), tmp_path / "weights.safetensors")
    run = own_run(tmp_path, "task.py", weights).invented()
    assert run.planned() == set()
    (tmp_path / "task.py").write_text(FILE.read_text() + "\nCHANGED = True\n")
    rules = {rule for rule, _ in run.planned()}
    assert rules & {"data", "pretrain", "scores"} == {first, "scores"}


def test_segmentation_goes_through(tmp_path):
    run = own_run(tmp_path)
    run.snakemake()
    front = pq.read_table(run.results / "pareto/front.parquet").to_pylist()
    assert len(front) >= 2

    pixels, masks = images(16)
    splits = pq.read_table(run.results / "data/splits.parquet").to_pandas()
    test = splits.loc[splits["split"] == "test", "index"].to_numpy()
    for member in front:
        session = onnxruntime.InferenceSession(run.results / member["onnx"])
        given = pixels[test].astype(np.float32) / 255
        [outputs] = session.run(None, {session.get_inputs()[0].name: given})
        wrong = ((outputs[:, 0] > 0) != (masks[test] > 0.5)).mean(axis=(1, 2))
        assert wrong.mean() == pytest.approx(member["error_test"], abs=1e-3)
    assert min(member["error_test"] for member in front) < 0.3


def test_only_the_first_stage_is_told_where_given_weights_are(tmp_path):
    """So that they can be moved, or a run be submitted from elsewhere, without all being done again. The settings are
    written down as they are."""
    shutil.copy(FILE, tmp_path / "task.py")
    save_file(network(1).state_dict(), tmp_path / "given.safetensors")
    shown = own_run(tmp_path, "task.py", "given.safetensors").snakemake("--dry-run", "--printshellcmds").stdout
    told = [line for line in shown.splitlines() if "given.safetensors" in line]
    assert {stage for line in told for stage in re.findall(r"/scripts/(\w+)\.py", line)} == {"pretrain", "settings"}

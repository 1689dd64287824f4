"""The experiments that ship: each is planned in full, and started on small generated images in place of its own."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from small_runs import ROOT, Run, merged

from hamp.configuration.blocks import Network
from hamp.models.build import build

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

EXPERIMENTS = sorted((ROOT / "config/experiments").glob("*.yaml"))
CLASSES = [f"class{number}" for number in range(10)]
HERE = {
    "hardware": "cpu",
    "threads": 1,
    "pretrain": {"epochs": 1, "batch_size": 16},
    "device": {"runtime": "onnxruntime", "hardware": "cpu", "data_type": "float32", "provider": None, "host": None}
    | {"cuda_graphs": False, "batch_size": 1},
    "data": {"download": False, "validation_fraction": 0.25},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Images as ImageNet has them, a folder a class, and as Parquet; ten classes."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 2)):
        rows = []
        for label, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                path = root / part / name / f"{number}.jpg"
                Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
                rows.append({"image": path.read_bytes(), "label": label})
        pq.write_table(pa.Table.from_pylist(rows), root / f"{'train' if part == 'train' else 'test'}.parquet")
    return root


def here(file: Path, images: Path, weights: Path) -> dict:
    """The experiment's settings with this machine in place of its own, and the generated images."""
    settings = merged(yaml.safe_load(file.read_text()), HERE)
    settings["data"]["root"] = str(images)
    if settings["data"]["source"] == "cifar10":
        settings["data"]["source"] = "image_folder"
    if settings["network"].get("weights"):
        torch.manual_seed(0)
        model = build(Network(name=settings["network"]["name"]), len(CLASSES), 3)
        save_file(model.state_dict(), weights)
        settings["network"]["weights"] = str(weights)
    return settings


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_experiment_is_planned_and_started(file, folder, tmp_path):
    run = Run(tmp_path, here(file, folder, tmp_path / "weights.safetensors"))
    planned = run.planned()
    search = run.settings["search"]
    last = max(search["generations"], *search.get("generations_of", {}).values(), 0)
    assert {generation for rule, generation in planned if rule == "select"} == set(range(last + 1))
    assert {"finetune", "export", "report"} <= {rule for rule, _ in planned}
    first = f"results/{run.settings['name']}/{run.settings.get('methods', ['hamp'])[0]}/seed0/gen0/initial.parquet"
    run.snakemake(first)
    widths = pq.read_table(tmp_path / first)["widths"].to_pylist()
    assert len({tuple(row) for row in widths}) == search["population"]

"""Exported files: each computes what the network computes, and tells what it is."""

import json
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from networks_odd import TwoHeads
from PIL import Image
from torch import nn

from hamp import export
from hamp.check import check
from hamp.configuration.blocks import Config, Network
from hamp.data.licences import licence_of
from hamp.errors import UserError
from hamp.models.build import build
from hamp.pruning import discover, prune

MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.25])
CLASSES = tuple("abcdefghij")


class Concatenating(nn.Module):
    """Two branches side by side, one of them grouped."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, 2, 1)
        self.left, self.right = nn.Conv2d(12, 8, 1), nn.Conv2d(12, 12, 3, 1, 1, groups=12)
        self.norm, self.last = nn.BatchNorm2d(20), nn.Linear(20, 10)

    def forward(self, x):
        x = self.stem(x).relu()
        x = self.norm(torch.cat([self.left(x), self.right(x)], 1)).relu()
        return self.last(x.mean((2, 3)))


def pruned(model, side):
    space = discover(model.eval(), torch.zeros(2, 3, side, side))
    widths = space.repair(0.6 * space.channels)
    network = prune(model, space, widths)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
    return export.deployable(network, MEAN, STD), widths


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    named = {
        "resnet20": (build(Network(name="resnet20"), 10, 3), 32),
        "concatenating": (Concatenating(), 16),
        "mobilenet_v2": (build(Network(name="torchvision:mobilenet_v2"), 10, 3), 64),
    }
    return {name: (*pruned(model, side), side) for name, (model, side) in named.items()}


NAMES = ["concatenating", "resnet20", pytest.param("mobilenet_v2", marks=pytest.mark.slow)]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "pt2", "torchscript", "safetensors"])
@pytest.mark.parametrize("name", NAMES)
def test_files_compute_what_the_network_computes(networks, tmp_path, name, form):
    model, widths, side = networks[name]
    told = export.metadata("abc", widths, model, CLASSES, "cifar10", error_test=0.1)
    file = tmp_path / f"network.{form}"
    assert export.write(form, model, torch.rand(5, 3, side, side), file, told) < 1e-4
    images = torch.rand(3, 3, side, side)
    with torch.inference_mode():
        expected = model(images).numpy()
        if form == "onnx":
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
            (found,) = session.run(["output"], {"image": images.numpy()})
        elif form == "pt2":
            found = torch.export.load(file).module()(images).numpy()
        elif form == "torchscript":
            found = torch.jit.load(file)(images).numpy()
        else:
            return
    assert np.abs(found - expected).max() < 1e-4 * max(1, np.abs(expected).max())


def test_outputs_are_named_by_their_place():
    named = namedtuple("Named", ["mask", "label"])
    one, two = torch.zeros(1), torch.ones(1)
    assert export._names(one) == ["output"]
    assert export._names((one, None, {"a": [two]})) == ["0", "2.a.0"]
    assert export._names(named(one, two)) == ["mask", "label"]


@pytest.mark.parametrize("form", ["onnx", "pt2", "torchscript", "safetensors"])
def test_files_of_networks_with_several_outputs_give_all_of_them(tmp_path, form):
    model, _ = pruned(TwoHeads(), 16)
    file = tmp_path / f"network.{form}"
    assert export.write(form, model, torch.rand(4, 3, 16, 16), file, {}) <= 1e-4
    if form == "onnx":
        session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
        assert {output.name: output.shape[1] for output in session.get_outputs()} == {"mask": 2, "label": 4}


def test_an_onnx_file_tells_what_it_is(networks, tmp_path):
    model, widths, side = networks["concatenating"]
    told = export.metadata("abc", widths, model, CLASSES, "cifar10", error_test=0.1, latency_ms=2.5)
    export.write("onnx", model, torch.rand(3, 3, side, side), tmp_path / "x.onnx", told)
    content = onnx.load(tmp_path / "x.onnx")
    onnx.checker.check_model(content)
    found = {entry.key: entry.value for entry in content.metadata_props}
    assert json.loads(found["classes"]) == list(CLASSES)
    assert json.loads(found["widths"]) == widths.tolist()
    assert np.allclose(json.loads(found["mean"]), MEAN)
    assert found["data_licence"] == licence_of("cifar10")
    assert float(found["latency_ms"]) == 2.5
    assert content.graph.input[0].type.tensor_type.shape.dim[0].dim_param != ""
    assert [node.name for node in (*content.graph.input, *content.graph.output)] == ["image", "output"]


def test_equal_networks_give_equal_files(networks, tmp_path):
    model, widths, side = networks["concatenating"]
    told = export.metadata("abc", widths, model, CLASSES, "digits")
    for form in ("onnx", "safetensors"):
        for name in ("a", "b"):
            export.write(form, model, torch.rand(3, 3, side, side), tmp_path / name, told)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_that_computes_something_else_is_not_left(networks, tmp_path, monkeypatch):
    model, widths, side = networks["concatenating"]
    wrong = {**export._READERS, "safetensors": lambda path, model, examples: [np.full((3, 10), 7.0)]}
    monkeypatch.setattr(export, "_READERS", wrong)
    told = export.metadata("abc", widths, model, CLASSES, "digits")
    with pytest.raises(UserError, match="outputs differ from the network's"):
        export.write("safetensors", model, torch.rand(3, 3, side, side), tmp_path / "x.safetensors", told)
    assert list(tmp_path.iterdir()) == []


def test_small_outputs_are_compared_by_their_own_size(tmp_path, monkeypatch):
    class Small(nn.Module):
        def forward(self, x):
            return 1e-6 * x.mean((2, 3))

    model, images = export.deployable(Small(), MEAN, STD), torch.rand(3, 3, 8, 8)
    export.write("onnx", model, images, tmp_path / "x.onnx", {})
    monkeypatch.setattr(export, "_READERS", {"onnx": lambda path, model, examples: [1.1 * model(examples).numpy()]})
    with pytest.raises(UserError, match="outputs differ from the network's"):
        export.write("onnx", model, images, tmp_path / "y.onnx", {})


def test_a_network_that_cannot_be_written_is_one_line(tmp_path):
    class Odd(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)) if float(x.sum()) > 0 else x.sum((2, 3))

    model = export.deployable(Odd(), MEAN, STD)
    with pytest.raises(UserError, match="cannot be written as pt2") as caught:
        export.write("pt2", model, torch.rand(3, 3, 8, 8), tmp_path / "x.pt2", {})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


class Counting(nn.Module):
    """Takes the number of images as a Python number."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 10)

    def forward(self, x):
        return self.last(self.conv(x).relu().reshape(len(x), -1))


class Deciding(Counting):
    """Looks at values."""

    def forward(self, x):
        x = self.conv(x)
        return self.last((x / 10 if x.abs().max() > 1e4 else x).flatten(1))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_a_number_of_images_that_is_fixed_is_one_line(tmp_path, form):
    model = export.deployable(Counting(), MEAN, STD)
    with pytest.raises(UserError, match=r"does not take 3 images .*must be x\.shape\[0\]") as caught:
        export.write(form, model, torch.rand(3, 3, 8, 8), tmp_path / "x", {})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_cannot_be_exported_is_told_before_the_search(networks, tmp_path):
    with pytest.raises(UserError, match="does not take 3 images"):
        export.check(export.deployable(Counting(), MEAN, STD), torch.rand(3, 3, 8, 8))
    model, _, side = networks["concatenating"]
    export.check(model, torch.rand(3, 3, side, side))
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "class Own(nn.Sequential):\n"
        "    def forward(self, x):\n"
        "        return self[2](self[1](self[0](x)).mean((2, 3)).reshape(len(x), -1))\n"
        "def make(classes, channels):\n"
        "    return Own(nn.Conv2d(channels, 8, 3), nn.Conv2d(8, 32, 3), nn.Linear(32, classes))\n"
    )
    (told,) = check(Config(network={"name": f"{tmp_path}/own.py:make"}))
    assert told.startswith(f"network.name: '{tmp_path}/own.py:make' cannot be exported: ")
    with pytest.raises(UserError, match="cannot be written as onnx"):
        export.check(export.deployable(Deciding(), MEAN, STD), torch.rand(3, 3, 8, 8))


@pytest.mark.slow
def test_a_network_that_does_not_run_on_the_images_is_one_line(tmp_path):
    (tmp_path / "wrong.py").write_text(
        "from torch import nn\n"
        "def make(classes, channels):\n"
        "    return nn.Sequential(nn.Conv2d(channels, 8, 3), nn.Flatten(), nn.Linear(9, classes))\n"
    )
    (told,) = check(Config(network={"name": f"{tmp_path}/wrong.py:make"}))
    assert "cannot run in evaluation mode on an input of shape" in told
    assert "\n" not in told


def test_the_example_of_the_documentation_predicts(networks, tmp_path):
    model, widths, side = networks["concatenating"]
    told = export.metadata("abc", widths, model, CLASSES, "digits")
    export.write("onnx", model, torch.rand(3, 3, side, side), tmp_path / "x.onnx", told)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    text = (Path(__file__).parents[2] / "docs" / "results-and-export.md").read_text()
    (tmp_path / "predict.py").write_text(text.partition("```python\n")[2].partition("```")[0])
    command = [sys.executable, tmp_path / "predict.py", tmp_path / "x.onnx", tmp_path / "x.png"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    with torch.inference_mode():
        scores = model(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
    assert answer.stdout.strip() == CLASSES[int(scores.argmax())]

"""Settings: one source for defaults, schema, YAML and documentation; all mistakes at once, each of one line."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from small_runs import merged

from hamp.check import check, check_once
from hamp.configuration.blocks import Config
from hamp.configuration.document import documents
from hamp.configuration.validate import load
from hamp.errors import UserError
from hamp.hardware.devices.pytorch import cuda_lack

ROOT = Path(__file__).parents[2]


def mistakes(settings):
    with pytest.raises(UserError) as caught:
        load(settings)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("file", documents(ROOT), ids=lambda file: file.name)
def test_generated_files_are_those_of_the_source(file):
    assert file.read_text(encoding="utf-8") == documents(ROOT)[file], "run `make documents`"


def test_default_file_gives_the_defaults():
    assert load(yaml.safe_load((ROOT / "config/config.yaml").read_text())) == Config()


@pytest.mark.parametrize("file", sorted((ROOT / "config/experiments").glob("*.yaml")), ids=lambda file: file.name)
def test_keys_and_values_of_every_experiment_are_valid(file):
    try:
        load(yaml.safe_load(file.read_text()))
        found = []
    except UserError as error:
        found = str(error).splitlines()
    # Only what lies outside the repository may be missing here.
    assert all("is not a f" in line for line in found)


LAID_OVER = [
    *((file, "cifar10-resnet20-compare") for file in sorted((ROOT / "config/ablations").glob("*.yaml"))),
    *((file, "cifar10-resnet20") for file in sorted((ROOT / "config/competitors").glob("*.yaml"))),
]


@pytest.mark.parametrize(("file", "experiment"), LAID_OVER, ids=lambda value: getattr(value, "stem", value))
def test_every_file_that_is_laid_over_an_experiment_changes_it_and_has_a_name_of_its_own(file, experiment):
    base = ROOT / f"config/experiments/{experiment}.yaml"
    given, changes = (yaml.safe_load(path.read_text()) for path in (base, file))
    for settings in (given, changes):
        settings.pop("network", None)  # whose weights lie outside the repository
        settings.pop("data", None)
    whole = load(merged(given, changes))
    assert whole.name == f"cifar10-resnet20-{file.stem}"
    assert whole.model_copy(update={"name": given["name"]}) != load(given)


def test_schema_describes_every_key():
    schema = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    blocks = [schema, *schema["$defs"].values()]
    for block in blocks:
        assert block["additionalProperties"] is False
        for name, entry in block["properties"].items():
            assert entry.get("description"), name


def test_all_mistakes_are_listed_at_once_one_line_each():
    lines = mistakes(
        {
            "name": "no spaces",
            "serch": {},
            "search": {"populaton": 3, "population": 1, "offspring": "many"},
            "methods": ["hmp"],
            "objectives": ["error"],
            "device": {"runtime": "pytorhc"},
            "network": {"weights": "no/such/file.pt"},
            "data": {"source": "cifar10", "root": "no/such/folder"},
            "seeds": [0, -1],
        }
    )
    keys = [line.partition(":")[0] for line in lines]
    assert sorted(keys) == sorted(
        [
            "name",
            "serch",
            "search.populaton",
            "search.population",
            "search.offspring",
            "methods.0",
            "objectives",
            "device.runtime",
            "network.weights",
            "data.root",
            "seeds.1",
        ]
    )
    text = "\n".join(lines)
    assert "nearest is 'population'" in text
    assert "nearest is 'search'" in text
    assert "nearest is 'hamp'" in text
    assert "nearest is 'pytorch'" in text


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"objectives": ["latency_ms", "macs"]}, "objectives"),
        ({"objectives": ["error", "macs", "error"]}, "objectives"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"methods": ["hamp", "hamp"]}, "methods"),
        ({"network": {"name": "nowhere.py:make"}}, "network.name"),
        ({"task": "nowhere.py:make"}, "task"),
        ({"data": {"source": "cifar10"}}, "data.root"),
        ({"data": {"mean": [0.5]}}, "data.mean, data.std"),
        ({"data": {"mean": [0.5], "std": [0.5, 0.5]}}, "data.std"),
        ({"data": {"mean": [0.5], "std": [0.0]}}, "data.std"),
        ({"data": {"mean": [], "std": []}}, "data.std"),
        ({"device": {"runtime": "roofline"}, "measure": {"latency": "predicted"}}, "device.description"),
        ({"device": {"runtime": "roofline", "description": "jetson-nano"}}, "measure.latency"),
        ({"evaluate": {"refit": True, "recalibration_images": 0}}, "evaluate.refit"),
        ({"device": {"data_type": "float16"}}, "device.data_type"),
        ({"device": {"runtime": "onnxruntime", "data_type": "float16"}}, "device.data_type"),
        ({"device": {"cuda_graphs": True}}, "device.cuda_graphs"),
        ({"device": {"provider": "cuda"}}, "device.provider"),
        ({"device": {"runtime": "remote"}}, "device.host"),
        ({"device": 3}, "device"),
        ({"pruning": {"channel_multiple_of": {"nano": 8}}}, "pruning.channel_multiple_of.nano"),
    ],
)
def test_settings_that_cannot_work_together(settings, key):
    lines = mistakes(settings)
    assert [line.partition(":")[0] for line in lines] == [key]


def test_names_that_yaml_reads_as_numbers_are_names():
    settings = yaml.safe_load(
        "objectives: [error, latency_ms, latency_ms@3090]\n"
        "devices: {3090: {runtime: roofline, description: jetson-nano}}\n"
    )
    assert load(settings).devices["3090"].description == "jetson-nano"
    settings["devices"][3090] = {"runtime": "roofine"}
    (line,) = mistakes(settings)
    assert line.startswith("devices.3090.runtime: 'roofine' is not allowed")


@pytest.mark.parametrize("value", [{"a": 1}, [1], None])
def test_a_value_of_neither_kind_is_told_for_each_and_hides_no_other(value):
    lines = mistakes({"portfolio": {"limits": {"latency_ms": value, "error": "much"}}})
    assert {line.partition(":")[0] for line in lines} == {
        "portfolio.limits.error",
        "portfolio.limits.latency_ms.float",
        "portfolio.limits.latency_ms.str",
    }


@pytest.mark.skipif(cuda_lack() is None, reason="there is a CUDA device here")
def test_devices_are_looked_for_where_the_jobs_run():
    settings = {"hardware": "cuda", "device": {"hardware": "cuda"}, "search": {"population": -1}}
    with pytest.raises(UserError) as caught:
        load(settings, here=True)
    assert [line.split()[0].rstrip(":") for line in str(caught.value).splitlines()] == [
        "search.population",
        "device.hardware",
        "hardware",
    ]
    assert len(mistakes(settings)) == 1


def test_a_check_that_dies_without_a_word_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(UserError, match=r"python -m hamp\.check ended with status 1"):
        check_once(Config(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_network_with_fewer_outputs_than_classes_is_told(tmp_path):
    """The search would not notice: the error asks only which output is the largest."""
    file = tmp_path / "few.py"
    file.write_text(
        "from torch import nn\n"
        "def network(outputs):\n"
        "    layers = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 32, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()\n"
        "    return nn.Sequential(*layers, nn.Linear(32, outputs))\n"
    )
    config = {"network": {"name": f"{file}:network", "arguments": {"outputs": 5}}}
    (line,) = check(Config(**config))
    assert "gives (1, 5) for an image" in line
    assert "10 classes of digits" in line
    config["network"]["arguments"]["outputs"] = 12
    assert check(Config(**config)) == []


names = st.text(st.characters(categories=["Ll"]), min_size=1, max_size=12)


@given(st.dictionaries(names, st.one_of(st.none(), st.integers(), names, st.dictionaries(names, st.integers()))))
def test_anything_is_either_valid_or_named(settings):
    try:
        load(settings)
    except UserError as error:
        lines = str(error).splitlines()
        named = {line.partition(":")[0].partition(".")[0] for line in lines}
        assert named & set(settings)


@pytest.mark.parametrize(
    ("portfolio", "expected"),
    [
        ({"limits": {"latency_ms": "fast"}}, "portfolio.limits.latency_ms: 'fast' is not allowed"),
        ({"limits": {"latency_ms": "60"}}, "a share of the unpruned network's such as '60%'"),
        ({"limits": {"latency_ms": -1}}, "give a positive number"),
        ({"limits": {"macs": "60%"}}, "portfolio.limits.macs: no objective of this run"),
        ({"preferences": {"latency": 2}}, "nearest is 'latency_ms'"),
        ({"preferences": {"latency_ms": 0}}, "portfolio.preferences.latency_ms: 0 is not allowed"),
    ],
)
def test_wishes_that_cannot_be_met_are_named(portfolio, expected):
    (line,) = mistakes({"portfolio": portfolio})
    assert expected in line


def test_wishes_in_both_forms_are_read():
    config = load({"portfolio": {"limits": {"latency_ms": "60%", "error": 0.3}, "preferences": {"error": 2}}})
    assert config.portfolio.limits == {"latency_ms": "60%", "error": 0.3}
    assert Config.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("key", ["seconds", "rounds"])
def test_numbers_are_finite(key):
    with pytest.raises(UserError, match=rf"^measure\.{key}: "):
        load({"measure": {key: float("inf")}})


@pytest.mark.slow
def test_other_outputs_in_training_are_told_before_the_first_job(tmp_path):
    (tmp_path / "two.py").write_text(
        "from torch import nn\n"
        "class Two(nn.Module):\n"
        "    def __init__(self, classes, channels):\n"
        "        super().__init__()\n"
        "        self.body, self.more = nn.Conv2d(channels, 8, 3), nn.Conv2d(8, 32, 3)\n"
        "        self.head, self.second = nn.Linear(32, classes), nn.Linear(32, classes)\n"
        "    def forward(self, x):\n"
        "        x = self.more(self.body(x).relu()).relu().mean((2, 3))\n"
        "        return [self.head(x), self.second(x)] if self.training else self.head(x)\n"
        "def task(outputs, targets): return outputs[0].mean(), targets.float()\n"
    )
    settings = {"network": {"name": f"{tmp_path}/two.py:Two"}}
    (line,) = check(Config(**settings))
    assert line.endswith("task 'classification' needs the classes alone: drop the others, or name a task")
    settings["task"] = f"{tmp_path}/two.py:task"
    (line,) = check(Config(**settings))
    assert line.endswith("set finetune.distillation: 0")
    assert check(Config(**settings, finetune={"distillation": 0})) == []


def test_code_that_counts_on_the_layout_of_features_is_told_before_the_first_job(tmp_path):
    text = (
        "from torch import nn\n"
        "class Viewed(nn.Module):\n"
        "    def __init__(self, classes, channels):\n"
        "        super().__init__()\n"
        "        self.body, self.more = nn.Conv2d(channels, 8, 3, 2), nn.Conv2d(8, 64, 3, 2)\n"
        "        self.head = nn.Linear(64 * 7 * 7, classes)\n"
        "    def forward(self, x):\n"
        "        x = self.more(self.body(x).relu()).relu()\n"
        "        return self.head(x.view(x.size(0), -1))\n"
    )
    (tmp_path / "viewed.py").write_text(text)
    (line,) = check(Config(network={"name": f"{tmp_path}/viewed.py:Viewed"}))
    assert "channels last in memory" in line
    assert line.endswith("write reshape or flatten in place of view")
    (tmp_path / "shaped.py").write_text(text.replace(".view(", ".reshape("))
    assert check(Config(network={"name": f"{tmp_path}/shaped.py:Viewed"})) == []


@pytest.mark.slow
def test_classification_of_targets_that_are_no_classes_is_told_before_the_first_job(tmp_path):
    file = tmp_path / "ages.py"
    file.write_text(
        "import numpy as np\n"
        "def ages(image_size):\n"
        "    rng = np.random.default_rng(0)\n"
        "    images = rng.integers(0, 255, (90, 1, image_size, image_size), dtype=np.uint8)\n"
        "    return images, rng.integers(0, 3, 90).astype(np.float32)\n"
    )
    config = Config(data={"source": f"{file}:ages", "image_size": 8}, augment={"crop": 0})
    (line,) = check(config)
    assert line.startswith("task: 'classification' needs classes, but the targets of ")

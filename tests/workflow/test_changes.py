"""What a change reruns: exactly the stages that use what was changed, and what follows from them."""

import os
import shutil

import pytest
from conftest import ROOT

from hamp.hardware.devices.pytorch import cuda_lack

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

END = {"finetune", "test", "remeasure", "export", "pareto", "report"}
AGGREGATED = {"hypervolume", "aggregate", *END}
GENERATION = {"vary", "surrogate", "local_search", "evaluate", "measure", "select"}
SEARCH = {*GENERATION, *AGGREGATED}
MODEL = {"pretrain", "space", "scores", "profile", "initial", *SEARCH}
PROFILED = {"profile", *SEARCH}

# Settings, and the rules that may run again. Where not all generations do, the first that does.
TABLE = [
    ({"seed": 1}, {"data", *MODEL}, 0),
    ({"data": {"validation_fraction": 0.25}}, {"data", *MODEL}, 0),
    ({"augment": {"crop": 1}}, MODEL, 0),
    ({"network": {"arguments": {"widths": [6, 8, 10]}}}, MODEL, 0),
    ({"pretrain": {"learning_rate": 0.05}}, MODEL, 0),
    ({"pruning": {"minimum_fraction": 0.2}}, MODEL - {"pretrain"}, 0),
    ({"importance": "l2"}, MODEL - {"pretrain", "space", "initial"}, 0),
    ({"device": {"batch_size": 4}}, PROFILED, 0),
    ({"measure": {"rounds": 5}}, {"remeasure", "pareto", "report"}, None),  # the search predicts
    ({"data": {"download": True}}, {"report"}, None),
    ({"evaluate": {"images": 50}}, SEARCH, 0),
    ({"objectives": ["error", "macs"]}, SEARCH, 0),
    ({"search": {"population": 7}}, {"initial", *SEARCH}, 0),
    ({"search": {"offspring": 4}}, SEARCH, 1),
    ({"search": {"patience": 3}}, SEARCH, 1),
    ({"search": {"generations": 4}}, SEARCH, 3),
    ({"search": {"generations_of": {"hamp": 4}}}, SEARCH, 3),
    ({"search": {"initial": ["latin"]}}, {"initial", *SEARCH}, 0),
    ({"search": {"surrogates": ["gp"]}}, SEARCH, 1),
    ({"search": {"netadapt_step": 0.1}}, {"report"}, None),
    ({"sensitivity": {"images": 9}}, {"report"}, None),
    ({"portfolio": {"limits": {"latency_ms": "50%"}}}, SEARCH, 0),
    ({"finetune": {"epochs": 2}}, END, None),
    ({"finetune": {"members": 3}}, {"aggregate", *END}, None),
    ({"profile": {"points": 3}}, PROFILED, 0),
]


@pytest.mark.parametrize(("changes", "rules", "generation"), TABLE, ids=lambda value: str(value)[:50])
def test_settings_rerun_the_stages_that_use_them(finished, changes, rules, generation):
    planned = finished.changed(**changes).planned()
    assert {rule for rule, _ in planned} == rules | {"settings"}
    generations = [number for rule, number in planned if number is not None and rule != "initial"]
    assert min(generations, default=None) == generation


@pytest.mark.parametrize("changes", [{"seeds": [0, 1]}, {"methods": ["hamp", "nsga2"]}])
def test_another_search_leaves_the_first_as_it_is(finished, changes):
    run = finished.changed(**changes)
    planned = run.snakemake("--dry-run", "--nocolor").stdout
    assert "seed0/gen" not in "".join(line for line in planned.splitlines() if "output: results/small/hamp/" in line)
    assert {rule for rule, _ in run.planned()} >= {
        "initial",
        "evaluate",
        "select",
        "hypervolume",
        "aggregate",
    }


def test_a_finished_run_has_nothing_left_to_do(finished):
    assert finished.planned() == set()


def test_touching_any_file_reruns_nothing(run):
    for file in sorted(run.folder.rglob("*")):
        if file.is_file() and ".snakemake" not in file.parts:
            os.utime(file)
    assert run.planned() == set()


def test_a_deleted_intermediate_is_made_again_and_nothing_more(run):
    name = "results/small/hamp/seed0/gen1/offspring.parquet"
    before = (run.folder / name).read_bytes()
    (run.folder / name).unlink()
    assert {rule for rule, _ in run.planned(name)} == {"local_search"}
    run.snakemake(name)
    assert (run.folder / name).read_bytes() == before
    assert run.planned() == set()


@pytest.fixture
def code(tmp_path):
    """A copy of the code, to be edited."""
    folder = tmp_path / "code"
    for name in ("hamp", "workflow", "config", "resources"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    return folder


@pytest.mark.parametrize(
    ("file", "old", "new", "rules"),
    [
        ("hamp/stages/vary.py", "return", "return", set()),
        ("hamp/stages/vary.py", "\n\n\ndef ", "\n\n\n# A comment.\ndef ", set()),
        ("workflow/scripts/select.py", "\n\n\ndef ", "\n\n\n# A comment.\ndef ", set()),
        ("hamp/stages/pretrain.py", "def given", "X = 1\n\n\ndef given", MODEL),
        ("hamp/training/loop.py", "def train", "X = 1\n\n\ndef train", MODEL),
        ("hamp/evolution/surrogate.py", "FOLDS = 5", "FOLDS = 4", SEARCH),
        ("hamp/export.py", "def metadata", "X = 1\n\n\ndef metadata", {"export", "pareto", "report"}),
        ("hamp/pruning/importance.py", "def score", "X = 1\n\n\ndef score", MODEL - {"pretrain"}),
        ("workflow/scripts/aggregate.py", "def main", "X = 1\n\n\ndef main", {"aggregate", *END}),
        ("hamp/digest.py", "def code_digest", "X = 1\n\n\ndef code_digest", {"data", *MODEL}),
        (
            "resources/devices/jetson-nano.yaml",
            "10.0e-6",
            "12.0e-6",
            PROFILED,
        ),
        ("resources/devices/a100.yaml", "source:", "# Unused.\nsource:", set()),
        ("hamp/check.py", "def check_once", "X = 1\n\n\ndef check_once", set()),
    ],
)
def test_code_and_data_sheets_rerun_the_stages_that_read_them(finished, code, file, old, new, rules):
    path = code / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert {rule for rule, _ in finished.with_code(code).planned()} == rules


@pytest.mark.skipif(cuda_lack() is None, reason="there is a CUDA device here")
def test_where_a_device_is_missing_a_run_can_be_looked_at_but_not_gone_on_with(run):
    """As on a login node, or with the board switched off."""
    absent = run.changed(hardware="cuda")
    assert "evaluate" in {rule for rule, _ in absent.planned()}
    absent.snakemake("--unlock")
    before = sorted(run.results.rglob("*.parquet"))
    ended = absent.snakemake(check=False)
    assert ended.returncode == 1
    assert "hardware is 'cuda', but " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert sorted(run.results.rglob("*.parquet")) == before

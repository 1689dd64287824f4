"""The files that say what is installed agree: pyproject.toml is their source; and the Makefile reads configurations."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
CONDA = {"matplotlib": "matplotlib-base", "torch": "pytorch"}
"""Names on conda-forge that differ from those on the Python package index."""


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(*extras):
    extra = project()["optional-dependencies"]
    listed = project()["dependencies"] + [entry for name in extras for entry in extra[name]]
    return {requirement.name.lower(): requirement for requirement in map(Requirement, listed)}


def test_conda_environment_has_the_ranges_of_pyproject():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = [
        Requirement(entry) for entry in listed if isinstance(entry, str) and not entry.startswith(("python ", "pip"))
    ]
    expected = {CONDA.get(name, name): requirement.specifier for name, requirement in requirements("slurm").items()}
    assert {requirement.name: requirement.specifier for requirement in conda} == expected
    python = next(entry for entry in listed if isinstance(entry, str) and entry.startswith("python "))
    assert python.removeprefix("python ") == project()["requires-python"]


def test_pip_lines_of_the_conda_environment_are_what_a_requirements_file_may_hold():
    """Conda hands them to pip in such a file, where most options are errors."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (given,) = (entry["pip"] for entry in listed if isinstance(entry, dict))
    options = {word for line in given for word in line.split() if word.startswith("-")}
    assert options <= {"-e", "--editable"}


def test_lock_meets_every_range():
    lock = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line)
    locked = {name.lower().replace("_", "-"): version for name, version in lock.items()}
    for name, requirement in requirements("slurm", "dev").items():
        assert requirement.specifier.contains(locked[name]), requirement


@pytest.mark.parametrize("line", ["name: mine", "name: mine  # of a test", "name:   mine "])
def test_make_finds_the_results_of_a_configuration(tmp_path, line):
    (tmp_path / "mine.yaml").write_text(f"# name: other\n{line}\ndata: {{}}\n")
    command = ["make", "--dry-run", "report", f"CONFIG={tmp_path}/mine.yaml"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--report results/mine/report.zip\n" in told


def imported(folder):
    """Top-level modules that the Python files of a folder import."""
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield node.module.partition(".")[0]


@pytest.mark.parametrize(("folder", "extras"), [("hamp", ()), ("workflow/scripts", ()), ("tests", ("slurm", "dev"))])
def test_whatever_is_imported_is_required(folder, extras):
    distributions = packages_distributions()
    files = list((ROOT / "tests").rglob("*.py"))
    own = {path.stem for path in files} | {path.parent.name for path in files} | {"hamp", "tests"}
    modules = set(imported(folder)) - sys.stdlib_module_names - own
    needed = {
        re.sub(r"[-_.]+", "-", name).lower() for module in modules for name in distributions.get(module, [module])
    }
    assert needed <= requirements(*extras).keys()

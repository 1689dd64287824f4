"""Small real runs of the workflow, as a user would start them."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]

SMALL = {
    "name": "small",
    "shards": 2,
    "data": {"limit": 600},
    "network": {"arguments": {"widths": [6, 8, 12]}},
    "pretrain": {"epochs": 2},
    "device": {"runtime": "roofline", "description": "jetson-nano"},
    "measure": {"latency": "predicted"},
    "search": {"population": 6, "offspring": 5, "generations": 2},
    "evaluate": {"images": 60, "finetune_steps": 1, "recalibration_images": 64, "refit": True},
    "finetune": {"epochs": 1, "features": 4, "members": 4, "shards": 2},
}
"""Digits on a described device, so that every figure of the run is reproducible."""


def merged(settings, changes):
    """`settings` with nested changes."""
    result = dict(settings)
    for key, value in changes.items():
        result[key] = merged(result.get(key, {}), value) if isinstance(value, dict) else value
    return result


@dataclass(frozen=True)
class Run:
    """A working directory with a run in it, and the code that it runs."""

    folder: Path
    settings: dict
    code: Path = ROOT

    @property
    def results(self) -> Path:
        return self.folder / "results" / self.settings["name"]

    def changed(self, **changes) -> "Run":
        """The same run with other settings."""
        return replace(self, settings=merged(self.settings, changes))

    def command(self, *arguments, cores=2, profile="local") -> list[str]:
        configuration = self.folder / "settings.yaml"
        configuration.write_text(yaml.safe_dump(self.settings))
        return [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(self.code / "Snakefile")),
            *("--configfile", str(configuration)),
            *("--workflow-profile", str(self.code / "workflow/profiles" / profile)),
            *(("--cores", str(cores)) if profile == "local" else ()),
            *arguments,
        ]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(self.code)}

    def snakemake(self, *arguments, cores=2, check=True):
        result = subprocess.run(
            self.command(*arguments, cores=cores),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if check and result.returncode:
            raise AssertionError(result.stdout + result.stderr)
        return result

    def hamp(self, *words, check=True, **environment: str) -> str:
        """What the command says, in this directory."""
        result = subprocess.run(
            [sys.executable, "-c", "from hamp.cli import main; main()", *map(str, words)],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
        )
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result.stdout + result.stderr

    def planned(self, *targets) -> set[tuple[str, int | None]]:
        """Rule and generation of the jobs that would run, as a dry run lists them."""
        jobs: list[tuple[str, int | None]] = []
        for line in self.snakemake("--dry-run", "--nocolor", *targets).stdout.splitlines():
            if match := re.match(r"(?:local)?rule (\w+):", line):
                jobs.append((match[1], None))
            elif match := re.search(r"^ +wildcards: .*\bgeneration=(\d+)", line):
                jobs[-1] = (jobs[-1][0], int(match[1]))
        return set(jobs) - {("all", None)}

    def invented(self) -> "Run":
        """This run as if it had gone to its end: outputs that hold nothing, and Snakemake's records of them."""
        for line in self.snakemake("--dry-run", "--nocolor").stdout.splitlines():
            if match := re.match(r" +output: (.*)", line):
                for name in match[1].split(", "):
                    file = self.folder / name
                    file = file / "network" if file.name == "export" else file
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.touch()
        self.snakemake("--touch", "--forceall")
        return self

    def with_code(self, code: Path) -> "Run":
        """The same run with another copy of the code."""
        return replace(self, code=code)

    def copy(self, folder: Path) -> "Run":
        """A copy of the directory, with Snakemake's records; files keep their times."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return replace(self, folder=folder)

    def tables(self, pattern: str) -> dict[str, bytes]:
        """Content of the tables that match, by path."""
        found = {str(file.relative_to(self.results)): file.read_bytes() for file in self.results.glob(pattern)}
        assert found, pattern
        return found

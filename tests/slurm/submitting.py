"""A run that was submitted with `hamp submit`, as its user sees it: only the command is used, and SLURM's own."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slurm_cluster import Cluster
from small_runs import SMALL, Run, merged

POPULATIONS = "hamp/seed0/gen*/population.parquet"
SETTINGS = merged(SMALL, {"shards": 3, "search": {"generations": 1}})


def local_search(folder: Path) -> Run:
    """The search on this machine, which that of a cluster has to equal."""
    folder.mkdir(exist_ok=True)
    run = Run(folder, SETTINGS)
    run.snakemake("search")
    return run


def before_search(run: Run, folder: Path) -> Run:
    """A copy of a run as it was when its search began: the model is there, the search is to come."""
    copy = run.copy(folder)
    shutil.rmtree(copy.results / "hamp")
    shutil.rmtree(copy.results / "pareto")
    return copy


@dataclass(frozen=True)
class Submitted:
    """A run on a cluster."""

    run: Run
    cluster: Cluster

    def hamp(self, *words: str, check: bool = True) -> str:
        """What the command says."""
        return self.run.hamp(*words, check=check, **self.cluster.environment | {"PYTHONPATH": str(self.run.code)})

    def submit(self, *options: str) -> None:
        self.run.command()  # writes the configuration
        self.hamp("submit", "settings.yaml", "search", *options)

    @property
    def log(self) -> str:
        return (self.run.folder / ".hamp" / self.run.settings["name"] / "controller.log").read_text(errors="replace")

    def status(self) -> str:
        return self.hamp("status", f"results/{self.run.settings['name']}")

    def resume(self) -> str:
        return self.hamp("resume", f"results/{self.run.settings['name']}")

    def evaluating(self) -> list[tuple[str, str]]:
        """Number and node of every evaluation job that runs."""
        lines = self.cluster.jobs("%i %N %k", "--states", "running")
        return [(number, node) for number, node, comment in map(str.split, lines) if "rule_evaluate_" in comment]

    def stages(self, *variables: str) -> list[int]:
        """Processes that evaluate candidates, once they are at work."""
        found = []
        for process in self.cluster.processes(*variables):
            command = Path(f"/proc/{process}/cmdline")
            words = command.read_bytes().split(b"\0") if command.exists() else []
            if any(word.endswith(b"evaluate.py") for word in words) and words[0] != b"/bin/bash":
                found.append(process)
        return found

    def ended(self) -> bool:
        return "controller: has finished" in (told := self.status()) or "has ended before" in told

    def finished(self) -> bool:
        return "controller: has finished" in self.status()


def wait(condition: Callable[[], object], seconds: float = 600) -> None:
    """Until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{condition} does not come true"
        time.sleep(0.5)

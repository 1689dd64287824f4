"""`hamp submit`, `hamp status`, `hamp resume` and `hamp plan`: runs on a SLURM cluster."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hamp.cli.options import ResultsArgument, folder_of
from hamp.errors import UserError

if TYPE_CHECKING:
    from hamp.cluster.controller import Run


GoneOption = Annotated[
    bool, typer.Option("--gone", help="The login node that the last controller ran on is no more, so don't ask it.")
]
REPLACING = ("--set-resources", "--default-resources", "--default-res", "--set-threads")
"""Options of Snakemake that are not laid over what a profile says, but come in place of it."""


def submit(
    configuration: Annotated[Path, typer.Argument(help="A configuration (.yaml).")],
    snakemake: Annotated[
        list[str] | None, typer.Argument(help="For Snakemake: targets, as `search`, and after `--` options.")
    ] = None,
    profile: Annotated[Path | None, typer.Option(help="Of Snakemake. None: workflow/profiles/slurm.")] = None,
    job: Annotated[
        bool, typer.Option("--job", help="The controller is a SLURM job, not a process on this machine.")
    ] = False,
    sbatch: Annotated[str, typer.Option(help="Options of that job, as '--time=3-0 --partition=long'.")] = "",
    gone: GoneOption = False,
) -> None:
    """Start a run on the cluster, from a frozen copy of code, configuration and profile, and come back at once.

    Example: hamp submit config/experiments/mine.yaml
    """
    import shlex

    from hamp.check import check_once
    from hamp.cli.configurations import read_configuration
    from hamp.cluster import controller
    from hamp.cluster.freezing import freeze, frozen_folder
    from hamp.cluster.local import check_reach, reached
    from hamp.digest import ROOT

    if sbatch and not job:
        raise UserError("--sbatch: is for a controller that is a job; add --job")
    if bad := [word for word in snakemake or () if word.partition("=")[0] in REPLACING]:
        raise UserError(
            f"{bad[0]}: would replace all that the profile sets, --exclusive too; write it into the profile"
        )
    settings = read_configuration(configuration)
    check_reach(settings)
    if job and (far := reached(settings)):
        print(f"--job: {' and '.join(far)} must be reached from the node that the controller's job runs on")
    working = Path.cwd()
    results = working / "results" / settings.name
    profile = profile or ROOT / "workflow" / "profiles" / "slurm"
    controller.profile_of(profile)
    again = (frozen_folder(working, settings.name) / controller.RECORD).is_file()
    if again:
        controller.clear(controller.load(results), print, gone)
    check_once(settings, working / ".snakemake" / "hamp")
    folder = freeze(working, configuration, settings, profile)
    results.mkdir(parents=True, exist_ok=True)
    run = controller.Run(folder, controller.prefix_of(results), tuple(snakemake or ()))
    if again:  # from the new copy: with the old one's configuration Snakemake may not even start
        controller.unlock(run)
    _started(controller.start(run, shlex.split(sbatch) if job else None), results)


def status(results: ResultsArgument = None) -> None:
    """Tell how far a submitted run is: its controller, its jobs, its last generation.

    Example: hamp status results/mine
    """
    from hamp.cli.watching import lines
    from hamp.cluster import controller

    folder = folder_of(results)
    run = controller.load(folder)
    where = f"job {run.job}" if run.job else f"process {run.process} on {run.host}"
    print(f"controller: {_state(run, where, folder)}")
    waiting: Counter[tuple[str, str, str]] = Counter()
    for job in controller.jobs(run):
        waiting[job.state.lower(), job.stage, job.reason if job.state == "PENDING" else ""] += 1
    for (state, stage, reason), number in sorted(waiting.items()):
        print(f"jobs: {number} {state}: {stage} {reason}".rstrip())
    if (folder / "settings.yaml").is_file() and (told := [text for _, text in lines(folder)]):
        print(f"last: {told[-1]}")
    print(f"log: {run.log}")


def _state(run: "Run", where: str, folder: Path) -> str:
    from hamp.cluster import controller

    told = f"{where} has ended before the run did; `hamp resume {folder}` goes on"
    try:
        if controller.alive(run):
            return where
    except UserError as error:
        told = str(error)
    return "has finished" if controller.finished(run) else told


def resume(
    results: ResultsArgument = None,
    job: Annotated[bool, typer.Option("--job", help="The controller is a SLURM job.")] = False,
    sbatch: Annotated[str, typer.Option(help="Options of that job.")] = "",
    gone: GoneOption = False,
) -> None:
    """Go on with a run whose controller has ended, whatever ended it, on the same frozen copy.

    Jobs that the controller left behind are found by their names and cancelled; the directory is unlocked.

    Example: hamp resume results/mine
    """
    import shlex

    from hamp.cluster import controller

    if sbatch and not job:
        raise UserError("--sbatch: is for a controller that is a job; add --job")
    folder = folder_of(results)
    run = controller.load(folder)
    controller.clear(run, print, gone)
    controller.unlock(run)
    _started(controller.start(run, shlex.split(sbatch) if job else None), folder)


def plan(
    configuration: Annotated[Path, typer.Argument(help="A configuration (.yaml).")],
    nodes: Annotated[int, typer.Option(min=1, help="Jobs that run at once: nodes, or GPUs where a job takes one.")],
    recorded: Annotated[
        Path | None, typer.Option("--from", help="Results of a run like it. None: results/<name> itself.")
    ] = None,
    shards: Annotated[int | None, typer.Option(min=1, help="None: as the configuration has it.")] = None,
) -> None:
    """Predict time, jobs and GPU hours of a run on a cluster, tell what limits it, and recommend a number of shards.

    It stands on what a run recorded of itself: run the configuration with `search: {generations: 1}` first.

    Example: hamp plan config/experiments/mine.yaml --nodes 8
    """
    from hamp.cli.configurations import read_configuration
    from hamp.cluster import plan as planning
    from hamp.cluster.freezing import frozen_folder

    settings = read_configuration(configuration)
    folder = folder_of(recorded or Path("results") / settings.name).absolute()
    costs, times = planning.costs(folder), planning.Overheads()
    if frozen_folder(folder.parent.parent, folder.name).is_dir():
        times = planning.overheads(folder, times)
    made = planning.plan(settings, costs, times, nodes, shards)
    best = planning.recommended(settings, costs, times, nodes)
    better = planning.plan(settings, costs, times, nodes, best)
    parts = sorted(made.parts.items(), key=lambda part: -part[1])
    print(f"a generation: {made.generation:.0f} s: " + ", ".join(f"{name} {part:.0f} s" for name, part in parts))
    print(f"the search: {_time(made.search)}; with what comes before and after it: {_time(made.total)}")
    print(f"{made.jobs} jobs, {made.job_hours:.1f} hours of jobs, {made.gpu_hours:.1f} GPU hours")
    print(f"limited by: {made.limit}")
    print(f"shards: {made.shards}; recommended for {nodes} nodes: {best}, a generation in {better.generation:.0f} s")
    if costs.finetune is None:
        print(f"left out, since {folder} does not record it: fine-tuning and what follows")


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _started(run: "Run", results: Path) -> None:
    where = f"job {run.job}" if run.job else f"process {run.process}"
    print(f"controller: {where}, jobs named {run.prefix}_*\nlog: {run.log}\nhow far it is: hamp status {results}")

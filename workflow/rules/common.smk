# What all rules share: the validated configuration, paths, and how settings and code reach a stage.

import json
import shlex
import sys
from pathlib import Path

from hamp.callables import file_of, files_of
from hamp.check import check_once
from hamp.cluster import slurm
from hamp.cluster.local import check_reach, idle, local_stages
from hamp.configuration.validate import lacks, load
from hamp.digest import code_digest, file_digest
from hamp.errors import UserError
from hamp.evolution.methods import METHODS
from hamp.hardware.devices import analytic, elsewhere, roofline
from hamp.paths import profile_folder
from hamp.report.contents import files as report_files
from hamp.report.contents import validated
from pydantic import BaseModel
from snakemake_interface_executor_plugins.settings import ExecMode

try:
    if workflow.deployment_settings.deployment_method:
        raise UserError(
            "--software-deployment-method: jobs run in the environment in which Snakemake runs; leave it out"
            " (environment.yml makes that environment with conda)"
        )
    # A number of jobs (`nodes`) is given where they go to a cluster.
    first = workflow.exec_mode == ExecMode.DEFAULT
    to_cluster = workflow.resource_settings.nodes is not None
    CONFIG = load(config)
    if to_cluster:
        check_reach(CONFIG)
    if first:
        check_once(CONFIG, Path(".snakemake") / "hamp")
except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(1)

# Building the DAG recurses some frames a level, and a search has up to six levels a generation.
sys.setrecursionlimit(
    max(
        sys.getrecursionlimit(),
        2000 + 50 * max(map(CONFIG.search.last, CONFIG.methods)),
    )
)

# Devices over ssh are measured by one job at a time, whatever runs beside Snakemake: on a cluster `local-cores` limits
# nothing, and five jobs run there at once (seen in 9.27).
workflow.global_resources["board"] = 1

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"

RESULTS = f"results/{CONFIG.name}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
SEARCH = "{method}/seed{seed}"
GENERATION = f"{SEARCH}/gen{{generation}}"


wildcard_constraints:
    method="|".join(METHODS),
    device=r"[A-Za-z0-9][A-Za-z0-9_-]*",
    seed=r"\d+",
    generation=r"\d+",
    shard=r"\d+",
    shards=r"\d+",


def code(stage):
    """Digest of a stage's script and of the modules that it imports."""
    return code_digest(SCRIPTS / f"{stage}.py")


def command(stage):
    """Param: how a stage is run, by hand too. -P: some scripts are named as modules of Python's own are.

    It asks for `input`, since Snakemake does not compare such a param: another Python or checkout reruns nothing.
    """
    words = shlex.join([sys.executable, "-P", str(SCRIPTS / f"{stage}.py")])
    return lambda wildcards, input: words


# What no stage reads of a block, so that to change it reruns nothing: the weights that are given are a file that the
# first stage copies, and the members and their jobs are shared out by the rules.
NOT_READ = {"network": {"weights"}, "finetune": {"members", "shards"}}


def options(*keys, **renamed):
    """Command-line options for settings: `search.population` becomes `--population 20`, a block its JSON.

    They are one string, since Snakemake compares the set of a rule's parameters without their names.
    """
    words = []
    for name, key in [(key.rpartition(".")[2], key) for key in keys] + list(
        renamed.items()
    ):
        value = CONFIG
        for part in key.split("."):
            value = value[part] if isinstance(value, dict) else getattr(value, part)
        if value is None or value is False or value == {}:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if isinstance(value, BaseModel):
            words.append(value.model_dump_json(exclude=NOT_READ.get(key)))
        elif isinstance(value, dict):
            blocks = {
                key: block.model_dump(mode="json") for key, block in value.items()
            }
            words.append(json.dumps(blocks))
        elif value is not True:
            words += map(str, value) if isinstance(value, list) else [str(value)]
    return shlex.join(words)


def digests(files):
    """Digests of files that are no outputs of this workflow, mostly the user's own, as one string.

    Those that ship are called as in the checkout, so that another one, or a frozen copy, reruns nothing.
    """
    return json.dumps({_name(Path(file)): file_digest(file) for file in files})


def _name(file):
    ships = file.is_relative_to(Path(workflow.basedir, "resources"))
    return str(file.relative_to(workflow.basedir) if ships else file)


def own_files(spec):
    """The file of `path/to/file.py:callable`, and those beside it that it imports; none for any other name."""
    file = file_of(spec)
    return [] if file is None else files_of(file)


def data_files():
    """Files of the user that the images are made from, where they are few."""
    if CONFIG.data.source == "parquet":
        files = [
            Path(CONFIG.data.root) / name for name in ("train.parquet", "test.parquet")
        ]
        return [file for file in files if file.is_file()]
    return own_files(CONFIG.data.source)


NETWORK_FILES = own_files(CONFIG.network.name)
TASK_FILES = own_files(CONFIG.task)


def pretrain_settings():
    """Weights that are given are only read, whatever the settings of training."""
    if CONFIG.network.weights is not None:
        return []
    return ["pretrain", "augment", "task", "hardware", "threads", "seed"]


def pretrain_files():
    """What the unpruned network is made from: weights, or the task that it is trained for."""
    weights = CONFIG.network.weights
    return NETWORK_FILES + (TASK_FILES if weights is None else [weights])


def profile_files(device):
    """What a profile is made from; later stages see in it how the device is described."""
    return NETWORK_FILES + ([roofline.file_of(device)] if analytic(device) else [])


def shards_of(pattern, number):
    """The files of all shards of a stage."""
    return expand(pattern, shard=range(number), shards=number, allow_missing=True)


# The profiles of all devices, that of block `device` first.
PROFILES = [
    f"{RESULTS}/{profile_folder(name)}/profile.parquet" for name in CONFIG.all_devices
]
ENERGIES = [name for name in CONFIG.objectives if name.startswith("energy_mj")]
ENERGY = shlex.join(["--energy", *ENERGIES]) if ENERGIES else ""


def exclusive(devices):
    """Threads of a stage that measures: all that Snakemake may use on this machine, so that nothing runs beside it.

    On a cluster the profile asks for the node as a whole instead, and all stages ask for as many threads as the
    hungriest device: times of processes that may use unlike numbers of cores do not mix.
    """
    if all(map(analytic, devices)):
        return 1
    if workflow.local_exec:
        return workflow.cores
    return max(device.threads for device in CONFIG.all_devices.values())


def data_settings():
    """Settings of the images but for whether they may be downloaded, which changes nothing of them."""
    data = CONFIG.data.model_copy(update={"download": False})
    return shlex.join(["--data", data.model_dump_json(), "--seed", str(CONFIG.seed)])


def measure_settings():
    """Where latency is predicted nothing is measured, whatever the settings of measuring."""
    if CONFIG.measure.latency == "predicted":
        return ""
    return options("network", "device", "devices", "measure", "seed")


def measuring_threads(wildcards):
    """Threads of the `measure` stage, which has nothing to measure where latency is predicted."""
    return (
        exclusive(CONFIG.all_devices.values())
        if CONFIG.measure.latency == "measured"
        else 1
    )


def board(devices):
    """Share of the resource `board` that a stage needs which measures these devices."""
    return int(any(device.runtime == "remote" for device in devices))


def measuring_gpu():
    """GPUs of the `measure` stage."""
    return (
        device_gpu(CONFIG.all_devices.values())
        if CONFIG.measure.latency == "measured"
        else 0
    )


def generation_file(name):
    return f"{RESULTS}/{GENERATION}/{name}"


def generation_log(name):
    return f"{LOGS}/{GENERATION}/{name}.log"


def generation_benchmark(name):
    return f"{BENCHMARKS}/{GENERATION}/{name}.tsv"


def previous(name, first=0):
    """Input function: a file of the generation before this one; none in generation `first`, which is the first."""

    def file(wildcards):
        generation = int(wildcards.generation)
        if generation <= first:
            return []
        return f"{RESULTS}/{SEARCH}/gen{generation - 1}/{name}".format(**wildcards)

    return file


def wishes(wildcards):
    """Options for what the user asks of the front, to the methods that can take account of it."""
    method = METHODS[wildcards.method]
    return (
        options("portfolio")
        if method.surrogate or method.selection == "portfolio"
        else ""
    )


def method_options(wildcards):
    """Options of stage `vary` that only some methods use."""
    if wildcards.method == "netadapt":
        return options("search.netadapt_step")
    return wishes(wildcards)


def offspring(wildcards):
    """The table that holds this generation's new candidates: made by the last stage that its method has."""
    if wildcards.generation == "0":
        name = "initial.parquet"
    elif METHODS[wildcards.method].surrogate:
        name = "offspring.parquet"
    else:
        name = "variation.parquet"
    return generation_file(name).format(**wildcards)


def archives(wildcards):
    """What every search evaluated, as of its last generation."""
    return [
        f"{RESULTS}/{method}/seed{seed}/gen{CONFIG.search.last(method)}/archive.parquet"
        for method in CONFIG.methods
        for seed in CONFIG.seeds
    ]


def every_generation(name, methods=CONFIG.methods, first=0):
    """A table of every generation of every search by some methods."""
    return [
        f"{RESULTS}/{method}/seed{seed}/gen{generation}/{name}"
        for method in methods
        for seed in CONFIG.seeds
        for generation in range(first, CONFIG.search.last(method) + 1)
    ]


def models(wildcards):
    """The surrogates of the methods that fit one."""
    fitting = [method for method in CONFIG.methods if METHODS[method].surrogate]
    return every_generation("surrogate.parquet", fitting, first=1)


def comparison(wildcards):
    """The tables that compare searches, where there are several."""
    return rules.compare.output if len(CONFIG.methods) * len(CONFIG.seeds) > 1 else []


def reported(name):
    """A file of the report with its caption, category and label."""
    category, label = REPORT[name]
    caption = f"../report/{name.replace('.', '-')}.rst"
    return report(
        f"{RESULTS}/report/{name}",
        caption=caption,
        category=category,
        labels={"content": label},
    )


def by_attempt(amount):
    """A resource that grows with each attempt: a job that ran out of it is not stopped at the same point again."""

    def resource(wildcards, attempt):
        return amount * attempt

    return resource


# GPUs of one job that trains or evaluates.
GPU = int(CONFIG.hardware == "cuda")


def device_gpu(devices):
    """GPUs of one job that measures."""
    here = [device for device in devices if not elsewhere(device)]
    return int(any(device.processor == "cuda" for device in here))


def spare_the_scheduler():
    """Drop Snakemake's default limit on how many jobs start in a second; one that the user set stays.

    With a limit, each look of the scheduler at jobs that wait for a core starts a timer, after which it looks again and
    starts the next one; with every job that ends there is one timer more, and after some hundred jobs Snakemake alone
    takes half a core (seen in 9.27).
    """
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def look_for_devices():
    """Before the first job: end a run whose devices are not here. On a cluster's login node they need not be."""
    if workflow.exec_mode == ExecMode.DEFAULT and not to_cluster:
        if lines := lacks(CONFIG):
            print("\n".join(lines), file=sys.stderr)
            sys.exit(1)


def look_at_slurm():
    """Before the first job: end a run that would wait for ever, since SLURM can't tell what became of its jobs."""
    if workflow.exec_mode != ExecMode.DEFAULT or not hasattr(
        workflow.executor_settings, "status_command"
    ):
        return
    try:
        settings = slurm.configuration()
        slurm.check_status_command(workflow.executor_settings.status_command, settings)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    folder = Path(workflow.basedir) / "workflow" / "profiles" / "slurm"
    slurm.stand_in(settings, folder / "without-accounts")

# What all rules share: the validated configuration, paths, and how settings and code reach a stage.

import json
import shlex
import sys
from pathlib import Path

from hamp.callables import file_of
from hamp.check import check_once
from hamp.configuration.validate import load
from hamp.digest import code_digest, file_digest
from hamp.errors import UserError
from hamp.evolution.methods import METHODS
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
    CONFIG = load(config, here=first and workflow.resource_settings.nodes is None)
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

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"

RESULTS = f"results/{CONFIG.name}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
SEARCH = "{method}/seed{seed}"
GENERATION = f"{SEARCH}/gen{{generation}}"


wildcard_constraints:
    method="|".join(METHODS),
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
            value = getattr(value, part)
        if value is None or value is False:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if isinstance(value, BaseModel):
            words.append(value.model_dump_json())
        elif value is not True:
            words += map(str, value) if isinstance(value, list) else [str(value)]
    return shlex.join(words)


def digests(files):
    """Digests of the user's own files, which are no outputs of this workflow, as one string."""
    return json.dumps({str(file): file_digest(file) for file in files})


def own_file(spec):
    """The file of `path/to/file.py:callable`, as a list of one or none."""
    file = file_of(spec)
    return [] if file is None else [file]


def data_files():
    """Files of the user that the images are made from, where they are few."""
    if CONFIG.data.source == "parquet":
        files = [
            Path(CONFIG.data.root) / name for name in ("train.parquet", "test.parquet")
        ]
        return [file for file in files if file.is_file()]
    return own_file(CONFIG.data.source)


def weights_files():
    return [] if CONFIG.network.weights is None else [CONFIG.network.weights]


NETWORK_FILES = own_file(CONFIG.network.name)
TASK_FILES = own_file(CONFIG.task)


def pretrain_settings():
    """Weights that are given are only read, whatever the settings of training."""
    if CONFIG.network.weights is not None:
        return []
    return ["pretrain", "augment", "task", "hardware", "threads", "seed"]


def shards_of(pattern, number):
    """The files of all shards of a stage."""
    return expand(pattern, shard=range(number), shards=number, allow_missing=True)


def exclusive(wildcards):
    """Threads of a stage that measures: all that Snakemake may use on this machine, so that nothing runs beside it.

    On a cluster the profile asks for the node as a whole instead.
    """
    if CONFIG.device.runtime == "roofline":
        return 1
    return workflow.cores if workflow.local_exec else CONFIG.device.threads


def measuring_threads(wildcards):
    """Threads of the `measure` stage, which has nothing to measure where latency is predicted."""
    return exclusive(wildcards) if CONFIG.measure.latency == "measured" else 1


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


# GPUs of one job: to train and evaluate with, and to measure on.
GPU = int(CONFIG.hardware == "cuda")
DEVICE_GPU = int(CONFIG.device.runtime != "remote" and CONFIG.device.hardware == "cuda")

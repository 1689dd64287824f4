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
from pydantic import BaseModel
from snakemake_interface_executor_plugins.settings import ExecMode

try:
    CONFIG = load(config)
    if workflow.exec_mode == ExecMode.DEFAULT:
        check_once(CONFIG, Path(".snakemake") / "hamp")
except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(1)

# Building the DAG recurses some frames a level, and a search has up to six levels a generation.
sys.setrecursionlimit(
    max(sys.getrecursionlimit(), 2000 + 50 * CONFIG.search.generations)
)

# -P: the folder of the scripts is not searched for modules, since some are named as modules of Python's own are.
PYTHON = f"{shlex.quote(sys.executable)} -P"
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
    """Threads of a stage that measures: all that Snakemake may use on this machine, so that nothing runs beside it."""
    if CONFIG.device.runtime == "roofline":
        return 1
    return workflow.cores or CONFIG.device.threads


def measuring_threads(wildcards):
    """Threads of the `measure` stage, which has nothing to measure where latency is predicted."""
    return exclusive(wildcards) if CONFIG.measure.latency == "measured" else 1

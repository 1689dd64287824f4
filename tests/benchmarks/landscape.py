"""All methods on a landscape fitted to true evaluations: many searches in minutes, where true ones take hours.

    python -m tests.benchmarks.landscape CONFIGURATION RESULTS OUTPUT [--methods …] [--seeds …] [--ablations]

The error of a network is what a committee of multilayer perceptrons says, fitted to everything that the searches in
RESULTS truly evaluated, rounded to whole images; multilayer perceptrons, since no search uses them as its surrogate.
Latency and memory are the run's own. It stands in for true evaluations where many settings are tried, and shows no
more than what the landscape holds. Each search's archive goes to OUTPUT; one that is there is not run again.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from hamp.analysis.statistics import spearman
from hamp.configuration.blocks import Config
from hamp.evolution.domain import Domain, encode
from hamp.stages.compare import compare
from hamp.stages.measure import predicted
from hamp.stages.read import read_space
from hamp.stages.search import search
from hamp.stages.state import domain
from hamp.tables import ERRORS, EVALUATED, PROFILE, SENSITIVITY, build, concatenate, matrix, read, write
from tests.benchmarks.variants import LIMITS, hypervolume_within, reached

Found = tuple[pa.Table, pa.Table]
"""Archive and last population of a search."""

MEMBERS, FOLDS = 5, 5
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "as it is": {},
    "Gaussian process alone": {"search": {"surrogates": ["gp"]}},
    "quadratic ridge alone": {"search": {"surrogates": ["ridge"]}},
    "extra trees alone": {"search": {"surrogates": ["trees"]}},
    "initial: uniform alone": {"search": {"initial": ["uniform"]}},
    "initial: Latin hypercube alone": {"search": {"initial": ["latin"]}},
    "initial: with sensitivity": {"search": {"initial": ["uniform", "sensitivity", "latin"]}},
    "portfolio by reach": {"portfolio": {"value": "tchebycheff"}},
    **{f"limit {limit:.0%}": {"portfolio": {"limits": {"latency_ms": f"{limit:.0%}"}}} for limit in LIMITS},
}
"""What is changed of HAMP's settings."""


def evaluated(results: Path) -> pa.Table:
    """Every candidate that was truly evaluated in a run, once."""
    table = concatenate([read(file, EVALUATED) for file in sorted(results.glob("*/seed*/gen*/evaluated.parquet"))])
    first = np.unique(table["candidate"].to_numpy(zero_copy_only=False), return_index=True)[1]
    return table.take(np.sort(first))


def committee(U: np.ndarray, error: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Perceptrons fitted to the logits of the errors at encoded widths."""
    clipped = np.clip(error, 1e-3, 1 - 1e-3)
    logit = np.log(clipped / (1 - clipped))
    nets = [
        MLPRegressor(
            hidden_layer_sizes=(64, 64),
            activation="tanh",
            alpha=0.03,
            solver="lbfgs",
            max_iter=400,
            random_state=member,
        )
        for member in range(MEMBERS)
    ]
    for net in nets:
        net.fit(U, logit)
    return lambda V: 1 / (1 + np.exp(-np.mean([net.predict(V) for net in nets], axis=0)))


def quality(U: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    """Cross-validated rank correlation and root mean squared error."""
    fold = np.random.default_rng(0).permutation(len(U)) % FOLDS
    held_out = np.zeros(len(U))
    for number in range(FOLDS):
        held_out[fold == number] = committee(U[fold != number], error[fold != number])(U[fold == number])
    return spearman(held_out, error), float(np.sqrt(np.mean((held_out - error) ** 2)))


def judge(truth: Callable[[np.ndarray], np.ndarray], allowed: Domain, images: int) -> Callable[[pa.Table], pa.Table]:
    """What stands in for the evaluation of candidates."""

    def errors(candidates: pa.Table) -> pa.Table:
        found = np.round(truth(encode(matrix(candidates), allowed)) * images) / images
        return build(ERRORS, {"candidate": candidates["candidate"], "error": found, "images": [images] * len(found)})

    return errors


def ablations(config: Config, run: Callable[[Config, str, int], Found], seeds: list[int]) -> pa.Table:
    """What becomes of the search with one thing changed, a row a variant and seed."""
    rows = []
    for variant, changes in VARIANTS.items():
        settings = config.model_dump()
        for block, values in changes.items():
            settings[block] |= values
        changed = Config.model_validate(settings)
        for seed in seeds:
            rows.append({"variant": variant, **reached(*run(changed, "hamp", seed), config.objectives, seed)})
            print(rows[-1], flush=True)
    return pa.Table.from_pylist(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("configuration", "results", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--ablations", action="store_true", help="variants of hamp in place of the methods")
    arguments = parser.parse_args()
    config = Config.model_validate(yaml.safe_load(arguments.configuration.read_text()))
    methods, seeds = arguments.methods or config.methods, arguments.seeds or config.seeds
    space = read_space(arguments.results / "space" / "space.parquet")
    profiles = {"": read(arguments.results / "profile" / "profile.parquet", PROFILE)}
    sensitivity = arguments.results / "space" / "sensitivity.parquet"
    groups = read(sensitivity, SENSITIVITY) if sensitivity.is_file() else None
    known, allowed = evaluated(arguments.results), domain(space, profiles)
    U, error = encode(matrix(known), allowed), known["error"].to_numpy()
    agreement, deviation = quality(U, error)
    evidence = {"evaluations": str(len(known)), "spearman": f"{agreement:.4f}", "rmse": f"{deviation:.4f}"}
    print(evidence)
    errors = judge(committee(U, error), allowed, config.evaluate.images)

    def run(settings: Config, method: str, seed: int) -> Found:
        return search(
            settings, space, profiles, method, seed, errors, lambda new: predicted(new, space, profiles), groups
        )

    if arguments.ablations:
        write(ablations(config, run, seeds), arguments.output / "ablations.parquet", evidence)
        return
    archives = {}
    for seed in seeds:
        for method in methods:
            file = arguments.output / f"{method}-seed{seed}.parquet"
            if not file.is_file():
                write(run(config, method, seed)[0], file)
            archives[method, seed] = read(file, EVALUATED)
            print(method, seed, f"{hypervolume_within(archives[method, seed], 1.0):.4f}", flush=True)
    compared = compare(archives, config.objectives)
    for name in ("curves", "pairs", "ranks"):
        write(getattr(compared, name), arguments.output / f"{name}.parquet", evidence)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()

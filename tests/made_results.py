"""A folder of results such as a run leaves, made up: for tests of what reads results."""

import json

import numpy as np

from hamp import tables
from hamp.analysis.dominance import non_dominated
from hamp.candidates import UNPRUNED, name_of
from hamp.configuration.validate import load
from hamp.evolution.methods import METHODS
from hamp.results import SPACE, write_settings
from hamp.stages.pareto import hypervolumes

CHANNELS = np.array([16, 16, 16, 32, 32, 32, 64, 64, 64], dtype=np.int32)
NAMES = [f"layer{stage}.{block}.conv1" for stage in (1, 2, 3) for block in range(3)]
BASELINE_MS = 6.0
BENCHMARK = "s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t{memory}\n"


def figures(widths):
    """Error, latency, memory, multiply-adds and parameters of widths (n, groups), smooth and monotone."""
    share = widths / CHANNELS
    weight = np.array([3, 2, 2, 3, 2, 2, 3, 2, 2]) / 21
    error = 0.08 + 0.82 * (1 - (1 - (1 - share) ** 3) @ weight) ** 1.5
    latency = BASELINE_MS * (0.15 + 0.85 * share @ weight)
    memory = np.rint(200_000 + 900_000 * share.mean(axis=1) ** 1.5).astype(np.int64)
    macs = np.rint(40e6 * (share**1.5) @ weight).astype(np.int64)
    return error, latency, memory, macs, np.rint(270_000 * share.mean(axis=1) ** 2).astype(np.int64)


DESCRIBED = {"device": {"runtime": "roofline", "description": "jetson-nano"}, "measure": {"latency": "predicted"}}
"""Settings with which nothing is measured."""


def make(folder, methods=("hamp",), seeds=(0,), generations=4, size=12, members=12, latency="measured", **further):
    """Write the results of a made-up run to `folder` and return its settings.

    further: settings beside those that have a name here.
    """
    settings = load(
        {
            "name": folder.name,
            "methods": list(methods),
            "seeds": list(seeds),
            "search": {"generations": generations, "population": size, "offspring": size},
            "measure": {"latency": latency},
        }
        | further
    )
    rng = np.random.default_rng(0)
    write_settings(settings, folder / "settings.yaml")
    splits = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    columns = {"index": range(100), "label": [0] * 100, "split": splits}
    tables.write(tables.build(tables.SPLITS, columns), folder / "data" / "splits.parquet")
    layers = [[name] for name in NAMES]
    space = tables.build(SPACE.remove(2), {"name": NAMES, "channels": CHANNELS})
    tables.write(space.append_column(SPACE.field(2), [layers]), folder / "space" / "space.parquet")
    profile = tables.empty(tables.PROFILE).replace_schema_metadata(
        {"fingerprint": json.dumps({"processor": "made up <&>", "threads": "1"})}
    )
    tables.write(profile, folder / "profile" / "profile.parquet")
    ways = {"way": ["predictor", "sum of layers", "macs"], "networks": [20] * 3, "rmspe": [0.04, 0.12, 0.3]}
    ways |= {"within_10_percent": [0.95, 0.5, 0.1], "spearman": [0.99, 0.95, 0.8], "kendall": [0.93, 0.85, 0.7]}
    table = tables.build(tables.VALIDATION, {**ways, "bias": [0.01, -0.1, 0.25]})
    tables.write(table, folder / "profile" / "validation.parquet")
    archives = {(m, s): _search(folder, m, s, generations, size, rng) for m in methods for s in seeds}
    volumes = hypervolumes(archives, settings.objectives)
    tables.write(volumes, folder / "pareto" / "hypervolume.parquet")
    _front(folder, archives, members, rng)
    for stage, seconds in {"data": 2, "pretrain": 30, "hamp/seed0/gen1/evaluate-0-of-2": 9.5}.items():
        file = folder / "benchmarks" / f"{stage}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(BENCHMARK.format(seconds=seconds, memory=512.25))
    return settings


def _search(folder, method, seed, generations, size, rng):
    skill = 1.0 + 0.5 * list(METHODS).index(method)
    rows = {name: [] for name in tables.EVALUATED.names}
    for generation in range(generations + 1):
        spread = 0.9 * np.exp(-generation / (2 * skill))
        base = rng.random((size, 1)) * np.ones(9)
        widths = np.clip(base + spread * (rng.random((size, 9)) - 0.5), 0.1, 1) * CHANNELS
        widths = np.maximum(1, np.rint(widths)).astype(np.int32)
        origins = rng.choice(["crossover", "scale", "local_search", "transfer"], size).tolist()
        if generation == 0:
            widths[0], origins = CHANNELS, [UNPRUNED] + ["latin"] * (size - 1)
        error, latency, memory, macs, parameters = figures(widths)
        noise = 1 + 0.02 * rng.standard_normal(size)
        names = [name_of(row) for row in widths]
        new = {
            "candidate": names,
            "widths": widths.tolist(),
            "generation": [generation] * size,
            "origin": origins,
            "error": error,
            "latency_ms": latency * noise,
            "latency_iqr_ms": 0.03 * latency,
            "memory_bytes": memory,
            "macs": macs,
            "parameters": parameters,
        }
        for name, values in rows.items():
            values.extend(new[name])
        archive = tables.build(tables.EVALUATED, rows)
        values = tables.columns(archive, ["error", "latency_ms", "memory_bytes"])
        alive = np.flatnonzero(non_dominated(values))[:size]
        home = folder / method / f"seed{seed}" / f"gen{generation}"
        tables.write(archive, home / "archive.parquet")
        tables.write(archive.take(alive), home / "population.parquet")
        measured = {**new, "latency_predicted_ms": latency, "baseline_latency_ms": [BASELINE_MS] * size}
        tables.write(tables.build(tables.MEASURED, measured), home / "measured.parquet")
        if generation and METHODS[method].surrogate:
            quality = [0.99 - 0.5 / generation, -0.1 + 0.1 * generation]
            model = {
                "objective": ["error", "latency_ms"],
                "model": ["gp", "ridge"],
                "transform": ["logit", "log"],
                "hyperparameters": ["{}"] * 2,
                "spearman": quality,
                "kendall": quality,
                "rmse": [0.1] * 2,
                "n": [len(archive)] * 2,
            }
            tables.write(tables.build(tables.SURROGATE, model), home / "surrogate.parquet")
    return archive


def _front(folder, archives, members, rng):
    rows = {row["candidate"]: row for archive in archives.values() for row in archive.to_pylist()}
    found = [row for row in rows.values() if row["origin"] != UNPRUNED]
    values = np.array([[row["error"], row["latency_ms"], row["memory_bytes"]] for row in found])
    best = [found[index] for index in np.flatnonzero(non_dominated(values))]
    best = sorted(best, key=lambda row: row["latency_ms"])
    best = [best[index] for index in np.unique(np.linspace(0, len(best) - 1, members).astype(int))]
    n = len(best)
    error = np.array([row["error"] for row in best]) ** 1.3
    latency = np.array([row["latency_ms"] for row in best])
    front = {
        **{name: [row[name] for row in best] for name in ("candidate", "widths", "memory_bytes", "macs", "parameters")},
        "error_validation": error,
        "error_test": error + 0.01 * rng.random(n),
        "latency_ms": latency,
        "latency_iqr_ms": 0.04 * latency * (0.5 + rng.random(n)),
        "latency_predicted_ms": latency * (1 + 0.04 * rng.standard_normal(n)),
        "baseline_latency_ms": [BASELINE_MS] * n,
        "model": [f"export/{row['candidate']}.safetensors" for row in best],
        "onnx": [f"export/{row['candidate']}.onnx" for row in best],
        "faster": latency * 1.04 < BASELINE_MS,
        "method": [next(iter(archives))[0]] * n,
        "seed": [0] * n,
        "baseline_error_test": [0.083] * n,
        "reference_error_validation": [0.078] * n,
        "reference_error_test": [0.081] * n,
    }
    tables.write(tables.build(tables.FRONT, front), folder / "pareto" / "front.parquet")

"""Stage `compare`: every search of a run against every other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hamp.analysis.compare import Found, Row, Run, curves, pairs, ranking
from hamp.analysis.statistics import spearman
from hamp.evolution.surrogate import refit
from hamp.pruning.space import Space
from hamp.stages.known import Profiles
from hamp.stages.progress import unpruned
from hamp.stages.state import domain, ordered
from hamp.stages.surrogate import predictor, targets
from hamp.tables import CURVES, FORESIGHT, PAIRS, RANKS, build, columns, matrix


@dataclass(frozen=True)
class Compared:
    """The tables of a comparison, by the schemas of their names."""

    curves: pa.Table
    pairs: pa.Table
    ranks: pa.Table


def compare(archives: Mapping[Run, pa.Table], objectives: Sequence[str]) -> Compared:
    """How far each search came, and each method against each other.

    Args:
        archives: of each search, all that it evaluated (EVALUATED).
        objectives: names.
    """
    names = ordered(objectives)
    base = unpruned(archives.values(), names)
    searches = {run: _found(archive, names, base) for run, archive in archives.items()}
    rows = curves(searches)
    return Compared(_table(CURVES, rows), _table(PAIRS, pairs(rows, searches)), _table(RANKS, ranking(rows)))


def foresight(
    space: Space,
    profiles: Profiles,
    archives: Mapping[Run, pa.Table],
    models: Mapping[tuple[str, int, int], pa.Table],
    objectives: Sequence[str],
    latency: str,
) -> pa.Table:
    """Table FORESIGHT: the surrogates' predictions of each generation's offspring, against what was then found.

    Args:
        space: of the network.
        profiles: of the devices.
        archives: of each search, all that it evaluated (EVALUATED).
        models: by method, seed and generation, the models (SURROGATE).
        objectives: names.
        latency: `measured` or `predicted`.
    """
    allowed = domain(space, profiles)
    rows: list[Row] = []
    for (method, seed, generation), described in models.items():
        archive = archives[method, seed]
        before = archive.filter(pc.less(archive["generation"], generation))
        offspring = archive.filter(pc.equal(archive["generation"], generation))
        if len(offspring) < 2:
            continue
        widths = matrix(offspring)
        surrogate = refit(
            described.to_pylist(), matrix(before), allowed, targets(space, profiles, before, objectives, latency)
        )
        names = [one.objective for one in surrogate.fitted]
        predicted, _ = predictor(space, profiles, surrogate, names)(widths)
        for one, said in zip(surrogate.fitted, predicted.T, strict=True):
            truth = offspring[one.objective].to_numpy()
            rows.append(
                {
                    "method": method,
                    "seed": seed,
                    "generation": generation,
                    "objective": one.objective,
                    "model": one.model,
                    "n": one.n,
                    "spearman": one.spearman,
                    "spearman_ahead": spearman(said, truth),
                    "rmse_ahead": float(np.sqrt(np.mean((said - truth) ** 2))),
                }
            )
    return _table(FORESIGHT, rows)


def _found(archive: pa.Table, objectives: Sequence[str], base: np.ndarray) -> Found:
    """Objectives with the error first, the others over the unpruned network's, which are one for all searches."""
    scale = np.where(np.array(objectives) == "error", 1.0, base)
    return Found(columns(archive, objectives) / scale, archive["generation"].to_numpy().astype(np.int64))


def _table(schema: pa.Schema, rows: Sequence[Row]) -> pa.Table:
    return build(schema, {name: [row[name] for row in rows] for name in schema.names})

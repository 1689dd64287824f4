"""Stages `surrogate` and `local_search`: models of the costly objectives, and candidates that they promise much of."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from hamp.configuration.blocks import Portfolio
from hamp.evolution.domain import Domain
from hamp.evolution.generation import improved
from hamp.evolution.local_search import Objectives
from hamp.evolution.methods import METHODS
from hamp.evolution.surrogate import ModelName, Surrogate, Target, fit, refit
from hamp.hardware.predictor import predict
from hamp.pruning.space import Space
from hamp.seeding import generator
from hamp.stages.known import known
from hamp.stages.state import archive_of, candidates, domain, ordered, settings
from hamp.tables import CANDIDATES, SURROGATE, build, empty, matrix


def surrogate(
    space: Space,
    profile: pa.Table,
    archive: pa.Table,
    *,
    seed: int,
    generation: int,
    objectives: Sequence[str],
    latency: str,
    surrogates: Sequence[ModelName],
    previous: pa.Table | None = None,
) -> pa.Table:
    """Table SURROGATE: per costly objective the model of highest cross-validated rank correlation.

    Args:
        space: of the network.
        profile: of the device.
        archive: all evaluated so far (EVALUATED).
        seed: of the search.
        generation: number of this generation, from 1.
        objectives: names.
        latency: `measured` latency is costly, and modelled as a factor on the profile's prediction; `predicted` is
            computed.
        surrogates: names of the models to try.
        previous: the models of the generation before (SURROGATE): where fitting begins.
    """
    fitted = fit(
        matrix(archive),
        domain(space, profile),
        targets(space, profile, archive, objectives, latency),
        generator(seed, "surrogate", generation),
        names=surrogates,
        previous=[] if previous is None else previous.to_pylist(),
    )
    rows = fitted.describe()
    return build(SURROGATE, {name: [row[name] for row in rows] for name in SURROGATE.names})


def targets(
    space: Space, profile: pa.Table, archive: pa.Table, objectives: Sequence[str], latency: str
) -> dict[str, Target]:
    """What the models learn of an archive."""
    found = {"error": Target(archive["error"].to_numpy(), "logit")}
    if latency == "measured" and "latency_ms" in objectives:
        baseline = predict(profile, space, matrix(archive))
        found["latency_ms"] = Target(archive["latency_ms"].to_numpy(), "log", baseline)
    return found


def predictor(space: Space, profile: pa.Table, model: Surrogate, objectives: Sequence[str]) -> Objectives:
    """Mean and standard deviation of all objectives at widths: modelled where costly, otherwise computed."""
    computed = known(space, profile)

    def both(widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = computed(widths)
        values["latency_ms"] = values.pop("latency_predicted_ms")
        mean, std = model.predict(widths, {"latency_ms": values["latency_ms"]})
        zero = np.zeros(len(widths))
        values = {**values, **mean}
        return (
            np.column_stack([values[name] for name in objectives]).astype(float),
            np.column_stack([std.get(name, zero) for name in objectives]),
        )

    return both


def local_search(
    space: Space,
    profile: pa.Table,
    population: pa.Table,
    archive: pa.Table,
    variation: pa.Table,
    models: pa.Table,
    *,
    method: str,
    seed: int,
    generation: int,
    offspring: int,
    objectives: Sequence[str],
    latency: str,
    portfolio: Portfolio,
) -> pa.Table:
    """Table CANDIDATES of `offspring` candidates: some of the local search, the others of the variation.

    Args:
        space: of the network.
        profile: of the device.
        population: survivors of the generation before (EVALUATED).
        archive: all evaluated so far (EVALUATED).
        variation: candidates by variation (CANDIDATES); none: the search has converged.
        models: the chosen models (SURROGATE).
        method: name of the method.
        seed: of the search.
        generation: number of this generation, from 1.
        offspring: how many.
        objectives: names.
        latency: `measured` or `predicted`.
        portfolio: what the search is for.
    """
    if not len(variation):
        return empty(CANDIDATES)
    names = ordered(objectives)
    allowed: Domain = domain(space, profile)
    model = refit(models.to_pylist(), matrix(archive), allowed, targets(space, profile, archive, names, latency))
    widths, origins = improved(
        METHODS[method],
        archive_of(archive, population, names),
        allowed,
        matrix(variation),
        variation["origin"].to_pylist(),
        offspring,
        generator(seed, f"local_search/{method}", generation),
        settings(portfolio, archive, names),
        predictor(space, profile, model, names),
        quality=min(models["spearman"].to_pylist()),
    )
    return candidates(widths, origins)

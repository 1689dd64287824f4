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
from hamp.hardware.devices import analytic
from hamp.hardware.predictor import device_of, predict
from hamp.pruning.space import Space
from hamp.seeding import generator
from hamp.stages.known import Profiles, known
from hamp.stages.state import archive_of, candidates, domain, ordered, passed_through, settings
from hamp.tables import CANDIDATES, ENERGY, SURROGATE, at, build, empty, matrix

MEASURED_QUANTITIES = ("latency_ms", ENERGY)


def surrogate(
    space: Space,
    profiles: Profiles,
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
        profiles: of the devices.
        archive: all evaluated so far (EVALUATED).
        seed: of the search.
        generation: number of this generation, from 1.
        objectives: names.
        latency: `measured` latency is costly, and modelled as a factor on the profile's prediction, which so learns
            from every measured candidate; `predicted` is computed.
        surrogates: names of the models to try.
        previous: the models of the generation before (SURROGATE): where fitting begins. When the search has converged
            they stay.
    """
    if previous is not None and passed_through(archive, generation):
        return previous
    fitted = fit(
        matrix(archive),
        domain(space, profiles),
        targets(space, profiles, archive, objectives, latency),
        generator(seed, "surrogate", generation),
        names=surrogates,
        previous=[] if previous is None else previous.to_pylist(),
    )
    rows = fitted.describe()
    return build(SURROGATE, {name: [row[name] for row in rows] for name in SURROGATE.names})


def targets(
    space: Space, profiles: Profiles, archive: pa.Table, objectives: Sequence[str], latency: str
) -> dict[str, Target]:
    """What the models learn of an archive: the error, and what is measured, as a factor on predicted latency.

    Energy too is nearly proportional to latency. A described device is never measured.
    """
    found = {"error": Target(archive["error"].to_numpy(), "logit")}
    for name in objectives:
        quantity, _, device = name.partition("@")
        if quantity in MEASURED_QUANTITIES and latency == "measured" and not analytic(device_of(profiles[device])):
            baseline = predict(profiles[device], space, matrix(archive))
            found[name] = Target(archive[name].to_numpy(), "log", baseline)
    return found


def predictor(space: Space, profiles: Profiles, model: Surrogate, objectives: Sequence[str]) -> Objectives:
    """Mean and standard deviation of all objectives at widths: modelled where costly, otherwise computed."""
    computed = known(space, profiles)

    def both(widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = computed(widths)
        latency = {device: values.pop(at("latency_predicted_ms", device)) for device in profiles}
        baselines = {at(name, device): latency[device] for device in profiles for name in MEASURED_QUANTITIES}
        mean, std = model.predict(widths, baselines)
        zero = np.zeros(len(widths))
        values = {**values, **{at("latency_ms", device): latency[device] for device in profiles}, **mean}
        return (
            np.column_stack([values[name] for name in objectives]).astype(float),
            np.column_stack([std.get(name, zero) for name in objectives]),
        )

    return both


def local_search(
    space: Space,
    profiles: Profiles,
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
        profiles: of the devices.
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
    allowed: Domain = domain(space, profiles)
    model = refit(models.to_pylist(), matrix(archive), allowed, targets(space, profiles, archive, names, latency))
    widths, origins = improved(
        METHODS[method],
        archive_of(archive, population, names),
        allowed,
        matrix(variation),
        variation["origin"].to_pylist(),
        offspring,
        generator(seed, f"local_search/{method}", generation),
        settings(portfolio, archive, names),
        predictor(space, profiles, model, names),
        quality=min(models["spearman"].to_pylist()),
    )
    return candidates(widths, origins)

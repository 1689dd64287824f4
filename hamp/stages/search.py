"""A whole search, stage after stage in one process, whatever finds errors and latencies."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from hamp.configuration.blocks import Config
from hamp.evolution.methods import METHODS
from hamp.pruning.space import Space
from hamp.stages.initial import initial
from hamp.stages.known import Profiles
from hamp.stages.select import evaluated, select
from hamp.stages.surrogate import local_search, surrogate
from hamp.stages.vary import vary
from hamp.tables import EVALUATED, empty

Judge = Callable[[pa.Table], pa.Table]
"""From candidates (CANDIDATES) to a table of what was found of them."""


def search(
    config: Config,
    space: Space,
    profiles: Profiles,
    method: str,
    seed: int,
    errors: Judge,
    latencies: Judge,
    sensitivity: pa.Table | None = None,
) -> tuple[pa.Table, pa.Table]:
    """All that a search evaluated, and its last population (both EVALUATED).

    Args:
        config: the settings.
        space: of the network.
        profiles: of the devices.
        method: name of the method.
        seed: of the search.
        errors: gives table ERRORS.
        latencies: gives table MEASURED.
        sensitivity: of the groups, where the initial population needs it.
    """
    wanted = config.search
    archive = population = empty(EVALUATED)
    models: pa.Table | None = None
    common: dict[str, Any] = {"seed": seed, "objectives": config.objectives}
    for generation in range(wanted.last(method) + 1):
        if generation == 0:
            offspring = initial(space, wanted.population, seed, wanted.initial, sensitivity)
        else:
            offspring = vary(
                space,
                profiles,
                population,
                archive,
                method=method,
                generation=generation,
                offspring=wanted.offspring,
                patience=wanted.patience,
                tolerance=wanted.tolerance,
                portfolio=config.portfolio,
                netadapt_step=wanted.netadapt_step,
                **common,
            )
            if METHODS[method].surrogate:
                modelled: dict[str, Any] = {"generation": generation, "latency": config.measure.latency, **common}
                models = surrogate(space, profiles, archive, surrogates=wanted.surrogates, previous=models, **modelled)
                offspring = local_search(
                    space,
                    profiles,
                    population,
                    archive,
                    offspring,
                    models,
                    method=method,
                    offspring=wanted.offspring,
                    portfolio=config.portfolio,
                    **modelled,
                )
        if not len(offspring):
            break
        archive, population = select(
            population,
            archive,
            evaluated(offspring, [errors(offspring)], latencies(offspring), generation),
            size=wanted.population,
            objectives=config.objectives,
            method=method,
            portfolio=config.portfolio,
        )
    return archive, population

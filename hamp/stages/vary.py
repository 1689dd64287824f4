"""Stage `vary`: new candidates by variation, or by whatever the method has in its place."""

from collections.abc import Sequence

import pyarrow as pa

from hamp.configuration.blocks import Portfolio
from hamp.evolution.generation import varied
from hamp.evolution.methods import METHODS, converged
from hamp.hardware.predictor import predictor
from hamp.pruning.space import Space
from hamp.seeding import generator
from hamp.stages.known import Profiles
from hamp.stages.progress import history
from hamp.stages.state import archive_of, candidates, domain, passed_through, settings
from hamp.tables import CANDIDATES, empty


def vary(
    space: Space,
    profiles: Profiles,
    population: pa.Table,
    archive: pa.Table,
    *,
    method: str,
    seed: int,
    generation: int,
    offspring: int,
    objectives: Sequence[str],
    patience: int | None,
    tolerance: float,
    portfolio: Portfolio,
    netadapt_step: float,
) -> pa.Table:
    """Table CANDIDATES of new candidates; empty once the search has converged.

    Args:
        space: of the network.
        profiles: of the devices.
        population: survivors of the generation before (EVALUATED).
        archive: all evaluated so far (EVALUATED).
        method: name of the method.
        seed: of the search.
        generation: number of this generation, from 1.
        offspring: how many.
        objectives: names.
        patience: generations without growth of the hypervolume after which the search ends; None: it goes on.
        tolerance: relative growth that counts as growth.
        portfolio: what mates are chosen for.
        netadapt_step: latency cut of a NetAdapt iteration, as a share of the unpruned network's.
    """
    if passed_through(archive, generation):
        return empty(CANDIDATES)
    if patience is not None and converged(history(archive, objectives)[2].tolist(), patience, tolerance):
        return empty(CANDIDATES)
    widths, origins = varied(
        METHODS[method],
        archive_of(archive, population, objectives),
        domain(space, profiles),
        offspring,
        generator(seed, f"vary/{method}", generation),
        settings(portfolio, archive, objectives, netadapt_step=netadapt_step),
        latency=predictor(profiles[""], space),
    )
    return candidates(widths, origins)

"""The stages of the search: what they predict is what they record, and settings reach the search."""

import numpy as np
import pytest
from hardware_networks import SHAPE, chain, space_of

import hamp
from hamp.candidates import name_of
from hamp.configuration.blocks import Device, Profile
from hamp.evolution.domain import domain_of
from hamp.evolution.initial import latin_hypercube
from hamp.evolution.surrogate import Target, fit
from hamp.hardware import profile as profiling
from hamp.stages.measure import predicted
from hamp.stages.surrogate import predictor
from hamp.tables import CANDIDATES, build, columns

OBJECTIVES = ["error", "latency_ms", "memory_bytes", "macs", "parameters"]


@pytest.fixture(scope="module")
def space():
    return space_of(chain())


def described(space, **changes):
    """Profile of a described device: nothing is measured."""
    device = Device(runtime="roofline", description="jetson-nano", **changes)
    return profiling.build(chain(), space, SHAPE, device, Profile(), [], 0)


def candidates_of(widths):
    names = [name_of(row) for row in widths]
    return build(CANDIDATES, {"candidate": names, "widths": widths, "origin": ["latin"] * len(names)})


@pytest.mark.parametrize("changes", [{"batch_size": 16}, {"batch_size": 3, "data_type": "float16"}])
def test_what_is_computed_for_the_search_is_what_is_recorded(space, changes):
    profile = described(space, **changes)
    domain = domain_of(space)
    widths = latin_hypercube(domain, 12, np.random.default_rng(0))
    model = fit(widths, domain, {"error": Target(np.linspace(0.1, 0.8, 12), "logit")}, np.random.default_rng(0))
    searched, _ = predictor(space, profile, model, OBJECTIVES)(widths)
    recorded = columns(predicted(candidates_of(widths), space, profile), OBJECTIVES[1:])
    np.testing.assert_array_equal(searched[:, 1:], recorded)
    alone = columns(predicted(candidates_of(widths), space, described(space, batch_size=1)), OBJECTIVES[1:])
    np.testing.assert_array_equal(recorded[:, 2:], alone[:, 2:])  # multiply-adds are of one image
    assert (recorded[:, 1] > alone[:, 1]).all()  # memory is of the batch


def test_a_search_in_one_process_ends_when_it_has_converged():
    settings = {
        "data": {"limit": 200},
        "network": {"arguments": {"widths": [4, 6, 8]}},
        "pretrain": {"epochs": 1},
        "device": {"runtime": "roofline", "description": "jetson-nano"},
        "measure": {"latency": "predicted"},
        "search": {"population": 4, "offspring": 3, "generations": 6, "patience": 1, "tolerance": 1e9},
        "evaluate": {"images": 20, "recalibration_images": 16},
    }
    found = hamp.search(settings)
    assert found.archives["hamp", 0]["generation"].to_numpy().max() < 6

"""The stages of the search: what they predict is what they record, and settings reach the search."""

import numpy as np
import pyarrow as pa
import pytest
from hardware_networks import SHAPE, chain, space_of

import hamp
from hamp.candidates import name_of
from hamp.configuration.blocks import Device, Portfolio, Profile, Pruning
from hamp.evolution.domain import domain_of
from hamp.evolution.initial import latin_hypercube
from hamp.evolution.methods import converged
from hamp.evolution.selection import tie
from hamp.evolution.surrogate import Target, fit
from hamp.hardware import profile as profiling
from hamp.stages.initial import initial
from hamp.stages.measure import predicted
from hamp.stages.pareto import aggregate
from hamp.stages.select import select
from hamp.stages.sensitivity import by_group, sensitivity
from hamp.stages.space import space as find_space
from hamp.stages.state import noise, settings
from hamp.stages.surrogate import predictor, surrogate
from hamp.tables import CANDIDATES, ERRORS, EVALUATED, SURROGATE, build, columns, empty, matrix

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
    searched, _ = predictor(space, {"": profile}, model, OBJECTIVES)(widths)
    recorded = columns(predicted(candidates_of(widths), space, {"": profile}), OBJECTIVES[1:])
    np.testing.assert_array_equal(searched[:, 1:], recorded)
    alone = columns(predicted(candidates_of(widths), space, {"": described(space, batch_size=1)}), OBJECTIVES[1:])
    np.testing.assert_array_equal(recorded[:, 2:], alone[:, 2:])  # multiply-adds are of one image
    assert (recorded[:, 1] > alone[:, 1]).all()  # memory is of the batch


def test_widths_are_multiples_of_what_every_device_wants():
    wanted = Pruning(channel_multiple=2, channel_multiple_of={"device": 3, "nano": 4}, keep_first=False)
    assert find_space(chain(), SHAPE, wanted).multiple.tolist() == [
        min(12, channels) for channels in find_space(chain(), SHAPE, Pruning(keep_first=False)).channels
    ]


def archive_of(errors, latencies, iqr=0.0):
    """Everything evaluated, the unpruned network first; memory as the latency."""
    n = len(errors)
    rows = {
        "candidate": [name_of(np.array([i])) for i in range(n)],
        "widths": [[i] for i in range(n)],
        "generation": [0] * n,
        "origin": ["unpruned"] + ["latin"] * (n - 1),
        "error": errors,
        "latency_ms": latencies,
        "latency_iqr_ms": [iqr] * n,
        "memory_bytes": (1000 * np.asarray(latencies)).astype(int),
        "macs": [0] * n,
        "parameters": [0] * n,
    }
    return build(EVALUATED, rows)


def test_wishes_are_told_in_the_order_and_units_of_the_search():
    archive = archive_of([0.1, 0.5], [4.0, 2.0], iqr=0.25)
    wanted = Portfolio(preferences={"latency_ms": 2}, limits={"latency_ms": "60%", "error": 0.3}, value="tchebycheff")
    told = settings(wanted, archive, ["latency_ms", "error", "memory_bytes"])
    assert told.preferences == [1.0, 2.0, 1.0]
    assert told.limits == [0.3, pytest.approx(2.4), np.inf]
    np.testing.assert_array_equal(told.noise, [[0.0, 0.25, 0.0]] * 2)
    assert told.value == "tchebycheff"
    none = settings(Portfolio(), archive_of([0.1], [4.0]), ["error", "latency_ms"])
    assert none.preferences is none.limits is none.noise is None


@pytest.mark.parametrize("limits", [{"latency_ms": "40%"}, {"latency_ms": 4.0}])
def test_survivors_and_the_front_keep_to_the_limits(limits):
    latency = np.linspace(10, 1, 60)
    archive = archive_of(1 - latency / 11, latency)
    chosen = {}
    for name, wanted in (("free", Portfolio()), ("limited", Portfolio(limits=limits))):
        _, population = select(
            empty(EVALUATED),
            empty(EVALUATED),
            archive,
            size=10,
            objectives=["error", "latency_ms"],
            method="hamp",
            portfolio=wanted,
        )
        front = aggregate({("hamp", 0): archive}, ["error", "latency_ms"], 10, wanted)
        chosen[name] = [int(np.sum(table["latency_ms"].to_numpy() <= 4.0)) for table in (population, front)]
    population, front = chosen["limited"]
    assert population >= 8
    assert front == 10  # nothing beyond is fine-tuned
    assert max(chosen["free"]) <= 6


def test_where_nothing_is_within_the_limits_the_front_is_what_there_is(capsys):
    archive = archive_of(np.linspace(0.1, 0.9, 8), np.linspace(10, 5, 8))
    front = aggregate({("hamp", 0): archive}, ["error", "latency_ms"], 4, Portfolio(limits={"latency_ms": 1.0}))
    assert len(front) == 4
    assert capsys.readouterr().err.startswith("portfolio.limits: no network meets latency_ms 1.0; ")


def test_networks_that_get_no_image_right_are_fine_tuned_only_where_all_are_such():
    archive = archive_of(np.linspace(0.1, 1.0, 8), np.linspace(10, 1, 8))
    front = aggregate({("hamp", 0): archive}, ["error", "latency_ms"], 8, Portfolio())
    assert max(front["error"].to_pylist()) < 1.0
    assert len(front) == 6  # all but the unpruned network and the last
    hopeless = archive_of(np.ones(8), np.linspace(10, 1, 8))
    assert len(aggregate({("hamp", 0): hopeless}, ["error", "latency_ms"], 8, Portfolio())) == 1


def test_differences_within_the_noise_are_ties():
    errors, latencies = [0.1, 0.2, 0.2, 0.6], [10.0, 5.0, 5.1, 1.0]

    def survivors(iqr):
        archive = archive_of(errors, latencies, iqr)
        wanted = {"size": 4, "objectives": ["error", "latency_ms"], "method": "hamp", "portfolio": Portfolio()}
        return select(empty(EVALUATED), empty(EVALUATED), archive, **wanted)[1]["latency_ms"].to_pylist()

    assert survivors(0.0)[-1] == 5.1  # dominated: last
    assert {5.0, 5.1} <= set(survivors(0.5))


def test_fast_networks_are_told_apart_beside_slow_noisy_ones():
    """Interquartile ranges are shares of a latency: that of a slow network says nothing of two fast ones."""
    archive = archive_of([0.1, 0.2, 0.5, 0.6], [9.0, 5.0, 1.2, 1.0])
    ranges = pa.array([0.4, 0.3, 0.02, 0.02])
    archive = archive.set_column(archive.column_names.index("latency_iqr_ms"), "latency_iqr_ms", ranges)
    wanted = {"size": 4, "objectives": ["error", "latency_ms"], "method": "hamp", "portfolio": Portfolio()}
    tied = tie(columns(archive, ["error", "latency_ms"]), noise(archive, ["error", "latency_ms"]))
    assert tied[:, 1].tolist() == [9.0, 5.0, 1.2, 1.0]
    assert len(select(empty(EVALUATED), empty(EVALUATED), archive, **wanted)[1]) == 4


def test_a_network_that_was_measured_badly_ties_no_others_with_one_another():
    archive = archive_of([0.1, 0.2, 0.5, 0.6], [9.0, 2.0, 1.5, 1.0])
    ranges = pa.array([0.02, 0.02, 0.02, 3.0])
    archive = archive.set_column(archive.column_names.index("latency_iqr_ms"), "latency_iqr_ms", ranges)
    tied = tie(columns(archive, ["error", "latency_ms"]), noise(archive, ["error", "latency_ms"]))
    assert tied[:, 1].tolist() == [9.0, 2.0, 1.0, 1.0]


def test_what_the_unpruned_network_beats_is_not_fine_tuned():
    archive = archive_of([0.05, 0.06, 0.1, 0.2], [10.0, 13.0, 8.0, 5.0])
    front = aggregate({("hamp", 0): archive}, ["error", "latency_ms"], 4, Portfolio())
    assert front["latency_ms"].to_pylist() == [8.0, 5.0]
    slow = archive_of([0.05, 0.06], [10.0, 13.0])
    assert len(aggregate({("hamp", 0): slow}, ["error", "latency_ms"], 4, Portfolio())) == 1


def test_what_another_beats_but_for_the_noise_is_not_fine_tuned():
    def front(iqr):
        archive = archive_of([0.05, 0.21, 0.2, 0.6], [10.0, 5.0, 5.1, 1.0], iqr)
        return aggregate({("hamp", 0): archive}, ["error", "latency_ms"], 4, Portfolio())["latency_ms"].to_pylist()

    assert front(0.0) == [5.1, 5.0, 1.0]
    assert front(0.5) == [5.1, 1.0]


def test_only_the_named_models_are_tried(space):
    profiles = {"": described(space)}
    widths = latin_hypercube(domain_of(space), 20, np.random.default_rng(1))
    error = 0.1 + 0.8 * (1 - widths / np.asarray(space.channels)).mean(axis=1)
    rows = {name: np.repeat(archive_of([0.1], [1.0])[name].to_pylist(), 20) for name in EVALUATED.names}
    archive = build(EVALUATED, {**rows, "widths": widths, "error": error})
    common = {"seed": 0, "objectives": ["error", "macs"], "latency": "predicted"}
    for name in ("gp", "ridge"):
        first = surrogate(space, profiles, archive, generation=1, surrogates=[name], **common)
        again = surrogate(space, profiles, archive, generation=2, surrogates=[name], previous=first, **common)
        assert first["model"].to_pylist() == again["model"].to_pylist() == [name]
        assert min(first["spearman"].to_pylist() + again["spearman"].to_pylist()) > 0.9


def test_sensitivity_finds_the_group_that_matters_and_spares_it(space):
    full = np.asarray(space.channels)

    def errors(probes):
        kept = matrix(probes) / full
        error = 0.05 + 0.5 * (1 - kept[:, 0]) + 0.02 * (1 - kept[:, 1:]).sum(axis=1)
        return build(ERRORS, {"candidate": probes["candidate"], "error": error, "images": [1] * len(error)})

    table = sensitivity(space, [0.5, 0.25], errors)
    assert len(table) == 2 * space.groups
    found = by_group(table, space.groups)
    assert found.argmax() == 0
    np.testing.assert_allclose(table["increase"].to_numpy(), table["error"].to_numpy() - 0.05)
    first = initial(space, 12, 0, ["uniform", "sensitivity"], table)
    kept = matrix(first) / full
    guided = np.array(first["origin"].to_pylist()) == "sensitivity"
    assert (kept[guided, 0] > kept[guided, 1:].mean(axis=1)).all()
    assert guided.sum() == 5


def test_a_search_that_is_not_yet_better_than_the_reference_point_has_not_converged():
    assert not converged([0.0] * 10, patience=3, tolerance=1e-3)
    assert not converged([0.0, 0.0, 0.0, 0.1], patience=3, tolerance=1e-3)
    assert converged([0.0, 0.1, 0.1, 0.1, 0.1], patience=3, tolerance=1e-3)


def test_a_converged_search_fits_no_models(space):
    archive, profiles = archive_of([0.1, 0.2], [2.0, 1.0]), {"": described(space)}
    before = build(SURROGATE, {name: [] for name in SURROGATE.names})
    wanted = {"seed": 0, "objectives": ["error", "latency_ms"], "latency": "predicted", "surrogates": ["gp"]}
    assert surrogate(space, profiles, archive, generation=2, previous=before, **wanted) is before


def test_a_search_in_one_process_ends_when_it_has_converged():
    settings = {
        "data": {"limit": 900},
        "network": {"arguments": {"widths": [8, 12, 16]}},
        "pretrain": {"epochs": 6},
        "device": {"runtime": "roofline", "description": "jetson-nano"},
        "measure": {"latency": "predicted"},
        "search": {
            "population": 4,
            "offspring": 3,
            "generations": 6,
            "patience": 1,
            "tolerance": 1e9,
            "initial": ["sensitivity"],
        },
        "sensitivity": {"images": 20, "fractions": [0.5]},
        "portfolio": {"limits": {"latency_ms": "70%"}},
        "evaluate": {"images": 50, "recalibration_images": 64},
    }
    found = hamp.search(settings)
    archive = found.archives["hamp", 0]
    assert archive["generation"].to_numpy().max() < 6
    assert archive["origin"].to_pylist().count("sensitivity") >= 2

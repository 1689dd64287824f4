"""Several devices in one search, and energy: from the settings through the search to the front."""

import numpy as np
import pyarrow as pa
import pytest
from hardware_networks import SHAPE, chain, space_of

import hamp
from hamp import tables
from hamp.analysis.dominance import non_dominated
from hamp.candidates import REFERENCE, UNPRUNED, name_of
from hamp.configuration.blocks import Device, Measure, Portfolio, Profile
from hamp.configuration.validate import load
from hamp.errors import UserError
from hamp.evolution.domain import domain_of
from hamp.evolution.initial import latin_hypercube
from hamp.evolution.surrogate import fit
from hamp.hardware import energy, fingerprint, predictor
from hamp.hardware import profile as profiling
from hamp.stages.measure import measured, pruned
from hamp.stages.pareto import aggregate, pareto
from hamp.stages.select import evaluated
from hamp.stages.state import domain
from hamp.stages.surrogate import predictor as search_predictor
from hamp.stages.surrogate import targets
from hamp.tables import CANDIDATES, build, columns

NANO = {"runtime": "roofline", "description": "jetson-nano", "batch_size": 1}
BOARD = {"runtime": "roofline", "description": "raspberry-pi-4", "batch_size": 1}
OBJECTIVES = ["error", "latency_ms", "latency_ms@board", "memory_bytes"]
SETTINGS = {
    "objectives": OBJECTIVES,
    "data": {"limit": 200},
    "network": {"arguments": {"widths": [4, 6, 8]}},
    "pretrain": {"epochs": 1},
    "device": NANO,
    "devices": {"board": BOARD},
    "measure": {"latency": "predicted"},
    "search": {"population": 6, "offspring": 4, "generations": 2},
    "evaluate": {"images": 20, "recalibration_images": 16},
}


@pytest.fixture(scope="module")
def found():
    return hamp.search(SETTINGS)


def test_latency_on_two_devices_is_two_objectives_of_a_search(found, tmp_path):
    archive, problem = found.archives["hamp", 0], found.problem
    widths = tables.matrix(archive)
    for name in ("", "board"):
        own = predictor.predict(problem.profiles[name], problem.space, widths)
        np.testing.assert_array_equal(archive[tables.at("latency_ms", name)].to_numpy(), own)
    front = found.front()
    every = archive.filter(tables.pc.not_equal(archive["origin"], UNPRUNED))
    every = every.filter(tables.pc.less(every["error"], 1.0))  # what gets no image right is fine-tuned by nobody
    kept = every.filter(non_dominated(columns(every, OBJECTIVES)))
    assert set(front["candidate"].to_pylist()) == set(kept["candidate"].to_pylist())
    tables.write(archive, tmp_path / "archive.parquet")
    assert tables.read(tmp_path / "archive.parquet", tables.EVALUATED).equals(archive)


def test_both_devices_count_in_the_last_front(found):
    """Two networks alike but for one device each: neither leaves the front; a third, slower on both, does."""
    members = found.front().slice(0, 1)
    row = members.to_pylist()[0]
    names = ["a", "b", "c"]
    members = build(tables.MEMBERS, {name: [row[name]] * 3 for name in members.column_names} | {"candidate": names})
    times = {"latency_ms": [1.0, 2.0, 2.0], "latency_ms@board": [2.0, 1.0, 2.0]}
    for name in ("latency_predicted_ms", "baseline_latency_ms"):
        times |= {name: [2.0] * 3, f"{name}@board": [2.0] * 3}
    times |= {"latency_iqr_ms": [0.1] * 3, "latency_iqr_ms@board": [1.5] * 3}
    known = {name: [row[name]] * 3 for name in ("memory_bytes", "macs", "parameters")}
    table = build(tables.MEASURED, {"candidate": names, **times, **known})
    everyone = [UNPRUNED, REFERENCE, *names]
    last = {
        "finetuned": build(tables.FINETUNED, {"candidate": everyone, "error_validation": [0.1] * 5}),
        "tested": build(tables.TESTED, {"candidate": everyone, "error_test": [0.1] * 5}),
        "exported": build(
            tables.EXPORTED,
            {"candidate": everyone, **dict.fromkeys(("model", "onnx"), ["x"] * 5)} | {"largest_difference": [0.0] * 5},
        ),
    }
    last["objectives"] = ["latency_ms", "error", "latency_ms@board"]
    noisy = pareto(members, measured=table, **last)
    assert noisy["candidate"].to_pylist() == ["a"]  # on the board all are within the noise
    steady = table.set_column(table.schema.get_field_index("latency_iqr_ms@board"), "latency_iqr_ms@board", [[0.1] * 3])
    front = pareto(members, measured=steady, **last)
    assert front["candidate"].to_pylist() == ["a", "b"]
    assert front["faster"].to_pylist() == [True, False]
    assert front["faster@board"].to_pylist() == [False, True]
    # Only objectives decide: of multiply-adds "b" has the fewest; on the first device it is slower.
    lighter = steady.set_column(steady.column_names.index("macs"), steady.schema.field("macs"), pa.array([3, 1, 2]))
    objectives = ["error", "macs"]
    assert pareto(members, measured=lighter, **last | {"objectives": objectives})["candidate"].to_pylist() == ["b"]
    objectives += ["latency_ms"]
    front = pareto(members, measured=lighter, **last | {"objectives": objectives})
    assert front["candidate"].to_pylist() == ["a", "b"]


def test_an_efficient_width_is_one_on_either_device():
    space = space_of(chain())
    profiles = {
        name: profiling.build(chain(), space, SHAPE, Device(**settings), Profile(), [], 0)
        for name, settings in (("", NANO), ("board", BOARD))
    }
    both = domain(space, profiles)
    alone = [domain(space, {"": profile}) for profile in profiles.values()]
    for group, widths in enumerate(both.efficient):
        assert set(widths) == {*alone[0].efficient[group], *alone[1].efficient[group]}


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"objectives": ["error", "latency_ms@bord"]}, "objectives", "no 'bord'; there board"),
        ({"objectives": ["error", "latency_ms"]}, "devices", "'board' is in no objective"),
        ({"objectives": ["error", "memory_bytes@board"]}, "objectives.1", "nearest is 'memory_bytes'"),
        ({"devices": {"a b": BOARD}}, "devices", "must be letters"),
        ({"devices": {"board": {"runtme": "roofline"}}}, "devices.board.runtme", "nearest is 'runtime'"),
        ({"devices": {"board": {"runtime": "roofline"}}}, "devices.board.description", "missing"),
        ({"devices": {"board": BOARD | {"description": "board.yaml"}}}, "devices.board.description", "no such file"),
        ({"devices": {"board": BOARD | {"data_type": "float16"}}}, "devices.board.data_type", "only float32"),
        ({"devices": {"board": {"runtime": "remote"}}}, "devices.board.host", "missing"),
        ({"devices": {"board": {"provider": "cuda"}}}, "devices.board.provider", "leave it out: devices.board"),
        ({"objectives": [*OBJECTIVES, "energy_mj"]}, "measure.latency", "tells no energy"),
    ],
)
def test_mistakes_between_devices_and_objectives_are_named(changes, key, words):
    with pytest.raises(UserError) as caught:
        load(SETTINGS | changes)
    lines = [line for line in str(caught.value).splitlines() if line.startswith(f"{key}: ")]
    assert words in lines[0]


@pytest.mark.parametrize(("objective", "here"), [("energy_mj@board", False), ("energy_mj", not energy.RAPL.exists())])
def test_energy_that_the_device_does_not_tell_is_an_error_before_the_first_job(objective, here):
    changes = {"objectives": ["error", "latency_ms", objective], "measure": {"latency": "measured"}, "device": {}}
    if objective == "energy_mj":
        changes["devices"] = {}
        if not here:
            pytest.skip("this machine tells its energy")
    with pytest.raises(UserError, match=r"^objectives?:? 'energy_mj.* does not tell its energy"):
        load(SETTINGS | changes, here=here)


def test_energy_is_measured_learnt_and_kept(monkeypatch):
    """With a counter that is half a joule on at each reading."""
    space, model = space_of(chain()), chain()
    device = Device(batch_size=1)
    settings = Profile(points=2, networks=3, rounds=3, seconds=2.0)
    scores = [np.arange(channels, dtype=float) for channels in space.channels]
    profile = profiling.build(model, space, SHAPE, device, settings, scores, 0)
    allowed = domain_of(space)
    widths = latin_hypercube(allowed, 8, np.random.default_rng(0))
    candidates = build(
        CANDIDATES,
        {"candidate": [name_of(row) for row in widths], "widths": widths, "origin": [UNPRUNED, *["latin"] * 7]},
    )
    joules = 0.0

    def one(run, read, seconds):
        run()
        return float(read())

    def read():
        nonlocal joules
        joules += 0.5
        return joules

    monkeypatch.setattr(energy, "meter", lambda device: read)
    monkeypatch.setattr(energy, "per_inference", one)
    table = measured(
        candidates,
        pruned(candidates, model, space, scores),
        model,
        space,
        {"": profile},
        SHAPE,
        {"": device},
        Measure(rounds=3, seconds=0.05),
        seed=0,
        energy=["energy_mj"],
    )
    told = 0.5 * (1 + np.arange(len(widths)))
    np.testing.assert_array_equal(table["energy_mj"].to_numpy(), told)
    ratios = predictor.predict(profile, space, widths) / predictor.baseline_of(profile)
    session = table["latency_predicted_ms"].to_numpy() / table["baseline_latency_ms"].to_numpy()
    np.testing.assert_allclose(session, ratios)
    fingerprint.check(fingerprint.of(profile), fingerprint.of(table))
    errors = build(
        tables.ERRORS,
        {
            "candidate": candidates["candidate"],
            "error": np.linspace(0.1, 0.8, len(widths)),
            "images": [20] * len(widths),
        },
    )
    archive = evaluated(candidates, [errors], table, 0)
    np.testing.assert_array_equal(archive["energy_mj"].to_numpy(), told)
    names = ["error", "energy_mj"]
    learnt = targets(space, {"": profile}, archive, names, "measured")
    assert set(learnt) == set(names)
    surrogate = fit(widths, allowed, learnt, np.random.default_rng(0))
    mean, deviation = search_predictor(space, {"": profile}, surrogate, names)(widths)
    assert (mean[:, 1] > 0).all()
    assert (deviation[:, 1] > 0).any()
    assert "energy_mj" in aggregate({("hamp", 0): archive}, names, 10, Portfolio()).column_names

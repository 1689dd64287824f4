"""The predictor, from profiles whose truth is known."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hardware_networks import chain, space_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls
from torch import nn

from hamp import tables
from hamp.candidates import name_of
from hamp.configuration.blocks import Device
from hamp.errors import UserError
from hamp.hardware import fingerprint, grid, layers, predictor, validation
from hamp.hardware.profile import random_networks
from hamp.stages.measure import as_profiled

FACTS = {"processor": "imagined"}
STEP = 16


@pytest.fixture(scope="module")
def space():
    return space_of(chain())


def cell_latency(cell):
    """A device on which whole vectors count, and a partial one costs more: latency falls at multiples of 16."""
    vectors = -(-cell.out_channels // STEP) * (1.0 if cell.out_channels % STEP == 0 else 1.3)
    return 0.02 * vectors * (1 + 0.05 * cell.in_channels)


def true_latency(space, widths, factors):
    """Each layer's latency times a factor of its own, and a constant."""
    found, _ = layers.columns(space, widths)
    total = np.full(len(widths), 0.1)
    for column, factor in zip(found, factors, strict=True):
        pairs = zip(column.in_channels, column.out_channels, strict=True)
        total += [factor * cell_latency(layers.Layer(column.family, int(i), int(o))) for i, o in pairs]
    return total


def networks_table(space, widths, factors):
    full = np.asarray(space.channels)[None, :]
    baseline = true_latency(space, full, factors)[0]
    every = np.concatenate([full, widths])
    rows = {
        "kind": ["network"] * len(every),
        "name": [name_of(row) for row in every],
        "in_channels": [0] * len(every),
        "out_channels": [0] * len(every),
        "widths": every,
        "latency_ms": true_latency(space, every, factors),
        "latency_iqr_ms": [0.0] * len(every),
        "baseline_latency_ms": [baseline] * len(every),
    }
    return tables.build(tables.PROFILE, rows)


def profile_of(space, widths, factors):
    """A profile as measuring without noise would make it."""
    low = np.array([predictor.allowed_widths(space, group)[0] for group in range(space.groups)])
    found, _ = layers.columns(space, np.stack([low, space.channels]).astype(np.int32))
    cells = [cell for family in grid.cells(found, 40, STEP).values() for cell in family]
    cells += [layers.Layer(layers.ELEMENTWISE, size, size) for size in (10, 20)]
    elementwise = layers.ELEMENTWISE
    rows = {
        "kind": ["layer"] * len(cells),
        "name": [cell.family.signature for cell in cells],
        "in_channels": [cell.in_channels for cell in cells],
        "out_channels": [cell.out_channels for cell in cells],
        "widths": [[]] * len(cells),
        "latency_ms": [0.001 if cell.family == elementwise else cell_latency(cell) for cell in cells],
        "latency_iqr_ms": [0.0] * len(cells),
        "baseline_latency_ms": [0.0] * len(cells),
    }
    table = pa.concat_tables([tables.build(tables.PROFILE, rows), networks_table(space, widths, factors)])
    device = Device(batch_size=1).model_dump_json()
    table = table.replace_schema_metadata({predictor.DEVICE: device, predictor.STEP: str(STEP)})
    return fingerprint.attach(table, FACTS)


def session(space, widths, factors, clock):
    """Table MEASURED of a session in which everything takes `clock` times as long."""
    latency = clock * true_latency(space, widths, factors)
    baseline = clock * true_latency(space, np.asarray(space.channels)[None, :], factors)[0]
    n = len(widths)
    rows = {
        "candidate": [name_of(row) for row in widths],
        "latency_ms": latency,
        "latency_iqr_ms": 0.1 * latency,
        "latency_predicted_ms": latency,
        "baseline_latency_ms": [baseline] * n,
        "memory_bytes": [1] * n,
        "macs": [1] * n,
        "parameters": [1] * n,
    }
    return fingerprint.attach(tables.build(tables.MEASURED, rows), FACTS)


def test_sessions_at_different_clocks_agree_once_taken_as_the_profiles(space):
    rng = np.random.default_rng(0)
    factors, widths = np.array([1.0, 0.5, 2.0, 1.0]), random_networks(space, 5, rng)
    profile = profile_of(space, widths, factors)
    for clock in (0.8, 1.0, 1.5):
        table = as_profiled(session(space, widths, factors, clock), {"": profile})
        np.testing.assert_allclose(table["latency_ms"], true_latency(space, widths, factors))
        np.testing.assert_allclose(table["latency_iqr_ms"], 0.1 * true_latency(space, widths, factors))
        np.testing.assert_allclose(table["baseline_latency_ms"], predictor.baseline_of(profile))
        np.testing.assert_allclose(table["latency_predicted_ms"], true_latency(space, widths, factors))
        assert fingerprint.of(table) == FACTS


def error(profile, space, widths, factors):
    predicted = predictor.predict(profile, space, widths)
    return float(np.abs(predicted / true_latency(space, widths, factors) - 1).max())


def test_a_common_factor_and_a_constant_are_found_exactly(space):
    rng = np.random.default_rng(0)
    factors = np.full(4, 1.3)
    profile = profile_of(space, random_networks(space, 6, rng), factors)
    assert error(profile, space, random_networks(space, 50, rng), factors) < 1e-6


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=2, max_size=9))
def test_a_common_factor_and_a_constant_are_the_best_that_are_not_negative(rows):
    total, ones = np.array(rows).T
    wanted, _ = nnls(np.column_stack([total, ones]), np.ones(len(total)))
    residual = [np.sum((1 - a * total - b * ones) ** 2) for a, b in (wanted, predictor._two(total, ones))]
    assert residual[1] == pytest.approx(residual[0], abs=1e-9)


def test_where_every_network_takes_as_long_nothing_is_gained(space):
    """As on a device that waits for launches only."""
    rng = np.random.default_rng(0)
    features = np.column_stack([rng.uniform(0.1, 1, (9, 20)).cumsum(axis=0), np.ones(9)])
    latency = 5.0 * rng.uniform(0.99, 1.01, 9)
    predicted = features @ predictor.fit(features, latency)
    np.testing.assert_allclose(predicted, 5.0, rtol=0.05)


def test_a_profile_of_another_network_is_refused(space):
    rng = np.random.default_rng(3)
    profile = profile_of(space, random_networks(space, 4, rng), np.ones(4))
    fewer = space_of(nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.Conv2d(8, 4, 5)).eval())
    with pytest.raises(UserError, match=r"2 groups, the space has 1.*profile again"):
        predictor.predict(profile, fewer, fewer.channels[None, :])
    wider = space_of(
        nn.Sequential(nn.Conv2d(3, 20, 5), nn.ReLU(), nn.Conv2d(20, 36, 5), nn.Conv2d(36, 4, 5, padding=2)).eval()
    )
    with pytest.raises(UserError, match=r"conv 5x5.*profile again"):
        predictor.predict(profile, wider, wider.channels[None, :])


def test_efficient_widths_leave_out_those_that_a_wider_width_beats(space):
    rng = np.random.default_rng(4)
    profile = profile_of(space, random_networks(space, 6, rng), np.ones(4))
    found = predictor.efficient_widths(profile, space)
    latency = predictor.predictor(profile, space)
    for group, efficient in enumerate(found):
        allowed = predictor.allowed_widths(space, group)
        assert allowed[-1] in efficient
        widths = np.repeat(space.channels[None, :], len(allowed), axis=0)
        widths[:, group] = allowed
        times = latency(widths)
        beaten = [any(times[j] <= times[i] for j in range(i + 1, len(allowed))) for i in range(len(allowed))]
        assert efficient.tolist() == [width for width, lost in zip(allowed, beaten, strict=True) if not lost]
    wide = next(efficient for efficient, channels in zip(found, space.channels, strict=True) if channels == 36)
    assert 32 in wide
    assert 31 not in wide


def test_random_networks_are_allowed_and_of_all_sizes(space):
    widths = random_networks(space, 40, np.random.default_rng(5))
    assert np.array_equal(space.validate(widths), widths)
    share = (widths / space.channels).mean(axis=1)
    assert share.min() < 0.3
    assert share.max() > 0.8


def test_figures_by_hand():
    found = validation.figures(np.array([1.0, 1.05, 0.95, 2.4]), np.array([1.0, 1.0, 1.0, 2.0]))
    assert found["rmspe"] == pytest.approx(np.sqrt(0.045 / 4))
    assert found["bias"] == pytest.approx(0.2 / 4)
    assert found["within_10_percent"] == 0.75


def test_validation_puts_the_predictor_beside_sum_and_macs(space):
    rng = np.random.default_rng(6)
    factors = np.array([0.5, 2.0, 1.0, 1.5])
    profile = profile_of(space, random_networks(space, 30, rng), factors)
    widths = random_networks(space, 30, rng)
    timed = fingerprint.attach(networks_table(space, widths, factors).slice(1), FACTS)
    rows = {row["way"]: row for row in validation.validate(profile, space, widths, timed).to_pylist()}
    assert rows["predictor"]["rmspe"] < rows["sum of layers"]["rmspe"] < rows["macs"]["rmspe"]
    assert rows["predictor"]["within_10_percent"] == 1.0
    assert rows["predictor"]["networks"] == 30


def test_predicting_imports_no_torch_and_no_scikit_learn():
    code = (
        "import sys, hamp.hardware.profile, hamp.hardware.measuring, hamp.hardware.devices as devices\n"
        "from hamp.configuration.blocks import Device\n"
        "devices.available(Device())\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'onnxruntime'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

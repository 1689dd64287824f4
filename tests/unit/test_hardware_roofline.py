"""Described devices."""

import numpy as np
import pytest
from hardware_networks import SHAPE, chain, space_of

from hamp import tables
from hamp.configuration.blocks import Device, Profile
from hamp.errors import UserError
from hamp.hardware import predictor
from hamp.hardware.devices import available, roofline
from hamp.hardware.profile import build, random_networks

NAMES = sorted(path.stem for path in roofline.FOLDER.glob("*.yaml"))


@pytest.fixture(scope="module")
def space():
    return space_of(chain())


def described(tmp_path, **changed):
    facts = {
        "name": "imagined",
        "source": "this test",
        "peak_flops": {"float32": 1e9},
        "bandwidth": 1e30,
        "launch_seconds": 0.0,
        **changed,
    }
    path = tmp_path / "device.yaml"
    path.write_text("\n".join(f"{key}: {value}" for key, value in facts.items()).replace("'", ""))
    return Device(runtime="roofline", description=str(path), batch_size=2)


def test_the_jetson_nano_is_among_the_descriptions():
    assert "jetson-nano" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_shipped_descriptions_are_valid_and_faster_where_narrower(name, space):
    device = Device(runtime="roofline", description=name)
    available(device)
    full, least = (
        space.channels[None, :],
        np.array([[predictor.allowed_widths(space, g)[0] for g in range(space.groups)]]),
    )
    assert roofline.latency_ms(device, space, least)[0] < roofline.latency_ms(device, space, full)[0]


def test_latency_by_hand(tmp_path, space):
    widths = random_networks(space, 5, np.random.default_rng(0))
    macs = space.costs(widths)["macs"]
    arithmetic = roofline.latency_ms(described(tmp_path), space, widths)
    assert np.allclose(arithmetic, 1e3 * 2 * 2 * macs / 1e9)
    launches = roofline.latency_ms(
        described(tmp_path, peak_flops={"float32": 1e30}, launch_seconds=1e-3), space, widths
    )
    assert np.allclose(launches, 4.0)


def test_traffic_bounds_where_bandwidth_is_low(tmp_path, space):
    slow = described(tmp_path, peak_flops={"float32": 1e30}, bandwidth=1e6)
    widths = space.channels[None, :]
    costs = space.costs(widths)
    activations = 20 * 144 + 3 * 144 + 20 * 144 + 20 * 36 + 20 * 36 + 36 * 36 + 36 + 5
    weights = 20 * 27 + 20 + 20 * 9 + 20 + 36 * 20 + 36 + 36 * 5 + 5
    elements = weights + 2 * (activations + costs["moved_elements"][0])
    assert roofline.latency_ms(slow, space, widths)[0] == pytest.approx(1e3 * 4 * elements / 1e6)


def test_channels_are_paid_for_in_whole_vectors(tmp_path, space):
    device = described(tmp_path, channel_multiple=8)
    widths = np.repeat(space.channels[None, :], 2, axis=0)
    widths[:, -1] = (33, 36)
    latency = roofline.latency_ms(device, space, widths)
    assert latency[0] == latency[1]


def test_the_profile_is_byte_identical_and_predicts_what_the_device_takes(tmp_path, space):
    device = Device(runtime="roofline", description="jetson-nano", batch_size=1)
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path in paths:
        tables.write(build(chain(), space, SHAPE, device, Profile(), None, 0), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    profile = tables.read(paths[0], tables.PROFILE)
    widths = random_networks(space, 9, np.random.default_rng(1))
    assert np.array_equal(predictor.predict(profile, space, widths), roofline.latency_ms(device, space, widths))
    assert predictor.baseline_of(profile) == roofline.latency_ms(device, space, space.channels[None, :])[0]
    assert len(predictor.efficient_widths(profile, space)) == space.groups


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"description": None}, "device.description: missing.*jetson-nano"),
        ({"description": "jetson-nan"}, "'jetson-nan'.*jetson-nano"),
        ({"description": "raspberry-pi-4", "data_type": "float16"}, "'float16'.*only float32"),
    ],
)
def test_mistakes_are_told(changed, words):
    with pytest.raises(UserError, match=words):
        available(Device(**{"runtime": "roofline", "description": "a100", **changed}))


def test_a_wrong_description_is_told(tmp_path):
    with pytest.raises(UserError, match=r"device.yaml: bandwidth"):
        available(described(tmp_path, bandwidth=-1))
    with pytest.raises(UserError, match=r"device.yaml: peak_flops.float32"):
        available(described(tmp_path, peak_flops={"float32": 0.0}))

"""The space of a network: its groups, limits, costs and table, and what is left whole and why."""

import time

import networks_odd
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning_networks import ODD, allowed, images, network, space, widths_of
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hamp import tables
from hamp.errors import UserError
from hamp.pruning import Space, discover, prune
from hamp.pruning.inspection import frozen_table, inspect
from hamp.pruning.space import SCHEMA

NAMES = [*ODD, "resnet20"]
LAYERS = ("convolution", "addmm", "mm")


def found(layers: list[nn.Module], side: int = 8, **settings) -> Space:
    """Space of a chain of layers."""
    return discover(nn.Sequential(*layers), torch.zeros(2, 3, side, side), **settings)


def chain(*channels: int) -> list[nn.Module]:
    """3x3 convolutions from image to the last of these widths."""
    return [nn.Conv2d(a, b, 3, padding=1) for a, b in zip((3, *channels), channels, strict=False)]


def counted(model: nn.Module, x: torch.Tensor) -> tuple[int, int]:
    """Parameters, and the multiply-adds that PyTorch counts in convolutions and linear layers, of one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(x)
    flops = sum(n for op, n in counter.get_flop_counts()["Global"].items() if str(op).split(".")[-1] in LAYERS)
    return sum(p.numel() for p in model.parameters()), flops // 2 // len(x)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=2)
@given(data=st.data())
def test_costs_are_those_of_the_built_network(name, data):
    of = space(name)
    population = np.array(data.draw(st.lists(widths_of(of), min_size=1, max_size=3)))
    costs = of.costs(population)
    for row, widths in enumerate(population):
        small = prune(network(name), of, widths)
        assert counted(small, images(name)) == (costs["parameters"][row], costs["macs"][row])
        try:
            again = discover(small, images(name), minimum_fraction=0.01)
        except UserError:  # nothing is left to prune in what recorded code gathers
            continue
        alone = again.costs(again.channels)
        for key in ("macs", "parameters", "weight_bytes"):
            assert alone[key][0] == costs[key][row]
        # an index by which recorded code gathers channels is no activation
        assert 0 <= alone["activation_bytes"][0] - costs["activation_bytes"][row] <= 4 * of.channels.sum()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10)
@given(data=st.data())
def test_no_cost_rises_when_a_channel_goes(name, data):
    of = space(name)
    wide = data.draw(widths_of(of))
    narrow = np.array(
        [data.draw(st.sampled_from([w for w in allowed(of, g) if w <= wide[g]])) for g in range(of.groups)]
    )
    costs = of.costs(np.array([wide, narrow]))
    assert all(cost[1] <= cost[0] for cost in costs.values())


def test_costs_of_a_chain_by_hand():
    of = found([*chain(6, 10, 4), nn.ReLU()], keep_first=False)
    for a, b in ((6, 10), (3, 10), (2, 5)):
        costs = {key: int(cost[0]) for key, cost in of.costs([a, b], batch_size=5, bytes_per_element=2).items()}
        parameters = (27 * a + a) + (9 * a * b + b) + (9 * b * 4 + 4)
        assert costs["parameters"] == parameters
        assert costs["macs"] == 64 * 9 * (3 * a + a * b + b * 4)
        assert costs["weight_bytes"] == 2 * parameters
        # the largest input and output of one layer; ReLU works in place
        assert costs["activation_bytes"] == 64 * max(3 + a, a + b, b + 4) * 5 * 2
        assert costs["memory_bytes"] == costs["weight_bytes"] + costs["activation_bytes"]
        assert costs["moved_elements"] == 64 * 2 * 4


def test_a_residual_stays_in_memory_while_its_branch_runs():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.into, self.out = chain(4, 9, 4)
            self.out, self.last = nn.Conv2d(9, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            x = self.stem(x)
            return self.last(x + self.out(self.into(x)))

    of = discover(Residual(), torch.zeros(2, 3, 8, 8), branch_removal=True)
    activations = of.costs(np.array([[9], [3], [0]]))["activation_bytes"] // (4 * 64)
    # residual, inside and output of the branch; at the end the stem alone is the largest
    assert activations.tolist() == [4 + 9 + 4, 4 + 3 + 4, 3 + 4]


@pytest.mark.parametrize("name", NAMES)
def test_layer_shapes_add_up_to_the_costs(name):
    of = space(name)
    widths = np.array([[allowed(of, g)[at] for g in range(of.groups)] for at in (0, 1, -1)])
    shapes = of.layer_shapes(widths)
    assert np.array_equal(sum(layer.macs for layer in shapes), of.costs(widths)["macs"])
    assert all((layer.in_channels <= layer.in_channels[-1]).all() for layer in shapes)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_holds_all_of_it(name, tmp_path):
    of = space(name)
    tables.write(of.to_table(), tmp_path / "space.parquet")
    again = Space.from_table(tables.read(tmp_path / "space.parquet", SCHEMA))
    assert again.to_table().equals(of.to_table(), check_metadata=True)
    assert (again.names, again.layers, again.frozen, again.input_shape) == (
        of.names,
        of.layers,
        of.frozen,
        of.input_shape,
    )
    widths = np.array([allowed(of, g)[0] for g in range(of.groups)])
    assert again.costs(widths) == of.costs(widths)
    one, two = (prune(network(name), s, widths) for s in (of, again))
    x = images(name)
    outputs = [torch.utils._pytree.tree_leaves(model.eval()(x)) for model in (one, two)]
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


def test_another_table_is_no_space():
    with pytest.raises(UserError, match="the table is not a space"):
        Space.from_table(space("resnet20").to_table().replace_schema_metadata(None))


@settings(max_examples=30)
@given(channels=st.integers(2, 60), multiple=st.integers(1, 20), fraction=st.floats(0.01, 0.99), data=st.data())
def test_limits_and_repair(channels, multiple, fraction, data):
    settings = {"keep_first": False, "channel_multiple": multiple, "minimum_fraction": fraction}
    if not any(w % multiple == 0 and w >= fraction * channels - 1e-6 for w in range(1, channels)):
        with pytest.raises(UserError, match="no smaller width is allowed"):
            found(chain(channels, 4), **settings)
        return
    of = found(chain(channels, 4), **settings)
    widths = allowed(of, 0)
    assert widths[0] >= fraction * channels - 1e-6
    assert all(w % multiple == 0 or w == channels for w in widths)
    wanted = data.draw(st.floats(-10, 80))
    repaired = int(of.repair([wanted])[0])
    assert repaired in widths
    assert abs(repaired - wanted) == min(abs(w - wanted) for w in widths)
    for width in range(-1, channels + 2):
        if width in widths:
            assert of.validate([width]).tolist() == [width]
        else:
            with pytest.raises(
                UserError, match=rf"width {width} of group 0 \(0\) is not allowed: it must be a multiple"
            ):
                of.validate([width])


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ([4], r"widths have shape \(1,\); this space has 2 groups, one integer each"),
        ([[[4, 4]]], r"widths have shape \(1, 1, 2\)"),
        ([4, 4.5], r"widths are not integers"),
        ([4, 5], r"width 5 of group 1 \(1\) is not allowed: it must be a multiple of 4 from 4, or 10"),
        ([[8, 10], [2, 4]], r"width 2 of group 0 \(0\) is not allowed: it must be a multiple of 4 from 4, or 8"),
        ([12, 4], r"width 12 of group 0"),
        ([-4, 4], r"width -4 of group 0"),
        ([0, 4], r"width 0 of group 0"),
    ],
)
def test_widths_that_are_not_allowed_are_refused_in_a_line(widths, message):
    of = found(chain(8, 10, 4), keep_first=False, channel_multiple=4)
    with pytest.raises(UserError, match=message) as refused:
        of.costs(widths)
    assert "\n" not in str(refused.value)


def test_a_branch_goes_as_a_whole():
    of = space("Squeezed")
    assert of.branch.all()
    inside = of.branches == 0
    widths = of.channels.copy()
    widths[np.flatnonzero(inside)[0]] = 0
    assert not of.canonical(widths)[inside].any()
    assert np.array_equal(of.canonical(widths)[~inside], of.channels[~inside])
    costs = of.costs(np.array([widths, of.canonical(widths)]))
    assert all(cost[0] == cost[1] for cost in costs.values())


class TestFrozen:
    """What stays whole is listed, with the reason."""

    def test_first_convolution_and_output_stay(self):
        layers = [*chain(6, 10), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 8), nn.ReLU()]
        of = found(layers)
        assert {f.layer: f.reason for f in of.frozen} == {"0": "first convolution", "4": "network output"}
        assert of.names == ("1",)
        free = found(layers, keep_first=False)
        assert free.names == ("0", "1")
        assert [f.layer for f in free.frozen] == ["4"]

    @pytest.mark.parametrize("pattern", ["one", "one.*", "*.2", "one.2"])
    def test_excluded_by_a_pattern(self, pattern):
        of = discover(networks_odd.Nested(), torch.zeros(2, 3, 16, 16), exclude=[pattern])
        assert "one.2" not in of.names
        entry = next(f for f in of.frozen if f.layer == "one.2")
        assert (entry.channels, entry.of, entry.reason) == (18, 18, f"excluded by `{pattern}`")

    def test_a_pattern_may_exclude_what_goes_together(self):
        """The output of one layer of a group stays, so the group does."""
        model = networks_odd.Nested()
        of = discover(model, torch.zeros(2, 3, 16, 16), exclude=["narrow"])
        assert {f.layer for f in of.frozen if "narrow" in f.reason} == {"narrow", "two.1", "three.2"}

    def test_a_pattern_of_no_layer_is_told(self):
        with pytest.raises(
            UserError, match=r"exclude: 'tree\.0' matches no convolution .*; the nearest is 'three\.1\.0'"
        ):
            discover(networks_odd.Nested(), torch.zeros(2, 3, 16, 16), exclude=["one", "tree.0"])

    def test_a_pattern_may_name_what_stays_anyway(self):
        of = discover(network("Stubborn"), images("Stubborn"), exclude=["normed", "query"])
        assert {"normed", "query"}.isdisjoint(of.names)

    def test_reasons_of_what_is_not_understood(self):
        of = space("Stubborn")
        assert {f.layer: f.reason for f in of.frozen} == {
            "stem.0": "conv2d in normed its weight is computed",
            "query": "matmul in the network is not understood",
            "key": "matmul in the network is not understood",
            "value.0": "matmul in the network is not understood",
            "gate": "no smaller width is allowed",
            "fc": "network output",
        }

    @pytest.mark.parametrize("name", NAMES)
    def test_every_channel_is_in_a_group_or_listed(self, name):
        model, of = network(name), space(name)
        free: dict[tuple[str, int], int] = {}
        for slices in of.slices:
            for s in slices:
                free[s.parameter, s.dim] = free.get((s.parameter, s.dim), 0) + s.positions.size
        listed = {}
        for f in of.frozen:
            listed[f.layer] = listed.get(f.layer, 0) + f.channels
        for path, module in model.named_modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)) and not nn.utils.parametrize.is_parametrized(module):
                out = module.weight.shape[0]
                assert free.get((f"{path}.weight", 0), 0) + listed.get(path, 0) in (out, 0)

    def test_nothing_to_prune_is_said_in_a_line(self):
        with pytest.raises(UserError, match=r"the network has no channels to prune: .*first convolution") as refused:
            found(chain(5, 4))
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minimum_fraction": 0.0}, "minimum_fraction is 0.0; it must be above 0 and at most 1"),
        ({"minimum_fraction": 1.5}, "minimum_fraction is 1.5"),
        ({"channel_multiple": 0}, "channel_multiple is 0; it must be 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        found(chain(4, 4), **settings)


def test_a_network_that_cannot_run_is_refused_in_its_own_words():
    with pytest.raises(UserError, match=r"cannot run in evaluation mode on an input of shape \(2, 3, 8, 8\): .*mat1"):
        found([*chain(4, 4), nn.Flatten(), nn.Linear(7, 2)])


def test_it_ends_within_its_time():
    class Endless(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            while True:
                x = self.layer(x)

    began = time.monotonic()
    with pytest.raises(UserError, match=r"took longer than 0.3 s; raise time_limit"):
        discover(Endless(), torch.zeros(2, 3, 8, 8), time_limit=0.3)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("training", [False, True])
def test_the_network_keeps_its_mode_hooks_and_values(training):
    model = networks_odd.Twice().train(training)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    discover(model, torch.zeros(2, 3, 16, 16))
    assert model.training == training
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_groups_on_one_resolution_share_a_stage():
    of = found([*chain(4, 4, 4), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1)], keep_first=False)
    assert of.names == ("0", "1", "2", "4")
    assert of.stages.tolist() == [0, 0, 0, 1]


def test_a_grouped_convolution_goes_in_whole_groups():
    of = found([nn.Conv2d(3, 12, 1), nn.Conv2d(12, 24, 3, groups=4), nn.Conv2d(24, 2, 1)], keep_first=False)
    assert of.channels.tolist() == [12]
    assert of.unit.tolist() == of.multiple.tolist() == [3]
    small = prune(nn.Sequential(nn.Conv2d(3, 12, 1), nn.Conv2d(12, 24, 3, groups=4), nn.Conv2d(24, 2, 1)), of, [6])
    assert (small[1].groups, small[1].in_channels, small[1].out_channels) == (2, 6, 12)


def test_inspection_shows_each_group_with_its_share():
    model = nn.Sequential(*chain(6, 10, 4))
    of = discover(model, torch.zeros(2, 3, 8, 8))
    table = inspect(model, of).to_pylist()
    assert [(row["group"], row["name"], row["layers"], row["channels"]) for row in table] == [(0, "1", ["1", "2"], 10)]
    total = 9 * (3 * 6 + 6 * 10 + 10 * 4)
    assert table[0]["macs_share"] == pytest.approx(9 * (60 + 40) / total)
    assert {row["layer"]: row["reason"] for row in frozen_table(of).to_pylist()} == {
        "0": "first convolution",
        "2": "network output",
    }

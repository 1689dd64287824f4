"""Grid of widths and the latency between them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamp.hardware import grid
from hamp.hardware.layers import Column, Family, Layer

CONV = Family("conv", (3, 3), (1, 1), (1, 1), (1, 1), size=(8, 8), output_size=(8, 8), positions=64)
DEPTHWISE = Family("conv", (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), (8, 8), (8, 8), 64)
spans = st.tuples(st.integers(1, 600), st.integers(0, 600)).map(lambda pair: (pair[0], pair[0] + pair[1]))
steps = st.sampled_from([4, 8, 16])


@given(spans, st.integers(3, 40), steps)
def test_axis_spans_its_range_within_its_points(span, points, step):
    low, high = span
    widths = grid.axis(low, high, points, step)
    assert widths == sorted(set(widths))
    assert widths[0] == low
    assert widths[-1] == high
    assert len(widths) == min(points, high - low + 1)


@given(st.integers(3, 30), steps)
def test_axis_has_points_on_and_off_the_vector(points, step):
    widths = grid.axis(1, 20 * step, max(points, 6), step)
    assert sum(width % step == 0 for width in widths) >= 2
    assert sum(width % step != 0 for width in widths) >= 2


@given(spans, st.integers(3, 40), steps, st.lists(st.integers(0, 1200), min_size=1, max_size=20))
def test_interpolation_is_a_mean_and_exact_at_the_points(span, points, step, offsets):
    widths = np.array(grid.axis(*span, points, step))
    queries = np.array([span[0] + offset % (span[1] - span[0] + 1) for offset in offsets])
    rows = grid.weights(widths, queries, step)
    assert np.allclose(rows.sum(axis=1), 1.0)
    assert (rows >= 0).all()
    assert np.allclose(grid.weights(widths, widths, step), np.eye(len(widths)))


def test_steps_and_slow_partial_vectors_are_reproduced():
    """Latency as it was seen: it climbs with each vector begun, and a partial vector costs twice."""
    step = 16

    def latency(width):
        return np.ceil(width / step) * np.where(width % step, 2.0, 1.0)

    widths = np.array(grid.axis(1, 64, 20, step))
    every = np.arange(1, 65)
    assert np.allclose(grid.weights(widths, every, step) @ latency(widths), latency(every))


def test_table_of_a_dense_layer_interpolates_both_sides():
    rows = {(i, o): 3.0 * i + 5.0 * o for i in (1, 4, 8) for o in (2, 8)}
    table = grid.table(rows, False, 4)
    column = Column("conv", CONV, np.array([2, 8, 3]), np.array([5, 2, 8]))
    assert np.allclose(table(column), [3 * 2 + 25, 24 + 10, 9 + 40])


def test_a_layer_that_went_with_its_branch_takes_no_time():
    table = grid.table({(4, 4): 1.0, (8, 8): 2.0}, True, 4)
    assert table(Column("conv", DEPTHWISE, np.array([0, 8]), np.array([0, 8]))).tolist() == [0.0, 2.0]


def test_cells_cover_all_layers_of_a_family():
    columns = [
        Column("a", CONV, np.array([3, 3]), np.array([2, 8])),
        Column("b", CONV, np.array([2, 8]), np.array([4, 16])),
        Column("c", DEPTHWISE, np.array([2, 8]), np.array([2, 8])),
    ]
    cells = grid.cells(columns, 8, 8)
    assert {cell.in_channels for cell in cells[CONV]} == {2, 3, 4, 5, 6, 7, 8}
    assert {2, 16} <= {cell.out_channels for cell in cells[CONV]}
    assert all(cell.in_channels == cell.out_channels == cell.groups for cell in cells[DEPTHWISE])


def test_cells_of_a_grouped_layer_are_whole_groups():
    family = Family("conv", (1, 1), (1, 1), (0, 0), (1, 1), (4, 8), (8, 8), (8, 8), 64)
    cells = grid.cells([Column("g", family, np.array([4, 32]), np.array([8, 64]))], 5, 8)[family]
    assert [(cell.in_channels, cell.out_channels) for cell in cells][-1] == (32, 64)
    assert all(cell.out_channels == 2 * cell.in_channels and cell.in_channels % 4 == 0 for cell in cells)


@pytest.mark.parametrize(
    ("first", "second"), [(CONV, DEPTHWISE), (CONV, Family("linear")), (Family("linear"), Family("elementwise"))]
)
def test_signatures_of_unlike_families_differ(first, second):
    assert first.signature != second.signature


def test_costs_of_a_layer_by_hand():
    column = Column("conv", CONV, np.array([3]), np.array([4]))
    assert column.macs.tolist() == [3 * 4 * 9 * 64]
    assert column.weights.tolist() == [3 * 4 * 9 + 4]
    assert column.activations.tolist() == [7 * 64]
    assert column.padded(8).macs.tolist() == [8 * 8 * 9 * 64]
    assert Layer(DEPTHWISE, 6, 6).groups == 6

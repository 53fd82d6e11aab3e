"""Figures put things where the numbers say, in the same bytes each time, and say the numbers in words too."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.report.figures import (
    POSITIONS,
    SHADES,
    ElementError,
    Scale,
    parity,
    parity_scale,
    periodic_table,
    scale_for,
    shade,
    ticks,
    whisker,
)

LINEAR = Scale(low=0.0, high=10.0, log=False)
LOGARITHMIC = Scale(low=1.0, high=100.0, log=True)


def tree(markup):
    return ET.fromstring(markup)  # noqa: S314 - our own markup


def texts(markup):
    return [node.text for node in tree(markup).iter("text")]


def spots(path):
    """Coordinates of the points of a parity path."""
    return [tuple(map(float, pair)) for pair in re.findall(r"M([\d.]+) ([\d.]+)h0", path)]


@pytest.mark.parametrize(
    ("scale", "value", "fraction"),
    [(LINEAR, 0, 0), (LINEAR, 2.5, 0.25), (LINEAR, 99, 1), (LINEAR, -1, 0),
     (LOGARITHMIC, 1, 0), (LOGARITHMIC, 10, 0.5), (LOGARITHMIC, 100, 1), (LOGARITHMIC, -5, 0)],
)  # fmt: skip
def test_scales_map_values_to_fractions(scale, value, fraction):
    assert scale.fraction(value) == pytest.approx(fraction)


def test_a_scale_is_logarithmic_only_for_positive_values_of_a_large_ratio():
    assert scale_for([1.0, 11.0]).log
    assert not scale_for([1.0, 9.0]).log
    assert not scale_for([-1.0, 30.0]).log
    assert not scale_for([0.0, 30.0]).log


def test_a_linear_scale_of_errors_starts_at_zero():
    assert scale_for([2.0, 3.0]).low == 0


@given(st.lists(st.floats(-1e6, 1e6), max_size=8))
def test_a_scale_has_a_length_and_puts_every_value_on_it(values):
    scale = scale_for(values)
    assert scale.low < scale.high
    assert all(0 <= scale.fraction(value) <= 1 for value in values)
    assert scale.log or all(scale.covers(value) for value in values)


def test_one_nearly_exact_value_does_not_press_the_others_together():
    scale = scale_for([1e-15, 1.0, 10.0])
    assert scale.fraction(1e-15) == 0
    assert scale.fraction(10.0) - scale.fraction(1.0) > 0.2


@given(st.lists(st.floats(0.001, 1e6), min_size=2, max_size=8))
def test_scales_keep_the_order(values):
    scale = scale_for(values)
    fractions = [scale.fraction(value) for value in sorted(values)]
    assert fractions == sorted(fractions)


def test_a_whisker_has_its_dot_and_its_ends_where_the_numbers_are():
    node = tree(whisker(5.0, 2.5, 7.5, LINEAR))
    (dot,) = node.iter("circle")
    assert float(dot.get("cx")) == pytest.approx(56.0)
    (interval,) = node.iter("path")
    left, right, *caps = re.match(r"M([\d.]+) 7H([\d.]+)M([\d.]+) 4v6M([\d.]+) 4v6$", interval.get("d")).groups()
    assert float(left) == pytest.approx(7 + 98 * 0.25)
    assert float(right) == pytest.approx(7 + 98 * 0.75)
    assert caps == [left, right]


@pytest.mark.parametrize(("value", "tip"), [(99.0, "l6 4l-6 4z"), (-99.0, "l-6 4l6 4z")])
def test_a_value_beyond_the_scale_is_an_arrowhead_that_points_there(value, tip):
    node = tree(whisker(value, value - 1, value + 1, LINEAR))
    assert not list(node.iter("circle"))
    (arrow,) = node.iter("path")
    assert arrow.get("class") == "dot beyond"
    assert arrow.get("d").endswith(tip)


def test_an_interval_that_leaves_the_scale_has_no_cap_where_it_leaves():
    (interval,) = tree(whisker(5.0, 2.5, 20.0, LINEAR)).iter("path")
    assert interval.get("d") == "M31.5 7H105.0M31.5 4v6"


def test_a_whisker_stays_within_its_picture():
    for value in (-1.0, 0.0, 10.0, 11.0):
        node = tree(whisker(value, value, value, LINEAR))
        path = next(node.iter("path"), None)
        x = float(next(node.iter("circle")).get("cx")) if path is None else float(path.get("d")[1:].split()[0])
        assert 6 <= x <= 112 - 6


def test_a_whisker_without_an_interval_is_a_dot():
    node = tree(whisker(5.0, None, None, LINEAR))
    assert not list(node.iter("path"))
    assert len(list(node.iter("circle"))) == 1


def test_a_whisker_is_hidden_from_screen_readers_because_its_numbers_stand_beside_it():
    assert tree(whisker(5.0, None, None, LINEAR)).get("aria-hidden") == "true"


def test_the_parity_axis_follows_the_labels():
    assert parity_scale([0.0, 4.0]) == Scale(low=-1.0, high=5.0, log=False)
    assert parity_scale([3.0]) == Scale(low=2.0, high=4.0, log=False)
    assert parity_scale([]) == Scale(low=-1.0, high=1.0, log=False)


def test_perfect_predictions_lie_on_the_diagonal():
    markup = parity([(v, v) for v in (0.0, 2.5, 10.0)], LINEAR, title="T", unit="eV")
    (path,) = [node for node in tree(markup).iter("path") if node.get("class") == "points"]
    for x, y in spots(path.get("d")):
        assert (x - 52) == pytest.approx(188 - (y - 22))
    (diagonal,) = [node for node in tree(markup).iter("path") if node.get("class") == "diagonal"]
    assert diagonal.get("d") == "M52 210L240 22"


def test_too_large_a_prediction_is_above_the_diagonal():
    markup = parity([(5.0, 7.5)], LINEAR, title="T", unit="eV")
    (path,) = [node for node in tree(markup).iter("path") if node.get("class") == "points"]
    assert spots(path.get("d")) == [(52 + 94, 22 + 47)]


def test_predictions_off_the_frame_are_drawn_on_it_and_counted():
    markup = parity([(5.0, 5.0), (5.0, 11.0), (5.0, -3.0)], LINEAR, title="T", unit="eV")
    (path,) = [node for node in tree(markup).iter("path") if node.get("class") == "points off"]
    assert spots(path.get("d")) == [(146, 22), (146, 210)]
    assert "2 off the frame" in texts(markup)
    assert tree(markup).get("aria-label") == "T: model against DFT, 3 points, eV, 2 off the frame"


def test_a_parity_plot_without_outsiders_does_not_mention_them():
    assert not [text for text in texts(parity([(1.0, 1.0)], LINEAR, title="T", unit="eV")) if "off" in text]


def test_titles_and_units_are_escaped():
    markup = parity([(1.0, 1.0)], LINEAR, title="<script>", unit="<b>")
    assert "<script>" not in markup
    assert "<script>" in texts(markup)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 5, 10]),
        (-1, 5, [0, 2, 4]),
        (-0.3, 0.3, [-0.2, 0, 0.2]),
        (0, 4, [0, 2, 4]),
        (-7, 7, [-5, 0, 5]),
        (-4.4, 4.4, [-4, -2, 0, 2, 4]),
    ],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


@given(st.floats(-1e5, 1e5), st.floats(0.01, 1e5))
def test_ticks_lie_on_the_axis_and_are_few(low, length):
    marks = ticks(low, low + length)
    assert 3 <= len(marks) <= 8
    slack = 1e-6 * max(abs(low), length)
    assert all(low - slack <= mark <= low + length + slack for mark in marks)
    assert np.allclose(np.diff(marks, 2), 0, atol=1e-6 * length)


def test_the_periodic_table_is_that_of_ase():
    from ase.data import chemical_symbols

    assert set(POSITIONS) == set(chemical_symbols[1:119])
    assert len(set(POSITIONS.values())) == 118
    assert POSITIONS["H"] == (0, 0)
    assert POSITIONS["He"] == (0, 17)
    assert POSITIONS["Al"] == (2, 12)
    assert POSITIONS["Og"] == (6, 17)
    assert POSITIONS["Hf"] == (5, 3)


def test_groups_of_the_periodic_table_stand_in_columns():
    for group in (["Li", "Na", "K", "Rb", "Cs", "Fr"], ["F", "Cl", "Br", "I", "At", "Ts"], ["Ti", "Zr", "Hf", "Rf"]):
        assert len({POSITIONS[symbol][1] for symbol in group}) == 1


def test_a_cell_has_its_value_and_its_count_as_text():
    markup = periodic_table({"O": ElementError(value=0.1234, n_frames=7)}, LINEAR, unit="eV/atom", title="T")
    (cell,) = [node for node in tree(markup).iter("g") if node.get("class") != "none"]
    assert [node.text for node in cell.iter("text")] == ["O", "123", "n 7"]
    assert tree(markup).get("aria-label") == "T. O 123 from 7 frames"


def test_elements_without_data_have_no_number():
    markup = periodic_table({"O": ElementError(value=0.1, n_frames=7)}, LINEAR, unit="eV/atom", title="T")
    empty = [node for node in tree(markup).iter("g") if node.get("class") == "none"]
    assert [len(list(node.iter("text"))) for node in empty] == [1] * len(empty)
    assert "H" in [node.find("text").text for node in empty]


@pytest.mark.parametrize(
    ("symbols", "drawn", "left_out"),
    [(["O"], ["H", "Kr"], ["Rb", "La", "Fr"]), (["Cs"], ["Cs", "Rn"], ["Fr", "La"]), (["Gd"], ["Gd", "Rn"], ["Fr", "U"]),
     (["U"], ["U", "Fr", "Og"], ["La"]), ([], ["H", "Kr"], ["Rb"])],
)  # fmt: skip
def test_rows_are_drawn_as_far_down_as_there_are_data(symbols, drawn, left_out):
    cells = {symbol: ElementError(value=1.0, n_frames=1) for symbol in symbols}
    shown = texts(periodic_table(cells, LINEAR, unit="eV/atom", title="T"))
    assert set(drawn) <= set(shown)
    assert not set(left_out) & set(shown)


def test_every_cell_lies_inside_the_drawing():
    cells = {symbol: ElementError(value=1.0, n_frames=1) for symbol in POSITIONS}
    node = tree(periodic_table(cells, LINEAR, unit="eV/atom", title="T"))
    width, height = map(float, node.get("viewBox").split()[2:])
    places = [tuple(map(float, re.findall(r"[\d.]+", cell.get("transform")))) for cell in node.iter("g")]
    assert len(set(places)) == len(places) == 118
    assert all(x + 44 <= width and y + 50 <= height for x, y in places)


def test_shades_run_over_the_whole_palette():
    assert [shade(value, LINEAR) for value in (0.0, 5.0, 10.0)] == [0, SHADES // 2, SHADES - 1]

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.report.curves import COLOURS, HEIGHT, LEFT, LINE, STYLE, TOP, WIDTH, Bridge, Series, curves, decades
from xferbench.report.html import standalone

FALLING = Series(name="scratch", points=((100.0, 10.0, 8.0, 12.0), (1000.0, 1.0, 0.5, 2.0)))
FLAT = Series(
    name="transfer", points=((100.0, 2.0, 1.5, 2.5), (1000.0, 1.0, 0.9, 1.1)), law=((100.0, 2.0), (1000.0, 1.0))
)


def drawn(*series, **options):
    return ET.fromstring(curves(series, title="Energy", across="pairs", up="meV/atom", **options))  # noqa: S314 - our own drawing


def of(tree, name):
    return [node for node in tree.iter() if node.get("class") == name]


def spots(path):
    return [tuple(map(float, pair)) for pair in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.get("d"))]


def test_equal_ratios_are_equally_long():
    tree = drawn(Series(name="a", points=((10.0, 100.0, 0, 0), (100.0, 10.0, 0, 0), (1000.0, 1.0, 0, 0))))
    (x0, y0), (x1, y1), (x2, y2) = spots(of(tree, "line")[0])
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)
    assert y2 > y0  # small is below


def test_everything_lies_in_the_frame():
    for path in of(drawn(FALLING, FLAT), "line"):
        for x, y in spots(path):
            assert LEFT <= x <= LEFT + WIDTH
            assert TOP <= y <= TOP + HEIGHT


def test_a_curve_has_line_band_points_and_name():
    tree = drawn(FALLING, FLAT)
    assert len(of(tree, "line")) == len(of(tree, "band")) == 2
    assert len(of(tree, "spot")) == 4
    assert len(of(tree, "law")) == 1
    assert [node.text for node in of(tree, "name")] == ["scratch", "transfer"]


def test_without_intervals_there_is_no_band():
    nan = float("nan")
    assert not of(drawn(Series(name="a", points=((1.0, 2.0, nan, nan), (2.0, 1.0, 0.0, 3.0)))), "band")


def test_one_interval_is_a_bar():
    tree = drawn(Series(name="a", points=((10.0, 2.0, 1.0, 4.0),)), FALLING)
    first = tree.findall("g")[0].findall("path")
    assert [spots(path)[0][0] for path in first[:1]] == [spots(path)[1][0] for path in first[:1]]


def test_names_do_not_lie_on_each_other():
    series = [
        Series(name=f"m{k}", points=((10.0, 1.0 + 0.001 * k, 0, 0), (20.0, 0.5 + 0.001 * k, 0, 0))) for k in range(9)
    ]
    heights = sorted(float(node.get("y")) for node in of(drawn(*series), "name"))
    assert all(b - a >= LINE - 0.11 for a, b in pairwise(heights))
    assert heights[-1] <= TOP + HEIGHT + LINE


def test_neighbours_differ_in_colour_and_shape():
    series = [Series(name=f"m{k}", points=((10.0, 1.0 + k, 0, 0), (20.0, 1.0 + k, 0, 0))) for k in range(COLOURS + 1)]
    groups = drawn(*series).findall("g")
    assert [group.get("class") for group in groups] == [f"c{k % COLOURS}" for k in range(COLOURS + 1)]
    shapes = [re.sub(r"^M[\d.]+ [\d.]+", "", of(group, "spot")[0].get("d")) for group in groups]
    assert all(a != b for a, b in pairwise(shapes))


def test_a_bridge_is_level_and_labelled():
    tree = drawn(FALLING, FLAT, bridges=[Bridge(start=100.0, end=500.0, value=2.0, text="5.0×")])
    assert "H" in of(tree, "bridge")[0].get("d")
    assert "5.0×" in [node.text for node in tree.iter("text")]


def test_a_bridge_that_leaves_the_frame_is_left_out():
    assert not of(drawn(FALLING, FLAT, bridges=[Bridge(start=100.0, end=1e6, value=2.0, text="far")]), "bridge")


def test_the_numbers_are_read_out():
    assert drawn(FALLING).get("aria-label") == "Energy, meV/atom against pairs. scratch: 10 at 100, 1 at 1e+03"


def test_a_name_cannot_become_markup():
    assert of(drawn(Series(name="<b>", points=((1.0, 1.0, 0, 0),))), "name")[0].text == "<b>"


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [(1.5, 60, [2, 5, 10, 20, 50]), (0.9, 11, [1, 2, 5, 10]), (1, 10000, [1, 10, 100, 1000, 10000])],
)
def test_axes_are_marked_at_round_numbers(low, high, marks):
    assert decades(low, high) == pytest.approx(marks)


positive = st.floats(min_value=1e-6, max_value=1e6)


@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=6))
def test_any_positive_curve_is_drawn_inside_the_frame(points):
    ordered = sorted(dict(points).items())
    tree = drawn(Series(name="any", points=tuple((x, y, y / 2, y * 2) for x, y in ordered)))
    for path in of(tree, "line"):
        for x, y in spots(path):
            assert LEFT - 0.1 <= x <= LEFT + WIDTH + 0.1
            assert TOP - 0.1 <= y <= TOP + HEIGHT + 0.1


@given(positive, st.floats(min_value=1.5, max_value=1e6))
def test_marks_lie_inside_and_increase(low, ratio):
    marks = decades(low, low * ratio)
    assert all(low <= mark <= low * ratio for mark in marks)
    assert marks == sorted(set(marks))
    assert len(marks) <= 13


def test_a_larger_error_is_higher_and_more_data_further_right():
    tree = drawn(FALLING, FLAT)
    (x0, falling), (x1, _) = spots(of(tree, "line")[0])
    (_, flat), _ = spots(of(tree, "line")[1])
    assert falling < flat  # 10 above 2
    assert x0 < x1


def test_a_band_reaches_from_low_to_high():
    tree = drawn(FALLING)
    heights = [y for _, y in spots(of(tree, "band")[0])]
    middle = spots(of(tree, "line")[0])[0][1]
    assert min(heights) < middle < max(heights)
    assert of(tree, "band")[0].get("d").endswith("Z")


def test_a_law_outside_of_the_frame_is_not_drawn():
    far = Series(name="a", points=((10.0, 1.0, 0, 0), (20.0, 0.9, 0, 0)), law=((10.0, 500.0), (20.0, 400.0)))
    assert not of(drawn(far), "law")


def test_the_same_curves_give_the_same_bytes():
    first, second = (curves([FALLING, FLAT], title="t", across="x", up="y") for _ in range(2))
    assert first == second


def test_the_figure_stands_alone():
    text = standalone(curves([FALLING], title="t", across="x", up="y"), STYLE)
    tree = ET.fromstring(text)  # noqa: S314 - our own drawing
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    assert "currentColor" in "".join(tree.itertext())


def test_every_colour_has_a_light_and_a_dark_form():
    light, dark = STYLE.split("@media")
    for k in range(COLOURS):
        assert f".c{k} {{ color:" in light
        assert f".c{k} {{ color:" in dark

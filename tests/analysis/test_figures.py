"""Figures show the numbers where they belong, and say them in words."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from xferbench.analysis.figures import (
    POINTS,
    STRIPE,
    WIDTH,
    Stripe,
    energies,
    figures,
    occurrences,
    shares,
    shifts,
    split_table,
    thinned,
)


def tree(markup):
    return ET.fromstring(markup)  # noqa: S314 - our own markup


def points(markup):
    (path,) = [node.get("d") for node in tree(markup).iter("path") if node.get("class") == "points"]
    return [tuple(map(float, pair)) for pair in re.findall(r"M([\d.]+) ([\d.]+)h0", path)]


def test_the_paper_figures_are_all_there(found):
    assert list(figures(found)) == [
        "parity-raw", "parity-in-sample", "parity-out-of-sample", "occurrences", "elements", "importance",
    ]  # fmt: skip


def test_equal_energies_lie_on_the_diagonal_and_lower_ones_below_it():
    markup = energies(np.array([-1.0, -2.0, -3.0]), np.array([-1.0, -2.0, -9.0]), "Raw", ("PBE", "r²SCAN"))
    offsets = [(x - 52) - (188 - (y - 22)) for x, y in points(markup)]
    assert offsets[:2] == pytest.approx([0, 0], abs=0.2)
    assert offsets[2] > 50


def test_every_pair_is_on_the_frame_and_those_without_energy_are_not_drawn():
    markup = energies(np.array([-1.0, np.nan, 5.0]), np.array([-70.0, -2.0, np.nan]), "Raw", ("PBE+U", "r²SCAN"))
    assert len(points(markup)) == 1
    assert "off the frame" not in markup
    assert tree(markup).get("aria-label").startswith("Raw, 1 pairs: r²SCAN, eV/atom against PBE+U")


def test_no_energies_no_figure():
    assert energies(np.array([np.nan]), np.array([-1.0]), "Raw", ("PBE", "r²SCAN")) is None


def test_many_points_are_thinned_the_same_way_each_time_and_it_is_said():
    n = POINTS + 500
    assert len(thinned(n)) == POINTS == len(set(thinned(n).tolist()))
    np.testing.assert_array_equal(thinned(n), thinned(n))
    np.testing.assert_array_equal(thinned(5), np.arange(5))
    x = np.linspace(0, 1, n)
    assert f"Raw, {POINTS} of {n} pairs" in energies(x, x, "Raw", ("PBE", "r²SCAN"))


def test_a_cell_holds_gga_r2scan_and_their_difference_from_above(found):
    row = found.elements[0]
    markup = shifts([replace(row, source=-1.0, target=-3.5, shift=replace(row.shift, value=-2.5))], ("PBE", "r²SCAN"))
    cell = next(node for node in tree(markup) if "Li" in [text.text for text in node.iter("text")])
    values = [(float(text.get("y")), text.text) for text in cell.iter("text")][2:]
    assert [text for _, text in sorted(values)] == ["−1.00", "−3.50", "−2.50"]
    assert "Li −1.00 and −3.50 and −2.50" in tree(markup).get("aria-label")
    assert str(row.n_materials) in [text.text for text in cell.iter("text")]


def test_references_share_a_palette_and_shifts_have_their_own(found):
    row = found.elements[0]
    rows = [replace(row, source=-1.0, target=-70.0, shift=replace(row.shift, value=-69.0))]
    rows.append(replace(row, symbol="H", source=-1.0, target=-1.1, shift=replace(row.shift, value=-0.1)))
    bands = [
        node.get("class")
        for node in tree(shifts(rows, ("PBE", "r²SCAN"))).iter("g")
        if "stripe" in (node.get("class") or "")
    ]
    assert bands == ["stripe q0", "stripe q0", "stripe q0", "stripe q0", "stripe q6", "stripe q6"]


def test_an_open_reference_is_called_open(found):
    row = replace(found.elements[0], source=None, shift=replace(found.elements[0].shift, value=None))
    markup = shifts([row], ("PBE", "r²SCAN"))
    assert "open" in [text.text for text in tree(markup).iter("text")]
    assert "stripe unknown" in markup


def test_importance_shows_the_tree_above_the_control_in_mev(found):
    row = found.elements[0]
    rows = [
        replace(row, tree=replace(row.tree, value=1.0), permutation=replace(row.permutation, value=0.012)),
        replace(row, symbol="H", tree=replace(row.tree, value=0.0), permutation=replace(row.permutation, value=-0.012)),
    ]
    markup = shares(rows)
    assert "Li 1.00 and 12.0" in markup
    assert "H 0.00 and −12.0" in markup
    bands = [node.get("class") for node in tree(markup).iter("g") if "stripe" in (node.get("class") or "")]
    assert bands == ["stripe q0", "stripe q0", "stripe q6", "stripe q6"]  # a negative importance stays pale


def test_nothing_known_nothing_drawn(found):
    assert shifts([], ("PBE", "r²SCAN")) is None
    assert shares([replace(found.elements[0], tree=None)]) is None


def test_cells_do_not_overlap_and_lie_in_the_box():
    stripe = Stripe(text="1", level=0)
    markup = split_table({"H": [stripe] * 3, "U": [stripe] * 3}, {"H": 1, "U": 2}, "T")
    root = tree(markup)
    _, _, width, height = map(float, root.get("viewBox").split())
    places = [tuple(map(float, re.findall(r"[\d.]+", node.get("transform")))) for node in root if node.get("transform")]
    assert len(set(places)) == len(places)
    assert width == 18 * WIDTH
    assert max(y for _, y in places) + 3 * STRIPE < height


def test_titles_are_escaped(found):
    assert "<b>" not in shifts(found.elements, ("<b>", "<b>"))
    assert "<b>" not in energies(np.array([1.0]), np.array([1.0]), "<b>", ("<b>", "<b>"))


def test_energies_that_are_not_finite_are_left_out():
    markup = energies(np.array([-1.0, np.inf, -2.0]), np.array([-1.0, -2.0, -3.0]), "Raw", ("PBE", "r²SCAN"))
    assert len(points(markup)) == 2
    assert "Raw, 2 pairs" in markup


def test_one_energy_is_drawn_on_a_scale_of_its_own():
    markup = energies(np.array([-5.0]), np.array([-5.0]), "Raw", ("PBE", "r²SCAN"))
    ((x, y),) = points(markup)
    assert x - 52 == pytest.approx(188 - (y - 22), abs=0.2)
    assert "nan" not in markup


def test_all_thinned_points_are_drawn_and_the_scale_is_that_of_all():
    n = POINTS + 1
    x = np.linspace(0, 1, n)
    outlier = np.flatnonzero(~np.isin(np.arange(n), thinned(n)))[0]
    y = x.copy()
    y[outlier] = 50.0
    markup = energies(x, y, "Raw", ("PBE", "r²SCAN"))
    assert len(points(markup)) == POINTS
    assert min(height for _, height in points(markup)) > 150  # the point that is not drawn still stretches the scale


def test_an_element_of_more_pairs_is_darker_and_its_counts_are_written(found):
    rare, common = found.elements[:2]
    markup = occurrences([replace(rare, n_pairs=3, n_materials=2), replace(common, n_pairs=3000, n_materials=700)])
    cells = [[text.text for text in node.iter("text")] for node in tree(markup) if node.get("class") is None]
    assert cells == [[rare.symbol, "2", "3"], [common.symbol, "700", "3000"]]
    pale, dark = map(int, re.findall(r"stripe q(\d)", markup))
    assert pale < dark
    assert tree(markup).get("aria-label").startswith("Pairs that hold each element. ")


def test_without_elements_there_are_no_occurrences():
    assert occurrences([]) is None


def test_a_known_tree_with_an_undefined_control_is_open_not_zero(found):
    row = found.elements[0]
    markup = shares([replace(row, tree=replace(row.tree, value=0.5), permutation=replace(row.permutation, value=None))])
    assert "Li 0.50 and open" in markup


def test_shifts_of_zero_are_the_palest(found):
    row = replace(found.elements[0], source=0.0, target=0.0, shift=replace(found.elements[0].shift, value=-0.0))
    bands = re.findall(r"stripe q(\d)", shifts([row], ("PBE", "r²SCAN")))
    assert len(set(bands)) == 1
    assert "−0.00" not in shifts([row], ("PBE", "r²SCAN"))


def test_cells_are_read_out_by_atomic_number_whatever_their_order():
    stripe = Stripe(text="1", level=0)
    label = tree(split_table({"Cl": [stripe], "H": [stripe]}, {}, "T")).get("aria-label")
    assert label == "T. H 1, Cl 1"


def test_figures_of_odd_data_are_well_formed_and_only_those_with_something_to_show(odd):
    assert list(figures(odd["no energies"])) == []
    assert list(figures(odd["one pair"])) == ["parity-raw", "parity-in-sample", "occurrences", "elements"]
    assert "elements" not in figures(odd["one material"])
    for analysis in odd.values():
        for markup in figures(analysis).values():
            assert tree(markup).tag == "svg"
            assert "nan" not in markup.lower()

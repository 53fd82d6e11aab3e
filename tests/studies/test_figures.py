from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from xferbench.studies.figures import figures
from xferbench.studies.measuring import QUANTITIES


@pytest.fixture
def study(finished):
    return finished("scaling")


def tree(figure):
    return ET.fromstring(figure)  # noqa: S314 - our own drawing


def texts(figure):
    return [node.text for node in tree(figure).iter("text")]


def test_there_is_a_figure_for_every_quantity(study):
    assert set(figures(study)) == {f"scaling-{quantity}" for quantity in QUANTITIES}


def test_a_figure_names_its_curves_and_units(study):
    written = texts(figures(study)["scaling-energy"])
    assert {"scratch+fit", "finetune+fit", "training frames", "mean absolute error, meV/atom"} <= set(written)


def test_curves_are_in_the_unit_that_is_named(study):
    spoken = tree(figures(study)["scaling-energy"]).get("aria-label")
    n = max(study.n_training.values())
    assert f"{0.95 * 2000 * n**-0.6:.3g} at {n}" in spoken


def test_markers_say_how_much_more_data_scratch_needs(study):
    energy = study.scaling.comparisons["finetune+fit", "energy"]
    n, factor = next((n, factor) for n, factor in energy.observed.items() if factor == factor)  # noqa: PLR0124 - not NaN
    assert f"{factor:.1f}×" in texts(figures(study)["scaling-energy"])
    assert n in study.n_training.values()


def test_one_size_makes_no_curve(finished):
    assert figures(finished("methods")) == {}

"""Sentences follow the numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xferbench.analysis import wording
from xferbench.records import Geometry


def changed(found, key, name, **values):
    """The analysis with one statistic changed."""
    table = found.tables[key]
    estimates = tuple(replace(item, **values) if item.name == name else item for item in table.estimates)
    return replace(found, tables={**found.tables, key: replace(table, estimates=estimates)})


def emptied(found, key):
    return replace(found, tables={**found.tables, key: replace(found.tables[key], estimates=())})


def test_heading_and_lede_name_data_functionals_and_geometry(found):
    assert wording.heading(found) == "synthetic: PBE against r²SCAN"
    assert wording.lede(found) == (
        "42 pairs of 14 materials calculated in PBE and in r²SCAN, both on the same geometry."
    )


def test_every_geometry_that_gives_pairs_has_words():
    assert set(wording.GEOMETRY) == {item.value for item in Geometry} - {"unpaired"}


def test_a_split_and_another_geometry_are_said(found):
    part = replace(found, settings=replace(found.settings, split="test"))
    assert wording.lede(part).endswith("; only the test split, out-of-sample numbers excepted.")
    other = replace(found, dataset=replace(found.dataset, geometry="same_material"))
    assert "each on its own geometry of the same material" in wording.lede(other)


def test_energy_sentences_quote_the_tables(found):
    first, second = wording.energy_sentences(found)
    assert wording.written(found.find("energy/raw", "pearson")) in first
    assert wording.written(found.find("energy/in-sample", "mae")) in first
    assert wording.written(found.find("energy/out-of-sample", "pearson")) in second


def test_what_is_not_there_is_not_quoted(found):
    assert wording.energy_sentences(replace(found, spread={})) == ["No pair has both energies."]
    assert "no test pairs" in wording.energy_sentences(emptied(found, "energy/out-of-sample"))[1]
    assert "No composition" in wording.composition_sentence(
        changed(found, "composition", "pearson", value=None, n_pairs=0)
    )
    assert "unknown share" in wording.composition_sentence(changed(found, "composition", "same_order", value=None))


@pytest.mark.parametrize(
    ("low", "expected"), [(0.3, "explains"), (-0.2, "no better than their mean"), (None, "explains")]
)
def test_the_tree_is_trusted_only_if_its_skill_is_above_zero(found, low, expected):
    said = wording.importance_sentence(
        changed(found, "importance", "tree_r_squared", value=0.5, ci_low=low, ci_high=0.7)
    )
    assert expected in said


def test_too_few_materials_for_the_tree_are_said(found):
    assert wording.importance_sentence(emptied(found, "importance")) == "Not computed: fewer than 10 materials."


def test_everything_left_out_is_listed_with_its_count(found):
    counts = replace(
        found.counts,
        other_functional={"PBE+U": 1},
        missing={"energy": {"no label from PBE": 2}, "magmoms": {}},
        not_determined={"in-sample": 0, "out-of-sample": 3},
        corrected=4,
        corrected_inside=5,
    )
    assert wording.left_out(replace(found, counts=counts)) == [
        "1 pair with PBE+U energies: source functionals have different zeros and are not pooled",
        "energies: 2 pairs, no label from PBE",
        "referenced energies out of sample: 3 pairs, composition not determined by the fitted pairs",
        "nothing, but 4 pairs had an upstream correction, which is not applied",
        "nothing, but the energies of 5 pairs hold an upstream correction that is not stated apart",
    ]


def test_nothing_left_out_is_said_too(found):
    counts = replace(found.counts, missing={}, corrected=0)
    assert wording.left_out(replace(found, counts=counts)) == ["nothing"]


def test_an_empty_table_of_labels_says_why(found):
    counts = replace(found.counts, missing={"stress": {"no label from r2SCAN": 42}})
    said = wording.nothing(replace(found, counts=counts), found.tables["stress"])
    assert said == "Nothing to compare: 42 pairs, no label from r2SCAN."


def test_facts_count_the_splits(found):
    facts = dict(wording.facts(found))
    assert facts["Pairs"] == "42 (train 27, test 15)"
    assert facts["Materials"] == "14, by formula"
    assert facts["Intervals"] == "95%, 60 resamples of whole materials, seed 0"


@pytest.mark.parametrize(("n", "text"), [(0, "0 pairs"), (1, "1 pair"), (2, "2 pairs")])
def test_plurals(n, text):
    assert wording.counted(n, "pair") == text


def test_an_undefined_correlation_is_called_undefined(odd):
    (first, second) = wording.energy_sentences(odd["one pair"])
    assert "Pearson undefined (the values do not vary)" in first
    assert "−1.50 to −1.50 eV/atom" in first
    assert second == "There are no test pairs whose references train determines."


def test_equal_energies_of_one_composition_were_compared(odd):
    said = wording.composition_sentence(odd["nothing varies"])
    assert "undefined (the values do not vary)" in said
    assert "an unknown share" in said


def test_a_gap_that_does_not_vary_leaves_the_tree_nothing(odd):
    assert "nothing for the tree to explain" in wording.importance_sentence(odd["nothing varies"])


def test_facts_name_only_the_splits_there_are_in_their_usual_order(odd, found):
    assert dict(wording.facts(odd["one pair"]))["Pairs"] == "1 (train 1)"
    counts = replace(found.counts, splits={"val": 1, "test": 2, "train": 39})
    assert dict(wording.facts(replace(found, counts=counts)))["Pairs"] == "42 (train 39, val 1, test 2)"


def test_several_reasons_are_all_said(found):
    reasons = {"no label from PBE": 1, "the two geometries differ": 2}
    counts = replace(found.counts, missing={"stress": reasons})
    said = wording.nothing(replace(found, counts=counts), found.tables["stress"])
    assert said == "Nothing to compare: 1 pair, no label from PBE; 2 pairs, the two geometries differ."

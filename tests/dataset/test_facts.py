"""The counts of a manifest, counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xferbench.dataset.facts import Places, Tally, symbols
from xferbench.functionals import Functional
from xferbench.grouping import Groups
from xferbench.records import Drop, SplitRule, fingerprint
from xferbench.splits import assign, subset_key
from xferbench.tables import frames_table

RULE = SplitRule(salt="synthetic", fractions=(0.6, 0.1, 0.3), group="formula")


@pytest.fixture
def pairs(make_pairs):
    return make_pairs()


def summarise(pairs, drops, rule):
    with Tally(rule) as tally:
        if pairs:
            tally.add(frames_table(pair.source for pair in pairs), frames_table(pair.target for pair in pairs))
        return tally.facts(drops)


def everything_in(split):
    fractions = tuple(float(name == split) for name in ("train", "val", "test"))
    return SplitRule(salt="s", fractions=fractions, group="formula")


def test_symbols_are_sorted_by_atomic_number():
    assert symbols(np.isin(np.arange(119), [17, 3, 118])) == ["Li", "Cl", "Og"]
    assert symbols(np.zeros(119, dtype=bool)) == []


def test_pairs_and_materials_are_counted_per_split(pairs):
    facts = summarise(pairs, [], RULE)
    place = assign((pair.material_id for pair in pairs), RULE)
    for split, counted in facts["splits"].items():
        materials = [material for material, where in place.items() if where == split]
        assert counted["materials"] == len(materials)
        assert counted["pairs"] == 3 * len(materials)
    assert list(facts["splits"]) == ["train", "val", "test"]


def test_an_element_that_train_lacks_is_reported(make_pairs):
    pairs = make_pairs(3, 1)  # LiCl, Li2O, MgO
    place = {"3-17": "train", "3-3-8": "val", "12-8": "test"}
    rules = (SplitRule(salt=str(n), fractions=(0.4, 0.3, 0.3), group="formula") for n in range(10_000))
    rule = next(rule for rule in rules if assign(place, rule) == place)
    splits = summarise(pairs, [], rule)["splits"]
    uncovered = {name: facts["uncovered_elements"] for name, facts in splits.items()}
    assert uncovered == {"train": [], "val": ["O"], "test": ["Mg", "O"]}
    assert splits["train"]["elements"] == ["Li", "Cl"]


def test_subsets_count_training_pairs_only_and_grow_to_all_of_them(pairs):
    facts = summarise(pairs, [], RULE)
    sizes = [facts["subsets"][percent]["pairs"] for percent in ("1", "2", "5", "10", "20", "50", "100")]
    assert sizes == sorted(sizes)
    assert sizes[-1] == facts["splits"]["train"]["pairs"]
    train = {material for material, split in assign((p.material_id for p in pairs), RULE).items() if split == "train"}
    assert facts["subsets"]["50"]["materials"] == sum(subset_key(material, RULE) < 0.5 for material in train)


def test_an_empty_subset_has_zero_of_everything(pairs):
    assert summarise(pairs, [], everything_in("test"))["subsets"]["100"] == {"pairs": 0, "materials": 0, "elements": 0}


def test_drops_are_counted_by_reason(pairs):
    drops = [Drop(record_id=str(i), reason=reason) for i, reason in enumerate(["b", "a", "b"])]
    assert summarise(pairs, drops, RULE)["drops"] == {"a": 1, "b": 2}


def test_labels_are_counted_per_functional_and_property(make_pairs):
    first, second, *_ = make_pairs(2, 1)
    plus_u = replace(second, source=replace(second.source, functional=Functional("PBE+U"), forces=None))
    counts = summarise([first, plus_u], [], RULE)["labels"]
    assert counts == {
        "PBE": {"energy": 1, "forces": 1, "stress": 1, "magmoms": 0},
        "PBE+U": {"energy": 1, "forces": 0, "stress": 1, "magmoms": 0},
        "r2SCAN": {"energy": 2, "forces": 2, "stress": 2, "magmoms": 0},
    }


def test_the_fingerprint_is_that_of_all_frames_and_splits(pairs):
    frames = [frame for pair in pairs for frame in (pair.target, pair.source)]
    place = assign((pair.material_id for pair in pairs), RULE)
    assert summarise(pairs, [], RULE)["fingerprint"] == fingerprint(frames, place)


def test_order_of_pairs_does_not_matter(pairs):
    assert summarise(pairs[::-1], [], RULE) == summarise(pairs, [], RULE)


class TestHygiene:
    def test_flags_are_counted_per_split_whatever_the_size_of_the_tables(self, pairs):
        marked = [
            replace(pair, source=replace(pair.source, functional=Functional("PBE+U"))) for pair in pairs[:6]
        ] + pairs[6:]
        whole = summarise(marked, [], RULE)["hygiene"]
        with Tally(RULE) as tally:
            for pair in marked:
                tally.add(frames_table([pair.source]), frames_table([pair.target]))
            assert tally.facts([])["hygiene"] == whole
        assert sum(split["flags"]["hubbard_u"] for split in whole.values()) == 6
        assert sum(split["clean"] for split in whole.values()) == len(pairs) - 6

    def test_duplicates_are_found_across_tables_and_splits(self, pairs):
        copy = replace(pairs[0], target=replace(pairs[0].target, material_id=pairs[-1].material_id))
        with Tally(RULE) as tally:
            for pair in (*pairs, copy):
                tally.add(frames_table([pair.source]), frames_table([pair.target]))
            facts = tally.facts([])["hygiene"]
        assert sum(split["flags"]["duplicate_geometry"] for split in facts.values()) == 2

    def test_frames_that_stand_alone_have_no_flags(self, pairs):
        with Tally(RULE) as tally:
            tally.add(frames_table(pair.target for pair in pairs))
            assert tally.facts([])["hygiene"] == {}


def test_groups_are_the_materials_unless_something_else_is_asked_for(pairs):
    assert summarise(pairs, [], RULE)["groups"] == {"count": 14, "held_out": 0, "unknown_materials": 0}
    places = Places(RULE, Groups(names={"a": "x", "b": "x"}, labels={}, held_out=frozenset({"x"}), unknown=1))
    assert places.group_facts() == {"count": 1, "held_out": 1, "unknown_materials": 1}

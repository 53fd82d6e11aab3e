"""A material's split depends on its id and the salt, and on nothing else."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.errors import DataError
from xferbench.grouping import Groups
from xferbench.records import SPLITS, SplitRule
from xferbench.schema import parse
from xferbench.splits import SUBSET_PERCENTS, assign, filled, regroup, rule_facts, subset_key, uncovered_elements

RULE = SplitRule(salt="salt", fractions=(0.6, 0.1, 0.3), group="formula")
PLACES = {"AlN": "val", "Fe2O3": "train", "MgO": "train", "NaCl": "train", "Si": "train"}
NACL_KEY = 0.7940854789677141
MANY = [f"material-{n}" for n in range(4000)]
names = st.text(max_size=20)


def rule(*fractions, salt="salt"):
    return SplitRule(salt=salt, fractions=fractions, group="formula")


def test_the_hash_is_the_documented_one():
    digest = hashlib.sha256(b"split\0salt\0NaCl").hexdigest()
    place = int(digest[:14], 16) >> 3  # 56 bits in 14 digits, of which the first 53 count
    expected = SPLITS[(place >= 0.6 * 2**53) + (place >= 0.7 * 2**53)]
    assert assign(["NaCl"], RULE) == {"NaCl": expected}
    digest = hashlib.sha256(b"subset\0salt\0NaCl").hexdigest()
    assert subset_key("NaCl", RULE) == (int(digest[:14], 16) >> 3) / 2**53


def test_places_never_change_between_releases():
    assert assign(["NaCl", "MgO", "AlN", "Fe2O3", "Si"], RULE) == PLACES
    assert subset_key("NaCl", RULE) == NACL_KEY


@given(st.sets(names), st.sets(names))
def test_adding_materials_never_moves_an_old_one(old, new):
    before, after = assign(old, RULE), assign(old | new, RULE)
    assert {material: after[material] for material in old} == before


@given(st.lists(names))
def test_order_and_repetition_do_not_matter(materials):
    assert assign(materials, RULE) == assign([*reversed(materials), *materials], RULE)
    assert list(assign(materials, RULE)) == sorted(set(materials))


def test_fractions_hold_on_average():
    dealt = list(assign(MANY, RULE).values())
    for split, fraction in zip(SPLITS, RULE.fractions, strict=True):
        deviation = (fraction * (1 - fraction) / len(MANY)) ** 0.5
        assert dealt.count(split) / len(MANY) == pytest.approx(fraction, abs=4 * deviation)


@pytest.mark.parametrize(("fractions", "splits"), [((1, 0, 0), {"train"}), ((0, 1, 0), {"val"}), ((0, 0, 1), {"test"})])
def test_a_fraction_of_one_takes_everything(fractions, splits):
    assert set(assign(MANY, rule(*fractions)).values()) == splits


def test_a_fraction_of_zero_takes_nothing():
    assert set(assign(MANY, rule(0.7, 0, 0.3)).values()) == {"train", "test"}
    assert set(assign(MANY, rule(0.9, 0.1, 0)).values()) == {"train", "val"}


def test_growing_test_takes_nothing_out_of_test():
    small, large = assign(MANY, rule(0.8, 0.1, 0.1)), assign(MANY, rule(0.6, 0.1, 0.3))
    assert all(large[material] == "test" for material in MANY if small[material] == "test")


def test_another_salt_is_another_split_and_another_subset():
    other = rule(*RULE.fractions, salt="pepper")
    assert assign(MANY, RULE) != assign(MANY, other)
    assert subset_key("NaCl", RULE) != subset_key("NaCl", other)


@pytest.mark.parametrize("fractions", [(0.5, 0.2, 0.2), (1.2, -0.1, -0.1), (0.5, 0.5), (float("nan"), 0.5, 0.5), ()])
def test_fractions_that_are_none_are_refused_with_their_values(fractions):
    with pytest.raises(DataError, match=r"split fractions \(.*\) of salt 'salt' must be 3 numbers"):
        assign(["NaCl"], rule(*fractions))


@given(names)
def test_subset_keys_lie_in_the_half_open_unit_interval(material):
    assert 0 <= subset_key(material, RULE) < 1


def test_subsets_are_nested_and_the_last_is_everything():
    subsets = [{m for m in MANY if subset_key(m, RULE) < percent / 100} for percent in SUBSET_PERCENTS]
    for smaller, larger in pairwise(subsets):
        assert smaller < larger
    assert subsets[-1] == set(MANY)


def test_subsets_are_independent_of_the_split():
    dealt = assign(MANY, RULE)
    keys = {split: [subset_key(m, RULE) for m in MANY if dealt[m] == split] for split in SPLITS}
    for values in keys.values():
        assert sum(values) / len(values) == pytest.approx(0.5, abs=4 * (1 / 12 / len(values)) ** 0.5)


def test_uncovered_elements_are_those_that_train_lacks():
    elements = {"train": {"Li", "O"}, "val": {"O"}, "test": {"O", "U", "Na"}}
    assert uncovered_elements(elements) == {"train": [], "val": [], "test": ["Na", "U"]}


def test_without_train_everything_is_uncovered():
    assert uncovered_elements({"test": {"O"}}) == {"test": ["O"]}


class TestGroups:
    GROUPS = Groups(
        names={"NaCl": "Cl-Na", "NaCl2": "Cl-Na", "Fe": "Fe"},
        labels={"NaCl": {"Cl-Na"}, "NaCl2": {"Cl-Na"}, "Fe": {"Fe"}},
        held_out=frozenset({"Fe"}),
        unknown=0,
    )

    def test_materials_go_where_the_name_of_their_group_goes(self):
        place = assign(["Cl-Na"], RULE)["Cl-Na"]
        assert assign(["NaCl", "NaCl2"], RULE, self.GROUPS) == {"NaCl": place, "NaCl2": place}

    def test_held_out_groups_are_in_test_and_strangers_by_themselves(self):
        found = assign(["Fe", *MANY], RULE, self.GROUPS)
        assert found.pop("Fe") == "test"
        assert found == assign(MANY, RULE)

    def test_subsets_stay_by_material(self):
        assert subset_key("NaCl", regroup(RULE, "chemsys", ["Fe"])[0]) == NACL_KEY


class TestRegroup:
    @pytest.mark.parametrize(
        ("by", "elements", "mark"),
        [
            ("material", [], ""),
            ("chemsys", [], "+by-chemsys"),
            ("material", ["Yb", "Lu", "Yb"], "+without-Lu-Yb"),
            ("prototype", ["Yb"], "+by-prototype+without-Yb"),
        ],
    )
    def test_the_mark_says_what_is_different(self, by, elements, mark):
        changed, found = regroup(RULE, by, elements)
        assert found == mark
        assert changed.needs_structures is bool(mark)

    def test_a_rule_says_only_what_it_asks_for(self):
        usual = {"salt": "salt", "fractions": [0.6, 0.1, 0.3], "group": "formula"}
        assert rule_facts(RULE) == usual
        changed, _ = regroup(RULE, "chemsys", ["Yb"])
        assert rule_facts(changed) == {**usual, "by": "chemsys", "held_out": ["Yb"]}

    def test_facts_are_read_back_as_the_rule(self):
        for changed in (RULE, regroup(RULE, "prototype", ["Yb", "Lu"])[0]):
            assert parse(SplitRule, rule_facts(changed), "here") == changed


def test_the_smallest_subset_is_a_thousandth():
    assert SUBSET_PERCENTS[:4] == (0.1, 0.2, 0.5, 1)
    assert SUBSET_PERCENTS[-1] == 100


class TestFilled:
    RULE = SplitRule(salt="x", fractions=(0.8, 0.1, 0.1), group="material")

    def test_a_small_set_fills_every_split_and_always_by_the_same_salt(self):
        names = [f"m{i}" for i in range(12)]
        found = filled(names, self.RULE)
        assert found.salt.startswith("x+")
        assert set(assign(names, found).values()) == {"train", "val", "test"}
        assert filled(reversed(names), self.RULE) == found

    def test_too_few_or_too_many_materials_are_left_as_they_are(self):
        assert filled(["a", "b"], self.RULE) is None
        assert filled([f"m{i}" for i in range(1000)], self.RULE) is None


class TestOtherFractions:
    def test_they_and_the_salt_are_another_version(self):
        changed, mark = regroup(RULE, "material", [], (0.5, 0.25, 0.25), "b")
        assert (changed.fractions, changed.salt) == ((0.5, 0.25, 0.25), "b")
        assert mark == "+split-0.5-0.25-0.25+salt-b"
        assert regroup(RULE, "material", [])[0] == RULE

    def test_what_is_no_fraction_is_refused(self):
        with pytest.raises(DataError, match="sum to 1"):
            regroup(RULE, "material", [], (0.5, 0.5, 0.5))

    def test_materials_are_dealt_as_asked(self):
        changed, _ = regroup(RULE, "material", [], (0.2, 0.0, 0.8), "b")
        found = list(assign(MANY, changed).values())
        assert found.count("train") / len(found) == pytest.approx(0.2, abs=0.03)
        assert found.count("val") == 0

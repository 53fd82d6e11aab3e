from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from xferbench.factory.mini.plan import copies
from xferbench.factory.mini.salt import FIRST_ELEMENTS, choose, compositions, is_sound, stages
from xferbench.factory.mini.status import FLOORS, _counts
from xferbench.factory.mini.structures import seeds
from xferbench.records import SplitRule
from xferbench.sources.mini import SPLIT
from xferbench.sources.mini.build import RECORDS
from xferbench.splits import assign, uncovered_elements

FRACTIONS = (0.5, 0.25, 0.25)


def elements_by_split(materials):
    found = {"train": set(), "val": set(), "test": set()}
    for material, split in assign(materials, SPLIT).items():
        found[split] |= set(materials[material])
    return found


def present():
    """Compositions with a complete pair among the committed records."""
    records = [json.loads(line) for line in RECORDS.read_text().splitlines()]
    done = Counter(record["pair_id"] for record in records if record["status"] == "ok")
    return compositions(record["structure"]["species"] for record in records if done[record["pair_id"]] == 2)


def test_the_committed_salt_is_the_one_the_loop_finds():
    assert choose(SPLIT, assign) == SPLIT.salt


def test_the_loop_ignores_the_salt_it_is_given():
    assert choose(replace(SPLIT, salt="anything"), assign) == SPLIT.salt


@pytest.mark.parametrize("stage", range(4))
def test_every_element_of_val_and_test_occurs_in_train_at_every_stage(stage):
    assert uncovered_elements(elements_by_split(stages()[stage])) == {"train": [], "val": [], "test": []}


def test_train_covers_and_determines_every_element_of_the_committed_records():
    materials = present()
    assert uncovered_elements(elements_by_split(materials)) == {"train": [], "val": [], "test": []}
    assert is_sound(materials, assign(materials, SPLIT), SPLIT.fractions)


def test_the_test_split_has_a_useful_number_of_compositions():
    shares = Counter(assign(present(), SPLIT).values())
    assert shares["test"] >= 12
    assert shares["val"] >= 4


def test_stages_grow_to_the_list_of_the_second_edition():
    first, spinless, whole, second = stages()
    assert set(first) < set(spinless) < set(whole) < set(second)
    assert {symbol for atoms in first.values() for symbol in atoms} == FIRST_ELEMENTS
    assert set(present()) <= set(whole)


def test_the_list_meets_the_floors_before_anything_is_computed():
    """A list that, finished, could not meet them would be found out after weeks."""
    counts = _counts([seed for seed in seeds().values() if seed.main], [])
    frames = {name for name in FLOORS if "frames" in name or "pairs" in name or "forces" in name}
    assert {name: floor for name, floor in FLOORS.items() if name not in frames and counts[name] < floor} == {}
    big = [seed for seed in seeds().values() if len(seed.atoms) >= 8 and seed.bonding != "metallic"]
    assert sum(len(copies(seed, everything=True)) + 2 for seed in big) >= FLOORS["pairs of eight atoms"]
    movable = [seed for seed in seeds().values() if seed.main and seed.split == "test" and len(seed.atoms) > 1]
    assert len(movable) >= FLOORS["test compositions with forces"]


def test_compositions_count_the_atoms_of_each_element():
    assert compositions([["Na", "Cl"], ["Li", "Li", "O"], ["Na", "Cl"]]) == {
        "NaCl": Counter(Na=1, Cl=1),
        "Li2O": Counter(Li=2, O=1),
    }


@pytest.mark.parametrize(
    ("train", "sound"),
    [
        (["Li", "LiF"], True),
        (["Li", "F"], True),
        (["LiF", "Li2F"], True),
        (["Li", "Li2"], False),  # F only outside train
        (["LiF", "Li2F2"], False),  # Li and F always in one ratio
    ],
)
def test_sound_means_that_train_determines_every_element(train, sound):
    formulas = {"Li": Counter(Li=1), "Li2": Counter(Li=2), "F": Counter(F=1), "LiF": Counter(Li=1, F=1)}
    formulas |= {"Li2F": Counter(Li=2, F=1), "Li2F2": Counter(Li=2, F=2)}
    others = {"val": Counter(Li=3, F=1), "test": Counter(Li=1, F=3)}
    materials = {name: formulas[name] for name in train} | others
    split = dict.fromkeys(train, "train") | {"val": "val", "test": "test"}
    assert is_sound(materials, split, FRACTIONS) is sound


def test_sound_means_that_the_shares_are_near_their_fractions():
    materials = {name: Counter({name: 1}) for name in "abcd"}
    split = dict(zip("abcd", ["train", "train", "train", "test"], strict=True))
    assert not is_sound({name: Counter(a=1) for name in materials}, split, FRACTIONS)
    assert is_sound({name: Counter(a=1) for name in materials}, split, (0.75, 0.0, 0.25))


def test_the_first_sound_salt_is_taken_in_order():
    tried = []

    def fake_assign(materials, rule):
        tried.append(rule.salt)
        return assign(materials, SPLIT if rule.salt == "mini-3" else rule)

    assert choose(SplitRule(salt="", fractions=SPLIT.fractions, group="x"), fake_assign) == "mini-3"
    assert list(dict.fromkeys(tried)) == ["mini-0", "mini-1", "mini-2", "mini-3"]

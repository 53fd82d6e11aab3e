"""Splits by chemical system, by prototype and with held-out elements: nothing leaks, and nothing else moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xferbench import dataset as datasets
from xferbench.dataset import integrity
from xferbench.dataset.dealing import settled
from xferbench.dataset.facts import Places
from xferbench.errors import DataError, IntegrityError, UsageError
from xferbench.grouping import chemical_system
from xferbench.records import SPLITS, SplitRule
from xferbench.sources import mini
from xferbench.splits import assign
from xferbench.tables import frames_table

RULE = SplitRule(salt="synthetic", fractions=(0.6, 0.1, 0.3), group="formula")


@pytest.fixture
def tables(make_pairs):
    """Pairs in two tables of each functional."""
    pairs = make_pairs()
    halves = (pairs[:20], pairs[20:])
    return [(frames_table(p.source for p in half), frames_table(p.target for p in half)) for half in halves]


class TestSettled:
    def test_a_rule_on_ids_lets_everything_pass_at_once(self, tables):
        assert next(settled(iter([tables[0]]), RULE, Places(RULE))) is tables[0]

    def test_other_rules_give_the_same_rows_when_all_groups_are_known(self, tables):
        rule = replace(RULE, by="chemsys")
        places = Places(rule)
        rows = settled(iter(tables), rule, places)
        first = next(rows)
        assert len(places.groups.names) == 14
        found = [first, *rows]
        for side in (0, 1):
            ids = [name for row in found for name in row[side]["frame_id"].to_pylist()]
            assert ids == [name for row in tables for name in row[side]["frame_id"].to_pylist()]

    def test_frames_that_stand_alone_pass_as_well(self, tables):
        rule = replace(RULE, held_out=("Mg",))
        places = Places(rule)
        assert len(list(settled(((source,) for source, _ in tables), rule, places))) == 2
        splits, _ = places.of(["12-8", "12", "3-12-8"])
        assert [SPLITS[number] for number in splits] == ["test"] * 3


def systems(dataset, split):
    return {chemical_system(frame.numbers) for frame in dataset.frames("target", split)}


class TestPrepared:
    def test_no_chemical_system_is_in_two_splits(self, tmp_path):
        made = datasets.prepare("mini", tmp_path / "d", split_by="chemsys")
        found = [systems(made, split) for split in SPLITS]
        assert sum(map(len, found)) == len(set().union(*found))
        assert made.version == "1+by-chemsys"
        assert made.manifest["split_rule"]["by"] == "chemsys"
        integrity.verify(made.directory)

    def test_no_prototype_is_in_two_splits_and_the_card_says_what_was_dealt(self, tmp_path):
        made = datasets.prepare("mini", tmp_path / "d", split_by="prototype")
        places = {}
        for frame in made.frames("target"):
            places.setdefault(frame.provenance["prototype"], set()).add(made.splits[frame.material_id])
        assert len(places) > 5
        assert {name for name, splits in places.items() if len(splits) > 1} == set()
        assert made.manifest["groups"] == {"count": 6, "held_out": 0, "unknown_materials": 0}
        assert "All materials of a prototype are in one split: 6 groups" in (made.directory / "README.md").read_text()
        integrity.verify(made.directory)

    def test_held_out_elements_are_in_test_and_nothing_else_moves(self, tmp_path):
        usual = assign((frame.material_id for frame in mini.load().frames), mini.SPLIT)
        made = datasets.prepare("mini", tmp_path / "d", hold_out=["Fe", "Ni"])
        for frame in made.frames("target"):
            held_out = bool({26, 28} & set(frame.numbers.tolist()))
            assert made.splits[frame.material_id] == ("test" if held_out else usual[frame.material_id])
        assert made.manifest["splits"]["test"]["uncovered_elements"] == ["Fe", "Ni"]
        assert made.version == "1+without-Fe-Ni"
        integrity.verify(made.directory)

    def test_each_split_has_its_own_place_and_fingerprint(self, tmp_path):
        choices = [{}, {"split_by": "chemsys"}, {"hold_out": ["Ni", "Fe"]}, {"split_by": "chemsys", "hold_out": ["Fe"]}]
        made = [datasets.prepare("mini", cache_dir=tmp_path, **choice) for choice in choices]
        names = [item.directory.name for item in made]
        assert names == ["mini-1", "mini-1+by-chemsys", "mini-1+without-Fe-Ni", "mini-1+by-chemsys+without-Fe"]
        assert len({item.fingerprint for item in made}) == 4
        for item, choice in zip(made, choices, strict=True):
            assert datasets.check("mini", cache_dir=tmp_path, **choice).directory == item.directory

    def test_the_usual_split_is_stated_as_it_always_was(self, tmp_path):
        made = datasets.prepare("mini", tmp_path / "d")
        assert made.manifest["split_rule"] == {
            "salt": "mini-201", "fractions": [0.55, 0.1, 0.35], "group": "reduced composition",
        }  # fmt: skip
        assert made.fingerprint == "sha256:7aa31ddc6a49c186467a1fd143516e6f41919464b626bdd83f61fc8ca360d406"

    def test_a_material_in_the_wrong_split_is_found(self, tmp_path, monkeypatch):
        made = datasets.prepare("mini", tmp_path / "d", split_by="chemsys")
        monkeypatch.setattr(
            "xferbench.grouping.chemical_system", lambda numbers: f"other {sorted(set(numbers.tolist()))}"
        )
        with pytest.raises(IntegrityError, match="materials of other splits"):
            integrity.verify(made.directory)

    def test_wrong_elements_are_told_before_anything_is_read(self, tmp_path):
        with pytest.raises(UsageError, match="'Qq' is no element"):
            datasets.prepare("mini", tmp_path / "d", hold_out=["Qq"])
        with pytest.raises(DataError, match="no material contains Lu"):
            datasets.prepare("mini", tmp_path / "d", hold_out=["Lu"])
        assert not (tmp_path / "d").exists()

"""Verification finds what is wrong, by name, also when the manifest was made to agree with altered files."""

from __future__ import annotations

import pyarrow as pa
import pytest

from xferbench.dataset import Dataset, check, verify
from xferbench.dataset.layout import DROPS, MANIFEST, SHARD_SCHEMA, shard
from xferbench.errors import DataError, IntegrityError, StorageError, UnknownNameError
from xferbench.storage import read_json, write_json
from xferbench.tables import read_table, write_table

TRAIN, TEST = shard("target", "train"), shard("target", "test")
TEST_MATERIAL = "12-8"


def edit(directory, path, change):
    """Apply ``change`` to the list of rows of a Parquet file."""
    rows = read_table(directory / path).to_pylist()
    change(rows)
    write_table(directory / path, pa.Table.from_pylist(rows, schema=SHARD_SCHEMA))


def edit_both(directory, split, change):
    for config in ("source", "target"):
        edit(directory, shard(config, split), change)


def message(directory):
    with pytest.raises(IntegrityError) as caught:
        verify(directory)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{directory} is damaged: ")
    return str(caught.value)


def test_an_untouched_directory_passes(directory):
    verify(directory)


def test_stating_the_same_again_passes(directory, restate):
    restate()
    verify(directory)


def test_there_must_be_something_to_verify(tmp_path):
    with pytest.raises(StorageError, match="no data set in"):
        verify(tmp_path)


def test_file_problems_are_collected(directory):
    (directory / DROPS).unlink()
    (directory / "notes.txt").touch()
    (directory / TRAIN).write_bytes(b"PAR1")
    text = message(directory)
    for part in ("drops.jsonl is missing", "notes.txt does not belong", f"{TRAIN} has 4 bytes instead of"):
        assert part in text


@pytest.mark.parametrize(
    ("key", "value"), [("title", "Strings"), ("licence", "cc0"), ("libraries", {}), ("citation", ""), ("version", "2")]
)
def test_an_altered_manifest_is_told_by_its_own_hash(directory, key, value):
    write_json(directory / MANIFEST, {**read_json(directory / MANIFEST), key: value})
    assert f"{MANIFEST} was altered: it has another hash than it states" in message(directory)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fingerprint", "sha256:" + "0" * 64),
        ("drops", {"no_partner": 1}),
        ("labels", {}),
        ("subsets", {}),
        ("splits", {}),
    ],
)
def test_a_stated_fact_that_the_files_do_not_give_is_named(directory, restate, key, value):
    restate(**{key: value})
    assert f"{MANIFEST} states other {key} than the files give" in message(directory)


def test_a_row_count_is_compared_with_the_table(directory, restate):
    files = read_json(directory / MANIFEST)["files"]
    files[TRAIN]["rows"] = 26
    files[DROPS]["rows"] = 1
    restate(files=files)
    text = message(directory)
    assert f"{TRAIN} has 27 rows instead of 26" in text
    assert f"{DROPS} has 0 rows instead of 1" in text


CONTENT = {
    "an altered energy": (
        lambda d: edit(d, TEST, lambda rows: rows[0].update(energy=-1.0)),
        "states other fingerprint than the files give",
    ),
    "rows in another order": (
        lambda d: edit(d, TRAIN, list.reverse),
        "the rows of source and target in train are not the same pairs in the same order",
    ),
    "both in another order": (
        lambda d: edit_both(d, "train", list.reverse),
        "the rows of train are not sorted by pair_id",
    ),
    "a frame less": (lambda d: edit(d, TRAIN, list.pop), "has 26 rows instead of 27"),
    "its partner alone": (lambda d: edit(d, TRAIN, list.pop), r"is none: no_partner"),
    "a doubled frame": (
        lambda d: edit_both(d, "train", lambda rows: rows.append(rows[-1])),
        "is none: duplicate_id",
    ),
    "a moved atom": (
        lambda d: edit(d, TRAIN, lambda rows: rows[0]["positions"][0].__setitem__(0, 1.5)),
        "is none: coordinates_differ (by 1.",
    ),
    "a lost energy": (lambda d: edit(d, TRAIN, lambda rows: rows[0].update(energy=None)), "is none: missing_energy"),
    "short forces": (
        lambda d: edit(d, TRAIN, lambda rows: rows[0]["forces"].pop()),
        "is none: wrong_shape",
    ),
    "another functional": (
        lambda d: edit(d, TRAIN, lambda rows: rows[0].update(functional="PBE")),
        f"{TRAIN} holds 1 frames of another functional, the first is",
    ),
    "no functional": (
        lambda d: edit(d, TRAIN, lambda rows: rows[3].update(functional="hearsay")),
        "row 3 (12-12-8-0-r2SCAN) of a table is not a frame",
    ),
    "a material of another split": (
        lambda d: edit_both(d, "train", lambda rows: rows[0].update(material_id=TEST_MATERIAL)),
        f"holds 1 materials of other splits, the first is {TEST_MATERIAL}",
    ),
    "a wrong subset key": (
        lambda d: edit(d, TEST, lambda rows: rows[0].update(subset_key=0.5)),
        f"{TEST} has 1 wrong subset keys, the first is of",
    ),
    "a wrong number of atoms": (
        lambda d: edit_both(d, "train", lambda rows: rows[0].update(n_atoms=99)),
        f"{TRAIN} holds 1 frames with a wrong n_atoms, the first is",
    ),
    "provenance that is no JSON": (
        lambda d: edit(d, TRAIN, lambda rows: rows[2].update(provenance="{")),
        "row 2 (12-12-17-2-r2SCAN) of a table is not a frame",
    ),
    "a pair in two splits": (
        lambda d: edit_both(d, "test", lambda rows: rows.append({**rows[-1], "pair_id": "12-12-8-0"})),
        "is none: ",
    ),
    "no Parquet": (lambda d: (d / TEST).write_bytes(b"PAR1PAR1"), "is not a readable Parquet file"),
    "other columns": (
        lambda d: write_table(d / TEST, read_table(d / TEST).drop_columns(["forces"])),
        "has other columns than a data set of schema 3: ",
    ),
    "a broken drop": (lambda d: (d / DROPS).write_text("x\n"), "does not hold one drop per line"),
}


def test_the_foreign_material_of_the_next_test_is_in_the_test_split(synthetic_dataset):
    assert synthetic_dataset.splits[TEST_MATERIAL] == "test"


@pytest.mark.parametrize(("damage", "expected"), CONTENT.values(), ids=CONTENT)
def test_content_betrays_a_forged_directory(directory, restate, damage, expected):
    damage(directory)
    restate()
    assert expected in message(directory)


def test_a_forged_split_rule_is_told_by_the_rows(directory, restate):
    restate(split_rule={"salt": "pepper", "fractions": [0.6, 0.1, 0.3], "group": "formula"})
    text = message(directory)
    assert "materials of other splits" in text
    assert "wrong subset keys" in text


def test_a_split_rule_that_is_none_is_one_clear_line(directory, restate):
    restate(split_rule={"salt": "s", "fractions": [5.0], "group": "formula"})
    assert "split fractions (5.0,) of salt 's' must be 3 numbers" in message(directory)


class TestCheck:
    def test_it_opens_what_it_verified(self, directory):
        assert check("synthetic", directory).directory == directory

    def test_the_place_in_the_cache_is_the_default(self, directory, register, synthetic_source):
        register(lambda: synthetic_source)
        cache = directory.parent / "cache"
        (cache / "datasets").mkdir(parents=True)
        directory.rename(cache / "datasets" / "synthetic-1")
        opened = check("synthetic", cache_dir=cache)
        assert isinstance(opened, Dataset)
        assert opened.directory == cache / "datasets" / "synthetic-1"

    def test_what_is_not_prepared_is_said(self, tmp_path, register, synthetic_source):
        register(lambda: synthetic_source)
        with pytest.raises(StorageError, match=r"no data set in .*synthetic-1: .* make it with `xferbench prepare`"):
            check("synthetic", cache_dir=tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_another_data_set_in_its_place_is_said(self, directory):
        with pytest.raises(DataError, match="holds the data set 'synthetic', not 'mini'"):
            check("mini", directory)

    def test_an_unknown_name_is_answered_with_the_near_one(self):
        with pytest.raises(UnknownNameError, match="did you mean 'mini'"):
            check("minni")

    def test_damage_is_found(self, directory):
        (directory / DROPS).unlink()
        with pytest.raises(IntegrityError, match=r"drops.jsonl is missing"):
            check("synthetic", directory)

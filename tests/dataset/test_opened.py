"""An opened data set gives back exactly what was written."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from xferbench.dataset import Dataset, summary
from xferbench.errors import IntegrityError, StorageError, UnknownNameError
from xferbench.functionals import Functional
from xferbench.records import SPLITS, Geometry, fingerprint
from xferbench.splits import assign


def ids(records):
    return [record.pair_id for record in records]


def test_name_version_and_fingerprint_are_the_manifests(synthetic_dataset):
    assert (synthetic_dataset.name, synthetic_dataset.version) == ("synthetic", "1")
    assert synthetic_dataset.fingerprint == synthetic_dataset.manifest["fingerprint"]


def test_the_splits_are_those_of_the_rule(synthetic_dataset, synthetic_source):
    materials = {frame.material_id for frame in synthetic_source.frames}
    assert dict(sorted(synthetic_dataset.splits.items())) == assign(materials, synthetic_source.split)


def test_frames_are_the_sources_to_the_last_bit(synthetic_dataset, synthetic_source):
    frames = synthetic_dataset.frames("source") + synthetic_dataset.frames("target")
    assert fingerprint(frames, synthetic_dataset.splits) == fingerprint(
        synthetic_source.frames, synthetic_dataset.splits
    )


def test_each_family_has_its_functional(synthetic_dataset):
    assert {frame.functional for frame in synthetic_dataset.frames("source")} == {Functional("PBE")}
    assert {frame.functional for frame in synthetic_dataset.frames("target")} == {Functional("r2SCAN")}


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_is_sorted_and_the_same_in_both_families(synthetic_dataset, split):
    source, target = synthetic_dataset.frames("source", split), synthetic_dataset.frames("target", split)
    assert ids(source) == ids(target) == sorted(ids(source))
    assert {synthetic_dataset.splits[frame.material_id] for frame in source} <= {split}


def test_no_split_is_all_of_them_with_train_first(synthetic_dataset):
    parts = [frame.frame_id for split in SPLITS for frame in synthetic_dataset.frames("target", split)]
    assert [frame.frame_id for frame in synthetic_dataset.frames("target")] == parts


@pytest.mark.parametrize("split", [None, *SPLITS])
def test_pairs_are_the_frames_of_both_families(synthetic_dataset, split):
    pairs = synthetic_dataset.pairs(split)
    assert ids(pairs) == ids(synthetic_dataset.frames("source", split))
    for pair in pairs:
        assert pair.geometry is Geometry.SAME_GEOMETRY
        assert pair.source.pair_id == pair.target.pair_id
        np.testing.assert_array_equal(pair.source.positions, pair.target.positions)


@pytest.mark.parametrize("split", [None, *SPLITS])
def test_iterators_give_what_the_lists_hold(synthetic_dataset, split):
    pairs = list(synthetic_dataset.iter_pairs(split))
    assert ids(pairs) == ids(synthetic_dataset.pairs(split))
    assert ids(synthetic_dataset.iter_frames("source", split)) == ids(pairs)


def test_tables_hold_the_columns_asked_for(synthetic_dataset):
    table = pa.concat_tables(synthetic_dataset.tables("target", "train", ["frame_id", "subset_key"]))
    assert table.column_names == ["frame_id", "subset_key"]
    assert table["frame_id"].to_pylist() == [frame.frame_id for frame in synthetic_dataset.frames("target", "train")]
    with pytest.raises(UnknownNameError, match="unknown column 'energi'; did you mean 'energy'"):
        synthetic_dataset.tables("source", "train", ["energi"])


def test_an_unknown_family_or_split_is_answered_with_the_known_ones(synthetic_dataset):
    with pytest.raises(UnknownNameError, match="unknown family 'PBE'; known: source, target"):
        synthetic_dataset.frames("PBE")
    with pytest.raises(UnknownNameError, match=r"unknown split 'tests'; did you mean 'test'\?"):
        synthetic_dataset.pairs("tests")


def test_nothing_there_is_one_clear_line(tmp_path):
    with pytest.raises(StorageError, match=r"no data set in .*: manifest.json is missing"):
        Dataset.open(tmp_path)


def test_a_damaged_directory_does_not_open(directory):
    shard = directory / "data" / "target" / "test-00000-of-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-10])
    (directory / "drops.jsonl").write_text("{}\n")
    with pytest.raises(IntegrityError, match=r"is damaged: drops.jsonl has 3 bytes instead of 0; .*test-00000.* bytes"):
        Dataset.open(directory)


def test_opening_does_not_write(directory):
    before = {path: path.stat().st_mtime_ns for path in [directory, *directory.rglob("*")]}
    Dataset.open(directory).pairs()
    assert {path: path.stat().st_mtime_ns for path in [directory, *directory.rglob("*")]} == before


def test_the_summary_counts_and_names_the_fingerprint(synthetic_dataset):
    lines = summary(synthetic_dataset).splitlines()
    assert lines[0] == "synthetic 1: Springs (same_geometry)"
    assert lines[1].endswith("27 pairs of 9 materials, 4 elements")
    assert lines[-2:] == ["  left out: nothing", f"  {synthetic_dataset.fingerprint}"]


def test_the_summary_names_drops_and_uncovered_elements(synthetic_dataset):
    manifest = dict(synthetic_dataset.manifest)
    test = {**manifest["splits"]["test"], "uncovered_elements": ["U"]}
    manifest.update(drops={"no_partner": 3}, splits={**manifest["splits"], "test": test})
    text = summary(Dataset(directory=synthetic_dataset.directory, manifest=manifest, splits={}))
    assert "4 elements, not in train: U\n" in text
    assert "left out: 3 no_partner\n" in text

"""A whole data set in every format."""

from __future__ import annotations

import hashlib

import ase.io
import numpy as np
import pytest

from xferbench.dataset.layout import CONFIGS as FAMILIES
from xferbench.errors import StorageError, UnknownNameError
from xferbench.export import FORMATS, export
from xferbench.storage import read_json


@pytest.mark.parametrize("name", FORMATS)
def test_every_frame_of_every_split_is_written(synthetic_dataset, tmp_path, name):
    exported = export(synthetic_dataset, name, tmp_path)
    assert [item.path.name for item in exported] == [
        f"{family}-{split}.{FORMATS[name][0]}" for family in FAMILIES for split in ("train", "val", "test")
    ]
    for item in exported:
        family, split = item.path.stem.split("-")
        frames = synthetic_dataset.frames(family, split)
        assert item.frames == len(frames)
        assert item.missing.get("magmoms", 0) == sum(frame.magmoms is None for frame in frames)
        assert item.left_out == {}


def test_labels_of_a_file_are_those_of_the_data_set(synthetic_dataset, tmp_path):
    export(synthetic_dataset, "extxyz", tmp_path)
    read = ase.io.read(tmp_path / "target-test.extxyz", index=":")
    for atoms, frame in zip(read, synthetic_dataset.frames("target", "test"), strict=True):
        assert atoms.info["frame_id"] == frame.frame_id
        assert atoms.info["functional"] == "r2SCAN"
        assert atoms.get_potential_energy() == frame.energy
        np.testing.assert_array_equal(atoms.get_forces(), frame.forces)


def test_both_families_have_the_same_pairs_in_the_same_order(synthetic_dataset, tmp_path):
    export(synthetic_dataset, "mace", tmp_path)
    ids = [
        [atoms.info["pair_id"] for atoms in ase.io.read(tmp_path / f"{family}-train.extxyz", index=":")]
        for family in FAMILIES
    ]
    assert ids[0] == ids[1] == [pair.pair_id for pair in synthetic_dataset.pairs("train")]


def test_chgnet_files_hold_every_frame(synthetic_dataset, tmp_path):
    export(synthetic_dataset, "chgnet", tmp_path)
    data = read_json(tmp_path / "source-train.json")
    assert {name for records in data.values() for name in records} == {
        frame.frame_id for frame in synthetic_dataset.frames("source", "train")
    }


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_data_give_the_same_bytes(synthetic_dataset, tmp_path, name):
    digests = [
        [
            hashlib.sha256(item.path.read_bytes()).hexdigest()
            for item in export(synthetic_dataset, name, tmp_path / place)
        ]
        for place in ("a", "b")
    ]
    assert digests[0] == digests[1]


def test_unknown_formats_are_usage_errors(synthetic_dataset, tmp_path):
    with pytest.raises(UnknownNameError, match=r"unknown format 'extxzy'.*did you mean 'extxyz'"):
        export(synthetic_dataset, "extxzy", tmp_path)


def test_a_place_that_cannot_be_written_is_a_storage_error(synthetic_dataset, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageError, match="cannot write"):
        export(synthetic_dataset, "mace", tmp_path / "out")

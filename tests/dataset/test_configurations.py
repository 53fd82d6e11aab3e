"""Data sets that are not just two configurations of pairs: r2SCAN alone, more r2SCAN for training, energies alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import get_dataset_config_names, load_dataset

import xferbench as xb
from xferbench import dataset, export, scoring
from xferbench.analysis import Settings, analyze
from xferbench.dataset.layout import MANIFEST, configurations, seal, shard, shards
from xferbench.errors import DataError, IntegrityError, UnknownNameError
from xferbench.functionals import Functional, Pair
from xferbench.pairing import DUPLICATE_ID, MISSING_ENERGY, OTHER_PHASE, WRONG_FUNCTIONAL
from xferbench.records import SPLITS, Geometry
from xferbench.storage import read_json, sha256, write_json
from xferbench.tables import write_table

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))


def alone(frame, **changes):
    return replace(frame, pair_id="", **changes)


@pytest.fixture(scope="module")
def unpaired_source(synthetic_source):
    target = [alone(frame) for frame in synthetic_source.frames if frame.functional.rung != "GGA"]
    bad = [
        alone(target[0], frame_id="no energy", energy=None),
        alone(target[0], frame_id="twice"),
        alone(target[1], frame_id="twice"),
        alone(target[0], frame_id="source", functional=Functional("PBE")),
    ]
    return replace(synthetic_source, name="alone", geometry=Geometry.UNPAIRED, frames=[*target, *bad])


@pytest.fixture(scope="module")
def unpaired(unpaired_source, tmp_path_factory):
    return dataset.build(unpaired_source, tmp_path_factory.mktemp("data") / "alone")


@pytest.fixture(scope="module")
def relaxed_source(synthetic_source):
    """Pairs relaxed apart, one of them to another phase, and all target frames for training."""
    pairs = {}
    for frame in synthetic_source.frames:
        pairs.setdefault(frame.pair_id, {})[(frame.functional.rung == "GGA")] = frame
    chosen = {frame.material_id: both for both in pairs.values() for frame in both.values()}
    last = []
    for both in chosen.values():
        moved = replace(both[False], cell=both[False].cell * 1.01, positions=both[False].positions * 1.01)
        last += [replace(both[True], pair_id=moved.material_id), replace(moved, pair_id=moved.material_id)]
    odd = next(i for i, frame in enumerate(last) if frame.functional.rung != "GGA" and frame.n_atoms == 2)
    last[odd] = replace(last[odd], cell=np.diag([2.0, 2.0, 20.0]))
    every = [alone(frame) for frame in synthetic_source.frames if frame.functional.rung != "GGA"]
    return replace(synthetic_source, name="relaxed", geometry=Geometry.SAME_MATERIAL, frames=[*last, *every])


@pytest.fixture(scope="module")
def relaxed(relaxed_source, tmp_path_factory):
    return dataset.build(relaxed_source, tmp_path_factory.mktemp("data") / "relaxed")


@pytest.fixture(scope="module")
def energies(synthetic_source, tmp_path_factory):
    bare = {"positions": np.empty((0, 3)), "cell": np.zeros((3, 3)), "forces": None, "stress": None, "magmoms": None}
    frames = [replace(frame, **bare) for frame in synthetic_source.frames]
    source = replace(synthetic_source, name="energies", geometry=Geometry.ENERGIES_ONLY, frames=frames)
    return dataset.build(source, tmp_path_factory.mktemp("data") / "energies")


class TestUnpaired:
    def test_there_is_one_configuration_sorted_by_frame_id(self, unpaired, unpaired_source):
        assert unpaired.configs == ("target",)
        ids = {split: [frame.frame_id for frame in unpaired.frames("target", split)] for split in SPLITS}
        assert all(names == sorted(names) for names in ids.values())
        good = [frame.frame_id for frame in unpaired_source.frames[:-4]]
        assert sorted(name for names in ids.values() for name in names) == sorted(good)

    def test_the_split_is_that_of_the_materials(self, unpaired, synthetic_dataset):
        assert unpaired.splits == synthetic_dataset.splits
        assert {unpaired.splits[frame.material_id] for frame in unpaired.frames("target", "test")} == {"test"}

    def test_what_is_of_no_use_is_counted(self, unpaired):
        assert unpaired.manifest["drops"] == {DUPLICATE_ID: 2, MISSING_ENERGY: 1, WRONG_FUNCTIONAL: 1}
        assert unpaired.manifest["splits"]["train"]["pairs"] == len(unpaired.frames("target", "train"))

    def test_it_verifies_and_is_left_alone_when_it_is_prepared_again(self, unpaired, unpaired_source, register, caplog):
        dataset.verify(unpaired.directory)
        register(lambda: unpaired_source, "alone")
        again = dataset.prepare("alone", unpaired.directory)
        assert again.fingerprint == unpaired.fingerprint
        assert "building again" not in caplog.text

    def test_datasets_opens_it(self, unpaired, tmp_path):
        assert get_dataset_config_names(str(unpaired.directory)) == ["target"]
        opened = load_dataset(str(unpaired.directory), cache_dir=str(tmp_path))
        assert opened["train"].num_rows == unpaired.manifest["splits"]["train"]["pairs"]

    def test_the_card_and_the_summary_speak_of_frames(self, unpaired):
        card = (unpaired.directory / "README.md").read_text()
        assert "r²SCAN calculations for training, without partners, `unpaired`" in card
        assert "| split | frames | materials |" in card
        assert '"gga"' not in card
        assert " 27 frames of 9 materials" in dataset.summary(unpaired)

    def test_comparing_functionals_is_refused_in_one_line(self, unpaired, synthetic_task):
        message = r"^data set alone has r²SCAN frames and no partners.*good for training and for `xferbench refs fit"
        for refused in (
            unpaired.pairs,
            lambda: unpaired.frames("source"),
            lambda: analyze(unpaired, Settings()),
            lambda: xb.compare_references(str(unpaired.directory)),
            lambda: scoring.expected_frames(synthetic_task, unpaired),
        ):
            with pytest.raises(DataError, match=message) as caught:
                refused()
            assert "\n" not in str(caught.value)

    def test_references_can_be_fitted(self, unpaired):
        (fit,) = xb.fit_references(str(unpaired.directory), functional="r2SCAN").fits
        assert fit.n_frames == unpaired.manifest["splits"]["train"]["pairs"]
        (everything,) = xb.fit_references(str(unpaired.directory)).fits
        assert everything.energies == fit.energies

    def test_it_can_be_exported(self, unpaired, tmp_path):
        exported = export.export(unpaired, "extxyz", tmp_path)
        assert [item.path.name for item in exported] == [f"target-{split}.extxyz" for split in SPLITS]

    def test_frames_to_be_paired_are_refused(self, unpaired_source, synthetic_source, tmp_path):
        mixed = replace(unpaired_source, frames=[*unpaired_source.frames, *synthetic_source.frames])
        with pytest.raises(DataError, match="a data set without pairs has frames with a pair_id"):
            dataset.build(mixed, tmp_path / "mixed")

    def test_without_frames_in_train_it_is_refused_in_words_that_fit(self, unpaired_source, tmp_path):
        with pytest.raises(DataError, match=r"has no frames in train: 3 frames of 1 materials"):
            dataset.build(replace(unpaired_source, frames=unpaired_source.frames[:3]), tmp_path / "few")


class TestTraining:
    def test_every_r2scan_frame_is_there_in_the_split_of_its_material(self, relaxed, synthetic_dataset):
        assert relaxed.configs == ("source", "target", "target-frames")
        for split in SPLITS:
            found = relaxed.frames("target-frames", split)
            assert {frame.pair_id for frame in found} <= {""}
            assert [frame.frame_id for frame in found] == sorted(
                frame.frame_id for frame in synthetic_dataset.frames("target", split)
            )
            assert {relaxed.splits[frame.material_id] for frame in found} <= {split}

    def test_pairs_say_how_their_structures_differ_and_other_phases_are_dropped(self, relaxed):
        assert relaxed.manifest["drops"] == {OTHER_PHASE: 1}
        changes = [pair.target.provenance["same_material"]["volume_change"] for pair in relaxed.pairs()]
        assert changes == pytest.approx([1.01**3 - 1] * 13)
        assert relaxed.manifest["phases"]["volume_change"]["50"] == pytest.approx(1.01**3 - 1)
        assert [
            line["reason"] for line in map(json.loads, (relaxed.directory / "drops.jsonl").read_text().splitlines())
        ] == [OTHER_PHASE]

    def test_it_is_counted_on_the_card_and_in_the_summary(self, relaxed):
        card = (relaxed.directory / "README.md").read_text()
        assert "## All target frames" in card
        assert "| train | 27 | 9 |" in card
        assert "| `volume_change` | 0.0303 | 0.0303 | 0.0303 |" in card
        assert "all target frames, for training: train 27, val 0, test 15" in dataset.summary(relaxed)

    def test_it_verifies_and_datasets_opens_it(self, relaxed, tmp_path):
        dataset.verify(relaxed.directory)
        opened = load_dataset(str(relaxed.directory), "target-frames", cache_dir=str(tmp_path))
        assert {split: table.num_rows for split, table in opened.items()} == {"train": 27, "test": 15}

    def test_it_does_not_touch_the_fingerprint_of_the_pairs(self, relaxed, relaxed_source, tmp_path):
        paired = [frame for frame in relaxed_source.frames if frame.pair_id]
        without = dataset.build(replace(relaxed_source, frames=paired), tmp_path / "paired")
        assert without.fingerprint == relaxed.fingerprint
        assert "training" not in without.manifest
        assert relaxed.manifest["training"]["fingerprint"] != relaxed.fingerprint

    def test_materials_go_where_their_pairs_go_when_chemical_systems_are_dealt(self, relaxed_source, tmp_path):
        rule = replace(relaxed_source.split, by="chemsys", salt="3")
        made = dataset.build(replace(relaxed_source, split=rule), tmp_path / "chemsys")
        dataset.verify(made.directory)
        systems = {
            split: {frozenset(frame.numbers.tolist()) for frame in made.frames("target-frames", split)}
            for split in SPLITS
        }
        assert not systems["train"] & systems["test"]

    def test_a_forged_training_file_is_found(self, relaxed, tmp_path):
        import shutil

        copy = shutil.copytree(relaxed.directory, tmp_path / "copy")
        path = shard("target-frames", "train")
        table = pq.read_table(copy / path)
        write_table(copy / path, table.slice(1))
        manifest = read_json(copy / MANIFEST)
        manifest["files"][path] |= {"sha256": sha256(copy / path), "bytes": (copy / path).stat().st_size, "rows": 26}
        write_json(copy / MANIFEST, seal(manifest))
        with pytest.raises(IntegrityError, match=r"manifest.json states other training than the files give"):
            dataset.verify(copy)

    def test_shards_of_training_are_counted_apart(self):
        stated = [shard(config, "train") for config in ("source", "target")]
        stated += [shard("target-frames", "train", index, 2) for index in range(2)]
        assert configurations(stated) == ("source", "target", "target-frames")
        found = [path for path, (_, split) in shards(stated).items() if split == "train"]
        assert found == stated


class TestEnergiesOnly:
    def test_composition_and_energy_survive(self, energies, synthetic_dataset):
        for mine, theirs in zip(energies.pairs(), synthetic_dataset.pairs(), strict=True):
            assert mine.target.energy == theirs.target.energy
            assert mine.target.numbers.tolist() == theirs.target.numbers.tolist()
            assert not mine.target.has_structure
        dataset.verify(energies.directory)

    def test_references_and_analysis_work(self, energies, synthetic_dataset):
        fits, wanted = (xb.fit_references(str(item.directory)).fits for item in (energies, synthetic_dataset))
        assert [fit.energies for fit in fits] == [fit.energies for fit in wanted]
        report = xb.compare_references(str(energies.directory), n_resamples=3)
        assert report.dataset == "energies"
        found = analyze(energies, Settings(n_resamples=3))
        assert found.counts.pairs == 42

    def test_running_a_potential_is_refused_in_one_line(self, energies, synthetic_task, tmp_path):
        message = "^data set energies has energies and no structures, so no potential can be run on it"
        with pytest.raises(DataError, match=message):
            scoring.expected_frames(synthetic_task, energies)
        with pytest.raises(DataError, match=message):
            export.export(energies, "extxyz", tmp_path)

    def test_no_flag_is_made_of_a_structure_that_is_not_there(self, energies):
        flags = energies.manifest["hygiene"]["train"]["flags"]
        assert flags["isolated_atom"] == flags["duplicate_geometry"] == 0
        assert flags["missing_forces"] == 27


def test_a_configuration_that_is_not_there_is_unknown(synthetic_dataset):
    with pytest.raises(UnknownNameError, match="unknown family 'target-frames'; did you mean"):
        synthetic_dataset.frames("target-frames")

"""Overlap planted by hand in every kind is found, and nothing else is; the training set passes by and is not kept."""

from __future__ import annotations

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from xferbench import dataset as datasets
from xferbench import export
from xferbench.audit import KINDS
from xferbench.audit.comparing import Known, audit
from xferbench.audit.reading import Record
from xferbench.errors import DataError, UnknownNameError, UsageError
from xferbench.grouping import chemical_system, reduced_composition
from xferbench.records import Geometry
from xferbench.storage import sha256


@pytest.fixture
def pairs(synthetic_dataset):
    return synthetic_dataset.pairs("test")


def lines(path, *names):
    path.write_text("".join(f"{name}\n" for name in names))
    return path


def atoms(frame, factor=1.0):
    made = Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    made.set_cell(made.cell.array * factor, scale_atoms=True)
    return made


class TestKinds:
    def test_a_material_a_frame_or_a_pair_id_is_the_same_material(self, synthetic_dataset, pairs, tmp_path):
        first, second, third = pairs[0], pairs[4], pairs[9]
        train = lines(tmp_path / "t.txt", first.material_id, second.source.frame_id, third.pair_id, "mp-1", "Xyz")
        made = audit(synthetic_dataset, train)
        named = {pair.pair_id for pair in pairs if pair.material_id == first.material_id} | {
            second.pair_id,
            third.pair_id,
        }
        assert set(made.overlapping["id"]) == named
        assert made.counts == {"id": len(named), "structure": 0, "composition": 0, "chemsys": 0}
        assert made.compared == {"id": 5, "structure": 0, "composition": 0, "chemsys": 0}

    def test_a_formula_overlaps_by_composition_and_chemical_system(self, synthetic_dataset, pairs, tmp_path):
        made = audit(synthetic_dataset, lines(tmp_path / "t.txt", "Li2Cl2", "Mg3 Cl8"))
        composition = {p.pair_id for p in pairs if reduced_composition(p.source.numbers) == "Cl1Li1"}
        systems = {p.pair_id for p in pairs if chemical_system(p.source.numbers) in {"Cl-Li", "Cl-Mg"}}
        assert composition
        assert set(made.overlapping["composition"]) == composition
        assert set(made.overlapping["chemsys"]) == systems

    def test_a_structure_is_found_in_another_cell_at_another_volume(self, synthetic_dataset, pairs, tmp_path):
        wanted = next(pair for pair in pairs if len(set(pair.source.numbers.tolist())) == 2)
        write(tmp_path / "t.xyz", atoms(wanted.source, 1.03) * (2, 1, 1), format="extxyz")
        made = audit(synthetic_dataset, tmp_path / "t.xyz", tolerance=0.001)
        assert made.overlapping["structure"] == (wanted.pair_id,)
        assert made.counts["id"] == 0

    def test_a_composition_is_an_id_where_materials_are_compositions(self, tmp_path):
        mini = datasets.prepare("mini", tmp_path / "mini")
        formula = next(pair.material_id for pair in mini.pairs("test"))
        made = audit(mini, lines(tmp_path / "t.txt", f"{formula} "))
        assert made.counts["id"] == made.counts["composition"] == made.regimes["seen-structure"] > 0

    def test_both_structures_of_a_pair_are_looked_for(self, synthetic_source, tmp_path):
        def stretched(frame):
            if frame.functional.rung != "GGA":
                return frame
            return dataclasses.replace(frame, positions=frame.positions * [1, 1, 1.05], cell=frame.cell * [1, 1, 1.05])

        frames = [stretched(frame) for frame in synthetic_source.frames]
        source = dataclasses.replace(synthetic_source, frames=frames, geometry=Geometry.SAME_MATERIAL)
        made = datasets.build(source, tmp_path / "d")
        for family in ("source", "target"):
            frame = made.frames(family, "test")[0]
            write(tmp_path / "t.xyz", atoms(frame), format="extxyz")
            assert frame.pair_id in audit(made, tmp_path / "t.xyz", tolerance=0.001).overlapping["structure"]


class TestAudit:
    def test_the_own_training_split_is_clean_and_the_test_split_is_not(self, synthetic_dataset, tmp_path):
        own = audit(synthetic_dataset, synthetic_dataset.directory)
        assert own.counts["id"] == own.counts["composition"] == 0
        export.export(synthetic_dataset, "extxyz", tmp_path)
        made = audit(synthetic_dataset, tmp_path / "target-test.extxyz")
        n = synthetic_dataset.manifest["splits"]["test"]["pairs"]
        assert made.counts == dict.fromkeys(KINDS, n)
        assert made.regimes == {"seen-structure": n, "new-material": 0, "new-chemsys": 0}
        assert made.seen() == {pair.pair_id for pair in synthetic_dataset.pairs("test")}

    def test_it_says_what_it_is_about(self, synthetic_dataset, tmp_path):
        train = lines(tmp_path / "t.txt", "LiCl")
        made = audit(synthetic_dataset, train, split="train", tolerance=0.1, with_hash=True)
        assert (made.dataset, made.version, made.split) == ("synthetic", "1", "train")
        assert made.fingerprint == synthetic_dataset.fingerprint
        assert made.train_sha256 == sha256(train)
        assert audit(synthetic_dataset, train).train_sha256 is None

    def test_without_pairs_only_counts_remain(self, synthetic_dataset, tmp_path):
        train = lines(tmp_path / "t.txt", "LiCl", "mp-1")
        whole, counts = audit(synthetic_dataset, train), audit(synthetic_dataset, train, counts_only=True)
        assert counts == dataclasses.replace(whole, overlapping=None)
        assert counts.counts["composition"] > 0

    def test_a_list_of_ids_makes_nothing_a_new_chemical_system(self, synthetic_dataset, tmp_path):
        n = synthetic_dataset.manifest["splits"]["test"]["pairs"]
        known = next(synthetic_dataset.iter_pairs("test")).pair_id
        ids = audit(synthetic_dataset, lines(tmp_path / "t.txt", known))
        assert ids.regimes == {"seen-structure": 1, "new-material": n - 1, "new-chemsys": 0}
        formulas = audit(synthetic_dataset, lines(tmp_path / "t.txt", "Fe"))
        assert formulas.regimes == {"seen-structure": 0, "new-material": 0, "new-chemsys": n}

    def test_records_without_anything_are_counted(self, synthetic_dataset, tmp_path):
        (tmp_path / "t.json").write_text('[{"energy": 1}, {"formula": "LiCl"}, {"energy": 2}]')
        made = audit(synthetic_dataset, tmp_path / "t.json")
        assert (made.train_records, made.unread) == (3, 2)

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("train.pkl", "ccopy_reg\n(dp1\nS'formula'\np2\nS'LiCl'\np3\ns.\nI\n"),
            ("notes.txt", "K\nused lr 0.1\nto 30 epochs\nend\n"),
        ],
    )
    def test_text_with_a_formula_by_chance_is_no_list_of_formulas(self, synthetic_dataset, tmp_path, name, text):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=r"lines of .* are neither a formula nor an id: it is no list"):
            audit(synthetic_dataset, tmp_path / name)

    @pytest.mark.parametrize("name", ["POSCAR", "CONTCAR-2", "a.cif"])
    def test_structures_that_ase_reads_are_one_record(self, synthetic_dataset, pairs, tmp_path, name):
        frame = pairs[0].source
        write(tmp_path / name, atoms(frame), format="cif" if name.endswith("cif") else "vasp")
        made = audit(synthetic_dataset, tmp_path / name)
        assert (made.train_records, made.unread, made.compared["structure"]) == (1, 0, 1)
        assert pairs[0].pair_id in made.overlapping["structure"]

    def test_ids_of_elsewhere_beside_formulas_are_counted_as_not_compared(self, synthetic_dataset, tmp_path):
        (tmp_path / "t.csv").write_text("material_id,formula\nours-1,LiCl\nours-2,\nours-3,\n")
        made = audit(synthetic_dataset, tmp_path / "t.csv")
        assert (made.train_records, made.unread) == (3, 2)
        assert made.regimes["new-chemsys"] == 0

    def test_structures_that_cannot_be_compared_are_counted(self, synthetic_dataset, pairs, tmp_path):
        flat = {
            "id": "a",
            "numbers": pairs[0].source.numbers.tolist(),
            "positions": [[0, 0, 0]],
            "cell": [[1e-12, 0, 0]] * 3,
        }
        (tmp_path / "t.json").write_text(json.dumps([flat, {**flat, "numbers": [92]}]))
        made = audit(synthetic_dataset, tmp_path / "t.json")
        assert (made.uncompared, made.unread, made.counts["structure"]) == (1, 0, 0)

    def test_memory_does_not_grow_with_the_training_set(self, synthetic_dataset, tmp_path):
        peaks = []
        for n in (2000, 40_000):
            train = lines(tmp_path / "t.txt", "LiCl", *(f"mp-{i}" for i in range(n)))
            tracemalloc.start()
            audit(synthetic_dataset, train)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < peaks[0] + 20_000_000  # the cache of parsed names is full after 65,536


class TestErrors:
    @pytest.mark.parametrize("text", ["mp-1", "x-1\tLiX\nx-2\tLiY", "x y\nz w"])
    def test_where_nothing_can_be_compared_there_is_no_audit(self, synthetic_dataset, tmp_path, text):
        with pytest.raises(
            DataError, match=r"nothing in the \d records of .*t.txt can be compared: no structure, no formula"
        ):
            audit(synthetic_dataset, lines(tmp_path / "t.txt", text))

    def test_an_empty_training_set_proves_nothing(self, synthetic_dataset, tmp_path):
        with pytest.raises(DataError, match=r"t.txt has no records; name the training set itself"):
            audit(synthetic_dataset, lines(tmp_path / "t.txt"))

    @pytest.mark.parametrize("tolerance", [0.0, -1.0, 1.0])
    def test_a_tolerance_must_be_below_an_atomic_spacing(self, synthetic_dataset, tolerance):
        with pytest.raises(UsageError, match="the tolerance must be between 0 and 1 atomic spacings"):
            Known(synthetic_dataset, "test", tolerance)

    def test_a_directory_has_no_hash(self, synthetic_dataset):
        with pytest.raises(UsageError, match="is a directory, which has no hash"):
            audit(synthetic_dataset, synthetic_dataset.directory, with_hash=True)

    def test_a_split_without_pairs_cannot_overlap(self, synthetic_dataset):
        with pytest.raises(DataError, match=r"split 'val' of .* has no pairs to compare with"):
            Known(synthetic_dataset, "val")

    def test_splits_must_exist(self, synthetic_dataset, tmp_path):
        with pytest.raises(UnknownNameError):
            audit(synthetic_dataset, tmp_path, split="best")


def test_structures_that_are_all_found_are_not_compared_again(synthetic_dataset, pairs):
    known = Known(synthetic_dataset, "test")
    frame = pairs[0].source
    record = Record(ids=(), numbers=frame.numbers, structure=lambda: (frame.positions, frame.cell, np.array(frame.pbc)))
    assert known.match(record)["structure"]
    assert known.match(record, np.ones(len(pairs), dtype=bool))["structure"] == []

"""What is left of a training set shares nothing with the test pairs, and everything left out is counted."""

from __future__ import annotations

import pytest
from ase import Atoms
from ase.io import write

from xferbench import dataset as datasets
from xferbench.audit import audit
from xferbench.audit.excluding import exclude_test
from xferbench.errors import DataError
from xferbench.grouping import chemical_system


@pytest.fixture
def train(synthetic_dataset, tmp_path):
    """All frames of the data set as extended XYZ: those of the test pairs must go."""
    path = tmp_path / "train.extxyz"
    for frame in synthetic_dataset.frames("source"):
        atoms = Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
        atoms.info["material_id"] = f"m_{frame.material_id}"
        write(path, atoms, format="extxyz", append=True)
    return path


def test_records_with_a_test_structure_go_whatever_they_are_called(synthetic_dataset, train, tmp_path):
    made = exclude_test(synthetic_dataset, train, tmp_path / "kept.txt")
    kept = made.path.read_text().splitlines()
    counts = {split: facts["pairs"] for split, facts in synthetic_dataset.manifest["splits"].items()}
    assert made.records == 42
    assert made.dropped["id"] == 0
    assert made.dropped["structure"] >= counts["test"]
    assert made.kept == len(kept) == 42 - made.dropped["structure"]
    tested = {f"m_{material}" for material, split in synthetic_dataset.splits.items() if split == "test"}
    assert not tested & set(kept)


def test_a_list_of_ids_loses_the_test_materials_and_keeps_its_order(synthetic_dataset, tmp_path):
    (tmp_path / "t.txt").write_text("".join(f"{name}\n" for name in [*reversed(synthetic_dataset.splits), "mp-1"]))
    made = exclude_test(synthetic_dataset, tmp_path / "t.txt", tmp_path / "kept.txt")
    wanted = [name for name in reversed(synthetic_dataset.splits) if synthetic_dataset.splits[name] != "test"]
    assert made.path.read_text().splitlines() == [*wanted, "mp-1"]
    assert made.dropped == {"id": 5, "structure": 0}
    left = audit(synthetic_dataset, made.path)
    assert left.regimes["seen-structure"] == 0


def test_records_without_a_name_are_told_by_their_number(synthetic_dataset, tmp_path):
    (tmp_path / "t.json").write_text('[{"energy": 1}, {"id": "a", "formula": "Xe"}, {"energy": 2}]')
    made = exclude_test(synthetic_dataset, tmp_path / "t.json", tmp_path / "kept.txt")
    assert made.path.read_text() == "#0\na\n#2\n"


def test_a_split_by_chemical_system_loses_all_of_the_systems(tmp_path):
    mini = datasets.prepare("mini", tmp_path / "d", split_by="chemsys")
    frame = mini.frames("source", "test")[0]
    stranger = chemical_system(frame.numbers).replace("-", "3") + "5"
    (tmp_path / "t.csv").write_text(f"formula\n{stranger}\nU3O8\n")
    made = exclude_test(mini, tmp_path / "t.csv", tmp_path / "kept.txt")
    assert made.dropped == {"id": 0, "structure": 0, "chemsys": 1}
    assert made.path.read_text() == "#1\n"


def test_held_out_elements_go_in_any_company(tmp_path):
    mini = datasets.prepare("mini", tmp_path / "d", hold_out=["Fe"])
    (tmp_path / "t.txt").write_text("Fe3W2\nW\n")
    made = exclude_test(mini, tmp_path / "t.txt", tmp_path / "kept.txt")
    assert made.dropped == {"id": 0, "structure": 0, "held_out": 1}
    assert made.path.read_text() == "W\n"


def test_nothing_left_is_an_error_and_no_file(synthetic_dataset, tmp_path):
    tested = [name for name, split in synthetic_dataset.splits.items() if split == "test"]
    (tmp_path / "t.txt").write_text("\n".join(tested))
    with pytest.raises(DataError, match=r"of the 5 records of .*t.txt none is left without the test materials"):
        exclude_test(synthetic_dataset, tmp_path / "t.txt", tmp_path / "kept.txt")
    assert not (tmp_path / "kept.txt").exists()

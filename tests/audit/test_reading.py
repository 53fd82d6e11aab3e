"""One crystal in every format gives one record; names are compared as people write them; damage is told or counted."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from ase.build import bulk
from ase.io import write
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xferbench import export
from xferbench.audit import audit, reading
from xferbench.audit.comparing import structure_of
from xferbench.audit.reading import formula_numbers, normal_id, records
from xferbench.audit.structures import fingerprint
from xferbench.errors import DataError, FormatError, IntegrityError, StorageError
from xferbench.tables import frames_table, write_table

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-1000, 10**30) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
ATOMS = bulk("NaCl", "rocksalt", 5.6, cubic=True)
ATOMS.positions += 0.1


def pymatgen_dict():
    from pymatgen.io.ase import AseAtomsAdaptor

    return AseAtomsAdaptor.get_structure(ATOMS).as_dict()


def write_json(path, value, compressed=False):
    data = json.dumps(value).encode()
    path.write_bytes(gzip.compress(data) if compressed else data)


def as_parquet(path, make_pairs):
    frame = make_pairs(1, 1)[0].target
    made = replace(
        frame, frame_id="mp-22862-0-3", pair_id="mp-22862", material_id="mp-22862", numbers=ATOMS.numbers,
        positions=ATOMS.positions, cell=ATOMS.cell.array, forces=None, magmoms=None,
    )  # fmt: skip
    write_table(path, frames_table([made]))


def as_plain_parquet(path):
    table = {
        "mp_id": ["mp-22862-0-3"], "numbers": [ATOMS.numbers.tolist()], "positions": [ATOMS.positions.tolist()],
        "cell": [ATOMS.cell.array.ravel().tolist()],
    }  # fmt: skip
    write_table(path, pa.table(table))


def as_extxyz(path, **info):
    atoms = ATOMS.copy()
    atoms.info.update(info)
    write(path, atoms, format="extxyz")


WRITERS = {
    "array.json": lambda path: write_json(path, [{"material_id": "mp-22862", "structure": pymatgen_dict()}]),
    "mapping.json.gz": lambda path: write_json(path, {"mp-22862": {"structure": pymatgen_dict()}}, compressed=True),
    "mptrj.json": lambda path: write_json(path, {"mp-22862": {"mp-999-0-3": {"structure": pymatgen_dict()}}}),
    "matpes.jsonl": lambda path: write_json(
        path, {"matpes_id": "matpes-1", "provenance": {"original_mp_id": "mp-22862"}, "structure": pymatgen_dict()}
    ),
    "plain.parquet": as_plain_parquet,
    "own.extxyz": lambda path: as_extxyz(path, material_id="mp-22862"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_id_and_the_structure(tmp_path, name):
    WRITERS[name](tmp_path / name)
    (record,) = records(tmp_path / name)
    assert "mp-22862" in record.ids
    assert sorted(record.numbers) == sorted(ATOMS.numbers)
    wanted = fingerprint(ATOMS.numbers, ATOMS.positions, ATOMS.cell.array, ATOMS.pbc)
    assert structure_of(record) == pytest.approx(wanted, abs=1e-6)


def test_tables_of_this_package_are_read(tmp_path, make_pairs):
    as_parquet(tmp_path / "t.parquet", make_pairs)
    (record,) = records(tmp_path / "t.parquet")
    assert record.ids[0] == "mp-22862"
    wanted = fingerprint(ATOMS.numbers, ATOMS.positions, ATOMS.cell.array, ATOMS.pbc)
    assert structure_of(record) == pytest.approx(wanted, abs=1e-9)


def test_an_exported_file_and_a_prepared_directory_name_the_training_frames(tmp_path, synthetic_dataset):
    export.export(synthetic_dataset, "extxyz", tmp_path)
    materials = {material for material, split in synthetic_dataset.splits.items() if split == "train"}
    for path in (tmp_path / "source-train.extxyz", synthetic_dataset.directory):
        found = list(records(path))
        assert {record.ids[0] for record in found} == materials
        assert all(structure_of(record) is not None for record in found)


class TestParquet:
    def test_row_groups_of_any_size_are_read_in_parts(self, tmp_path, monkeypatch):
        monkeypatch.setattr(reading, "BATCH", 3)
        rows = {"mp_id": [f"mp-{i}" for i in range(10)], "formula": ["NaCl", None] * 5, "forces": [[0.0]] * 10}
        write_table(tmp_path / "t.parquet", pa.table(rows))
        found = list(records(tmp_path / "t.parquet"))
        assert [record.ids[0] for record in found] == rows["mp_id"]
        assert [record.numbers is None for record in found] == [False, True] * 5

    def test_columns_of_other_types_than_arrays_are_not_arrays(self, tmp_path):
        rows = {"id": ["a"], "numbers": [{"Na": 1}], "positions": ["0 0 0"]}
        write_table(tmp_path / "t.parquet", pa.table(rows))
        (record,) = records(tmp_path / "t.parquet")
        assert record.ids == ("a",)
        assert record.numbers is None

    def test_a_table_without_a_known_column_has_nothing_to_compare(self, tmp_path, synthetic_dataset):
        write_table(tmp_path / "t.parquet", pa.table({"energy": [1.0, 2.0]}))
        with pytest.raises(DataError, match="nothing in the 2 records"):
            audit(synthetic_dataset, tmp_path / "t.parquet")

    def test_what_is_no_parquet_is_told(self, tmp_path):
        (tmp_path / "t.parquet").write_bytes(b"PAR1 or not")
        with pytest.raises(FormatError, match=r"t.parquet is no readable Parquet file"):
            list(records(tmp_path / "t.parquet"))


class TestNames:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("mp-13", "mp-13"), ("mp-1990456-0-2", "mp-1990456"), ("MP-13", "mp-13"), ("mvc-2291", "mvc-2291"),
            ("mp-aaabcd-0-1", "mp-aaabcd"), (" mp-13\n", "mp-13"), ("NaCl", "Cl1Na1"), ("Cl4 Na4", "Cl1Na1"),
            ("matpes-20240214_2999_73", "matpes-20240214_2999_73"), ("wbm-1-2", "wbm-1-2"), ("Xx2", "Xx2"), (7, "7"),
        ],
    )  # fmt: skip
    def test_ids_lose_task_and_step_and_formulas_their_order(self, name, expected):
        assert normal_id(name) == expected

    @pytest.mark.parametrize("text", ["", "na", "Na0", "Na1.5", "Q", "Na Cl x", "Na1000", "2"])
    def test_what_is_no_formula_gives_no_numbers(self, text):
        assert formula_numbers(text) is None

    def test_a_formula_gives_its_atoms(self):
        assert sorted(formula_numbers("Fe2O3")) == [8, 8, 8, 26, 26]


class TestLists:
    def test_lines_are_ids_or_formulas_and_comments_are_none(self, tmp_path):
        (tmp_path / "train.txt").write_text("# mine\nmp-1\n\nFe2O3\nthing\n")
        found = list(records(tmp_path / "train.txt"))
        assert [record.ids[0] for record in found] == ["mp-1", "Fe2O3", "thing"]
        assert [record.numbers is not None for record in found] == [False, True, False]

    def test_csv_columns_are_known_by_name(self, tmp_path):
        (tmp_path / "t.csv").write_text("energy,Formula,material_id\n-1,NaCl,mp-1-0-2\n-2,x,\n")
        first, second = records(tmp_path / "t.csv")
        assert first.ids == ("mp-1-0-2", "mp-1")
        assert sorted(first.numbers) == [11, 17]
        assert second.ids == ()
        assert second.numbers is None

    def test_csv_without_a_known_header_is_a_list(self, tmp_path):
        (tmp_path / "t.csv").write_text("mp-1,-3.0\nMgO,-2.0\n")
        assert [record.ids[0] for record in records(tmp_path / "t.csv")] == ["mp-1", "MgO"]

    def test_broken_csv_is_told_with_its_line(self, tmp_path):
        (tmp_path / "t.csv").write_text("id,x\n" + '"' + "x" * 200_000 + '",1\n')
        with pytest.raises(FormatError, match=r"t.csv line \d+ is no row of a table"):
            list(records(tmp_path / "t.csv"))

    def test_a_directory_is_all_its_files(self, tmp_path):
        (tmp_path / "a.txt").write_text("mp-1\n")
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "b.csv").write_text("id\nmp-2\n")
        (tmp_path / ".hidden").write_text("mp-3\n")
        assert [record.ids[0] for record in records(tmp_path)] == ["mp-1", "mp-2"]

    def test_an_empty_directory_and_no_file_are_told(self, tmp_path):
        with pytest.raises(DataError, match="no files in"):
            list(records(tmp_path))
        with pytest.raises(StorageError, match="cannot read"):
            list(records(tmp_path / "none.txt"))


class TestDocuments:
    def test_a_document_of_arrays_or_of_a_formula_will_do(self, tmp_path):
        arrays = {
            "id": 5,
            "numbers": [3, 17],
            "positions": [[0, 0, 0], [1, 1, 1]],
            "cell": [[3, 0, 0], [0, 3, 0], [0, 0, 3]],
        }
        write_json(tmp_path / "t.json", [arrays, {"formula_pretty": "LiCl"}, {"energy": 1}])
        first, second, third = records(tmp_path / "t.json")
        assert first.ids == ("5",)
        assert structure_of(first) is not None
        assert sorted(second.numbers) == [3, 17]
        assert second.structure is None
        assert third.ids == ()
        assert third.numbers is None

    @pytest.mark.parametrize(
        "change",
        [
            {"lattice": {}}, {"lattice": [1]}, {"lattice": {"matrix": [[1, 0], [0, 1]]}},
            {"lattice": {"matrix": [[float("nan")] * 3] * 3}},
            {"sites": [{"species": [{"element": "Na"}], "abc": [0, 0]}]},
        ],
    )  # fmt: skip
    def test_a_damaged_structure_leaves_the_rest_of_the_record(self, tmp_path, change):
        write_json(tmp_path / "t.json", [{"material_id": "mp-1", "structure": {**pymatgen_dict(), **change}}])
        (record,) = records(tmp_path / "t.json")
        assert record.ids == ("mp-1",)
        assert record.numbers is not None
        assert structure_of(record) is None

    @pytest.mark.parametrize(
        "sites",
        [
            [{"species": [{"element": "Na"}, {"element": "K"}]}],
            [{"label": "Na"}],
            5,
            [{"species": [{"element": "Qq"}]}],
        ],
    )
    def test_disordered_or_unknown_sites_have_no_composition(self, tmp_path, sites):
        write_json(tmp_path / "t.json", [{"material_id": "mp-1", "structure": {"lattice": {}, "sites": sites}}])
        (record,) = records(tmp_path / "t.json")
        assert record.numbers is None

    @pytest.mark.parametrize("numbers", [[[1], [1, 2]], [], [0, 3], [1.5], ["Na"], [300]])
    def test_numbers_that_are_none_are_not_taken(self, tmp_path, numbers):
        write_json(tmp_path / "t.json", [{"id": "a", "numbers": numbers}])
        (record,) = records(tmp_path / "t.json")
        assert record.numbers is None

    @given(
        VALUES,
        VALUES,
        VALUES,
        st.sampled_from(["lattice", "sites", "abc", "numbers", "positions", "cell", "provenance", "id"]),
    )
    @example([1.4e154], [1.4e154], None, "abc")
    @settings(max_examples=200)
    def test_no_document_breaks_the_reader(self, first, second, third, key):
        structure = {
            "lattice": {"matrix": first},
            "sites": [{"species": [{"element": "Na"}], "abc": second}],
            key: third,
        }
        value = {"structure": structure, "numbers": [3], "positions": first, "cell": second, key: third}
        for document in (value, {**value, "structure": third}, {"a": {"structure": first}, "b": third}):
            for record in reading._document("0", document):
                found = structure_of(record)
                assert found is None or np.isfinite(found).all()

    def test_truncated_json_is_told(self, tmp_path):
        (tmp_path / "t.json").write_text('[{"id": "a"}, {"id":')
        with pytest.raises(IntegrityError):
            list(records(tmp_path / "t.json"))


class TestXyz:
    def test_columns_may_stand_in_any_order(self, tmp_path):
        (tmp_path / "t.xyz").write_text(
            '2\nLattice="3 0 0 0 3 0 0 0 3" Properties=forces:R:3:species:S:1:pos:R:3 pbc="T T F" task_id=mp-7-1\n'
            "9 9 9 Li 0 0 0\n9 9 9 Cl 1.5 1.5 1.5\n"
        )
        (record,) = records(tmp_path / "t.xyz")
        positions, cell, pbc = record.structure()
        assert record.ids == ("mp-7-1", "mp-7")
        assert record.numbers.tolist() == [3, 17]
        assert positions.tolist() == [[0, 0, 0], [1.5, 1.5, 1.5]]
        assert cell.tolist() == (np.eye(3) * 3).tolist()
        assert pbc.tolist() == [True, True, False]

    def test_a_plain_xyz_file_gives_compositions(self, tmp_path):
        (tmp_path / "t.xyz").write_text("2\n\nLi 0 0 0\nCl 1 1 1\n\n1\nwater\nXx 0 0 0\n")
        first, second = records(tmp_path / "t.xyz")
        assert first.numbers.tolist() == [3, 17]
        assert first.structure is None
        assert second.numbers is None

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("two\n\n", "line 1 is 'two' where a frame begins with its number of atoms"),
            ("2\n\nLi 0 0 0\n", "the frame of 2 atoms that begins there ends too early"),
        ],
    )
    def test_damage_is_told(self, tmp_path, text, message):
        (tmp_path / "t.xyz").write_text(text)
        with pytest.raises(DataError, match=message):
            list(records(tmp_path / "t.xyz"))

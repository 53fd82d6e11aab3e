"""Tables of isolated atoms: two formats, and every way to get them wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xferbench.errors import FormatError, IntegrityError, StorageError
from xferbench.functionals import Functional
from xferbench.references import read_atoms

TABLE = {"PBE": {"H": -1.1, "O": -1.5}, "r2SCAN": {"H": -1.2, "O": -3.2}}


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_json_and_csv_say_the_same(tmp_path):
    by_json = read_atoms(write(tmp_path, "atoms.json", json.dumps(TABLE)))
    by_csv = read_atoms(write(tmp_path, "atoms.csv", "element,PBE,r2SCAN\nH,-1.1,-1.2\nO,-1.5,-3.2\n"))
    assert by_json == by_csv == {Functional("PBE"): TABLE["PBE"], Functional("r2SCAN"): TABLE["r2SCAN"]}


def test_the_mark_that_spreadsheets_put_first_is_no_part_of_a_column(tmp_path):
    path = write(tmp_path, "atoms.csv", "\ufeffelement,PBE\nH,-1.1\n")
    assert read_atoms(path) == {Functional("PBE"): {"H": -1.1}}


def test_other_columns_and_empty_cells_are_left_alone(tmp_path):
    path = write(tmp_path, "atoms.csv", "Element,PBE,spin,r2SCAN\nH,-1.1,x,-1.2\nXe,-0.01,x,\n")
    assert read_atoms(path) == {Functional("PBE"): {"H": -1.1, "Xe": -0.01}, Functional("r2SCAN"): {"H": -1.2}}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{}", "has no table of a functional; name one column or key after each, as PBE and r2SCAN"),
        ("a.json", "[1]", "has no table of"),
        ("a.json", '{"pbx": {"H": 1}}', "has no table of"),
        ("a.json", '{"PBE": 3}', "PBE must map symbols to eV"),
        ("a.json", '{"PBE": {"H": "low"}, "r2SCAN": {"H": null}}', "PBE H is 'low', not a number; r2SCAN H is None"),
        ("a.json", '{"PBE": {"H": true}}', "PBE H is True, not a number"),
        ("a.json", '{"PBE": {"H": -1e30}}', r"PBE H is -1e\+30 eV/atom: no atom has such an energy"),
        ("a.json", '{"PBE": {"Xx": -1.0}}', "PBE Xx is no chemical symbol"),
        ("a.json", '{"r2SCAN": {"H": -9.0, "O": -80.0, "Yb": 1e-14}}', "r2SCAN Yb is 1e-14 eV/atom among references"),
        ("a.csv", "symbol,PBE\nH,-1\n", "has no column named element, or no rows"),
        ("a.csv", "", "has no column named element, or no rows"),
        ("a.csv", "element,spin\nH,-1\n", "has no table of"),
        ("a.csv", "element,PBE\nH,low\n", "PBE H is 'low', not a number"),
    ],
)
def test_a_table_that_is_none_is_refused_with_the_place(tmp_path, name, text, message):
    with pytest.raises(FormatError, match=message) as caught:
        read_atoms(write(tmp_path, name, text))
    assert name in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "atoms.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="is not a CSV file"):
        read_atoms(path)


def test_a_broken_or_missing_file_says_so(tmp_path):
    with pytest.raises(IntegrityError, match="is not valid JSON"):
        read_atoms(write(tmp_path, "atoms.json", '{"PBE"'))
    with pytest.raises(StorageError, match="cannot read"):
        read_atoms(tmp_path / "nowhere.csv")


def test_the_table_of_the_kaplan_repository_is_read_whole():
    path = Path(__file__).parents[2].parent / "shared" / "data" / "kaplan-isolated-atoms" / "atomic_energies.csv"
    if not path.exists():
        pytest.skip(f"{path.name} is not here: it is no part of the repository")
    tables = read_atoms(path)
    assert {functional: len(table) for functional, table in tables.items()} == {
        Functional("PBE"): 89,
        Functional("r2SCAN"): 89,
        Functional("SCAN"): 89,
    }
    assert tables[Functional("PBE")]["H"] == -1.11764114


def test_an_element_in_two_rows_is_refused_by_name(tmp_path):
    path = write(tmp_path, "atoms.csv", "element,PBE\nH,-1.1\nO,-1.5\nH,-1.2\n")
    with pytest.raises(FormatError, match=r"atoms\.csv has several rows of H; keep one of each"):
        read_atoms(path)


@pytest.mark.parametrize("text", ["element,PBE\nH\nO,-1.5\n", "PBE,element\n-1.5,O\n", "element,PBE\nO,-1.5,7,8\n"])
def test_short_and_long_rows_and_columns_in_any_order_are_read(tmp_path, text):
    assert read_atoms(write(tmp_path, "atoms.csv", text)) == {Functional("PBE"): {"O": -1.5}}

"""References that cannot be right are caught by name, and only those."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from xferbench.references import implausible

DATA = Path(__file__).parents[2].parent / "shared" / "data"
UNFITTED = ["Yb", "Po", "At", "Rn", "Fr", "Ra"]
FINE = {"H": -3.4, "O": -6.0, "Th": -72.0}


def stored(*parts):
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path.name} is not here: it is no part of the repository")
    return path


def test_nothing_is_wrong_with_references_of_tens_of_electronvolts():
    assert implausible(FINE) == {}


@pytest.mark.parametrize("zero", [0.0, -0.0, 5.6e-14, -1e-6])
def test_a_zero_among_them_is_an_element_without_data(zero):
    assert list(implausible({**FINE, "Yb": zero})) == ["Yb"]
    assert "an element without data" in implausible({**FINE, "Yb": zero})["Yb"]


def test_a_noble_gas_atom_close_to_zero_is_meant():
    assert implausible({**FINE, "He": -0.00053}) == {}


def test_shifts_that_are_all_small_may_have_a_zero():
    assert implausible({"H": -0.03, "Li": 0.0, "O": 0.5}) == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_reference(value):
    assert list(implausible({**FINE, "Fe": value})) == ["Fe"]


def test_what_is_no_symbol_is_named():
    assert implausible({"Xx": -3.0, "X": -3.0, **FINE}) == {
        "Xx": "is no chemical symbol",
        "X": "is no chemical symbol",
    }


def test_no_references_are_not_wrong():
    assert implausible({}) == {}


def test_the_r2scan_vector_in_the_chgnet_package_has_six_zeros():
    pytest.importorskip("chgnet")
    from ase.data import chemical_symbols
    from chgnet.model.composition_model import AtomRef

    wrong = {}
    for name in ("MPtrj", "MPF", "MP-r2SCAN"):
        model = AtomRef(is_intensive=True)
        model.initialize_from(name)
        values = model.fc.weight.detach().double().numpy().ravel().tolist()
        wrong[name] = sorted(implausible(dict(zip(chemical_symbols[1:], values, strict=False))))
    assert wrong == {"MPtrj": [], "MPF": [], "MP-r2SCAN": sorted(UNFITTED)}


def test_the_stored_tables_are_caught_alike():
    data = json.loads(stored("chgnet-matgl-atomrefs", "chgnet-atomref.json").read_text())
    found = {
        name: list(implausible(dict(zip(data["order"], values, strict=True))))
        for name, values in data["tables"].items()
    }
    assert found["MP-r2SCAN"] == UNFITTED
    assert found["MPtrj"] == found["MPF"] == []


def test_no_table_of_isolated_atoms_is_accused():
    with stored("kaplan-isolated-atoms", "atomic_energies.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for functional in ("PBE", "r2SCAN"):
        assert implausible({row["Element"]: float(row[functional]) for row in rows}) == {}
    for name, table in json.loads(stored("chgnet-matgl-atomrefs", "matgl-element-refs.json").read_text()).items():
        if isinstance(table, dict) and "element_refs" in table:
            assert implausible(dict(zip(table["element_types"], table["element_refs"], strict=True))) == {}, name


@pytest.mark.parametrize(("value", "accused"), [(0.99e-4, True), (-0.99e-4, True), (1e-4, False), (-1e-4, False)])
def test_the_bound_of_zero_is_a_tenth_of_a_millielectronvolt(value, accused):
    assert bool(implausible({**FINE, "Yb": value})) == accused


def test_every_problem_is_told_in_the_given_order():
    found = implausible({"Ra": 0.0, **FINE, "Fe": math.nan, "Qq": 0.0, "At": 1e-9})
    assert list(found) == ["Ra", "Fe", "Qq", "At"]
    assert found["Ra"].startswith("is 0 eV/atom among references of typically")
    assert (found["Fe"], found["Qq"]) == ("is nan, not a number", "is no chemical symbol")


def test_if_most_are_zero_none_is_accused_since_half_must_be_large():
    assert implausible({"H": 0.0, "He": 0.0, "Li": 0.0, "U": -90.0}) == {}

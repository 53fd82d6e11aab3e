"""References that cannot be right are caught by name, and only those."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from xferbench import dataset
from xferbench.functionals import Functional
from xferbench.references import implausible, pair_labels
from xferbench.references.plausibility import BINDING, not_the_gap

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


@pytest.fixture(scope="module")
def mini(cache):
    """Shift per element from the isolated atoms of mini, and the labels of its training pairs."""
    data = dataset.prepare("mini", cache_dir=cache)
    pbe, target = (data.atom_energies[functional] for functional in (Functional("PBE"), Functional("r2SCAN")))
    return {symbol: target[symbol] - pbe[symbol] for symbol in pbe}, pair_labels(data.pairs("train"))


def test_isolated_atoms_of_the_same_code_may_be_the_gap(mini):
    assert not_the_gap(*mini) is None


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(0.0, id="zeros"),
        pytest.param(1 / 27.2114, id="Hartree"),
        pytest.param(1000.0, id="meV"),
        pytest.param(-1.0, id="exchanged"),
    ],
)
def test_a_table_in_another_unit_or_order_is_not_the_gap(mini, wrong):
    shift, labels = mini
    assert re.match(
        rf"leave \S+ eV/atom of the gap between the labels of {len(labels)} training pairs, where one shift for all atoms leaves 1\.",
        not_the_gap({symbol: wrong * value for symbol, value in shift.items()}, labels),
    )


def test_only_pairs_of_known_elements_tell(mini):
    shift, labels = mini
    salt = {symbol: shift[symbol] + 50 for symbol in ("Na", "Cl")}
    others = [column for column, name in enumerate(labels.symbols) if name not in salt]
    within = (labels.fractions[:, others] == 0).all(axis=1)
    assert f"of {within.sum()} training pairs" in not_the_gap(salt, labels)
    assert not_the_gap({"Xe": 99.0}, labels) is None
    assert not_the_gap({}, pair_labels([])) is None


def test_what_binding_may_explain_is_no_reason(mini):
    labels = mini[1]
    one = labels.take(np.flatnonzero(labels.fractions[:, labels.symbols.index("Si")] == 1))
    assert len(one) > 1
    exact = float(one.gap.mean())
    assert not_the_gap({"Si": exact + 0.99 * BINDING}, one) is None
    assert not_the_gap({"Si": exact + 1.2 * BINDING}, one) is not None

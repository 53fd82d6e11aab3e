from __future__ import annotations

import json

import numpy as np
import pytest
from ase.data import atomic_numbers

from xferbench.errors import UnknownNameError
from xferbench.records import Functional
from xferbench.sources import mini
from xferbench.sources.mini.engine import ATOM_PROTOCOL, PROTOCOL, settings_of
from xferbench.sources.mini.free_atoms import MIXING, RECORDS, UNPAIRED, energies, free_atom, generate_atoms
from xferbench.sources.mini.recordfile import read_records


@pytest.fixture(scope="module")
def committed():
    return read_records(RECORDS)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "atoms.jsonl"


def test_every_element_of_mini_has_both_energies_and_no_other_has():
    elements = {symbol for frame in mini.load().frames for symbol in frame.atoms().get_chemical_symbols()}
    tables = energies()
    assert set(tables) == {Functional.PBE, Functional.R2SCAN}
    assert all(set(table) == elements == set(UNPAIRED) for table in tables.values())


def test_the_source_hands_them_over():
    assert mini.load().atoms == energies()


def test_committed_atoms_are_those_of_the_protocol(committed):
    for record in committed:
        (symbol,) = record["structure"]["species"]
        atoms = free_atom(symbol)
        protocol = ATOM_PROTOCOL | ({"r2SCAN_mixing": MIXING[symbol]} if symbol in MIXING else {})
        assert record["settings"] == settings_of(Functional(record["functional"]), protocol)
        assert record["structure"]["lattice_A"] == atoms.cell.array.tolist()
        assert record["structure"]["initial_magmoms_muB"] == [UNPAIRED[symbol]]
        assert record["versions"]["libxc_fhc_disabled"] == "yes"


def test_they_share_with_the_crystals_what_an_energy_zero_depends_on():
    assert {key: ATOM_PROTOCOL[key] for key in ("ecut_eV", "fermi_dirac_width_eV", "setups")} == {
        key: PROTOCOL[key] for key in ("ecut_eV", "fermi_dirac_width_eV", "setups")
    }


def test_unpaired_electrons_follow_hund():
    """Of a shell that is less than half full all electrons are unpaired, of any other as many as there are holes."""
    p_shell = {"B": 1, "C": 2, "N": 3, "O": 2, "F": 1}
    for first, others in {
        "B": ("Al", "Ga"),
        "C": ("Si", "Ge"),
        "N": ("P", "As"),
        "O": ("S", "Se"),
        "F": ("Cl", "Br"),
    }.items():
        assert {UNPAIRED[symbol] for symbol in (first, *others)} == {p_shell[first]}
    assert all((atomic_numbers[symbol] - unpaired) % 2 == 0 for symbol, unpaired in UNPAIRED.items())


def test_a_spin_polarised_atom_lies_below_the_reference_that_is_not():
    """GPAW's zero is the spherical PBE atom without spin, which the true one cannot lie above."""
    assert all(energy < 0.02 for energy in energies()[Functional.PBE].values())


def test_binding_comes_out_right(committed):
    """Atomisation energies in PBE are near experiment: 4.66 eV (Si), 7.37 eV (C), 3.39 eV (Al), and r2SCAN binds as much."""
    frames = {(frame.pair_id, frame.functional): frame for frame in mini.load().frames}
    for pair_id, symbol, experiment in (
        ("Si_diamond-v2", "Si", 4.66),
        ("C_diamond-v2", "C", 7.37),
        ("Al_fcc-v2", "Al", 3.39),
    ):
        for functional, table in energies().items():
            frame = frames[pair_id, functional]
            assert table[symbol] - frame.energy / frame.n_atoms == pytest.approx(experiment, abs=0.45)


def test_an_atom_is_calculated_alone_in_a_cube(out, engine):
    generated = generate_atoms(out, elements=["N", "B"], engine=engine)
    assert (generated.planned, generated.calculated) == (2, 2)
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == [
        "B_atom-free-PBE", "B_atom-free-r2SCAN", "N_atom-free-PBE", "N_atom-free-r2SCAN"
    ]  # fmt: skip
    atoms = free_atom("N")
    assert atoms.cell.array.tolist() == (np.eye(3) * 9.0).tolist()
    np.testing.assert_allclose(atoms.get_scaled_positions(), 0.5)
    assert atoms.get_initial_magnetic_moments().tolist() == [3.0]


def test_a_rerun_calculates_nothing_again(out, make_engine):
    generate_atoms(out, elements=["N"], engine=make_engine())
    idle = make_engine()
    assert generate_atoms(out, elements=["N"], engine=idle).present == 1
    assert idle.calls == []


def test_an_atom_that_fails_has_no_energy(out, make_engine):
    failing = make_engine()
    failing.errors["MGGA_X_R2SCAN+MGGA_C_R2SCAN"] = RuntimeError("did not converge")
    generate_atoms(out, elements=["N"], engine=failing)
    tables = energies(out)
    assert list(tables[Functional.PBE]) == ["N"]
    assert tables[Functional.R2SCAN] == {}


def test_an_element_that_mini_lacks_is_refused(out, engine):
    with pytest.raises(UnknownNameError, match="element 'Xe'"):
        generate_atoms(out, elements=["Xe"], engine=engine)

"""Which table a run starts with, by scheme."""

from dataclasses import replace

import numpy as np
import pytest

from xferbench.errors import DataError
from xferbench.functionals import Functional
from xferbench.references import SCHEMES, fit_frames
from xferbench.transfer.data import TrainingData
from xferbench.transfer.references import initial_references

ATOMS = {
    Functional("PBE"): {"Li": -0.1, "O": -1.0, "Mg": 0.0, "Cl": -0.2, "Og": 0.0},
    Functional("r2SCAN"): {"Li": -0.3, "O": -1.5, "Mg": -2.0, "Cl": -4.0, "Og": 1.0},
}


@pytest.fixture
def about(make_pairs):
    """``about(n_materials=14)`` -> the synthetic pairs."""

    def make(n=14, pairs=None):
        pairs = make_pairs(n) if pairs is None else pairs
        return TrainingData(pairs=pairs, frames=[pair.target for pair in pairs], atom_energies=ATOMS)

    return make


@pytest.fixture
def table(model):
    """``table(name, data, …)`` -> symbol -> eV/atom, and everything said of it."""

    def make(name, data, predicted=None, own=None, **options):
        if own is not None:
            model.set_reference_energies(own)
        found = initial_references(model, name, data, lambda: predicted, **options)
        return dict(zip(model.symbols, found.table.tolist(), strict=True)), found

    return make


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "phases"])
def test_every_scheme_of_refs_compare_starts_a_run(scheme, about, table, model):
    data = about()
    predicted = np.array([frame.energy / frame.n_atoms + 3.0 for frame in data.frames])
    energies, found = table(scheme, data, predicted)
    assert np.isfinite(found.table).all()
    assert found.elements == ("Li", "O", "Mg", "Cl")
    assert energies["H"] == model.reference_energies()[0]


def test_elemental_phases_of_some_elements_are_not_enough(about, table):
    with pytest.raises(DataError, match="references phases of the data set lack O, Cl; choose another scheme"):
        table("phases", about())


def test_a_fit_is_least_squares_whatever_the_table(about, table, model):
    data = about()
    wanted = fit_frames(data.frames)
    for own in (np.zeros(94), np.linspace(-50, 3, 94)):
        energies, found = table("fit", data, own=own)
        for symbol, energy in wanted.energies.items():
            assert energies[symbol] == pytest.approx(energy, abs=1e-5)
        assert (found.n_frames, found.mae) == (len(data.frames), pytest.approx(wanted.mae))


def test_what_the_frames_leave_open_stays_as_it_was(about, table):
    """LiCl alone: only the sum of the two is known, and the difference of the table is kept."""
    own = np.full(94, -1.0)
    own[[2, 16]] = -3.0, -7.0
    data = about(1)
    energies, found = table("fit", data, own=own)
    assert energies["Li"] - energies["Cl"] == pytest.approx(4.0)
    assert (energies["Li"] + energies["Cl"]) / 2 == pytest.approx(np.mean([frame.energy / 2 for frame in data.frames]))
    assert found.undetermined == ("Li", "Cl")


def test_model_aware_references_take_off_what_the_model_says(about, table, model):
    """A model that is wrong by a constant per element, apart from which it is right."""
    data, wrong = about(), {3: 0.3, 8: -0.2, 12: 5.0, 17: 0.0}
    predicted = np.array([f.energy / f.n_atoms - np.mean([wrong[int(z)] for z in f.numbers]) for f in data.frames])
    before = dict(zip(model.symbols, model.reference_energies(), strict=True))
    energies, found = table("model-aware", data, predicted)
    assert energies["Mg"] - before["Mg"] == pytest.approx(5.0, abs=1e-6)
    assert energies["Cl"] - before["Cl"] == pytest.approx(0.0, abs=1e-6)
    assert found.mae == pytest.approx(0, abs=1e-6)


def test_paired_differences_know_nothing_of_the_zero_of_either_functional(about, table, model):
    data = about()
    before = dict(zip(model.symbols, model.reference_energies(), strict=True))
    energies, _ = table("paired", data)
    # -5.8 + 1.8 in conftest, the springs apart
    assert energies["Cl"] - before["Cl"] == pytest.approx(-4.0, abs=0.05)
    nines = [
        replace(
            pair,
            source=replace(pair.source, energy=pair.source.energy + 9 * pair.source.n_atoms),
            target=replace(pair.target, energy=pair.target.energy + 9 * pair.source.n_atoms),
        )
        for pair in data.pairs
    ]
    shifted, _ = table("paired", about(pairs=nines))
    assert shifted["Cl"] == pytest.approx(energies["Cl"], abs=1e-9)


def test_isolated_atoms_move_the_table_by_their_gap(about, table, model, tmp_path):
    before = dict(zip(model.symbols, model.reference_energies(), strict=True))
    energies, found = table("atoms", about())
    assert energies["Mg"] - before["Mg"] == pytest.approx(-2.0)
    assert energies["H"] == before["H"]
    path = tmp_path / "atoms.csv"
    path.write_text("element,PBE,r2SCAN\nLi,-0.1,-0.3\nO,-1,-1.5\nMg,-0.5,-2.5\nCl,-0.2,-4\n")
    _, other = table("atoms", about(), atoms=str(path))
    assert other.digest != found.digest
    path.write_text("element,PBE,r2SCAN\nLi,-0.1,-0.3\nO,-1,-1.5\n")
    with pytest.raises(DataError, match=r"references atoms of atoms\.csv lack Mg, Cl; choose another scheme"):
        table("atoms", about(), atoms=str(path))


def test_isolated_atoms_with_exchanged_functionals_are_refused(about, table):
    data = about()
    swapped = {Functional("PBE"): ATOMS[Functional("r2SCAN")], Functional("r2SCAN"): ATOMS[Functional("PBE")]}
    with pytest.raises(DataError, match=r"references atoms of the data set leave \S+ eV/atom of the gap"):
        table("atoms", replace(data, atom_energies=swapped))
    with pytest.raises(DataError, match="references atoms: needs isolated atoms of the same code"):
        table("atoms", replace(data, atom_energies={}))


def test_the_starts_own_are_the_table(about, table, model):
    _, found = table("source", about())
    assert (found.table == model.reference_energies()).all()
    assert found.facts() == {
        "how": "those of the start",
        "elements": ["Li", "O", "Mg", "Cl"],
        "undetermined": [],
        "n_frames": 0,
        "mae": None,
        "digest": None,
    }


def test_frames_without_energy_are_left_out_and_not_all_may_be(about, table):
    data = about()
    some = [replace(frame, energy=None) if i % 2 else frame for i, frame in enumerate(data.frames)]
    assert table("fit", replace(data, frames=some))[1].n_frames == len(data.frames) / 2
    nothing = [replace(frame, energy=None) for frame in data.frames]
    with pytest.raises(DataError, match="none of 42 training frames has an energy; references cannot be fitted"):
        table("fit", replace(data, frames=nothing))


def test_elements_that_the_network_does_not_know_are_refused(about, table):
    data = about()
    strange = replace(data.frames[0], numbers=np.array([3, 95]))
    with pytest.raises(DataError, match="CHGNet does not know Am; leave frames with them out"):
        table("fit", replace(data, frames=[strange]))

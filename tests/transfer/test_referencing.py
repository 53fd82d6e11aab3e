from dataclasses import replace

import numpy as np
import pytest

from xferbench.errors import DataError
from xferbench.models.chgnet.model import N_ELEMENTS
from xferbench.records import Functional
from xferbench.references import fit_frames
from xferbench.transfer import referencing

ZERO = np.zeros(N_ELEMENTS)


@pytest.fixture
def pairs(make_pairs):
    return make_pairs()


def test_a_fit_from_zero_is_least_squares(pairs):
    frames = [pair.r2scan for pair in pairs]
    found = referencing.refitted(ZERO, frames)
    wanted = fit_frames(frames)
    for symbol, energy in wanted.energies.items():
        assert found.by_symbol()[symbol] == pytest.approx(energy, abs=1e-9)
    assert (found.n_frames, found.mae) == (len(frames), pytest.approx(wanted.mae))
    assert found.elements == ("Li", "O", "Mg", "Cl")
    assert np.count_nonzero(found.table) == 4


def test_what_the_frames_determine_does_not_depend_on_the_table(pairs):
    frames = [pair.r2scan for pair in pairs]
    table = np.linspace(-50, 3, N_ELEMENTS)
    found, other = referencing.refitted(table, frames), referencing.refitted(ZERO, frames)
    numbers = [frame.numbers for frame in frames]
    np.testing.assert_allclose(
        referencing.composition_energy(found.table, numbers), referencing.composition_energy(other.table, numbers)
    )


def test_what_the_frames_leave_open_stays_as_it_was(make_pairs):
    """LiCl alone: only the sum of the two is known, and the difference of the table is kept."""
    frames = [pair.r2scan for pair in make_pairs(1)]
    table = np.full(N_ELEMENTS, -1.0)
    table[[2, 16]] = -3.0, -7.0
    found = referencing.refitted(table, frames)
    li, cl = found.table[2], found.table[16]
    assert li - cl == pytest.approx(4.0)
    assert (li + cl) / 2 == pytest.approx(np.mean([frame.energy / 2 for frame in frames]))
    assert found.undetermined == ("Li", "Cl")
    assert found.table[0] == -1.0


def test_model_aware_references_take_off_what_the_model_says(pairs):
    """A model that is wrong by a constant per element, apart from which it is right."""
    frames = [pair.r2scan for pair in pairs]
    table = ZERO.copy()
    table[[2, 7, 11, 16]] = -1.0, -2.0, -3.0, -4.0
    wrong = ZERO.copy()
    wrong[[2, 7, 11, 16]] = 0.3, -0.2, 5.0, 0.0
    numbers, labels = referencing.labelled_energies(frames)
    found = referencing.model_aware(table, frames, labels - referencing.composition_energy(wrong, numbers))
    np.testing.assert_allclose(found.table, table + wrong, atol=1e-9)
    assert found.mae == pytest.approx(0, abs=1e-9)


def test_paired_differences_know_nothing_of_the_zero_of_either_functional(pairs):
    found = referencing.paired_difference(ZERO, pairs)
    shifted = [
        replace(
            pair,
            gga=replace(pair.gga, energy=pair.gga.energy + 9 * pair.gga.n_atoms),
            r2scan=replace(pair.r2scan, energy=pair.r2scan.energy + 9 * pair.gga.n_atoms),
        )
        for pair in pairs
    ]
    np.testing.assert_allclose(referencing.paired_difference(ZERO, shifted).table, found.table, atol=1e-9)
    # -5.8 + 1.8 in conftest, the springs apart
    assert found.by_symbol()["Cl"] == pytest.approx(-4.0, abs=0.05)


def test_isolated_atoms_move_the_table_by_their_gap(pairs):
    atoms = {
        Functional.PBE: {"Li": -0.1, "O": -1.0, "Mg": 0.0, "Cl": -0.2, "Og": 0.0},
        Functional.R2SCAN: {"Li": -0.3, "O": -1.5, "Mg": -2.0, "Cl": -4.0, "Og": 1.0},
    }
    table, frames = np.full(N_ELEMENTS, -1.0), [pair.r2scan for pair in pairs]
    found = referencing.isolated_atoms(table, frames, pairs, atoms, "of us")
    assert found.by_symbol()["Mg"] == -3.0
    assert found.by_symbol()["Li"] == pytest.approx(-1.2)
    assert found.by_symbol()["H"] == -1.0
    assert found.how == "those of the start plus the gap of the isolated atoms of us"
    other = referencing.isolated_atoms(
        table, frames, pairs, atoms | {Functional.PBE: atoms[Functional.PBE] | {"Li": -0.2}}, "of us"
    )
    assert found.digest != other.digest
    with pytest.raises(DataError, match=r"the isolated atoms of us lack Mg, Cl for PBE or r2SCAN"):
        referencing.isolated_atoms(table, frames, pairs, {key: {"Li": 0.0, "O": 0.0} for key in atoms}, "of us")


def test_isolated_atoms_with_exchanged_functionals_are_refused_unless_no_pair_can_tell(pairs):
    atoms = {
        Functional.PBE: {"Li": -0.3, "O": -1.5, "Mg": -2.0, "Cl": -4.0},
        Functional.R2SCAN: {"Li": -0.1, "O": -1.0, "Mg": 0.0, "Cl": -0.2},
    }
    frames = [pair.r2scan for pair in pairs]
    with pytest.raises(
        DataError, match=r"the isolated atoms of us leave \S+ eV/atom of the gap .* PBE and r2SCAN in their places"
    ):
        referencing.isolated_atoms(ZERO, frames, pairs, atoms, "of us")
    with_u = [replace(pair, gga=replace(pair.gga, functional=Functional.PBE_U)) for pair in pairs]  # has another zero
    assert referencing.isolated_atoms(ZERO, frames, with_u, atoms, "of us").by_symbol()["Mg"] == 2.0


def test_kept_references_are_the_table(pairs):
    found = referencing.kept(np.full(N_ELEMENTS, 2.0), pairs)
    assert (found.table == 2).all()
    assert found.facts() == {
        "how": "those of the start",
        "elements": ["Li", "O", "Mg", "Cl"],
        "undetermined": [],
        "n_frames": 0,
        "mae": None,
        "digest": None,
    }


def test_frames_without_energy_are_left_out_and_not_all_may_be(pairs):
    frames = [pair.r2scan for pair in pairs]
    some = [replace(frame, energy=None) if i % 2 else frame for i, frame in enumerate(frames)]
    assert referencing.refitted(ZERO, some).n_frames == len(frames) / 2
    with pytest.raises(DataError, match="none of 42 training frames has an energy; references cannot be fitted"):
        referencing.refitted(ZERO, [replace(frame, energy=None) for frame in frames])


def test_elements_beyond_plutonium_are_refused(pairs):
    frame = pairs[0].r2scan
    with pytest.raises(DataError, match="hydrogen to plutonium; leave out frames with Am"):
        referencing.refitted(ZERO, [replace(frame, numbers=np.array([3, 95]))])

"""Components that symmetry leaves free, known from the space groups of small crystals."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from ase.build import bulk

from xferbench.dataset import open_dataset
from xferbench.dataset.symmetry import free_components
from xferbench.functionals import Functional
from xferbench.records import Frame


def frame(atoms, magmoms=None, pbc=(True, True, True), forces=None) -> Frame:
    return Frame(
        frame_id="a",
        pair_id="a",
        material_id="a",
        functional=Functional("PBE"),
        numbers=atoms.numbers,
        positions=atoms.positions,
        cell=np.array(atoms.cell),
        pbc=pbc,
        magmoms=None if magmoms is None else np.array(magmoms),
        forces=None if forces is None else np.array(forces),
    )


def free(atoms, **options):
    found = free_components([frame(atoms, **options)])
    return found.forces.values, found.stress.values.reshape(3, 3)


def moved(atoms, index, by):
    atoms.positions[index] += by
    return atoms


DIAGONAL = np.eye(3, dtype=bool)
BAR = DIAGONAL | np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)


def test_a_cubic_crystal_has_no_force_and_three_stresses():
    for atoms in (bulk("NaCl", "rocksalt", 5.6), bulk("Si"), bulk("Cu", cubic=True)):
        forces, stress = free(atoms)
        assert not forces.any()
        assert (stress == DIAGONAL).all()


def test_wurtzite_pulls_along_its_axis():
    forces, stress = free(bulk("ZnO", "wurtzite", a=3.25, c=5.2))
    assert (forces == [False, False, True]).all()
    assert (stress == DIAGONAL).all()


def test_a_strained_cube_has_the_shear_it_was_given():
    atoms = bulk("NaCl", "rocksalt", 5.6, cubic=True)
    atoms.set_cell(np.array(atoms.cell) @ [[1, 0.02, 0], [0.02, 1, 0], [0, 0, 1]], scale_atoms=True)
    forces, stress = free(atoms)
    assert not forces.any()
    assert (stress == BAR).all()


def test_an_atom_moved_along_a_diagonal_frees_all_three_components_and_the_shears():
    """Along [111] force and stress have one free number each, which shows in every Cartesian component."""
    forces, stress = free(moved(bulk("NaCl", "rocksalt", 5.6), 1, 0.05))
    assert forces.all()
    assert stress.all()


def test_a_rattle_frees_everything_and_less_than_symprec_nothing():
    atoms = bulk("NaCl", "rocksalt", 5.6, cubic=True)
    atoms.rattle(0.05, seed=1)
    assert all(part.all() for part in free(atoms))
    forces, _ = free(moved(bulk("NaCl", "rocksalt", 5.6), 1, [1e-5, 2e-5, 3e-5]))
    assert not forces.any()


def test_moments_lower_the_symmetry_and_their_sign_alone_does_not():
    """Two cubes of bcc iron: moments 3, 2, 1, 2 along z let the atoms between 3 and 1 move, an antiferromagnet does not."""
    dimer = bulk("Fe", "bcc", 2.9, cubic=True)
    dimer.cell[2] *= 2
    dimer = dimer + moved(dimer.copy(), slice(None), [0, 0, 2.9])
    assert not free(dimer)[0].any()
    assert (
        free(dimer, magmoms=[3.0, 2.0, 1.0, 2.0])[0]
        == [[False] * 3, [False, False, True], [False] * 3, [False, False, True]]
    ).all()
    assert not free(dimer, magmoms=[3.0, 1e-3, -3.0, 1e-3])[0].any()


@pytest.mark.parametrize("turn", [0, 37])
def test_turning_a_crystal_turns_what_is_free(turn):
    """About z by an angle that mixes x and y: of a force along x both components are free then."""
    atoms = moved(bulk("NaCl", "rocksalt", 5.6, cubic=True), 0, [0.1, 0, 0])
    atoms.rotate(turn, "z", rotate_cell=True)
    forces, stress = free(atoms)
    assert (forces[0] == [True, bool(turn), False]).all()
    assert stress[0, 1] == bool(turn)
    assert not stress[2, :2].any()


def test_a_dimer_pulls_along_its_bond():
    from ase import Atoms

    forces, _ = free(Atoms("NO", positions=[[0, 0, 0], [0, 0, 1.1]]), pbc=(False, False, False))
    assert (forces == [False, False, True]).all()


def test_a_label_that_breaks_the_symmetry_counts_whole_and_noise_does_not():
    atoms = bulk("NaCl", "rocksalt", 5.6)
    assert all(part.all() for part in free(atoms, forces=[[0, 0, 0.02], [0, 0, -0.02]]))
    assert not free(atoms, forces=[[0, 0, 0.005], [0, 0, -0.005]])[0].any()


def test_what_spglib_refuses_counts_whole_and_is_counted(caplog):
    two = bulk("Si")
    two.positions[1] = two.positions[0]
    with caplog.at_level(logging.WARNING):
        assert all(part.all() for part in free(two))
    assert "no symmetry of 1 of 1 structures" in caplog.text


def test_the_labels_of_mini_are_zero_where_symmetry_says_so_and_nowhere_else(cache):
    mini = open_dataset("mini", cache_dir=cache)
    frames = [frame for pair in mini.pairs() for frame in (pair.source, pair.target)]
    found = free_components(frames)
    forces = np.concatenate([frame.forces for frame in frames])
    stress = np.stack([frame.stress.ravel() for frame in frames])
    assert np.abs(forces[~found.forces.values]).max() < 1e-6
    assert np.abs(stress[~found.stress.values]).max() < 1e-8
    assert np.abs(forces[found.forces.values]).min() > 1e-6

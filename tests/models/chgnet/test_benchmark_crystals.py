"""The random crystals of benchmarks and tests are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench.models.chgnet.graph import build


@pytest.mark.parametrize("kind", ["mptrj_like", "small", "awkward", "sensible"])
def test_a_seed_is_a_set_of_crystals(crystals, kind):
    make = getattr(crystals, kind)
    assert make(6, seed=3) == make(6, seed=3)
    assert make(6, seed=3) != make(6, seed=4)


def test_mptrj_like_crystals_have_the_neighbours_of_mptrj(crystals):
    structures = crystals.mptrj_like(64)
    atoms = sum(map(len, structures))
    found = build(structures, atom_cutoff=6, bond_cutoff=3)
    assert 20 < atoms / 64 < 30
    assert 50 < 2 * len(found.center) / atoms < 65
    assert 35 < len(found.vertex) / atoms < 75


def test_atoms_keep_apart(crystals):
    found = build(crystals.mptrj_like(20), atom_cutoff=6, bond_cutoff=3)
    assert np.linalg.norm(found.vector, axis=1).min() > 1.2


def test_elements_are_those_asked_for(crystals):
    assert len(crystals.ELEMENTS) == 89
    assert {z for atoms in crystals.small(20, elements=[3, 8]) for z in atoms.numbers} == {3, 8}


def test_awkward_crystals_are_awkward(crystals):
    one, skewed, slab, outside, needle = crystals.awkward(5)
    assert len(one) == 1
    lengths = skewed.cell.lengths()
    assert abs(np.linalg.det(skewed.cell.array)) < 0.9 * lengths.prod()
    assert slab.cell.lengths()[2] > 1.5 * slab.cell.lengths()[:2].min()
    fractional = outside.get_scaled_positions(wrap=False)
    assert (fractional < 0).any() or (fractional > 1).any()
    assert len(needle) % 6 == 0


def test_crystals_near_contact_cover_all_elements_and_hold_their_distances(crystals):
    structures = crystals.sensible(2 * 89)
    assert {z for atoms in structures for z in atoms.numbers} == set(crystals.ELEMENTS)
    assert max(map(len, structures)) > 50
    closest = [crystals.closest(atoms) for atoms in structures]
    # rattling by 0.05 Å brings a few atoms of the common structures closer than contact
    assert min(closest) > 0.8
    assert np.median(closest) > 0.95
    assert np.median(closest) < 1.1


def test_contacts_are_sums_of_radii(crystals):
    found = crystals.contacts(np.array([11, 17, 17, 2]))
    np.testing.assert_allclose(found[0, :2], [2 * 1.66, 1.66 + 1.02])
    # chlorine beside chlorine, and helium by half of its distance in the solid
    np.testing.assert_allclose([found[1, 2], found[0, 3]], [1.6 * 2.04, 1.66 + 1.8])
    np.testing.assert_allclose(found, found.T)


@pytest.mark.parametrize(
    ("name", "neighbours"), [("fcc", 12), ("bcc", 8), ("diamond", 4), ("rocksalt", 6), ("rutile", 6)]
)
def test_prototypes_are_what_they_are_called(crystals, name, neighbours):
    atoms = crystals.PROTOTYPES[name].copy()
    atoms.pbc = True
    atoms.set_cell(atoms.cell * 5, scale_atoms=True)
    found = build([atoms], atom_cutoff=6, bond_cutoff=1)
    ends = np.concatenate([found.center, found.neighbor])
    length = np.tile(np.linalg.norm(found.vector, axis=1), 2)
    own = length[ends == 0]
    # octahedra in rutile are not quite regular
    assert np.count_nonzero(own < 1.1 * own.min()) == neighbours

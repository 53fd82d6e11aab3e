"""The batched neighbour search against chgnet's converter, brute force, and worked examples."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from xferbench.errors import ModelError
from xferbench.models.chgnet import graph
from xferbench.models.chgnet.graph import build

CUTOFFS = {"atom_cutoff": 6.0, "bond_cutoff": 3.0}


def directed(graphs):
    """Directed bonds (start, end, image) as stored, then reversed."""
    rows = list(zip(graphs.center.tolist(), graphs.neighbor.tolist(), map(tuple, graphs.image.tolist()), strict=True))
    return rows, [(j, i, tuple(-x for x in image)) for i, j, image in rows]


def as_sets(graphs):
    """Directed bonds, and angles as (vertex, bond, bond); nothing is listed twice."""
    stored, reverse = directed(graphs)
    bonds = set(stored) | set(reverse)
    short = stored[: graphs.n_short] + reverse[: graphs.n_short]
    angles = {
        (vertex, short[first], short[second])
        for vertex, first, second in zip(graphs.vertex, graphs.first, graphs.second, strict=True)
    }
    assert len(bonds) == 2 * len(stored)
    assert len(angles) == len(graphs.vertex)
    return bonds, angles


@pytest.fixture(scope="module")
def converter():
    module = pytest.importorskip("chgnet.graph")
    return module.CrystalGraphConverter(atom_graph_cutoff=6, bond_graph_cutoff=3, on_isolated_atoms="ignore")


def chgnet_sets(converter, atoms):
    from pymatgen.core import Lattice, Structure

    lattice = Lattice(atoms.cell.array, pbc=tuple(map(bool, atoms.pbc)))
    found = converter(Structure(lattice, atoms.numbers, atoms.positions, coords_are_cartesian=True))
    images = found.neighbor_image.int().tolist()
    bonds = [(i, j, tuple(image)) for (i, j), image in zip(found.atom_graph.tolist(), images, strict=True)]
    return set(bonds), {(i, bonds[first], bonds[second]) for i, _, first, _, second in found.bond_graph.tolist()}


@pytest.mark.parametrize("kind", ["mptrj_like", "small", "awkward"])
def test_bonds_and_angles_are_those_of_chgnet(crystals, converter, kind):
    for atoms in getattr(crystals, kind)(20, seed=7):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = chgnet_sets(converter, atoms)
        assert as_sets(build([atoms], **CUTOFFS, isolated="allow")) == expected


@pytest.fixture(scope="module")
def comparison(script):
    """The module ``benchmarks/chgnet_graphs.py``, which does this on thousands."""
    pytest.importorskip("chgnet")
    return script("chgnet_graphs")


KINDS = {
    "dense": (lambda comparison: comparison.mptrj_like(40, seed=51), 0),
    "small": (lambda comparison: comparison.small(150, seed=52), 0),
    "awkward": (lambda comparison: comparison.awkward(150, seed=53), 0),
    "tiny": (lambda comparison: comparison.tiny(100), 0),
    "common": (lambda comparison: comparison.sensible(60, seed=54), 0),
    "large": (lambda comparison: comparison.large(3), 0),
    "dilute": (lambda comparison: comparison.loose(100), 30),
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_hundreds_of_batched_graphs_are_those_of_chgnet(comparison, kind):
    make, least_refused = KINDS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = comparison.compare(make(comparison))
    assert counts["different"] == 0
    assert (counts["refused"] >= least_refused) if least_refused else (counts["refused"] == 0)
    assert counts["bonds"] > 0


def test_the_comparison_notices_a_missing_bond_and_a_swapped_angle(comparison, crystals):
    (atoms,) = crystals.small(1)
    graphs = build([atoms], **CUTOFFS)
    ((bonds, angles),) = comparison.engine_keys(graphs)
    ((fewer, _),) = comparison.engine_keys(
        replace(graphs, center=graphs.center[:-1], neighbor=graphs.neighbor[:-1], image=graphs.image[:-1])
    )
    assert len(bonds) - len(fewer) == 2
    second = graphs.second.copy()
    second[[0, -1]] = second[[-1, 0]]
    ((_, other),) = comparison.engine_keys(replace(graphs, second=second))
    assert not np.array_equal(angles, other)


def brute_force(atoms, cutoff, reach):
    grid = [range(-reach, reach + 1) if periodic else range(1) for periodic in atoms.pbc]
    bonds = set()
    for image in itertools.product(*grid):
        shift = np.array(image) @ atoms.cell.array
        distance = np.linalg.norm(atoms.positions[None] + shift - atoms.positions[:, None], axis=-1)
        for i, j in np.argwhere((distance <= cutoff) & (distance > 1e-8)):
            bonds.add((int(i), int(j), image))
    return bonds


@pytest.mark.parametrize("seed", range(6))
def test_bonds_are_those_of_brute_force(crystals, seed):
    rng = np.random.default_rng(seed)
    atoms = crystals.crystal(rng, int(rng.integers(1, 5)), volume=60, skew=0.4)
    atoms.pbc = rng.random(3) < 0.7
    assert as_sets(build([atoms], **CUTOFFS, isolated="allow"))[0] == brute_force(atoms, 6.0, 6)


def test_a_batch_is_its_structures_side_by_side(crystals):
    structures = crystals.awkward(10, seed=1)
    together = build(structures, **CUTOFFS, isolated="allow")
    bonds, angles = as_sets(together)
    offset = 0
    for atoms in structures:
        alone, alone_angles = as_sets(build([atoms], **CUTOFFS, isolated="allow"))
        moved = {(i + offset, j + offset, image) for i, j, image in alone}
        assert moved <= bonds
        bonds -= moved
        angles -= {
            (i + offset, (a + offset, b + offset, s), (c + offset, d + offset, t))
            for i, (a, b, s), (c, d, t) in alone_angles
        }
        offset += len(atoms)
    assert (bonds, angles) == (set(), set())


def test_large_crystals_worked_off_in_slabs_are_the_same(crystals, monkeypatch):
    atoms = crystals.mptrj_like(1, seed=3)[0].repeat(2)
    whole = as_sets(build([atoms], **CUTOFFS))
    monkeypatch.setattr(graph, "PAIR_BLOCK", 1000)
    assert as_sets(build([atoms], **CUTOFFS)) == whole


def test_vectors_lead_from_center_to_the_image_of_the_neighbour(crystals):
    atoms = crystals.awkward(5, seed=4)[3]
    found = build([atoms], **CUTOFFS)
    expected = atoms.positions[found.neighbor] + found.image @ atoms.cell.array - atoms.positions[found.center]
    np.testing.assert_allclose(found.vector, expected, atol=1e-12)


def test_short_bonds_come_first_and_angles_are_sorted_by_the_bond_that_receives(crystals):
    found = build(crystals.mptrj_like(3), **CUTOFFS)
    length = np.linalg.norm(found.vector, axis=1)
    assert (length[: found.n_short] < 3).all()
    assert (length[found.n_short :] >= 3).all()
    assert (np.diff(found.first) >= 0).all()


def test_fcc_copper_has_its_shells():
    found = build([bulk("Cu", a=3.6)], atom_cutoff=3.7, bond_cutoff=2.6)
    # 12 nearest at a/√2 = 2.55 Å and 6 at a = 3.6 Å; each of the 12 makes an angle with the other 11
    assert (len(found.center), found.n_short, len(found.vertex)) == (9, 6, 132)
    assert found.size == 150


def test_no_structures_make_an_empty_graph():
    found = build([], **CUTOFFS)
    assert (len(found.center), len(found.vertex), found.size) == (0, 0, 0)


def test_isolated_atoms_are_named_by_the_place_of_their_structure():
    alone = Atoms("He", cell=[9, 9, 9], pbc=True)
    with pytest.raises(ModelError, match=r"2 of 3 structures .*structure 1, 2 has an isolated atom: .* within 6 Å"):
        build([bulk("Cu"), alone, alone], **CUTOFFS)
    assert build([alone], **CUTOFFS, isolated="allow").size == 0


@pytest.mark.parametrize(
    ("atoms", "reason"),
    [
        (Atoms(cell=[5, 5, 5], pbc=True), "no atoms"),
        (Atoms("H", cell=[5, 5, 0], pbc=True), "a cell without volume"),
        (Atoms("H", positions=[[np.nan, 0, 0]], cell=[5, 5, 5], pbc=True), "not finite"),
        (Atoms("H", cell=[np.inf, 5, 5], pbc=True), "not finite"),
        (Atoms("H2", cell=[5, 5, 5], pbc=True), "two atoms at the same place"),
    ],
)
def test_a_broken_structure_is_named(atoms, reason):
    with pytest.raises(ModelError, match=rf"1 of 2 structures cannot be predicted: structure 1 has .*{reason}"):
        build([bulk("Cu"), atoms], **CUTOFFS)


def test_many_bad_structures_are_counted_and_the_first_ten_named():
    alone = Atoms("He", cell=[9, 9, 9], pbc=True)
    with pytest.raises(ModelError, match=r"12 of 12 structures .*structure 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … has"):
        build([alone] * 12, **CUTOFFS)


def lengths(graphs):
    return np.sort(np.linalg.norm(graphs.vector, axis=1))


def test_the_choice_of_cell_does_not_matter(crystals):
    atoms = crystals.small(1, seed=5)[0]
    other = atoms.copy()
    # another basis of the same lattice
    other.set_cell(np.array([[1, 1, 0], [0, 1, 0], [2, 0, 1]]) @ atoms.cell.array)
    a, b = build([atoms], **CUTOFFS), build([other], **CUTOFFS)
    np.testing.assert_allclose(lengths(a), lengths(b), atol=1e-10)
    assert (a.n_short, len(a.vertex)) == (b.n_short, len(b.vertex))


def test_shifting_all_atoms_does_not_matter(crystals):
    atoms = crystals.small(1, seed=6)[0]
    moved = atoms.copy()
    moved.positions += [1.3, -0.7, 20.1]
    assert as_sets(build([atoms], **CUTOFFS)) == as_sets(build([moved], **CUTOFFS))


def test_the_order_of_atoms_only_renames_them(crystals):
    atoms = crystals.small(1, seed=7)[0]
    order = np.random.default_rng(0).permutation(len(atoms))
    place = np.argsort(order)
    bonds, angles = as_sets(build([atoms], **CUTOFFS))

    def renamed(bond):
        return int(place[bond[0]]), int(place[bond[1]]), bond[2]

    expected = {renamed(bond) for bond in bonds}, {(int(place[v]), renamed(a), renamed(b)) for v, a, b in angles}
    assert as_sets(build([atoms[order]], **CUTOFFS)) == expected


def test_a_supercell_has_as_many_bonds_per_atom(crystals):
    atoms = crystals.small(1, seed=8)[0]
    one, eight = build([atoms], **CUTOFFS), build([atoms.repeat(2)], **CUTOFFS)
    assert (len(eight.center), eight.n_short, eight.size) == (8 * len(one.center), 8 * one.n_short, 8 * one.size)
    np.testing.assert_allclose(lengths(eight), np.repeat(lengths(one), 8), atol=1e-10)


def test_every_bond_of_an_angle_leaves_its_vertex(crystals):
    found = build(crystals.mptrj_like(2, seed=9), **CUTOFFS)
    start = np.concatenate([found.center[: found.n_short], found.neighbor[: found.n_short]])
    np.testing.assert_array_equal(start[found.first], found.vertex)
    np.testing.assert_array_equal(start[found.second], found.vertex)
    assert (found.first != found.second).all()


def test_the_cutoff_of_bonds_may_be_that_of_angles():
    found = build([bulk("Cu", a=3.6)], atom_cutoff=2.6, bond_cutoff=2.6)
    assert found.n_short == len(found.center) == 6

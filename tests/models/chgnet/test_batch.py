"""Graphs as tensors: what is in them, and what the sums add up."""

from __future__ import annotations

import numpy as np
import torch
from ase.build import bulk

from xferbench.models.chgnet.batch import Batch
from xferbench.models.chgnet.graph import build
from xferbench.models.chgnet.operations import sum_rows

CPU = torch.device("cpu")


def make(structures, **cutoffs):
    graphs = build(structures, **{"atom_cutoff": 4.0, "bond_cutoff": 3.0} | cutoffs)
    return graphs, Batch.from_graphs(graphs, dtype=torch.float64, device=CPU)


def test_arrays_have_their_shapes_kinds_and_values(crystals):
    structures = crystals.small(3)
    graphs, batch = make(structures)
    assert batch.counts.tolist() == [8, 8, 8]
    assert batch.owner.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert batch.vector.shape == (len(graphs.center), 3)
    assert batch.vector.dtype == torch.float64
    assert batch.n_angles == len(graphs.vertex)
    np.testing.assert_allclose(batch.volumes, [abs(np.linalg.det(atoms.cell.array)) for atoms in structures])


def test_a_left_handed_cell_has_a_positive_volume():
    atoms = bulk("Cu")
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    assert make([atoms])[1].volumes.item() > 0


def test_ends_add_the_two_atoms_and_the_bond():
    graphs, batch = make([bulk("NaCl", "rocksalt", a=5.6)])
    n_atoms, n_bonds = len(graphs.crystals.numbers), len(graphs.center)
    table = torch.arange(2 * n_atoms + n_bonds, dtype=torch.float64)[:, None]
    found = sum_rows(table, batch.ends)[:, 0].reshape(n_bonds, 2).numpy()
    bond = 2 * n_atoms + np.arange(n_bonds)
    np.testing.assert_array_equal(found[:, 0], 2 * graphs.center + 2 * graphs.neighbor + 1 + bond)
    np.testing.assert_array_equal(found[:, 1], 2 * graphs.neighbor + 2 * graphs.center + 1 + bond)


def test_atoms_receive_from_the_directed_bonds_that_start_there():
    graphs, batch = make([bulk("NaCl", "rocksalt", a=5.6)])
    received = sum_rows(torch.ones(2 * len(graphs.center), 1, dtype=torch.float64), batch.receive)
    both_ends = np.concatenate([graphs.center, graphs.neighbor])
    np.testing.assert_array_equal(received[:, 0], np.bincount(both_ends))


def test_angles_read_and_feed_the_right_bonds(crystals):
    graphs, batch = make(crystals.small(2))
    n_short, n_atoms = graphs.n_short, len(graphs.crystals.numbers)
    first, second = graphs.first % n_short, graphs.second % n_short
    table = torch.arange(2 * n_short + n_atoms, dtype=torch.float64)[:, None]
    corners = sum_rows(table, batch.corners)[:, 0]
    np.testing.assert_array_equal(corners, 2 * first + 2 * second + 1 + 2 * n_short + graphs.vertex)
    bonds = torch.arange(n_short, dtype=torch.float64)[:, None]
    np.testing.assert_array_equal(sum_rows(bonds, batch.others)[:, 0], second)
    collected = sum_rows(torch.ones(len(first), 1, dtype=torch.float64), batch.collect)
    np.testing.assert_array_equal(collected[:, 0], np.bincount(first, minlength=n_short))


def test_only_bonds_of_crystals_with_angles_are_angled():
    copper, sparse = bulk("Cu", a=3.6), bulk("Po", "sc", a=3.5)
    graphs, batch = make([copper, sparse])
    np.testing.assert_array_equal(batch.angled[:, 0], graphs.crystals.owner[graphs.center] == 0)


def test_geometry_is_double_whatever_the_network_is(crystals):
    graphs = build(crystals.small(1), atom_cutoff=6, bond_cutoff=3)
    batch = Batch.from_graphs(graphs, dtype=torch.float32, device=CPU)
    assert (batch.vector.dtype, batch.volumes.dtype, batch.angled.dtype) == (
        torch.float64,
        torch.float64,
        torch.float32,
    )
    np.testing.assert_array_equal(batch.vector, graphs.vector)

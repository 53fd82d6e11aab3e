"""Are two structures the same, whatever their cells, the order of their atoms, and their volumes?

A structure is described by how far its atoms are from their neighbours. For each ordered pair of elements A, B: the distances
from an A atom to its nearest, second nearest, … 24th B neighbour, cut off at ``REACH``, averaged over the A atoms. Lengths are
in units of s = (volume per atom)^(1/3), at most ``LARGEST``. Two structures of one reduced composition are the same if no
entry differs by more than the tolerance.

- Shifts, rotations, mirror images, supercells, other axes and other orders of atoms change nothing; nor does a uniform
  change of volume.
- Nothing is missed within the tolerance: if every atom is within d of its partner (after the two are brought to one volume),
  every distance differs by at most 2 d, and so does every k-th smallest of them, cut off or not, and every mean of those. So
  structures are found whenever d is at most half the tolerance times s, 0.06 Å at the usual density.
- Beyond that, structures with larger strains or displacements, snapshots of molecular dynamics for instance, are others.
- Structures that differ only beyond ``REACH``, or only in magnetic order, are taken for the same. Close packings (fcc and
  hcp), zinc blende and wurtzite, and orderings on one lattice are told apart.

It is the average minimum distance of Widdowson and others (MATCH 87, 529, 2022), told by elements and cut off.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Mask = NDArray[np.bool_]

TOLERANCE = 0.05
"""In units of s."""

REACH = 2.0
NEIGHBOURS = 24
LARGEST = 4.0
"""Å. Atoms in a vacuum have no meaningful volume; beyond this, lengths are compared as they are."""

MOST_ATOMS = 2000
MOST_IMAGES = 1 << 15

BLOCK = 1 << 20
"""Distances that are held in memory at a time."""


def fingerprint(numbers: Integers, positions: Floats, cell: Floats, pbc: Mask) -> Floats | None:
    """The description of a structure.

    Args:
        numbers: (n,) atomic numbers.
        positions: (n, 3) Å.
        cell: (3, 3) Å, one lattice vector per row.
        pbc: (3,) periodic directions.

    Returns:
        (elements² · 24,) distances, elements by atomic number; none of more than ``MOST_ATOMS`` atoms, or if the cell is so
        flat that it has more than ``MOST_IMAGES`` within reach: neither is a crystal that a data set has.
    """
    if len(numbers) > MOST_ATOMS:
        return None
    scale = _scale(len(numbers), cell, pbc)
    elements = np.unique(numbers)
    members = [np.flatnonzero(numbers == element) for element in elements]
    sums = np.zeros((len(elements), len(elements), NEIGHBOURS))
    inverse = np.linalg.pinv(cell / scale).astype(np.float64)
    crystal = _Crystal(positions / scale, cell / scale, inverse, pbc)
    images = crystal.images(REACH)
    if images is None:
        return None
    size = max(1, BLOCK // (len(numbers) * len(images)))
    for (a, centres), (b, others) in product(enumerate(members), repeat=2):
        for start in range(0, len(centres), size):
            apart = crystal.distances(centres[start : start + size], others, images)
            sums[a, b] += _nearest(apart).sum(axis=0)
        sums[a, b] /= len(centres)
    return sums.ravel()


def same(first: Floats, others: Floats, tolerance: float = TOLERANCE) -> Mask:
    """Which structures are the same as one.

    Args:
        first: (k,) its description.
        others: (m, k) theirs, of the same reduced composition.
        tolerance: In units of s.
    """
    agree: Mask = np.abs(others - first).max(axis=1) <= tolerance
    return agree


def _scale(n: int, cell: Floats, pbc: Mask) -> float:
    volume = abs(float(np.linalg.det(cell))) / n
    return min(volume ** (1 / 3), LARGEST) if pbc.all() and volume > 0 else LARGEST


class _Crystal(NamedTuple):
    """Atoms and their lattice, in units of s."""

    positions: Floats
    cell: Floats
    inverse: Floats
    pbc: Mask

    def images(self, reach: float) -> Floats | None:
        """(m, 3) lattice vectors, in units of the cell, that may bring the nearest image of an atom within reach."""
        far = np.where(self.pbc, np.floor(reach * np.linalg.norm(self.inverse, axis=0) + 0.5), 0.0)
        if not np.prod(2 * far + 1) <= MOST_IMAGES:
            return None
        far = far.astype(int)
        return np.array(list(product(*(range(-n, n + 1) for n in far))), dtype=float)

    def distances(self, centres: Integers, others: Integers, images: Floats) -> Floats:
        """(centres, others · images) distances, that of an atom to itself infinite."""
        apart = self.positions[others][None] - self.positions[centres][:, None]
        apart -= np.where(self.pbc, np.rint(apart @ self.inverse), 0.0) @ self.cell
        vectors = apart[:, :, None] + images @ self.cell
        found: Floats = np.sqrt(np.einsum("abmi,abmi->abm", vectors, vectors))
        own = np.flatnonzero((images == 0).all(axis=1))
        found[np.equal.outer(centres, others), own] = np.inf
        return found.reshape(len(centres), -1)


def _nearest(distances: Floats) -> Floats:
    """(rows, 24) the smallest of each row in order, cut off at ``REACH``."""
    found = np.full((len(distances), NEIGHBOURS), REACH)
    k = min(NEIGHBOURS, distances.shape[1])
    if distances.shape[1] > NEIGHBOURS:
        distances = np.partition(distances, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    found[:, :k] = np.minimum(np.sort(distances, axis=1), REACH)
    return found

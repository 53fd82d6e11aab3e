"""Random crystals for the benchmarks and tests of the CHGNet engine: dense, of all elements, reproducible by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

if TYPE_CHECKING:
    from collections.abc import Sequence

ELEMENTS = [z for z in range(1, 95) if z not in {84, 85, 86, 87, 88}]
"""The 89 elements of MPtrj: hydrogen to plutonium without Po, At, Rn, Fr, Ra."""

R2SCAN_ELEMENTS = [z for z in ELEMENTS if z != 70]
"""Without Yb, which the r2SCAN weights have no reference for."""

CONTACT = 2.3
"""Å. Atoms closer than this are pushed apart."""


def crystal(
    rng: np.random.Generator,
    n_atoms: int,
    *,
    volume: float = 15.7,
    skew: float = 0.25,
    elements: Sequence[int] = ELEMENTS,
) -> Atoms:
    """A random crystal of up to four elements.

    Args:
        rng: Source of chance.
        n_atoms: In the cell.
        volume: Å³ per atom; 15.7 gives the 58 neighbours within 6 Å that crystals of MPtrj have on average.
        skew: Spread of the cell's off-diagonal entries relative to its edge.
        elements: Atomic numbers to draw from.
    """
    cell = np.eye(3) + rng.normal(0, skew, (3, 3))
    while abs(np.linalg.det(cell)) < 0.1:
        cell = np.eye(3) + rng.normal(0, skew, (3, 3))
    cell *= (n_atoms * volume / abs(np.linalg.det(cell))) ** (1 / 3)
    fractional = rng.random((n_atoms, 3))
    inverse = np.linalg.inv(cell)
    for _ in range(60):
        between = fractional[:, None] - fractional[None]
        vector = (between - np.round(between)) @ cell
        distance = np.linalg.norm(vector, axis=-1) + 9 * np.eye(n_atoms)
        overlap = np.where(distance < CONTACT, (CONTACT - distance) / 2, 0)
        if not overlap.any():
            break
        push = (vector * (overlap / distance)[..., None]).sum(1)
        fractional = (fractional + 0.8 * push @ inverse) % 1
    numbers = rng.choice(rng.choice(elements, size=min(n_atoms, 4)), n_atoms)
    return Atoms(numbers, scaled_positions=fractional, cell=cell, pbc=True)


def mptrj_like(n: int, *, seed: int = 0, elements: Sequence[int] = ELEMENTS) -> list[Atoms]:
    """Crystals of 2 to 120 atoms, 25 on average."""
    rng = np.random.default_rng(seed)
    sizes = np.clip(rng.lognormal(2.9, 0.8, n), 2, 120).astype(int)
    return [crystal(rng, int(size), elements=elements) for size in sizes]


def small(n: int, *, seed: int = 1, elements: Sequence[int] = ELEMENTS) -> list[Atoms]:
    """Crystals of 8 atoms."""
    rng = np.random.default_rng(seed)
    return [crystal(rng, 8, elements=elements) for _ in range(n)]


def awkward(n: int, *, seed: int = 2, elements: Sequence[int] = ELEMENTS) -> list[Atoms]:
    """Crystals that break sloppy neighbour lists.

    In turn: one atom in a tiny cell; strongly skewed; a slab with vacuum; loose, atoms far outside the cell; a needle.
    """
    rng = np.random.default_rng(seed)
    structures = []
    for index in range(n):
        kind = index % 5
        if kind == 0:
            atoms = crystal(rng, 1, volume=rng.uniform(9, 40), skew=0.3, elements=elements)
        elif kind == 1:
            atoms = crystal(rng, int(rng.integers(2, 12)), skew=0.8, elements=elements)
        elif kind == 2:
            atoms = crystal(rng, int(rng.integers(4, 20)), elements=elements)
            atoms.cell[2] *= 3
            atoms.pbc = [True, True, bool(index % 2)]
        elif kind == 3:
            atoms = crystal(rng, int(rng.integers(2, 20)), volume=rng.uniform(15, 35), elements=elements)
            atoms.positions += rng.integers(-3, 4, (len(atoms), 3)) @ atoms.cell.array
        else:
            atoms = crystal(rng, 6, elements=elements).repeat((1, 1, int(rng.integers(2, 5))))
            atoms.rattle(0.05, seed=index)
        structures.append(atoms)
    return structures

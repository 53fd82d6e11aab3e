"""Random crystals for the benchmarks and tests of the CHGNet engine: dense, of all elements, reproducible by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii

from xferbench.models.chgnet.graph import build

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


NONMETALS = [1, 6, 7, 8, 9, 15, 16, 17, 34, 35, 53]
"""What sits between metals, and does not touch its like."""

NOBLE = {2: 1.8, 10: 1.57, 18: 1.88, 36: 2.0, 54: 2.2}
"""Half of the shortest distance in the solid, Å; covalent radii mean little here."""

PROTOTYPES: dict[str, Atoms] = {
    "fcc": bulk("H", "fcc", a=1),
    "bcc": bulk("H", "bcc", a=1),
    "hcp": bulk("H", "hcp", a=1, c=1.63),
    "diamond": bulk("H", "diamond", a=1),
    "cesiumchloride": bulk("HHe", "cesiumchloride", a=1),
    "Cu3Au": Atoms("HHe3", scaled_positions=[[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], cell=np.eye(3)),
    "rocksalt": bulk("HLi", "rocksalt", a=1),
    "zincblende": bulk("HLi", "zincblende", a=1),
    "wurtzite": bulk("HLi", "wurtzite", a=1, c=1.63),
    "fluorite": bulk("HLi2", "fluorite", a=1),
    "perovskite": Atoms(
        "HHeLi3",
        scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
        cell=np.eye(3),
    ),
    "rutile": Atoms(
        "H2Li4",
        scaled_positions=[
            [0, 0, 0],
            [0.5, 0.5, 0.5],
            [0.305, 0.305, 0],
            [0.695, 0.695, 0],
            [0.195, 0.805, 0.5],
            [0.805, 0.195, 0.5],
        ],
        cell=[1, 1, 0.64],
    ),
}
"""Hydrogen and helium stand for two metals, lithium for a nonmetal; edges of one, to be scaled."""


def contacts(numbers: np.ndarray) -> np.ndarray:
    """Distances (n, n) Å at which pairs of atoms touch: sums of covalent radii, between nonmetals 1.6 of it."""
    radii = covalent_radii.copy()
    for number, radius in NOBLE.items():
        radii[number] = radius
    like = np.isin(numbers, NONMETALS)
    return (radii[numbers][:, None] + radii[numbers]) * np.where(like[:, None] & like, 1.6, 1.0)


def closest(atoms: Atoms) -> float:
    """Smallest distance of two atoms relative to their contact."""
    touch = contacts(atoms.numbers)
    found = build([atoms], atom_cutoff=6, bond_cutoff=0.1, isolated="allow")
    length = np.linalg.norm(found.vector, axis=1)
    return float((length / touch[found.center, found.neighbor]).min(initial=np.inf))


def decorated(rng: np.random.Generator, element: int, n_atoms: int, elements: Sequence[int]) -> Atoms:
    """A common crystal structure with ``element`` in it, scaled so that atoms touch, strained and rattled by 0.05 Å."""
    ionic = element in NONMETALS
    names = [name for name, prototype in PROTOTYPES.items() if not ionic or 3 in prototype.numbers]
    atoms = PROTOTYPES[rng.choice(names)].copy()
    metals = [z for z in elements if z not in NONMETALS and z not in NOBLE]
    first = rng.choice(metals) if ionic else element
    species = {1: first, 2: rng.choice(metals), 3: element if ionic else rng.choice(NONMETALS)}
    atoms.numbers = [species[z] for z in atoms.numbers]
    atoms.pbc = True
    atoms.set_cell(atoms.cell * 5, scale_atoms=True)
    atoms.set_cell(atoms.cell * (rng.uniform(1.0, 1.1) / closest(atoms)), scale_atoms=True)
    while 2 * len(atoms) <= n_atoms:
        repeat = [1, 1, 1]
        repeat[int(np.argmin(atoms.cell.lengths()))] = 2
        atoms = atoms.repeat(repeat)
    strain = rng.normal(0, 0.01, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
    return atoms


def packed(rng: np.random.Generator, element: int, n_atoms: int, elements: Sequence[int]) -> Atoms:
    """A random packing of ``element`` and up to two others, hardly two atoms closer than their contact."""
    metals = [z for z in elements if z not in NONMETALS and z not in NOBLE]
    others = [rng.choice(metals), rng.choice(NONMETALS)]
    numbers = rng.choice([element, *others], n_atoms)
    numbers[0] = element
    touch = contacts(numbers)
    volume = 0.7 * float((touch**3).mean(1).sum())
    atoms = crystal(rng, n_atoms, volume=volume / n_atoms, skew=0.15)
    atoms.numbers = numbers
    for _ in range(400):
        found = build([atoms], atom_cutoff=float(touch.max()), bond_cutoff=0.1, isolated="allow")
        length = np.linalg.norm(found.vector, axis=1)
        overlap = np.maximum(touch[found.center, found.neighbor] - length, 0)
        if overlap.max(initial=0) < 0.01:
            break
        push = found.vector * (0.4 * overlap / length)[:, None]
        np.add.at(atoms.positions, found.neighbor, push)
        np.add.at(atoms.positions, found.center, -push)
        atoms.set_cell(atoms.cell * 1.002, scale_atoms=True)
    return atoms


def sensible(n: int, *, seed: int = 3, elements: Sequence[int] = ELEMENTS) -> list[Atoms]:
    """Crystals of 1 to 200 atoms near contact; every element leads in turn, two thirds are common structures."""
    rng = np.random.default_rng(seed)
    structures = []
    for index in range(n):
        element = elements[index % len(elements)]
        size = int(np.clip(rng.lognormal(2.3, 1.2), 1, 200))
        make = packed if index % 3 == 2 else decorated
        structures.append(make(rng, element, size, elements))
    return structures

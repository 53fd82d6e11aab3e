"""A handful of small strained and rattled crystals of any given elements, for checking a potential on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ase import Atoms

CRYSTALS = (
    ("MgO", "rocksalt", 4.21),
    ("Si", "diamond", 5.43),
    ("NiAl", "cesiumchloride", 2.88),
    ("Cu", "fcc", 3.61),
    ("NaCl", "rocksalt", 5.64),
    ("Fe", "bcc", 2.87),
    ("Al", "fcc", 4.05),
    ("LiF", "rocksalt", 4.03),
    ("C", "diamond", 3.57),
)
"""Formula, lattice and lattice constant in Å, the kinds of bonding mixed."""

STRAIN = np.array([[0.03, 0.03, -0.02], [0.03, -0.02, 0.04], [-0.02, 0.04, 0.01]])
"""Makes all six stress components different from each other and from zero."""

RATTLE = 0.06
"""Standard deviation of the displacements in Å: forces of about 1 eV/Å."""


def candidates(supported: Collection[str] | None) -> Iterator[Atoms]:
    """Distorted crystals of four atoms, of supported elements only, the most ordinary first.

    Args:
        supported: Chemical symbols; ``None`` for any.
    """
    from ase.build import bulk
    from ase.formula import Formula

    found = 0
    for seed, (formula, lattice, a) in enumerate(CRYSTALS):
        if supported is None or set(Formula(formula).count()) <= set(supported):
            yield distort(bulk(formula, lattice, a=a), seed)
            found += 1
    if not found and supported is not None:
        symbols = sorted(supported)
        for seed, first in enumerate(symbols[:3]):
            yield distort(close_packed(first, symbols[(seed + 1) % len(symbols)]), seed)


def distort(crystal: Atoms, seed: int) -> Atoms:
    """A crystal of four atoms out of a primitive cell of one or two: repeated, strained and rattled."""
    atoms = crystal.repeat((2, 2, 1) if len(crystal) == 1 else (2, 1, 1))
    atoms = strained(atoms, STRAIN)
    atoms.positions += np.random.default_rng(seed).normal(0.0, RATTLE, atoms.positions.shape)
    return atoms


def strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    """A copy with cell and positions, both row vectors, multiplied by 1 + ``strain`` (3, 3, symmetric)."""
    copy: Atoms = atoms.copy()
    copy.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def one_atom(symbol: str) -> Atoms:
    """A face-centred cubic primitive cell of one atom, neighbours at twice the covalent radius."""
    from ase.build import bulk

    return bulk(symbol, "fcc", a=2 * _radius(symbol) * np.sqrt(2))


def close_packed(first: str, second: str) -> Atoms:
    """A CsCl cell of two elements, or a single atom if they are one, neighbours at the sum of the covalent radii."""
    from ase.build import bulk

    if first == second:
        return one_atom(first)
    return bulk(first + second, "cesiumchloride", a=2 * (_radius(first) + _radius(second)) / np.sqrt(3))


def largest_element(atoms: Atoms) -> str:
    """The symbol of the element with the largest covalent radius: the most metallic one."""
    symbols: list[str] = atoms.get_chemical_symbols()
    return max(sorted(set(symbols)), key=_radius)


def _radius(symbol: str) -> float:
    from ase.data import atomic_numbers, covalent_radii

    return float(covalent_radii[atomic_numbers[symbol]])

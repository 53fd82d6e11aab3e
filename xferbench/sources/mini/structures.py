"""The structures of ``mini``: few elements, many compounds, several polymorphs of most compositions.

Every element occurs in several compositions, so that elemental references fitted on the training materials cover the
test materials. Most compositions come in several prototypes, and each prototype in perturbed copies:

| kind | copy |
|---|---|
| ``v0`` … ``v4`` | the cell scaled to 0.88, 0.94, 1.00, 1.06, 1.13 of its starting volume: an equation of state |
| ``strain0``, ``strain1``, … | a random strain of up to 5 % |
| ``rattle0``, ``rattle1``, … | normal displacements of 0.12 Å and a random strain of up to 2 % |

``lattice.json`` holds the factor that brings each guessed lattice parameter to zero pressure in CHGNet 0.3.0. It only
chooses where on the curve a structure is sampled; nothing else of a model enters. Many polymorphs are hypothetical.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ase import Atoms

LATTICE = Path(__file__).with_name("lattice.json")

GUESSES = {
    "rocksalt": 5.0,
    "zincblende": 5.3,
    "cesiumchloride": 3.1,
    "bcc": 3.3,
    "fcc": 4.1,
    "diamond": 5.2,
    "fluorite": 5.5,
    "antifluorite": 5.5,
}
"""Prototype -> guessed cubic lattice parameter in Å, which ``lattice.json`` corrects."""

BINARIES = (
    (("Li", "Na", "K"), ("F", "Cl", "Br"), ("rocksalt", "cesiumchloride", "zincblende"), ()),
    (("Mg", "Ca", "Zn"), ("O", "S", "Se"), ("rocksalt", "zincblende", "cesiumchloride"), ()),
    (("B", "Al", "Ga"), ("N", "P", "As"), ("zincblende", "rocksalt"), ("rocksalt",)),
    (("Si", "Ge"), ("C",), ("zincblende", "rocksalt"), ("rocksalt",)),
    (("Ti", "V"), ("C", "N"), ("rocksalt", "zincblende"), ("rocksalt", "zincblende")),
    (("Cu",), ("Cl", "Br"), ("zincblende", "rocksalt"), ()),
)
"""First elements, second elements, prototypes, and those prototypes that get the denser k-point mesh of a metal."""

INTERMETALLICS = ("MgZn", "NiAl", "FeAl", "TiFe", "LiAl", "CuZn", "TiNi", "CaMg")

ELEMENTS = {
    "Li": ("bcc", "fcc"),
    "Na": ("bcc", "fcc"),
    "K": ("bcc", "fcc"),
    "Mg": ("fcc", "bcc"),
    "Ca": ("fcc", "bcc"),
    "Zn": ("fcc", "bcc"),
    "Al": ("fcc", "bcc"),
    "C": ("diamond",),
    "Si": ("diamond", "fcc"),
    "Ge": ("diamond", "fcc"),
    "Ti": ("fcc", "bcc"),
    "V": ("bcc", "fcc"),
    "Cu": ("fcc", "bcc"),
    "Ni": ("fcc", "bcc"),
    "Fe": ("bcc", "fcc"),
    "Ga": ("fcc",),
}

ANTIFLUORITES = (("Li", "O"), ("Na", "O"), ("K", "O"), ("Li", "S"), ("Na", "S"), ("Mg", "Si"), ("Mg", "Ge"))
FLUORITES = (("Ca", "F"), ("Mg", "F"), ("Ca", "Cl"))

MOMENTS = {"Fe": 2.3, "Ni": 0.7}
"""Initial magnetic moments in µB. A structure with one of these elements is calculated spin-polarised, no other is."""

VOLUMES = {"v0": 0.88, "v1": 0.94, "v2": 1.0, "v3": 1.06, "v4": 1.13}
STRAINS = {"strain": 0.05, "rattle": 0.02}
RATTLE = 0.12
"""Standard deviation of a rattled coordinate in Å."""

KINDS = ("v2", "rattle0", "v4", "v0", "strain0", "v1", "v3", "rattle1", "strain1")
"""The perturbations the generator makes, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seed:
    """A prototype filled with elements, before any perturbation.

    Attributes:
        name: ``<formula>_<prototype>``.
        atoms: Primitive cell at the starting volume, with initial magnetic moments where it has any.
        metal: Whether it gets the denser k-point mesh of a metal.
        spin_polarised: Whether it is calculated with spin.
    """

    name: str
    prototype: str
    atoms: Atoms
    metal: bool
    spin_polarised: bool


@cache
def seeds() -> dict[str, Seed]:
    """Every seed structure by name, at its starting volume. Copy its atoms before changing them."""
    scales = {name: entry["scale"] for name, entry in json.loads(LATTICE.read_text()).items()}
    found = [_seed(formula, site, prototype, metal, scales) for formula, site, prototype, metal in _prototypes()]
    return {seed.name: seed for seed in found}


def perturbed(name: str, kind: str) -> Atoms:
    """One copy of a seed structure; the same name and kind always give the same numbers.

    Raises:
        UsageError: There is no such kind of copy.
    """
    return perturb(seeds()[name].atoms, kind, np.random.default_rng(random_seed(name, kind)))


def random_seed(name: str, kind: str) -> int:
    """Seed of a copy's random numbers: 32 bits of a hash, so that adding structures never changes the others."""
    return int(hashlib.sha256(f"{name}|{kind}".encode()).hexdigest()[:8], 16)


def perturb(atoms: Atoms, kind: str, rng: np.random.Generator) -> Atoms:
    """Scale, strain or rattle a copy of ``atoms``; initial magnetic moments are kept.

    Raises:
        UsageError: There is no such kind of copy.
    """
    check_kind(kind)
    atoms = atoms.copy()
    if kind in VOLUMES:
        atoms.set_cell(atoms.cell.array * VOLUMES[kind] ** (1 / 3), scale_atoms=True)
        return atoms
    family = kind.rstrip("0123456789")
    strain = rng.uniform(-STRAINS[family], STRAINS[family], (3, 3))
    strain = 0.5 * (strain + strain.T)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    if family == "rattle" and len(atoms) > 1:
        atoms.positions += rng.normal(0.0, RATTLE, atoms.positions.shape)
    return atoms


def check_kind(kind: str) -> str:
    """Return ``kind`` if structures can be perturbed that way.

    Raises:
        UsageError: They cannot.
    """
    if kind not in VOLUMES and re.fullmatch(r"(strain|rattle)\d+", kind) is None:
        raise UsageError(f"unknown kind of copy {kind!r}; known: {', '.join(VOLUMES)}, strain0, strain1, …, rattle0, …")
    return kind


def has_free_coordinates(seed: Seed) -> bool:
    """Whether strained and rattled copies are worth their cost: one atom has no internal coordinate to displace."""
    return len(seed.atoms) > 1


def hash_order(names: Iterable[str]) -> list[str]:
    """Names by their hash: an order without chemistry in it, in which any first part is a fair sample."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


def material_id(symbols: Sequence[str]) -> str:
    """The material of a structure: its reduced composition, as pymatgen writes it ("NaCl", "Mg2Si", "Si")."""
    return _reduced_formula(tuple(sorted(symbols)))


@cache
def _reduced_formula(symbols: tuple[str, ...]) -> str:
    from pymatgen.core.composition import Composition

    return str(Composition({symbol: symbols.count(symbol) for symbol in symbols}).reduced_formula)


def _prototypes() -> Iterator[tuple[str, str, str, bool]]:
    """Formula, elements in the order of the prototype's sites, prototype, metallic k-point mesh."""
    for firsts, seconds, prototypes, metallic in BINARIES:
        for first in firsts:
            for second in seconds:
                for prototype in prototypes:
                    yield f"{first}{second}", f"{first}{second}", prototype, prototype in metallic
    for formula in INTERMETALLICS:
        yield formula, formula, "cesiumchloride", True
    for element, crystals in ELEMENTS.items():
        for prototype in crystals:
            yield element, element, prototype, prototype != "diamond"
    for first, second in ANTIFLUORITES:
        yield f"{first}2{second}", f"{second}{first}{first}", "antifluorite", False
    for first, second in FLUORITES:
        yield f"{first}{second}2", f"{first}{second}{second}", "fluorite", False


def _seed(formula: str, sites: str, prototype: str, metal: bool, scales: dict[str, float]) -> Seed:
    from ase.build import bulk

    name = f"{formula}_{prototype}"
    crystal = "fluorite" if prototype == "antifluorite" else prototype
    atoms = bulk(sites, crystal, a=GUESSES[prototype])
    atoms.set_cell(atoms.cell.array * scales[name], scale_atoms=True)
    symbols = atoms.get_chemical_symbols()
    spin = any(symbol in MOMENTS for symbol in symbols)
    if spin:
        atoms.set_initial_magnetic_moments([MOMENTS.get(symbol, 0.0) for symbol in symbols])
    return Seed(name=name, prototype=prototype, atoms=atoms, metal=metal, spin_polarised=spin)

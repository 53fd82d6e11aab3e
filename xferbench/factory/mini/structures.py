"""The crystals of ``mini``: prototypes, the elements in them, and what is known of each before anything is computed.

``structures.toml`` is the list; a prototype here is a lattice and the sites in it. A crystal of the list is a *seed*: what is
computed are copies of it (``plan``).
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from xferbench.sources.mini import SPLIT
from xferbench.sources.mini.recordfile import material_id
from xferbench.splits import assign

if TYPE_CHECKING:
    from ase import Atoms

    Bonding = Literal["ionic", "covalent", "metallic"]
    Site = tuple[int, float, float, float]

LIST = Path(__file__).with_name("structures.toml")

MOMENTS = {"Cr": 3.0, "Mn": 3.5, "Fe": 2.3, "Co": 1.7, "Ni": 0.9}
"""Initial magnetic moments in µB. A crystal with one of these elements is calculated spin-polarised, no other is."""

CENTRING = {
    "P": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "F": ((0, 1 / 2, 1 / 2), (1 / 2, 0, 1 / 2), (1 / 2, 1 / 2, 0)),
    "I": ((-1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (1 / 2, 1 / 2, -1 / 2)),
    "R": ((2 / 3, 1 / 3, 1 / 3), (-1 / 3, 1 / 3, 1 / 3), (-1 / 3, -2 / 3, 1 / 3)),
}
"""Primitive vectors in units of the conventional ones, one per row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prototype:
    """A crystal structure without its elements.

    Attributes:
        axes: Of the conventional cell: cubic, tetragonal or hexagonal.
        centring: Key of ``CENTRING``.
        sites: Of the primitive cell: (which element of the formula, fractions of the conventional cell).
        free_shape: Whether the shape of the cell or an inner coordinate is not fixed by symmetry.
        signs: Of the initial moments, site by site; empty if all are parallel.
    """

    axes: Literal["cubic", "tetragonal", "hexagonal"]
    centring: Literal["P", "F", "I", "R"]
    sites: tuple[Site, ...]
    free_shape: bool = False
    signs: tuple[int, ...] = ()


def _octahedron(element: int, x: float) -> tuple[Site, ...]:
    """Six sites on the cubic axes at the distance ``x``."""
    return tuple(
        (element, *(sign * x if axis == direction else 0.0 for direction in range(3)))  # type: ignore[misc]
        for axis in range(3)
        for sign in (1, -1)
    )


def _triangles(element: int, x: float) -> tuple[Site, ...]:
    """Six sites of two opposite triangles around the threefold axis at 1/4 and 3/4, as oxygen in corundum and calcite."""
    return tuple(
        (element, sign * a, sign * b, z)
        for sign, z in ((1, 1 / 4), (-1, 3 / 4))
        for a, b in ((x, 0.0), (0.0, x), (-x, -x))
    )


_RUTILE: tuple[Site, ...] = (
    (0, 0, 0, 0),
    (0, 0.5, 0.5, 0.5),
    (1, 0.305, 0.305, 0),
    (1, -0.305, -0.305, 0),
    (1, 0.805, 0.195, 0.5),
    (1, 0.195, 0.805, 0.5),
)

PROTOTYPES = {
    "fcc": Prototype(axes="cubic", centring="F", sites=((0, 0, 0, 0),)),
    "bcc": Prototype(axes="cubic", centring="I", sites=((0, 0, 0, 0),)),
    "bccafm": Prototype(axes="cubic", centring="P", sites=((0, 0, 0, 0), (0, 0.5, 0.5, 0.5)), signs=(1, -1)),
    "diamond": Prototype(axes="cubic", centring="F", sites=((0, 0, 0, 0), (0, 0.25, 0.25, 0.25))),
    "hcp": Prototype(
        axes="hexagonal", centring="P", sites=((0, 1 / 3, 2 / 3, 0.25), (0, 2 / 3, 1 / 3, 0.75)), free_shape=True
    ),
    "arsenic": Prototype(axes="hexagonal", centring="R", sites=((0, 0, 0, 0.23), (0, 0, 0, -0.23)), free_shape=True),
    "selenium": Prototype(
        axes="hexagonal",
        centring="P",
        sites=((0, 0.22, 0, 1 / 3), (0, 0, 0.22, 2 / 3), (0, -0.22, -0.22, 0)),
        free_shape=True,
    ),
    "rocksalt": Prototype(axes="cubic", centring="F", sites=((0, 0, 0, 0), (1, 0.5, 0, 0))),
    "rocksaltafm": Prototype(  # ferromagnetic (111) planes of alternating sign
        axes="hexagonal",
        centring="R",
        sites=((0, 0, 0, 0), (0, 0, 0, 0.5), (1, 0, 0, 0.25), (1, 0, 0, 0.75)),
        free_shape=True,
        signs=(1, -1, 1, 1),
    ),
    "zincblende": Prototype(axes="cubic", centring="F", sites=((0, 0, 0, 0), (1, 0.25, 0.25, 0.25))),
    "cesiumchloride": Prototype(axes="cubic", centring="P", sites=((0, 0, 0, 0), (1, 0.5, 0.5, 0.5))),
    "fluorite": Prototype(
        axes="cubic", centring="F", sites=((0, 0, 0, 0), (1, 0.25, 0.25, 0.25), (1, 0.75, 0.75, 0.75))
    ),
    "antifluorite": Prototype(
        axes="cubic", centring="F", sites=((1, 0, 0, 0), (0, 0.25, 0.25, 0.25), (0, 0.75, 0.75, 0.75))
    ),
    "alb2": Prototype(
        axes="hexagonal",
        centring="P",
        sites=((0, 0, 0, 0), (1, 1 / 3, 2 / 3, 0.5), (1, 2 / 3, 1 / 3, 0.5)),
        free_shape=True,
    ),
    "wurtzite": Prototype(
        axes="hexagonal",
        centring="P",
        sites=((0, 1 / 3, 2 / 3, 0), (0, 2 / 3, 1 / 3, 0.5), (1, 1 / 3, 2 / 3, 0.377), (1, 2 / 3, 1 / 3, 0.877)),
        free_shape=True,
    ),
    "nias": Prototype(
        axes="hexagonal",
        centring="P",
        sites=((0, 0, 0, 0), (0, 0, 0, 0.5), (1, 1 / 3, 2 / 3, 0.25), (1, 2 / 3, 1 / 3, 0.75)),
        free_shape=True,
    ),
    "rutile": Prototype(axes="tetragonal", centring="P", sites=_RUTILE, free_shape=True),
    "rutileafm": Prototype(axes="tetragonal", centring="P", sites=_RUTILE, free_shape=True, signs=(1, -1, 1, 1, 1, 1)),
    "cadmiumiodide": Prototype(
        axes="hexagonal",
        centring="P",
        sites=((0, 0, 0, 0), (1, 1 / 3, 2 / 3, 0.25), (1, 2 / 3, 1 / 3, -0.25)),
        free_shape=True,
    ),
    "nafeo2": Prototype(
        axes="hexagonal",
        centring="R",
        sites=((0, 0, 0, 0.5), (1, 0, 0, 0), (2, 0, 0, 0.262), (2, 0, 0, -0.262)),
        free_shape=True,
    ),
    "perovskite": Prototype(
        axes="cubic",
        centring="P",
        sites=((0, 0.5, 0.5, 0.5), (1, 0, 0, 0), (2, 0.5, 0, 0), (2, 0, 0.5, 0), (2, 0, 0, 0.5)),
    ),
    "halfheusler": Prototype(
        axes="cubic", centring="F", sites=((0, 0, 0, 0), (1, 0.5, 0.5, 0.5), (2, 0.25, 0.25, 0.25))
    ),
    "heusler": Prototype(
        axes="cubic",
        centring="F",
        sites=((0, 0.25, 0.25, 0.25), (0, 0.75, 0.75, 0.75), (1, 0, 0, 0), (2, 0.5, 0.5, 0.5)),
    ),
    "d03": Prototype(
        axes="cubic",
        centring="F",
        sites=((0, 0.25, 0.25, 0.25), (0, 0.75, 0.75, 0.75), (0, 0.5, 0.5, 0.5), (1, 0, 0, 0)),
    ),
    "l12": Prototype(
        axes="cubic", centring="P", sites=((0, 0, 0.5, 0.5), (0, 0.5, 0, 0.5), (0, 0.5, 0.5, 0), (1, 0, 0, 0))
    ),
    "chloroplatinate": Prototype(
        axes="cubic",
        centring="F",
        sites=((0, 0.25, 0.25, 0.25), (0, 0.75, 0.75, 0.75), (1, 0, 0, 0), *_octahedron(2, 0.22)),
        free_shape=True,
    ),
    "elpasolite": Prototype(
        axes="cubic",
        centring="F",
        sites=(
            (0, 0.25, 0.25, 0.25),
            (0, 0.75, 0.75, 0.75),
            (1, 0.5, 0.5, 0.5),
            (2, 0, 0, 0),
            *_octahedron(3, 0.225),
        ),
        free_shape=True,
    ),
    "corundum": Prototype(
        axes="hexagonal",
        centring="R",
        sites=((0, 0, 0, 0.352), (0, 0, 0, 0.148), (0, 0, 0, 0.648), (0, 0, 0, 0.852), *_triangles(1, 0.306)),
        free_shape=True,
    ),
    "calcite": Prototype(
        axes="hexagonal",
        centring="R",
        sites=((0, 0, 0, 0), (0, 0, 0, 0.5), (1, 0, 0, 0.25), (1, 0, 0, 0.75), *_triangles(2, 0.257)),
        free_shape=True,
    ),
    "quartz": Prototype(  # space group 152
        axes="hexagonal",
        centring="P",
        sites=(
            (0, 0.47, 0, 1 / 3),
            (0, 0, 0.47, 2 / 3),
            (0, -0.47, -0.47, 0),
            (1, 0.413, 0.267, 0.214),
            (1, -0.267, 0.146, 0.214 + 1 / 3),
            (1, -0.146, -0.413, 0.214 + 2 / 3),
            (1, 0.267, 0.413, -0.214),
            (1, 0.146, -0.267, -0.214 + 2 / 3),
            (1, -0.413, -0.146, -0.214 + 1 / 3),
        ),
        free_shape=True,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seed:
    """A crystal of the list.

    Attributes:
        name: ``<formula>_<prototype>``.
        material: Reduced composition: the material of all its copies.
        split: Where the salted hash of the material deals it, known before anything is computed.
        main: Whether it is the main crystal of its composition; else another polymorph.
        bonding: As listed; decides how far its cells are sampled and in which order.
        atoms: Primitive cell where the search for zero pressure begins, with initial magnetic moments where it has any.
        spin_polarised: Whether it is calculated with spin.
        free_shape: Whether shape or inner coordinates must be relaxed first.
    """

    name: str
    material: str
    split: str
    main: bool
    bonding: Bonding
    atoms: Atoms
    spin_polarised: bool
    free_shape: bool

    @property
    def prototype(self) -> str:
        """Key of ``PROTOTYPES``."""
        return self.name.rpartition("_")[2]


@cache
def seeds() -> dict[str, Seed]:
    """Every crystal of the list by name, in its order. Copy its atoms before changing them."""
    listed = tomllib.loads(LIST.read_text(encoding="utf-8"))
    entries = [
        (formula, prototype, bonding, role == "main", lattice)
        for role in ("main", "polymorph")
        for prototype, groups in listed[role].items()
        for bonding, crystals in groups.items()
        for formula, lattice in crystals.items()
    ]
    built = [crystal(formula, prototype, lattice) for formula, prototype, _, _, lattice in entries]
    materials = [material_id(atoms.get_chemical_symbols()) for atoms in built]
    splits = assign(materials, SPLIT)
    return {
        f"{formula}_{prototype}": Seed(
            name=f"{formula}_{prototype}",
            material=material,
            split=splits[material],
            main=main,
            bonding=bonding,
            atoms=atoms,
            spin_polarised=bool(atoms.get_initial_magnetic_moments().any()),
            free_shape=PROTOTYPES[prototype].free_shape,
        )
        for (formula, prototype, bonding, main, _), atoms, material in zip(entries, built, materials, strict=True)
    }


def crystal(formula: str, prototype: str, lattice: float | tuple[float, float]) -> Atoms:
    """A prototype with elements in it.

    Args:
        formula: Its elements are those of the sites, in order; the numbers in it must be those of the prototype.
        prototype: Key of ``PROTOTYPES``.
        lattice: a in Å, or (a, c/a).
    """
    from ase import Atoms

    kind = PROTOTYPES[prototype]
    elements = re.findall("[A-Z][a-z]?", formula)
    symbols = [elements[site[0]] for site in kind.sites]
    a, ratio = (lattice, 1.0) if isinstance(lattice, (int, float)) else lattice
    sixty = np.sqrt(3) / 2
    axes = np.diag([1.0, 1.0, ratio]) if kind.axes != "hexagonal" else [[1, 0, 0], [-0.5, sixty, 0], [0, 0, ratio]]
    conventional = a * np.array(axes)
    atoms = Atoms(
        symbols,
        cell=np.array(CENTRING[kind.centring]) @ conventional,
        positions=np.array([site[1:] for site in kind.sites]) @ conventional,
        pbc=True,
    )
    if set(symbols) & set(MOMENTS):
        signs = kind.signs or (1,) * len(symbols)
        moments = [sign * MOMENTS.get(symbol, 0.0) for sign, symbol in zip(signs, symbols, strict=True)]
        atoms.set_initial_magnetic_moments(moments)
    return atoms


def random_seed(name: str, copy: str) -> int:
    """Seed of a copy's random numbers: 32 bits of a hash, so that adding structures never changes the others."""
    return int(hashlib.sha256(f"{name}|{copy}".encode()).hexdigest()[:8], 16)

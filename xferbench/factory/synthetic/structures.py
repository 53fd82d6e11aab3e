"""The structures of the two sets: prototypes filled with elements, then scaled, strained and rattled.

A *filling* is a prototype with elements on its sites. Which elements meet is drawn at random once and for all (the stream of
``numpy.random.RandomState`` is frozen); every composition comes in all prototypes of its kind, so that most have polymorphs,
and every filling in several copies. Nothing here knows a model: the one number that a model chooses, the scale of the
lattice, is an argument.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SEED = 20260
"""Of the choice of compositions."""

ANIONS = ("N", "O", "F", "P", "S", "Cl", "As", "Se", "Br", "Te", "I")
OTHERS = ("H", "B", "C", "Si", "Ge", "Sb")
METALS = (
    *("Li", "Na", "K", "Rb", "Cs", "Be", "Mg", "Ca", "Sr", "Ba", "Al", "Ga", "In", "Tl", "Sn", "Pb", "Bi"),
    *("Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn"),
    *("Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd"),
    *("Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg"),
    *("La", "Ce", "Nd", "Sm", "Gd", "Dy", "Er", "Lu", "Th", "U"),
)
"""Elements of three kinds: chemistry enters only in who may stand on which site."""

ELEMENTS = (*METALS, *OTHERS, *ANIONS)

Site = tuple[str, tuple[float, float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prototype:
    """A crystal structure type.

    Attributes:
        spacegroup: International number.
        sites: Letter of the site and fractional coordinates, one per orbit.
        c_over_a: Ratio of the lattice parameters.
        hexagonal: Whether the angle between a and b is 120°.
    """

    spacegroup: int
    sites: tuple[Site, ...]
    c_over_a: float = 1.0
    hexagonal: bool = False


O, H, Q = 0.0, 0.5, 0.25  # noqa: E741 - origin, half, quarter

PROTOTYPES = {
    "fcc": Prototype(spacegroup=225, sites=(("A", (O, O, O)),)),
    "bcc": Prototype(spacegroup=229, sites=(("A", (O, O, O)),)),
    "hcp": Prototype(spacegroup=194, sites=(("A", (1 / 3, 2 / 3, Q)),), c_over_a=1.62, hexagonal=True),
    "diamond": Prototype(spacegroup=227, sites=(("A", (O, O, O)),)),
    "rocksalt": Prototype(spacegroup=225, sites=(("A", (O, O, O)), ("B", (H, H, H)))),
    "zincblende": Prototype(spacegroup=216, sites=(("A", (O, O, O)), ("B", (Q, Q, Q)))),
    "cesiumchloride": Prototype(spacegroup=221, sites=(("A", (O, O, O)), ("B", (H, H, H)))),
    "nickelarsenide": Prototype(
        spacegroup=194, sites=(("A", (O, O, O)), ("B", (1 / 3, 2 / 3, Q))), c_over_a=1.45, hexagonal=True
    ),
    "tungstencarbide": Prototype(
        spacegroup=187, sites=(("A", (O, O, O)), ("B", (1 / 3, 2 / 3, H))), c_over_a=0.98, hexagonal=True
    ),
    "fluorite": Prototype(spacegroup=225, sites=(("A", (O, O, O)), ("B", (Q, Q, Q)))),
    "rutile": Prototype(spacegroup=136, sites=(("A", (O, O, O)), ("B", (0.305, 0.305, O))), c_over_a=0.65),
    "cadmiumiodide": Prototype(
        spacegroup=164, sites=(("A", (O, O, O)), ("B", (1 / 3, 2 / 3, Q))), c_over_a=1.6, hexagonal=True
    ),
    "auricupride": Prototype(spacegroup=221, sites=(("A", (O, O, O)), ("B", (O, H, H)))),
    "bismuthfluoride": Prototype(spacegroup=225, sites=(("A", (O, O, O)), ("B", (Q, Q, Q)), ("B", (H, H, H)))),
    "perovskite": Prototype(spacegroup=221, sites=(("A", (O, O, O)), ("B", (H, H, H)), ("C", (H, H, O)))),
    "delafossite": Prototype(
        spacegroup=166, sites=(("A", (O, O, O)), ("B", (O, O, H)), ("C", (O, O, 0.24))), c_over_a=5.0, hexagonal=True
    ),
    "halfheusler": Prototype(spacegroup=216, sites=(("A", (O, O, O)), ("B", (H, H, H)), ("C", (Q, Q, Q)))),
    "heusler": Prototype(spacegroup=225, sites=(("A", (O, O, O)), ("B", (H, H, H)), ("C", (Q, Q, Q)))),
}
"""Name -> structure type; primitive cells of one to six atoms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Compositions that are filled into the same prototypes.

    Attributes:
        prototypes: All of them get every composition.
        roles: For each letter the elements that may stand there.
        number: Of compositions drawn.
    """

    prototypes: tuple[str, ...]
    roles: tuple[tuple[str, ...], ...]
    number: int


KINDS = (
    Kind(prototypes=("fcc", "bcc", "hcp", "diamond"), roles=(ELEMENTS,), number=len(ELEMENTS)),
    Kind(
        prototypes=("rocksalt", "zincblende", "cesiumchloride", "nickelarsenide"),
        roles=((*METALS, *OTHERS), ANIONS),
        number=120,
    ),
    Kind(prototypes=("cesiumchloride", "tungstencarbide"), roles=(METALS, (*METALS, *OTHERS)), number=80),
    Kind(prototypes=("fluorite", "rutile", "cadmiumiodide"), roles=(METALS, ANIONS), number=80),
    Kind(prototypes=("fluorite", "cadmiumiodide"), roles=(ANIONS, METALS), number=40),
    Kind(prototypes=("auricupride", "bismuthfluoride"), roles=((*METALS, *OTHERS), METALS), number=70),
    Kind(prototypes=("perovskite",), roles=(METALS, METALS, ("O", "F", "S", "Cl", "N")), number=60),
    Kind(prototypes=("delafossite",), roles=(METALS, METALS, ("O", "S", "Se", "Te")), number=60),
    Kind(prototypes=("halfheusler", "heusler"), roles=(METALS, METALS, (*METALS, *OTHERS)), number=50),
)
"""Of ``synthetic-teacher``: as many elements as there are, and a thin sample of their compositions."""

FEW_METALS = ("Li", "Na", "K", "Mg", "Ca", "Al", "Ti", "Fe", "Cu", "Zn")
FEW_OTHERS = ("C", "Si")
FEW_ANIONS = ("N", "O", "F", "S", "Cl")
FEW = (*FEW_METALS, *FEW_OTHERS, *FEW_ANIONS)

DENSE = (
    Kind(prototypes=("fcc", "bcc", "hcp", "diamond"), roles=(FEW,), number=len(FEW)),
    Kind(
        prototypes=("rocksalt", "zincblende", "cesiumchloride", "nickelarsenide"),
        roles=((*FEW_METALS, *FEW_OTHERS), FEW_ANIONS),
        number=60,
    ),
    Kind(prototypes=("cesiumchloride", "tungstencarbide"), roles=(FEW_METALS, (*FEW_METALS, *FEW_OTHERS)), number=80),
    Kind(prototypes=("fluorite", "rutile", "cadmiumiodide"), roles=(FEW_METALS, FEW_ANIONS), number=50),
    Kind(prototypes=("fluorite", "cadmiumiodide"), roles=(FEW_ANIONS, FEW_METALS), number=50),
    Kind(prototypes=("auricupride", "bismuthfluoride"), roles=((*FEW_METALS, *FEW_OTHERS), FEW_METALS), number=100),
    Kind(prototypes=("perovskite",), roles=(FEW_METALS, FEW_METALS, FEW_ANIONS), number=250),
    Kind(prototypes=("delafossite",), roles=(FEW_METALS, FEW_METALS, ("O", "S")), number=140),
    Kind(
        prototypes=("halfheusler", "heusler"),
        roles=(FEW_METALS, FEW_METALS, (*FEW_METALS, *FEW_OTHERS)),
        number=140,
    ),
)
"""Of ``synthetic-teacher-dense``: few elements, and about 60 % of the compositions that the prototypes allow. A network that starts from nothing can
learn one composition from others here, which with many elements it cannot."""

SETS = {"synthetic-teacher": KINDS, "synthetic-teacher-dense": DENSE}
"""Name -> its kinds of compositions."""

SMALLEST_RADIUS = 0.7
"""Å. Hydrogen in a crystal is larger than in a molecule, and a crystal of touching hydrogen has thousands of neighbours."""

COPIES = 4
"""Of each filling: one as it is, the others with a growing displacement of the atoms."""

STRAIN = 0.04
"""Largest component of the strain of a copy, besides its change of volume."""

VOLUMES = (0.90, 1.12)
RATTLE = (0.0, 0.04, 0.08, 0.15)
"""Standard deviation of a coordinate in Å, by copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """A prototype with elements.

    Attributes:
        name: ``<reduced formula>_<prototype>``.
        material_id: The reduced formula.
        prototype: A key of ``PROTOTYPES``.
        elements: Symbols for the letters A, B, C.
    """

    name: str
    material_id: str
    prototype: str
    elements: tuple[str, ...]


@cache
def fillings(kinds: tuple[Kind, ...] = KINDS) -> tuple[Filling, ...]:
    """All fillings, in an order without chemistry in it: any first part is a fair sample."""
    found = {filling.name: filling for kind in kinds for filling in _of_kind(kind)}
    return tuple(found[name] for name in sorted(found, key=lambda name: hashlib.sha256(name.encode()).hexdigest()))


def crystal(filling: Filling, scale: float = 1.0) -> Atoms:
    """The primitive cell; at scale 1 the two atoms that are closest, by their radii, touch."""
    atoms = _decorated(filling)
    atoms.set_cell(atoms.cell.array * (scale * _touching(filling)), scale_atoms=True)
    return atoms


def copies(filling: Filling, scale: float) -> Iterator[tuple[str, Atoms]]:
    """Name and structure of every copy; the same filling and scale always give the same numbers."""
    for number in range(COPIES):
        name = f"{filling.name}_{number}"
        atoms = crystal(filling, scale)
        if number:
            _disturb(atoms, number, np.random.RandomState(_seed(name)))
        yield name, atoms


def _of_kind(kind: Kind) -> Iterator[Filling]:
    """Compositions without repetition, in every prototype of the kind."""
    possible = sum(len(set(elements)) == len(elements) for elements in product(*kind.roles))
    if kind.number > possible:
        raise ValueError(f"{kind.number} compositions of {kind.prototypes} asked for, {possible} are possible")
    drawn = np.random.RandomState(_seed(f"{SEED}{kind.prototypes}{kind.roles}"))
    seen: set[tuple[str, ...]] = set()
    while len(seen) < kind.number:
        elements = tuple(role[drawn.randint(len(role))] for role in kind.roles)
        if elements in seen or len(set(elements)) < len(elements):
            continue
        seen.add(elements)
        for prototype in kind.prototypes:
            material = _formula(prototype, elements)
            swapped = "".join(elements) if len(elements) > 2 else ""  # A and B of a ternary can be exchanged
            yield Filling(
                name="_".join(filter(None, (material, prototype, swapped))),
                material_id=material,
                prototype=prototype,
                elements=elements,
            )


@cache
def _formula(prototype: str, elements: tuple[str, ...]) -> str:
    from pymatgen.core.composition import Composition

    letters = _template(prototype)[0]
    return str(
        Composition(
            {symbol: letters.count(letter) for letter, symbol in zip("ABC", elements, strict=False)}
        ).reduced_formula
    )


@cache
def _template(prototype: str) -> tuple[str, Floats, Floats]:
    """Letters, (n, 3) positions and (3, 3) cell of the primitive cell of a prototype, lattice parameter 1 Å."""
    from ase.spacegroup import crystal as build

    kind = PROTOTYPES[prototype]
    stand_ins = {"A": "H", "B": "He", "C": "Li"}
    atoms = build(
        [stand_ins[letter] for letter, _ in kind.sites],
        [place for _, place in kind.sites],
        spacegroup=kind.spacegroup,
        cellpar=[1, 1, kind.c_over_a, 90, 90, 120 if kind.hexagonal else 90],
        primitive_cell=True,
    )
    letters = {symbol: letter for letter, symbol in stand_ins.items()}
    return "".join(letters[symbol] for symbol in atoms.get_chemical_symbols()), atoms.positions, atoms.cell.array


def _decorated(filling: Filling) -> Atoms:
    """The template with the elements of a filling."""
    from ase import Atoms

    letters, positions, cell = _template(filling.prototype)
    symbols = [filling.elements["ABC".index(letter)] for letter in letters]
    return Atoms(symbols, positions=positions, cell=cell, pbc=True)


@cache
def _touching(filling: Filling) -> float:
    """Lattice parameter in Å at which the smallest distance of two atoms over the sum of their radii is 1."""
    from ase.neighborlist import neighbor_list

    atoms = _decorated(filling)
    radii = np.array([_radius(symbol) for symbol in filling.elements])
    letters = np.array(["ABC".index(letter) for letter in _template(filling.prototype)[0]])
    first, second, distance = neighbor_list("ijd", atoms, 1.1)  # lattice parameter 1: every atom has neighbours closer
    return float(((radii[letters[first]] + radii[letters[second]]) / distance).max())


@cache
def _radius(symbol: str) -> float:
    from ase.data import atomic_numbers, covalent_radii

    return max(float(covalent_radii[atomic_numbers[symbol]]), SMALLEST_RADIUS)


def _disturb(atoms: Atoms, number: int, drawn: np.random.RandomState) -> None:
    """Change volume and shape of the cell, then displace the atoms."""
    strain = drawn.uniform(-STRAIN, STRAIN, (3, 3))
    growth = drawn.uniform(*VOLUMES) ** (1 / 3)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2) * growth, scale_atoms=True)
    if len(atoms) > 1:
        atoms.positions += drawn.normal(0.0, RATTLE[number], atoms.positions.shape)


def _seed(text: str) -> int:
    """32 bits of a hash."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)

"""MP2020, the empirical corrections of the Materials Project: what a GGA or GGA+U energy would get added.

Energies of the Materials Project, and of models trained on them such as CHGNet 0.2 and 0.3, hold -0.687 eV per O of an oxide
but -0.465 in a peroxide, something for most other anions, nothing for elements, and some eV for certain metals with +U. The
rules are those of pymatgen's ``MaterialsProject2020Compatibility`` as far as composition and O-O distances decide them;
where oxidation states would have to be guessed (an oxysulfide, an intermetallic of Si) there is no answer.

References:
    Wang, Kingsbury, McDermott, Horton, Jain, Ong, Dwaraknath, Persson, Sci. Rep. 11, 15496 (2021), Tables 1 and 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xferbench.records import Frame

OXYGEN, FLUORINE = 8, 9

ANIONS = {
    FLUORINE: -0.462, 17: -0.614, 7: -0.361, 35: -0.534, 53: -0.379, 16: -0.503, 34: -0.472, 1: -0.179, 52: -0.422,
    51: -0.192, 14: 0.071,
}  # fmt: skip
"""Atomic number -> eV per atom of an anion other than O, the most electronegative first."""

WEAK = frozenset({1, 52, 51, 14})
"""Anions that are one only beside ``ELECTROPOSITIVE`` elements; beside stronger anions they are cations."""

ELECTROPOSITIVE = frozenset(
    {3, 4, 11, 12, 13, 19, 20, 21, 22, 23, 24, 25, 30, 37, 38, 39, 40, 41, 48, 55, 56, *range(57, 74), *range(87, 96)}
)
"""Elements below 1.7 on Pauling's scale: cations beside any anion."""

OXIDES = {"superoxide": -0.161, "peroxide": -0.465, "oxide": -0.687}
"""eV per O. The type of a compound goes by its shortest O-O distance."""

OXYGEN_BONDS = {"superoxide": 1.05 * 1.35, "peroxide": 1.05 * 1.49}
"""Å. Below such an O-O distance O is no oxide, as pymatgen's ``oxide_type`` has it with the tolerance of MP2020."""

METALS_WITH_U = {23: -1.7, 24: -1.999, 25: -1.668, 26: -2.256, 27: -1.638, 28: -2.541, 42: -3.202, 74: -4.438}
"""Atomic number -> eV per atom in an oxide or fluoride calculated with +U."""


def mp2020(frame: Frame) -> float | None:
    """The correction MP2020 would add to the energy of a frame.

    Args:
        frame: A calculation; whether it has a +U is read from its functional.

    Returns:
        eV of the whole cell; none where the rules here do not decide it, as for a metal of ``METALS_WITH_U`` in an oxide
        or fluoride that was calculated without +U.
    """
    elements, numbers = np.unique(frame.numbers, return_counts=True)
    counts: dict[int, int] = dict(zip(elements.tolist(), numbers.tolist(), strict=True))
    if len(counts) == 1:
        return 0.0
    if OXYGEN not in counts and FLUORINE not in counts:
        return _of_anion(counts)
    metals = {number: count for number, count in counts.items() if number in METALS_WITH_U}
    sure = (counts.keys() & ANIONS.keys()) <= WEAK | {FLUORINE}
    if not sure or (metals and not frame.functional.hubbard_u):
        return None
    total = sum(METALS_WITH_U[number] * count for number, count in metals.items())
    total += ANIONS[FLUORINE] * counts.get(FLUORINE, 0)
    if OXYGEN not in counts:
        return total
    kind = oxide_type(frame)
    return None if kind is None else total + OXIDES[kind] * counts[OXYGEN]


def _of_anion(counts: Mapping[int, int]) -> float | None:
    """Of a compound without O and F, by the number of atoms of each element."""
    present = [number for number in ANIONS if number in counts]
    if not present:
        return 0.0
    anion, others = present[0], counts.keys() - {present[0]}
    sure = others <= ELECTROPOSITIVE if anion in WEAK else not (others & ANIONS.keys()) - WEAK
    return ANIONS[anion] * counts[anion] if sure else None


def oxide_type(frame: Frame) -> str | None:
    """``oxide``, ``peroxide`` or ``superoxide`` by the shortest O-O distance; none without a structure."""
    sites = frame.numbers == OXYGEN
    if not frame.has_structure:
        return None
    if sites.sum() < 2:
        return "oxide"
    from ase.geometry import get_distances

    distances = get_distances(frame.positions[sites], cell=frame.cell, pbc=frame.pbc)[1]
    shortest = float(distances[np.triu_indices(len(distances), k=1)].min())
    return next((kind for kind, bond in OXYGEN_BONDS.items() if shortest < bond), "oxide")

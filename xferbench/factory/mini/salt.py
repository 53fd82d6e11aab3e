"""How the salt of ``mini``'s split was chosen: from compositions alone, before any model was scored.

A salted hash deals compositions to splits blindly, so a rare element may end up in test and not in train, and then nothing
learned on train knows it. ``choose`` tries ``mini-0``, ``mini-1``, … and takes the first salt with which every stage of the
data set is sound: three of the first edition, and the list of the second.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from xferbench.factory.mini.structures import seeds
from xferbench.records import SPLITS
from xferbench.sources.mini.recordfile import material_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from xferbench.records import SplitRule

    Compositions = Mapping[str, Counter[str]]
    Assign = Callable[[Iterable[str], SplitRule], dict[str, str]]

FIRST_ELEMENTS = frozenset(["Li", "B", "C", "N", "O", "F", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "K", "Ca"])
"""Elements of the first records; the other structures came later."""

FIRST_EDITION = [
    "LiF",
    "LiCl",
    "LiBr",
    "NaF",
    "NaCl",
    "NaBr",
    "KF",
    "KCl",
    "KBr",
    "MgO",
    "MgS",
    "MgSe",
    "CaO",
    "CaS",
    "CaSe",
    "ZnO",
    "ZnS",
    "ZnSe",
    "BN",
    "BP",
    "BAs",
    "AlN",
    "AlP",
    "AlAs",
    "GaN",
    "GaP",
    "GaAs",
    "SiC",
    "GeC",
    "TiC",
    "TiN",
    "VC",
    "VN",
    "CuCl",
    "CuBr",
    "MgZn",
    "NiAl",
    "FeAl",
    "TiFe",
    "LiAl",
    "CuZn",
    "TiNi",
    "CaMg",
    "Li",
    "Na",
    "K",
    "Mg",
    "Ca",
    "Zn",
    "Al",
    "C",
    "Si",
    "Ge",
    "Ti",
    "V",
    "Cu",
    "Ni",
    "Fe",
    "Ga",
    "Li2O",
    "Na2O",
    "K2O",
    "Li2S",
    "Na2S",
    "Mg2Si",
    "Mg2Ge",
    "CaF2",
    "MgF2",
    "CaCl2",
]
"""Its compositions."""

MAGNETIC = frozenset(["Fe", "Ni"])
"""Elements with moments in the first edition."""

SLACK = 0.05
"""How far the share of each split may be from its fraction of the rule."""


def choose(rule: SplitRule, assign: Assign) -> str:
    """The first salt that is sound at every stage.

    Args:
        rule: Its fractions count; its salt is ignored.
        assign: ``splits.assign``: material ids and a rule -> split of each.
    """
    candidates = (replace(rule, salt=f"mini-{number}") for number in count())
    return next(
        candidate.salt
        for candidate in candidates
        if all(is_sound(stage, assign(stage, candidate), candidate.fractions) for stage in stages())
    )


def stages() -> list[Compositions]:
    """Material id -> atoms of each element, for each stage of the data set."""
    first = compositions(_symbols(formula) for formula in FIRST_EDITION)
    return [
        {material: atoms for material, atoms in first.items() if FIRST_ELEMENTS.issuperset(atoms)},
        {material: atoms for material, atoms in first.items() if not MAGNETIC.intersection(atoms)},
        first,
        compositions(seed.atoms.get_chemical_symbols() for seed in seeds().values()),
    ]


def compositions(structures: Iterable[Collection[str]]) -> dict[str, Counter[str]]:
    """Material id -> atoms of each element in one of its structures.

    Args:
        structures: Chemical symbols of the atoms of each.
    """
    return {material_id(list(symbols)): Counter(symbols) for symbols in structures}


def _symbols(formula: str) -> list[str]:
    """The elements of a formula, each as often as it says."""
    return [symbol for symbol, number in re.findall(r"([A-Z][a-z]?)(\d*)", formula) for _ in range(int(number or 1))]


def is_sound(materials: Compositions, split: Mapping[str, str], fractions: tuple[float, float, float]) -> bool:
    """Whether train determines the reference energy of every element, and each split has about its share.

    The compositions of train have full column rank over all elements exactly when a least-squares fit on them gives every
    element its own reference; so every element of val and test then occurs in train.
    """
    shares = Counter(split[material] for material in materials)
    near = all(
        abs(shares[name] / len(materials) - fraction) <= SLACK for name, fraction in zip(SPLITS, fractions, strict=True)
    )
    elements = sorted({symbol for atoms in materials.values() for symbol in atoms})
    train = [atoms for material, atoms in materials.items() if split[material] == "train"]
    matrix = np.array([[atoms[symbol] for symbol in elements] for atoms in train]).reshape(-1, len(elements))
    return near and int(np.linalg.matrix_rank(matrix)) == len(elements)

"""How the salt of ``mini``'s split was chosen: from compositions alone, before any model was scored.

A salted hash deals compositions to splits blindly, so a rare element may end up in test and not in train, and then nothing
learned on train knows it. ``choose`` tries ``mini-0``, ``mini-1``, … and takes the first salt with which every stage of the
data set is sound: its present elements, all structures without spin, all structures.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from xferbench.records import SPLITS
from xferbench.sources.mini.structures import material_id, seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from xferbench.records import SplitRule

    Compositions = Mapping[str, Counter[str]]
    Assign = Callable[[Iterable[str], SplitRule], dict[str, str]]

FIRST_ELEMENTS = frozenset(["Li", "B", "C", "N", "O", "F", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "K", "Ca"])
"""Elements of the first records; the other structures came later."""

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
    """Material id -> atoms of each element, for the structures of each stage of the data set."""
    found = seeds().values()
    return [
        compositions(
            seed.atoms.get_chemical_symbols() for seed in found if FIRST_ELEMENTS.issuperset(seed.atoms.symbols)
        ),
        compositions(seed.atoms.get_chemical_symbols() for seed in found if not seed.spin_polarised),
        compositions(seed.atoms.get_chemical_symbols() for seed in found),
    ]


def compositions(structures: Iterable[Collection[str]]) -> dict[str, Counter[str]]:
    """Material id -> atoms of each element in one of its structures.

    Args:
        structures: Chemical symbols of the atoms of each.
    """
    return {material_id(list(symbols)): Counter(symbols) for symbols in structures}


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

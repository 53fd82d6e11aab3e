"""source frames and target frames -> pairs, with the reason of everything left out.

Frames are joined by ``pair_id`` and by nothing else: no matching by similarity, no choice among several partners. Where the
partner has the same atoms in the same places in another order, they and their labels are put into the source frame's. Every ``pair_id`` ends either as one ``Pair`` or as one ``Drop``. A frame without ``pair_id`` stands alone
and is judged by itself.
"""

from __future__ import annotations

from xferbench.pairing.judging import (
    COORDINATES_DIFFER,
    DUPLICATE_ID,
    LATTICE_DIFFERS,
    MATERIAL_DIFFERS,
    MISSING_ENERGY,
    NO_PARTNER,
    NOT_FINITE,
    OTHER_PHASE,
    PBC_DIFFERS,
    REASONS,
    SEVERAL_PARTNERS,
    SPECIES_DIFFER,
    TOLERANCE,
    UNKNOWN_ELEMENT,
    WRONG_FUNCTIONAL,
    WRONG_SHAPE,
    displacements,
    judge,
    judge_alone,
    pair,
)
from xferbench.pairing.ordering import difference, reordered
from xferbench.pairing.phases import Match, compare, recorded

__all__ = [
    "COORDINATES_DIFFER",
    "DUPLICATE_ID",
    "LATTICE_DIFFERS",
    "MATERIAL_DIFFERS",
    "MISSING_ENERGY",
    "NOT_FINITE",
    "NO_PARTNER",
    "OTHER_PHASE",
    "PBC_DIFFERS",
    "REASONS",
    "SEVERAL_PARTNERS",
    "SPECIES_DIFFER",
    "TOLERANCE",
    "UNKNOWN_ELEMENT",
    "WRONG_FUNCTIONAL",
    "WRONG_SHAPE",
    "Match",
    "compare",
    "difference",
    "displacements",
    "judge",
    "judge_alone",
    "pair",
    "recorded",
    "reordered",
]

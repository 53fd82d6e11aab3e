"""Energies of a target functional from those of a source functional: ``xferbench lift``.

    lifted = source + gap of a model pair + offsets of the elements                                  (eV/atom)

Either addend may be missing. The offsets are fitted by least squares on composition fractions to what the models leave of the
true gap of *calibration pairs*, structures whose energy is known with both functionals. A model pair is two potentials, one of each
functional, or two heads of one; errors that both make cancel in their difference.

**Zeros are not mixed.** What an energy is relative to belongs to a code and its potentials, and no number tells. Hence the
three ways of ``Zero``: offsets from pairs of the same code and potentials as the input; the models' own zero for input of the
kind they were trained on; else only differences within one composition, from which every elemental offset cancels.

| module | holds |
|---|---|
| ``answers`` | what two models say of the gap |
| ``correction`` | structures and pairs as arrays; fit and apply; each pair judged by the pairs of other materials |
| ``intervals`` | conformal intervals with one score for each material, and their coverage on materials held out |
| ``lifted`` | the rows: what was lifted, by what part, how surely, and why not |
"""

from __future__ import annotations

from xferbench.lifting.answers import Answers, difference
from xferbench.lifting.correction import Correction, Pairs, Structures, elements_of, fit, left_out
from xferbench.lifting.intervals import Conformal, Coverage, conformal, coverage, measured_coverage
from xferbench.lifting.lifted import Asked, Limits, Row, Zero, differences, lift

__all__ = [
    "Answers",
    "Asked",
    "Conformal",
    "Correction",
    "Coverage",
    "Limits",
    "Pairs",
    "Row",
    "Structures",
    "Zero",
    "conformal",
    "coverage",
    "difference",
    "differences",
    "elements_of",
    "fit",
    "left_out",
    "lift",
    "measured_coverage",
]

"""Elemental reference energies: fit, subtract, add back, and compare the ways of choosing them.

The energy per atom of a structure is split into a part linear in its composition and a rest, E/N = c·x + rest, where c are
the fractions of the elements and x their references in eV/atom (equation 2 of the seed paper, there called AtomRef). Every
structure weighs the same, whatever its number of atoms. The fit minimises the squared rest in double precision through QR
and a singular value decomposition, never through the normal equations, which square the condition number.

What data cannot tell is said, not filled in. An element without data has no reference. Two elements that always occur in
one ratio have only that combination determined: the value of each alone is one of infinitely many that fit as well. A
composition is *estimable* when it lies in the row space of the composition matrix, that is when every least-squares
solution gives it the same energy; ``estimable`` says so for each structure, and energies of others are refused.

| module | holds |
|---|---|
| ``composition`` | fractions of the elements |
| ``elemental`` | ``ElementalReferences``; subtract, add, estimable |
| ``fitting`` | least squares, also weighted |
| ``robust`` | Huber and ridge regression on the same equations |
| ``plausibility`` | references that cannot be right, by name |
| ``corrections`` | what MP2020 would add to an energy |
| ``tables`` | tables of isolated atoms from files |
| ``labels`` | pairs of labels as arrays |
| ``schemes`` | every way to get from source to target energies by elements, behind one interface |
| ``comparing`` | the schemes side by side on structures they were not fitted to |
| ``curve`` | what is left against the number of labelled structures |
| ``zeros`` | which code and potentials energies are relative to |
| ``exporting`` | references in the files of training packages |
| ``attribution`` | each element's share of the gap, and groups of materials |

References:
    Huang, Deng, Zhong, Kaplan, Persson, Ceder, npj Comput. Mater. 11, 313 (2025), doi 10.1038/s41524-025-01796-y.
    S. R. Searle, Linear Models (Wiley, 1971), chapter 5, for estimable functions.
"""

from __future__ import annotations

from xferbench.references.attribution import Attribution, attribute
from xferbench.references.comparing import Comparison, compare
from xferbench.references.composition import composition_matrix
from xferbench.references.corrections import mp2020
from xferbench.references.curve import CurvePoint, learning_curve
from xferbench.references.elemental import ElementalReferences, add, composition_energies, estimable, subtract
from xferbench.references.fitting import fit, fit_frames
from xferbench.references.labels import Labels, pair_labels
from xferbench.references.plausibility import implausible
from xferbench.references.schemes import SCHEMES, Scheme, paired_shift
from xferbench.references.tables import digest, read_atoms

__all__ = [
    "SCHEMES",
    "Attribution",
    "Comparison",
    "CurvePoint",
    "ElementalReferences",
    "Labels",
    "Scheme",
    "add",
    "attribute",
    "compare",
    "composition_energies",
    "composition_matrix",
    "digest",
    "estimable",
    "fit",
    "fit_frames",
    "implausible",
    "learning_curve",
    "mp2020",
    "pair_labels",
    "paired_shift",
    "read_atoms",
    "subtract",
]

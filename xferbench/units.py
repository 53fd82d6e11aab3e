"""Every conversion factor and sign convention, each with its source.

Stored units are eV, eV/Å, eV/Å³, µB and Å. Stress is σ = (1/V) dE/dε, positive under tension (the ASE sign): a compressed
crystal, which pushes outwards, has a negative stress. VASP prints the opposite sign in kBar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

EV_PER_A3_IN_GPA = 160.2176634
"""1 eV/Å³ in GPa: the elementary charge 1.602176634e-19 C is exact since the SI of 2019 (BIPM SI brochure, 9th ed.)."""

KBAR_IN_GPA = 0.1
"""1 kBar in GPa, exact."""

VASP_KBAR_TO_STRESS = -KBAR_IN_GPA / EV_PER_A3_IN_GPA
"""A stress in VASP's kBar (compression positive) times this is eV/Å³, tension positive."""

EV_IN_KJ_PER_MOL = 96.48533212331002
"""1 eV per particle: elementary charge times 6.02214076e23 /mol, both exact since the SI of 2019."""

EV_IN_KCAL_PER_MOL = EV_IN_KJ_PER_MOL / 4.184
"""The thermochemical calorie is 4.184 J by definition."""

HARTREE_IN_EV = 27.211386245988
"""CODATA 2018; 1 Rydberg is half of it."""

BOHR_IN_ANGSTROM = 0.529177210903
"""CODATA 2018."""

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""ASE's Voigt order xx yy zz yz xz xy. VASP's text output has xx yy zz xy yz zx instead."""

VOIGT_PLACES = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
"""The inverse: where each element of the matrix stands among the six."""

RENDERED = {
    "eV/atom": ("meV/atom", 1e3),
    "eV": ("meV", 1e3),
    "eV/Å": ("meV/Å", 1e3),
    "eV/Å³": ("GPa", EV_PER_A3_IN_GPA),
    "µB": ("µB", 1.0),
    "1": ("", 1.0),
}
"""Stored unit -> (unit shown in tables, factor). The only place where a number changes its unit for the eye."""


def stress_from_gpa(stress: ArrayLike) -> NDArray[np.float64]:
    """Stress in GPa, tension positive, any shape -> eV/Å³."""
    return np.asarray(stress, dtype=np.float64) / EV_PER_A3_IN_GPA


def stress_from_vasp_kbar(stress: ArrayLike) -> NDArray[np.float64]:
    """Stress in kBar with VASP's sign, any shape -> eV/Å³, tension positive."""
    return np.asarray(stress, dtype=np.float64) * VASP_KBAR_TO_STRESS


def voigt_to_matrix(voigt: ArrayLike) -> NDArray[np.float64]:
    """Stress in ASE's Voigt order, shape (..., 6) -> symmetric (..., 3, 3), same unit.

    Raises:
        ValueError: The last axis is not 6 long.
    """
    values = np.asarray(voigt, dtype=np.float64)
    if values.shape[-1:] != (6,):
        raise ValueError(f"a Voigt stress ends in an axis of 6, not shape {values.shape}")
    return values[..., VOIGT_PLACES]


def matrix_to_voigt(matrix: ArrayLike) -> NDArray[np.float64]:
    """Stress of shape (..., 3, 3) -> ASE's Voigt order (..., 6); off-diagonal pairs are averaged.

    Raises:
        ValueError: The last two axes are not 3 by 3.
    """
    values = np.asarray(matrix, dtype=np.float64)
    if values.shape[-2:] != (3, 3):
        raise ValueError(f"a stress matrix ends in axes of 3 by 3, not shape {values.shape}")
    return np.stack([(values[..., i, j] + values[..., j, i]) / 2 for i, j in VOIGT], axis=-1)

"""Least squares on composition fractions (equation 2 of the seed paper)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import DataError
from xferbench.references.composition import checked_energies, composition_matrix, present_elements, symbols
from xferbench.references.elemental import NULL_TOLERANCE, ElementalReferences

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from xferbench.functionals import Functional
    from xferbench.records import Frame

    Floats = NDArray[np.float64]
    Numbers = Sequence[NDArray[np.int64]]

BLOCK = 2048
"""Rows that a QR decomposition takes at a time."""


def fit(
    numbers: Numbers,
    energies_per_atom: ArrayLike,
    *,
    functional: Functional | None = None,
    elements: Iterable[int] = (),
    allow_missing: bool = False,
    weights: ArrayLike | None = None,
) -> ElementalReferences:
    """Least-squares references of every element in the structures.

    Args:
        numbers: Atomic numbers of each structure.
        energies_per_atom: (n_structures,) eV/atom; also differences of energies.
        functional: What the energies were computed with; recorded only.
        elements: Atomic numbers that the references must cover.
        allow_missing: Record those of ``elements`` without data as ``missing`` instead of refusing.
        weights: (n_structures,) of the squared rests; all the same if not given.

    Raises:
        DataError: No structures, energies or weights that do not fit them, or an element without data.

    References:
        Equation 2 of Huang et al.: E_elem = (AᵀA)⁻¹ Aᵀ E_total, here solved without forming AᵀA.
    """
    present = present_elements(numbers)
    energies = checked_energies(numbers, energies_per_atom)
    missing = sorted(set(elements) - set(present))
    if missing and not allow_missing:
        raise DataError(
            f"no structure contains {', '.join(symbols(missing))}: a reference cannot be fitted; "
            "add data, or allow missing elements"
        )
    references = fit_matrix(
        composition_matrix(numbers, present),
        energies,
        present,
        weights=np.ones(len(energies)) if weights is None else np.asarray(weights, dtype=np.float64),
    )
    return replace(references, functional=functional, missing=tuple(symbols(missing)))


def fit_matrix(fractions: Floats, energies: Floats, elements: Sequence[int], *, weights: Floats) -> ElementalReferences:
    """``fit`` on composition fractions.

    Args:
        fractions: (n_structures, n_elements).
        energies: (n_structures,) eV/atom.
        elements: Atomic numbers of the columns. A column without any atom has no reference.
        weights: (n_structures,) of the squared rests, not negative. A weight of 0 is a structure that is not there.

    Raises:
        DataError: No structure has a weight, or weights that are negative, not finite or of another shape.
    """
    if weights.shape != energies.shape or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise DataError(
            f"weights of shape {weights.shape} for {len(energies)} structures: need one each, not negative, not all zero"
        )
    there = weights > 0
    present = np.flatnonzero((fractions[there] > 0).any(axis=0))
    matrix, energies, weights = fractions[np.ix_(there, present)], energies[there], weights[there]
    root = np.sqrt(weights)
    solution, singular, null_space = least_squares(matrix * root[:, None], energies * root)
    rest = energies - matrix @ solution
    names = symbols([elements[column] for column in present.tolist()])
    directions = tuple(
        {name: part for name, part in zip(names, row.tolist(), strict=True) if abs(part) > NULL_TOLERANCE}
        for row in null_space
    )
    return ElementalReferences(
        functional=None,
        energies=dict(zip(names, solution.tolist(), strict=True)),
        n_structures=dict(zip(names, (matrix > 0).sum(axis=0).tolist(), strict=True)),
        n_frames=len(energies),
        rank=len(singular),
        condition_number=float(singular[0] / singular[-1]),
        mae=float(np.average(np.abs(rest), weights=weights)),
        rmse=float(np.sqrt(np.average(rest**2, weights=weights))),
        null_space=directions,
        undetermined=tuple(name for name in names if any(name in direction for direction in directions)),
    )


def fit_frames(
    frames: Sequence[Frame], *, elements: Iterable[int] = (), allow_missing: bool = False
) -> ElementalReferences:
    """``fit`` on labelled frames of one functional.

    Raises:
        DataError: As ``fit``; also frames of several functionals, or without energy.
    """
    functionals = sorted({frame.functional for frame in frames})
    if len(functionals) > 1:
        raise DataError(f"frames of {', '.join(functionals)} have different references; fit each functional by itself")
    energies = [frame.energy / frame.n_atoms for frame in frames if frame.energy is not None]
    if len(energies) < len(frames):
        raise DataError(f"{len(frames) - len(energies)} of {len(frames)} frames have no energy; leave them out")
    return fit(
        [frame.numbers for frame in frames],
        energies,
        functional=functionals[0] if functionals else None,
        elements=elements,
        allow_missing=allow_missing,
    )


def least_squares(matrix: Floats, target: Floats) -> tuple[Floats, Floats, Floats]:
    """Minimum-norm least squares.

    QR first, of matrix and target together, leaves a triangle of n_elements + 1: exact, and cheap for any number of rows.

    Returns:
        The solution (n,), the singular values of the row space (rank,), and the null space (n - rank, n).
    """
    n = matrix.shape[1]
    whole = np.column_stack([matrix, target])
    triangle: Floats = np.zeros((0, n + 1))
    for start in range(0, len(whole), BLOCK):  # block by block: the rows stay in the cache
        triangle = np.asarray(np.linalg.qr(np.vstack([triangle, whole[start : start + BLOCK]]), mode="r"))
    triangle = triangle[:n]
    left, singular, right = np.linalg.svd(triangle[:, :n])
    floor = singular[0] * max(matrix.shape) * np.finfo(np.float64).eps
    rank = int((singular > floor).sum())
    solution = right[:rank].T @ (left.T[:rank] @ triangle[:, n] / singular[:rank])
    return solution, singular[:rank], right[rank:]

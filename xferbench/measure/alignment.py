"""Elemental offsets: fitted to calibration frames, and refitted in every resample.

Energies of two codes, functionals or models differ by a zero for each element, which says nothing about the model. Before
energies are compared, y = label - prediction (eV/atom) of the calibration frames is fitted by least squares on composition
fractions X, and the offsets are added to the predictions. Offsets fitted to few compositions are themselves uncertain, so
every resample of a bootstrap refits them:

1. Each calibration material gets an exponential weight of mean 1, the same for all its frames (the Bayesian bootstrap: no
   material and so no element ever disappears), and the weighted least squares problem is solved.
2. A fit bends towards its data: the residual of a material with leverage h has the variance (1 - h) τ² of its error instead of
   τ², and none at all if the material alone determines an element. What is missing, h τ², is put back as noise: residuals drawn
   from the materials that have degrees of freedom, of the calibration and of the test.

In the coordinates of the singular vectors of X, scaled by the singular values, the frames are rows q with Σ q qᵀ = 1. Sums of
q qᵀ and q y per material are enough for all refits: one matrix product with the weights, and one small linear system a draw.

References:
    Rubin, Ann. Stat. 9, 130 (1981) (the Bayesian bootstrap).
    MacKinnon and White, J. Econom. 29, 305 (1985) (leverage and the variance of residuals).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xferbench.measure.sample import sum_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Mask = NDArray[np.bool_]

NULL_TOLERANCE = 1e-8
"""Length of a composition's part outside the row space up to which it counts as rounding; fractions are of order one."""

BLOCK = 2048
"""Rows that a QR decomposition takes at a time."""

DRAWS = 200
"""Resamples whose linear systems are in memory at a time."""

MISSED = 0.05
"""Leverage below which nothing is put back: a fortieth of the width of an interval at most."""

WEIGHTS, NOISE = 1, 2
"""Second words of the seeds of the streams of calibration weights and of noise; draws of test materials have none."""


def fractions(numbers: Integers, offsets: Integers, elements: Integers) -> csr_matrix:
    """Composition fractions of many frames.

    Args:
        numbers: (n_atoms of all frames,) atomic numbers, one frame after the other.
        offsets: (n_frames + 1,) where each frame begins, and the end of the last.
        elements: (n_elements,) sorted atomic numbers of the columns; every number must be among them.

    Returns:
        (n_frames, n_elements), rows sum to 1.
    """
    from scipy.sparse import csr_matrix

    n = np.diff(offsets)
    matrix = csr_matrix(
        (np.repeat(1.0 / np.maximum(n, 1), n), np.searchsorted(elements, numbers), offsets),
        shape=(len(n), len(elements)),
    )
    matrix.sum_duplicates()
    return matrix


def least_squares(matrix: Floats, target: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Minimum-norm least squares of several targets.

    QR first, of matrix and targets together, leaves a triangle of n_columns + n_targets: exact, and cheap for any number of rows.

    Args:
        matrix: (n_rows, n).
        target: (n_rows, k).

    Returns:
        The solution (n, k), the singular values of the row space (rank,), its right singular vectors (rank, n), and those of
        the null space (n - rank, n).
    """
    n = matrix.shape[1]
    whole = np.column_stack([matrix, target])
    triangle: Floats = np.zeros((0, whole.shape[1]))
    for start in range(0, len(whole), BLOCK):  # block by block: the rows stay in the cache
        triangle = np.asarray(np.linalg.qr(np.vstack([triangle, whole[start : start + BLOCK]]), mode="r"))
    triangle = triangle[:n]
    left, singular, right = np.linalg.svd(triangle[:, :n])
    floor = singular[0] * max(matrix.shape) * np.finfo(np.float64).eps
    rank = int((singular > floor).sum())
    solution = right[:rank].T @ (left.T[:rank] @ triangle[:, n:] / singular[:rank, None])
    return solution, singular[:rank], right[:rank], right[rank:]


@dataclass(slots=True, kw_only=True, eq=False)
class Design:
    """The compositions of the frames that offsets are fitted to, whatever is fitted.

    Attributes:
        matrix: (n_used, n_elements) composition fractions.
        basis: (n_elements, rank) from composition fractions to the coordinates in which the frames are orthonormal.
        null_space: (n_elements - rank, n_elements) orthonormal directions along which the frames say nothing; an element that no
            frame contains is one.
        condition: Largest over smallest singular value within the row space.
        rows: (n_used, rank) the frames in those coordinates.
        material: (n_used,) of each frame.
        n_materials: Of the calibration, with frames in use or without; the draws are numbered by them.
    """

    matrix: Floats
    basis: Floats
    null_space: Floats
    condition: float
    rows: Floats
    material: Integers
    n_materials: int
    _inverses: dict[tuple[int, int], Floats]

    @classmethod
    def of(cls, compositions: csr_matrix, material: Integers, n_materials: int) -> Design:
        """Of frames.

        Args:
            compositions: (n, n_elements), at least one.
            material: (n,) of each frame, 0 … n_materials-1.
            n_materials: See ``Design``.
        """
        matrix = compositions.toarray()
        _, singular, right, null_space = least_squares(matrix, np.zeros((len(matrix), 0)))
        basis = right.T / singular
        return cls(
            matrix=matrix,
            basis=basis,
            null_space=null_space,
            condition=float(singular[0] / singular[-1]),
            rows=matrix @ basis,
            material=material,
            n_materials=n_materials,
            _inverses={},
        )

    def inverses(self, n_resamples: int, seed: int) -> Floats:
        """(n_resamples, rank, rank) inverses of the weighted Σ w q qᵀ of each resample, computed once."""
        key = n_resamples, seed
        if key not in self._inverses:
            i, j = np.triu_indices(self.basis.shape[1])
            squares = sum_by(self.rows[:, i] * self.rows[:, j], self.material, self.n_materials)
            out = np.empty((n_resamples, self.basis.shape[1], self.basis.shape[1]))
            for some, weights in _weights(self.n_materials, n_resamples, seed):
                products = weights @ squares
                out[some, i, j] = out[some, j, i] = products
                out[some] = np.linalg.inv(out[some])
            self._inverses[key] = out
        return self._inverses[key]


def _weights(n_materials: int, n_resamples: int, seed: int) -> Iterator[tuple[slice, Floats]]:
    """Which resamples, and their (m, n_materials) exponential weights, some at a time."""
    stream = np.random.RandomState([seed, WEIGHTS])
    for start in range(0, n_resamples, DRAWS):
        stop = min(start + DRAWS, n_resamples)
        yield slice(start, stop), stream.standard_exponential((stop - start, n_materials))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offsets:
    """Offsets of k quantities fitted on the same calibration frames.

    Attributes:
        energies: (n_elements, k) eV/atom, the shortest solution. Where ``rank`` is below the number of elements only sums along
            compositions of the row space mean anything.
        rest: (n_used, k) what the fit leaves.
        design: The frames.
    """

    energies: Floats
    rest: Floats
    design: Design

    @property
    def rank(self) -> int:
        """Number of independent compositions."""
        return int(self.design.basis.shape[1])

    @property
    def n_frames(self) -> int:
        """Frames in the fit."""
        return len(self.rest)

    def estimable(self, compositions: csr_matrix) -> Mask:
        """(n,) whether the frames determine the offset of each composition."""
        if not len(self.design.null_space):
            return np.ones(compositions.shape[0], dtype=bool)
        outside = compositions @ self.design.null_space.T
        return np.asarray(np.sqrt((outside**2).sum(axis=1)) <= NULL_TOLERANCE)

    def per_atom(self, compositions: csr_matrix) -> Floats:
        """(n, k) eV/atom of each composition; NaN where the frames do not determine it."""
        return np.where(self.estimable(compositions)[:, None], compositions @ self.energies, np.nan)

    def refits(self, pool: Floats, *, n_resamples: int, seed: int) -> Floats:
        """What refitting changes, in each resample.

        The weights and the noise of a resample depend on nothing but its number, the seed and the number of calibration
        materials, so models with the same calibration frames meet the same ones.

        Args:
            pool: (n, k) errors of materials, with their full variance; see ``pool``.
            n_resamples: As many as the plan over test materials has.
            seed: Of the plan.

        Returns:
            (n_resamples, n_elements, k) refitted minus fitted energies, eV/atom, along the row space.
        """
        design, k = self.design, self.rest.shape[1]
        rows, material, n, r = design.rows, design.material, design.n_materials, self.rank
        inverses = design.inverses(n_resamples, seed)
        pulls = sum_by((rows[:, :, None] * self.rest[:, None, :]).reshape(-1, r * k), material, n)
        sides = sum_by(rows, material, n)
        leverage = np.minimum(sum_by((rows**2).sum(axis=1)[:, None], material, n)[:, 0], 1.0)
        bent = np.flatnonzero(leverage > MISSED)
        noise = np.random.RandomState([seed, NOISE])
        out = np.empty((n_resamples, design.basis.shape[0], k))
        for some, weights in _weights(n, n_resamples, seed):
            chosen = noise.randint(0, len(pool), (len(weights), len(bent)))
            right = (weights @ pulls).reshape(-1, r, k)
            missing = weights[:, bent] * np.sqrt(leverage[bent])
            for column in range(k):
                right[:, :, column] += (pool[chosen, column] * missing) @ sides[bent]
            out[some] = design.basis @ (inverses[some] @ right)
        return out


def fit(
    compositions: csr_matrix,
    values: Floats,
    material: Integers,
    n_materials: int,
    designs: dict[bytes, Design] | None = None,
) -> Offsets | None:
    """Fit offsets to the frames that have all values.

    Args:
        compositions: (n, n_elements), see ``fractions``.
        values: (n, k) eV/atom; NaN where there is none.
        material: (n,) of each frame, 0 … n_materials-1.
        n_materials: With values or without.
        designs: Which frames have values -> their design, of the same compositions: looked up, and added to.

    Returns:
        The offsets; None if no frame has all values.
    """
    there = np.isfinite(values).all(axis=1)
    used = np.flatnonzero(there)
    if not used.size:
        return None
    design = None if designs is None else designs.get(there.tobytes())
    if design is None:
        design = Design.of(compositions[used], material[used], n_materials)
        if designs is not None:
            designs[there.tobytes()] = design
    energies = design.basis @ (design.rows.T @ values[used])
    energies += design.basis @ (design.rows.T @ (values[used] - design.matrix @ energies))  # the last digits as well
    return Offsets(energies=energies, rest=values[used] - design.matrix @ energies, design=design)


def pool(offsets: Offsets, compositions: csr_matrix, values: Floats, material: Integers) -> Floats | None:
    """Errors of materials, from which the noise of ``Offsets.refits`` is drawn.

    The mean residual of each material after a fit, of the calibration frames and of the test frames each for themselves, times
    √(n / (n - rank)), which restores the variance that the fit has taken.

    Args:
        offsets: Of the calibration.
        compositions: (n, n_elements) of test frames.
        values: (n, k) the same quantities of the test frames, aligned or not; NaN where there is none.
        material: (n,) of the test frames.

    Returns:
        (n, k) eV/atom, of mean zero; None if neither side has more materials than independent compositions.
    """
    parts = [_errors(offsets.design.rows, offsets.rest, offsets.design.material)]
    used = np.flatnonzero(np.isfinite(values).all(axis=1) & offsets.estimable(compositions))
    if used.size:
        parts.append(_errors(compositions[used] @ offsets.design.basis, values[used], material[used]))
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None


def _errors(rows: Floats, values: Floats, material: Integers) -> Floats | None:
    _, owner = np.unique(material, return_inverse=True)
    n = int(owner.max()) + 1
    means = sum_by(np.column_stack([rows, values]), owner, n) / np.bincount(owner, minlength=n)[:, None]
    compositions, target = means[:, : rows.shape[1]], means[:, rows.shape[1] :]
    solution, singular, _, _ = least_squares(compositions, target)
    freedom = n - len(singular)
    if freedom < 1:
        return None
    rest = (target - compositions @ solution) * np.sqrt(n / freedom)
    return np.asarray(rest - rest.mean(axis=0))

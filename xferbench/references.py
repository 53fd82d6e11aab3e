"""Elemental reference energies: fit, subtract, add back.

The energy per atom of a structure is split into a part linear in its composition and a rest, E/N = c·x + rest, where c are
the fractions of the elements and x their references in eV/atom (equation 2 of the seed paper, there called AtomRef). Every
structure weighs the same, whatever its number of atoms. The fit minimises the squared rest in double precision through QR
and a singular value decomposition, never through the normal equations, which square the condition number.

What data cannot tell is said, not filled in. An element without data has no reference. Two elements that always occur in
one ratio have only that combination determined: the value of each alone is one of infinitely many that fit as well. A
composition is *estimable* when it lies in the row space of the composition matrix, that is when every least-squares
solution gives it the same energy; ``estimable`` says so for each structure, and energies of others are refused.

References:
    Huang, Deng, Zhong, Kaplan, Persson, Ceder, npj Comput. Mater. 11, 313 (2025), doi 10.1038/s41524-025-01796-y.
    S. R. Searle, Linear Models (Wiley, 1971), chapter 5, for estimable functions.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - schema.parse reads the annotations
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import DataError, FormatError
from xferbench.records import Functional  # noqa: TC001 - as above
from xferbench.schema import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from xferbench.records import Frame

    Floats = NDArray[np.float64]
    Numbers = Sequence[NDArray[np.int64]]

NULL_TOLERANCE = 1e-8
"""Length of a composition's part outside the row space up to which it counts as rounding; fractions are of order one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ElementalReferences:
    """References of the elements that the fitted frames contain, and how well the data determine them.

    Attributes:
        functional: Of the fitted energies; ``None`` for a difference of two energies.
        energies: Symbol -> eV/atom, by atomic number. Of an ``undetermined`` element alone it means nothing.
        n_structures: Symbol -> frames that contain the element.
        rank: Number of independent compositions, at most the number of elements.
        condition_number: Largest over smallest singular value within the row space: how much the fit can magnify errors
            of the energies.
        mae: Mean absolute rest over the fitted frames, eV/atom.
        rmse: Root mean square of the same.
        null_space: Orthonormal directions, symbol -> coefficient, along which the data say nothing.
        undetermined: Symbols in such a direction: their own reference is open, although combinations may be determined.
        missing: Symbols that were asked for and have no data.
    """

    functional: Functional | None
    energies: Mapping[str, float]
    n_structures: Mapping[str, int]
    n_frames: int
    rank: int
    condition_number: float
    mae: float
    rmse: float
    null_space: tuple[Mapping[str, float], ...] = ()
    undetermined: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def energy(self, numbers: NDArray[np.int64]) -> float:
        """Composition energy of one structure in eV, all atoms together.

        Raises:
            DataError: It contains an element without data, or the data do not determine its composition.
        """
        return float(self.per_atom([numbers])[0]) * len(numbers)

    def per_atom(self, numbers: Numbers) -> Floats:
        """Composition energies of structures.

        Args:
            numbers: Atomic numbers of each structure.

        Returns:
            (n_structures,) eV/atom.

        Raises:
            DataError: A structure contains an element without data, or the data do not determine its composition.
        """
        unknown = [symbol for symbol in _symbols(_elements(numbers)) if symbol not in self.energies]
        if unknown:
            raise DataError(
                f"no reference energy for {', '.join(unknown)}: no fitted structure contains it; "
                "fit on data that does, or leave these structures out"
            )
        open_ = ~estimable(self, numbers)
        if open_.any():
            raise DataError(
                f"{open_.sum()} of {len(numbers)} compositions are not determined by the {self.n_frames} fitted structures, "
                f"which leave {', '.join(self.undetermined)} open; fit on more compositions, or leave these structures out"
            )
        energies: Floats = self._fractions(numbers) @ np.array(list(self.energies.values()))
        return energies

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object, where: object) -> ElementalReferences:
        """The inverse of ``to_json``.

        Args:
            value: Parsed JSON.
            where: The file, for error messages.

        Raises:
            FormatError: Unknown or missing keys, values of the wrong kind, or no chemical symbol.
        """
        references = parse(cls, value, where)
        try:
            by_number = sorted(references.energies, key=_atomic_number)
        except KeyError as error:
            raise FormatError(f"{where}: energies.{error.args[0]} is no chemical symbol") from error
        return replace(references, energies={symbol: references.energies[symbol] for symbol in by_number})

    def _fractions(self, numbers: Numbers) -> Floats:
        return composition_matrix(numbers, [_atomic_number(symbol) for symbol in self.energies])


def composition_matrix(numbers: Numbers, elements: Sequence[int]) -> Floats:
    """Fractions of the elements in each structure.

    Args:
        numbers: Atomic numbers of each structure.
        elements: Atomic numbers of the columns.

    Returns:
        (n_structures, n_elements), rows sum to 1.

    Raises:
        DataError: A structure has no atoms, or an element without column.
    """
    counts = np.array([len(item) for item in numbers], dtype=np.int64)
    if (counts == 0).any():
        raise DataError(f"structure {int(np.argmin(counts))} has no atoms and so no composition; remove it")
    columns = {element: column for column, element in enumerate(elements)}
    present = _elements(numbers)
    unknown = [element for element in present if element not in columns]
    if unknown:
        raise DataError(f"no column for {', '.join(_symbols(unknown))}: name every element of the structures")
    if not len(numbers):
        return np.zeros((0, len(elements)))
    place = np.zeros(max(present) + 1, dtype=np.int64)
    place[present] = [columns[element] for element in present]
    rows = np.repeat(np.arange(len(counts)), counts)
    flat = rows * len(elements) + place[np.concatenate(numbers)]
    matrix = np.bincount(flat, minlength=len(counts) * len(elements)).reshape(len(counts), len(elements))
    return matrix / counts[:, None]


def fit(
    numbers: Numbers,
    energies_per_atom: ArrayLike,
    *,
    functional: Functional | None = None,
    elements: Iterable[int] = (),
    allow_missing: bool = False,
) -> ElementalReferences:
    """Least-squares references of every element in the structures.

    Args:
        numbers: Atomic numbers of each structure.
        energies_per_atom: (n_structures,) eV/atom; also differences of energies.
        functional: What the energies were computed with; recorded only.
        elements: Atomic numbers that the references must cover.
        allow_missing: Record those of ``elements`` without data as ``missing`` instead of refusing.

    Raises:
        DataError: No structures, energies that do not fit them or are not finite, or an element without data.

    References:
        Equation 2 of Huang et al.: E_elem = (AᵀA)⁻¹ Aᵀ E_total, here solved without forming AᵀA.
    """
    present = _elements(numbers)
    energies = _checked(numbers, energies_per_atom)
    missing = sorted(set(elements) - set(present))
    if missing and not allow_missing:
        raise DataError(
            f"no structure contains {', '.join(_symbols(missing))}: a reference cannot be fitted; "
            "add data, or allow missing elements"
        )
    matrix = composition_matrix(numbers, present)
    solution, singular, null_space = _least_squares(matrix, energies)
    rest = energies - matrix @ solution
    symbols = _symbols(present)
    directions = tuple(
        {symbol: part for symbol, part in zip(symbols, row.tolist(), strict=True) if abs(part) > NULL_TOLERANCE}
        for row in null_space
    )
    return ElementalReferences(
        functional=functional,
        energies=dict(zip(symbols, solution.tolist(), strict=True)),
        n_structures=dict(zip(symbols, (matrix > 0).sum(axis=0).tolist(), strict=True)),
        n_frames=len(energies),
        rank=len(singular),
        condition_number=float(singular[0] / singular[-1]),
        mae=float(np.abs(rest).mean()),
        rmse=float(np.sqrt((rest**2).mean())),
        null_space=directions,
        undetermined=tuple(symbol for symbol in symbols if any(symbol in direction for direction in directions)),
        missing=tuple(_symbols(missing)),
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


def estimable(references: ElementalReferences, numbers: Numbers) -> NDArray[np.bool_]:
    """Whether the fitted data determine the composition energy of each structure.

    False for a structure with an element that no fitted frame contains, and for a composition outside the row space.

    Returns:
        (n_structures,).
    """
    known = {_atomic_number(symbol) for symbol in references.energies}
    covered = np.array([known.issuperset(item.tolist()) for item in numbers], dtype=bool)
    if references.null_space:
        directions = np.array(
            [[row.get(symbol, 0.0) for symbol in references.energies] for row in references.null_space]
        )
        inside = [item for item, good in zip(numbers, covered, strict=True) if good]
        outside_part = np.linalg.norm(references._fractions(inside) @ directions.T, axis=1)  # noqa: SLF001 - same module
        covered[covered] = outside_part <= NULL_TOLERANCE
    return covered


def subtract(references: ElementalReferences, numbers: Numbers, energies_per_atom: ArrayLike) -> Floats:
    """Energies per atom without their composition part: (n_structures,) eV/atom.

    Raises:
        DataError: As ``ElementalReferences.per_atom``.
    """
    return _checked(numbers, energies_per_atom) - references.per_atom(numbers)


def add(references: ElementalReferences, numbers: Numbers, rest_per_atom: ArrayLike) -> Floats:
    """The inverse of ``subtract``.

    Raises:
        DataError: As ``ElementalReferences.per_atom``.
    """
    return _checked(numbers, rest_per_atom) + references.per_atom(numbers)


def _least_squares(matrix: Floats, target: Floats) -> tuple[Floats, Floats, Floats]:
    """Minimum-norm least squares.

    QR first, of matrix and target together, leaves a triangle of n_elements + 1: exact, and cheap for any number of rows.

    Returns:
        The solution (n,), the singular values of the row space (rank,), and the null space (n - rank, n).
    """
    n = matrix.shape[1]
    triangle: Floats = np.asarray(np.linalg.qr(np.column_stack([matrix, target]), mode="r"))[:n]
    left, singular, right = np.linalg.svd(triangle[:, :n])
    floor = singular[0] * max(matrix.shape) * np.finfo(np.float64).eps
    rank = int((singular > floor).sum())
    solution = right[:rank].T @ (left.T[:rank] @ triangle[:, n] / singular[:rank])
    return solution, singular[:rank], right[rank:]


def _checked(numbers: Numbers, energies_per_atom: ArrayLike) -> Floats:
    """One finite energy for each structure, and at least one."""
    energies = np.asarray(energies_per_atom, dtype=np.float64)
    if energies.shape != (len(numbers),) or not len(numbers):
        raise DataError(
            f"{len(numbers)} structures and energies of shape {energies.shape}: need one energy per structure"
        )
    bad = np.flatnonzero(~np.isfinite(energies))
    if len(bad):
        raise DataError(f"{len(bad)} of {len(energies)} energies are NaN or infinite, the first is number {bad[0]}")
    return energies


def _elements(numbers: Numbers) -> list[int]:
    """Sorted atomic numbers that occur."""
    if not len(numbers):
        return []
    present: list[int] = np.unique(np.concatenate([np.asarray(item, dtype=np.int64) for item in numbers])).tolist()
    if present and not 1 <= present[0] <= present[-1] <= 118:
        raise DataError(f"atomic numbers run from {present[0]} to {present[-1]}, not within 1 to 118")
    return present


def _symbols(elements: Iterable[int]) -> list[str]:
    from ase.data import chemical_symbols

    return [chemical_symbols[element] for element in elements]


def _atomic_number(symbol: str) -> int:
    from ase.data import atomic_numbers

    return int(atomic_numbers[symbol])

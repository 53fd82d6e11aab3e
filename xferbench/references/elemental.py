"""References of the elements: what they are, and what may be done with them."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - schema.parse reads the annotations
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import DataError, FormatError
from xferbench.functionals import Functional  # noqa: TC001 - as above
from xferbench.references.composition import (
    atomic_number,
    checked_energies,
    composition_matrix,
    present_elements,
    symbols,
)
from xferbench.schema import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Numbers = Sequence[NDArray[np.int64]]

NULL_TOLERANCE = 1e-8
"""Length of a composition's part outside the row space up to which it counts as rounding; fractions are of order one."""

RESOLUTION = 1e-9
"""eV/atom. Energies that differ by less differ by rounding."""


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
        unknown = [symbol for symbol in symbols(present_elements(numbers)) if symbol not in self.energies]
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
            by_number = sorted(references.energies, key=atomic_number)
        except KeyError as error:
            raise FormatError(f"{where}: energies.{error.args[0]} is no chemical symbol") from error
        return replace(references, energies={symbol: references.energies[symbol] for symbol in by_number})

    def _fractions(self, numbers: Numbers) -> Floats:
        return composition_matrix(numbers, [atomic_number(symbol) for symbol in self.energies])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offsets:
    """Energies of elements, wherever they come from: the least that a composition energy needs.

    Attributes:
        energies: Symbol -> eV/atom.
        null_space: As in ``ElementalReferences``.
    """

    energies: Mapping[str, float]
    null_space: tuple[Mapping[str, float], ...] = ()

    @property
    def undetermined(self) -> set[str]:
        """Symbols whose own energy is open, although combinations may be determined."""
        return {symbol for direction in self.null_space for symbol in direction}


def estimable(references: ElementalReferences, numbers: Numbers) -> NDArray[np.bool_]:
    """Whether the fitted data determine the composition energy of each structure.

    False for a structure with an element that no fitted frame contains, and for a composition outside the row space.

    Returns:
        (n_structures,).
    """
    elements = sorted({*present_elements(numbers), *map(atomic_number, references.energies)})
    return np.isfinite(composition_energies(references, composition_matrix(numbers, elements), elements))


def composition_energies(
    references: ElementalReferences | Offsets, fractions: Floats, elements: Sequence[int]
) -> Floats:
    """Composition energies from fractions.

    Args:
        references: Of any elements.
        fractions: (n_structures, n_elements), as ``composition_matrix`` returns them.
        elements: Atomic numbers of the columns.

    Returns:
        (n_structures,) eV/atom; NaN where the fitted data do not determine the composition.
    """
    names = symbols(elements)
    known = np.array([name in references.energies for name in names], dtype=bool)
    energies: Floats = fractions @ np.array([references.energies.get(name, 0.0) for name in names])
    determined = ~(fractions[:, ~known] > 0).any(axis=1)
    if references.null_space:
        directions = np.array([[row.get(name, 0.0) for name in names] for row in references.null_space])
        determined &= np.linalg.norm(fractions @ directions.T, axis=1) <= NULL_TOLERANCE
    return np.where(determined, energies, np.nan)


def beyond_rounding(rest: Floats) -> Floats:
    """Differences of energies, those by rounding exactly zero, so that no ratio is made of rounding errors; NaN stays."""
    return np.where(np.abs(rest) < RESOLUTION, 0.0, rest)


def subtract(references: ElementalReferences, numbers: Numbers, energies_per_atom: ArrayLike) -> Floats:
    """Energies per atom without their composition part: (n_structures,) eV/atom.

    Raises:
        DataError: As ``ElementalReferences.per_atom``.
    """
    return checked_energies(numbers, energies_per_atom) - references.per_atom(numbers)


def add(references: ElementalReferences, numbers: Numbers, rest_per_atom: ArrayLike) -> Floats:
    """The inverse of ``subtract``.

    Raises:
        DataError: As ``ElementalReferences.per_atom``.
    """
    return checked_energies(numbers, rest_per_atom) + references.per_atom(numbers)

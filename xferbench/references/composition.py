"""What structures are made of: fractions of the elements, and energies that belong to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Numbers = Sequence[NDArray[np.int64]]


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
    present = present_elements(numbers)
    unknown = [element for element in present if element not in columns]
    if unknown:
        raise DataError(f"no column for {', '.join(symbols(unknown))}: name every element of the structures")
    if not len(numbers):
        return np.zeros((0, len(elements)))
    place = np.zeros(max(present) + 1, dtype=np.int64)
    place[present] = [columns[element] for element in present]
    rows = np.repeat(np.arange(len(counts)), counts)
    flat = rows * len(elements) + place[np.concatenate(numbers)]
    matrix = np.bincount(flat, minlength=len(counts) * len(elements)).reshape(len(counts), len(elements))
    return matrix / counts[:, None]


def checked_energies(numbers: Numbers, energies_per_atom: ArrayLike) -> Floats:
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


def present_elements(numbers: Numbers) -> list[int]:
    """Sorted atomic numbers that occur."""
    if not len(numbers):
        return []
    present: list[int] = np.unique(np.concatenate([np.asarray(item, dtype=np.int64) for item in numbers])).tolist()
    if present and not 1 <= present[0] <= present[-1] <= 118:
        raise DataError(f"atomic numbers run from {present[0]} to {present[-1]}, not within 1 to 118")
    return present


def symbols(elements: Iterable[int]) -> list[str]:
    """Chemical symbols of atomic numbers."""
    from ase.data import chemical_symbols

    return [chemical_symbols[element] for element in elements]


def atomic_number(symbol: str) -> int:
    """The inverse, for one symbol.

    Raises:
        KeyError: It is no chemical symbol.
    """
    from ase.data import atomic_numbers

    return int(atomic_numbers[symbol])

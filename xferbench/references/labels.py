"""Pairs of energy labels as arrays: what the schemes are fitted to and judged on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from xferbench.references.composition import composition_matrix, present_elements, symbols

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xferbench.functionals import Functional
    from xferbench.records import FramePair, Predictions

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """Energies of the same materials with two functionals.

    Attributes:
        elements: Atomic numbers of the columns of ``fractions``, ascending.
        fractions: (n, n_elements) composition; rows sum to 1.
        n_atoms: (n,) atoms in the cell of the target's frame.
        materials: (n,) material ids.
        source: (n,) source energies, eV/atom.
        target: (n,) target energies, eV/atom.
        model: (n,) energies that a model predicts, eV/atom, NaN where it does not; None without a model.
        functionals: Of the source and of the target, which tables of isolated atoms are looked up by; none without pairs.
        n_dropped: Pairs that were left out because an energy is missing.
    """

    elements: tuple[int, ...]
    fractions: Floats
    n_atoms: NDArray[np.int64]
    materials: tuple[str, ...]
    source: Floats
    target: Floats
    model: Floats | None = None
    functionals: tuple[Functional, ...] = ()
    n_dropped: int = 0

    def __len__(self) -> int:
        return len(self.target)

    @property
    def gap(self) -> Floats:
        """(n,) target minus source, eV/atom."""
        return self.target - self.source

    @property
    def symbols(self) -> list[str]:
        """Chemical symbols of the columns."""
        return symbols(self.elements)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Labels:
        """Some of the pairs."""
        index = np.arange(len(self))[rows]
        return replace(
            self,
            fractions=self.fractions[index],
            n_atoms=self.n_atoms[index],
            materials=tuple(self.materials[i] for i in index),
            source=self.source[index],
            target=self.target[index],
            model=None if self.model is None else self.model[index],
        )


def pair_labels(
    pairs: Sequence[FramePair], predictions: Predictions | None = None, *, elements: Sequence[int] | None = None
) -> Labels:
    """Energies of pairs per atom. A pair without both energies is left out and counted.

    Args:
        pairs: Of one data set, with one functional on each side.
        predictions: Of a model for the target frames of the pairs, by ``frame_id``; frames it lacks are NaN.
        elements: Atomic numbers of the columns; those that occur if not given.

    Raises:
        DataError: An element is not among ``elements``.
    """
    whole = [pair for pair in pairs if pair.source.energy is not None and pair.target.energy is not None]
    numbers = [pair.target.numbers for pair in whole]
    columns = tuple(present_elements(numbers) if elements is None else elements)
    source = [pair.source.energy / pair.source.n_atoms for pair in whole if pair.source.energy is not None]
    target = [pair.target.energy / pair.target.n_atoms for pair in whole if pair.target.energy is not None]
    return Labels(
        elements=columns,
        fractions=composition_matrix(numbers, columns),
        n_atoms=np.array([len(item) for item in numbers], dtype=np.int64),
        materials=tuple(pair.material_id for pair in whole),
        source=np.array(source, dtype=np.float64),
        target=np.array(target, dtype=np.float64),
        model=None if predictions is None else _predicted(whole, predictions),
        functionals=(pairs[0].source.functional, pairs[0].target.functional) if pairs else (),
        n_dropped=len(pairs) - len(whole),
    )


def _predicted(pairs: Sequence[FramePair], predictions: Predictions) -> Floats:
    energy = {record.frame_id: record.energy for record in predictions.records}
    frames = [pair.target for pair in pairs]
    values = [energy.get(frame.frame_id) for frame in frames]
    return np.array(
        [np.nan if value is None else value / frame.n_atoms for frame, value in zip(frames, values, strict=True)],
        dtype=np.float64,
    )

"""The correction from one functional to another: fitted to pairs, and judged on materials it was not fitted to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import DataError
from xferbench.references.composition import composition_matrix, present_elements, symbols
from xferbench.references.elemental import composition_energies
from xferbench.references.fitting import fit_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xferbench.records import Frame
    from xferbench.references.elemental import ElementalReferences

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Mask = NDArray[np.bool_]

FOLDS = 40
"""Into which materials are dealt, at most: each is judged by the other folds."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Structures:
    """What a lift knows of structures.

    Attributes:
        ids: (n,) of the frames.
        materials: (n,) material ids; frames of one material are not independent.
        elements: Atomic numbers of the columns of ``fractions``.
        fractions: (n, n_elements) composition; rows sum to 1.
        source: (n,) source energies, eV/atom.
        model: (n,) gap that the model pair predicts, eV/atom, NaN where it does not; none without models.
    """

    ids: tuple[str, ...]
    materials: tuple[str, ...]
    elements: tuple[int, ...]
    fractions: Floats
    source: Floats
    model: Floats | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def added(self) -> Floats:
        """(n,) the models' gap, eV/atom; zeros without models."""
        return np.zeros(len(self)) if self.model is None else self.model

    def take(self, rows: Integers | Mask) -> Structures:
        """Some of them."""
        index = np.arange(len(self))[rows]
        return replace(
            self,
            ids=tuple(self.ids[i] for i in index),
            materials=tuple(self.materials[i] for i in index),
            fractions=self.fractions[index],
            source=self.source[index],
            model=None if self.model is None else self.model[index],
        )

    @classmethod
    def of(cls, frames: Sequence[Frame], elements: Sequence[int], model: Floats | None = None) -> Structures:
        """From frames with energies.

        Args:
            frames: Source frames.
            elements: Atomic numbers that columns are made for; at least those of the frames.
            model: (n,) eV/atom.

        Raises:
            DataError: An element without column.
        """
        return cls(
            ids=tuple(frame.frame_id for frame in frames),
            materials=tuple(frame.material_id for frame in frames),
            elements=tuple(elements),
            fractions=composition_matrix([frame.numbers for frame in frames], elements),
            source=np.array([np.nan if f.energy is None else f.energy / f.n_atoms for f in frames], dtype=np.float64),
            model=model,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Structures whose gap is known: calibration.

    Attributes:
        structures: With their source energies.
        gap: (n,) target minus source, eV/atom.
    """

    structures: Structures
    gap: Floats

    def __len__(self) -> int:
        return len(self.gap)

    def take(self, rows: Integers | Mask) -> Pairs:
        """Some of them."""
        return Pairs(structures=self.structures.take(rows), gap=self.gap[np.arange(len(self))[rows]])


def elements_of(*groups: Sequence[Frame]) -> list[int]:
    """Sorted atomic numbers of all frames."""
    return present_elements([frame.numbers for group in groups for frame in group])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Correction:
    """What pairs say of the way from one functional to the other.

    Attributes:
        offsets: Of what the models leave of the gap.
        elemental: Of the gap itself: the correction without models.
        source: Of the source energies, from which ``Placement.rest`` is measured.
        inverse: (n_elements, n_elements) pseudo-inverse of the normal matrix of the fitted fractions, for leverages.
    """

    offsets: ElementalReferences
    elemental: ElementalReferences
    source: ElementalReferences
    inverse: Floats

    def gap(self, of: Structures) -> Floats:
        """(n,) eV/atom; NaN where the pairs do not determine the composition or a model has no answer."""
        return of.added + composition_energies(self.offsets, of.fractions, of.elements)

    def elemental_gap(self, of: Structures) -> Floats:
        """(n,) eV/atom that the elements alone give."""
        return composition_energies(self.elemental, of.fractions, of.elements)

    def place(self, of: Structures) -> Placement:
        """How far structures are from the pairs."""
        return Placement(
            leverage=np.einsum("ij,jk,ik->i", of.fractions, self.inverse, of.fractions),
            rest=np.abs(of.source - composition_energies(self.source, of.fractions, of.elements)),
            added=np.abs(self.gap(of) - self.elemental_gap(of)),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placement:
    """How far structures are from the calibration pairs, in three ways.

    Attributes:
        leverage: (n,) x (XᵀX)⁺ xᵀ of the composition: the variance that the fitted offsets have there, relative to that of one
            pair. 1 for a composition that hangs on a pair of its own.
        rest: (n,) eV/atom by which the source energy differs from what the pairs' elements give: strain, disorder, another unit or
            another zero.
        added: (n,) eV/atom that the models change the elemental correction by.
    """

    leverage: Floats
    rest: Floats
    added: Floats

    def take(self, i: int) -> Placement:
        """That of one structure."""
        return Placement(leverage=self.leverage[[i]], rest=self.rest[[i]], added=self.added[[i]])


def fit(pairs: Pairs) -> Correction:
    """Fit to pairs; each structure weighs the same.

    Raises:
        DataError: There is none with all numbers.
    """
    known = np.isfinite(pairs.gap) & np.isfinite(pairs.structures.added) & np.isfinite(pairs.structures.source)
    if not known.any():
        raise DataError("no calibration pair has both energies and the models' answers; name other pairs or models")
    pairs = pairs.take(known)
    of = pairs.structures
    weights = np.ones(len(pairs))
    inverse: Floats = np.linalg.pinv(of.fractions.T @ of.fractions, hermitian=True).astype(np.float64)
    return Correction(
        offsets=fit_matrix(of.fractions, pairs.gap - of.added, of.elements, weights=weights),
        elemental=fit_matrix(of.fractions, pairs.gap, of.elements, weights=weights),
        source=fit_matrix(of.fractions, of.source, of.elements, weights=weights),
        inverse=inverse,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Calibration pairs, each as it looks from the pairs of other materials. NaN where these do not determine its composition.

    Attributes:
        error: (n,) gap of the correction minus true gap, eV/atom.
        elemental_error: (n,) the same of the elemental correction alone.
        placement: How far each is from the others.
    """

    error: Floats
    elemental_error: Floats
    placement: Placement


def left_out(pairs: Pairs) -> Judged:
    """Judge each pair by a correction that was fitted without its material.

    Raises:
        DataError: As ``fit``; or there is one material only.
    """
    fold = folds(pairs.structures.materials)
    if fold.max(initial=0) < 1:
        raise DataError("the calibration pairs are of one material; name pairs of two materials at least")
    columns = np.full((5, len(pairs)), np.nan)
    for number in range(int(fold.max()) + 1):
        out = np.flatnonzero(fold == number)
        correction, of = fit(pairs.take(fold != number)), pairs.structures.take(out)
        place = correction.place(of)
        columns[:, out] = (
            correction.gap(of) - pairs.gap[out],
            correction.elemental_gap(of) - pairs.gap[out],
            place.leverage,
            place.rest,
            place.added,
        )
    error, elemental_error, leverage, rest, added = columns
    leverage = np.where(np.isfinite(elemental_error), leverage, np.nan)
    return Judged(
        error=error,
        elemental_error=elemental_error,
        placement=Placement(leverage=leverage, rest=rest, added=added),
    )


def folds(materials: Sequence[str]) -> Integers:
    """(n,) fold of each structure: materials dealt in the order of their hash, so that no order of a file plays a part."""
    dealt = sorted(set(materials), key=order)
    place = {name: i % FOLDS for i, name in enumerate(dealt)}
    return np.array([place[name] for name in materials], dtype=np.int64)


def order(name: str) -> bytes:
    """A random order of names that is always the same."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def named(elements: Sequence[int], fractions: Floats) -> list[str]:
    """Symbols of the elements of one structure."""
    return symbols([element for element, share in zip(elements, fractions, strict=True) if share > 0])

"""Which elemental references a transfer starts with: fitted as a change of a table that is there.

The change is least squares on composition fractions. What the training frames leave open (an element that none has, two
elements that only occur together) stays as it was in the table, and is listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import DataError
from xferbench.models.chgnet.model import N_ELEMENTS
from xferbench.records import Functional
from xferbench.references.composition import atomic_number, composition_matrix, symbols
from xferbench.references.fitting import fit_matrix
from xferbench.references.labels import pair_labels
from xferbench.references.plausibility import not_the_gap
from xferbench.references.tables import digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xferbench.records import Floats, Frame, Integers, Pair

ELEMENTS = tuple(range(1, N_ELEMENTS + 1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class References:
    """A table of elemental references and where it comes from.

    Attributes:
        table: (94,) eV/atom, hydrogen first.
        how: In words.
        elements: Symbols that the training frames contain.
        undetermined: Those whose own reference the frames leave open, although combinations are fitted.
        n_frames: Frames of the fit; 0 for a table that was not fitted.
        mae: Mean absolute rest of the fit, eV/atom.
        digest: Of energies that neither the training frames nor the start decide, if there are such.
    """

    table: Floats
    how: str
    elements: tuple[str, ...]
    undetermined: tuple[str, ...] = ()
    n_frames: int = 0
    mae: float | None = None
    digest: str | None = None

    def facts(self) -> dict[str, Any]:
        """For the record of a run."""
        return {
            "how": self.how,
            "elements": list(self.elements),
            "undetermined": list(self.undetermined),
            "n_frames": self.n_frames,
            "mae": self.mae,
            "digest": self.digest,
        }

    def by_symbol(self) -> dict[str, float]:
        """Symbol -> eV/atom, of all elements."""
        return dict(zip(symbols(ELEMENTS), self.table.tolist(), strict=True))


def kept(table: Floats, pairs: Sequence[Pair]) -> References:
    """The table as it is."""
    return References(table=table, how="those of the start", elements=_elements([pair.r2scan for pair in pairs]))


def refitted(table: Floats, frames: Sequence[Frame]) -> References:
    """Fit the energies of frames, each counting once (Huang et al. 2025, Eq. 2).

    Raises:
        DataError: No frame has an energy.
    """
    numbers, energies = labelled_energies(frames)
    return _changed(
        table, numbers, energies - composition_energy(table, numbers), how="fitted to the training energies"
    )


def model_aware(table: Floats, frames: Sequence[Frame], predicted: Floats) -> References:
    """Fit target minus model prediction on atom counts, so that large cells count more (MACE, E0s="estimated").

    Args:
        table: References within the prediction.
        frames: With the labels.
        predicted: (n,) eV/atom, for the frames that have an energy.

    Raises:
        DataError: No frame has an energy.
    """
    numbers, energies = labelled_energies(frames)
    weights = np.array([len(item) for item in numbers], dtype=np.float64) ** 2
    return _changed(table, numbers, energies - predicted, how="fitted to target minus model", weights=weights)


def paired_difference(table: Floats, pairs: Sequence[Pair]) -> References:
    """Fit the differences of the two labels of each pair, and add them to the table.

    Raises:
        DataError: No pair has both energies.
    """
    both = [pair for pair in pairs if pair.gga.energy is not None and pair.r2scan.energy is not None]
    numbers, target = labelled_energies([pair.r2scan for pair in both])
    source = labelled_energies([pair.gga for pair in both])[1]
    return _changed(table, numbers, target - source, how="those of the start plus the fitted gap of the pairs")


def isolated_atoms(
    table: Floats,
    frames: Sequence[Frame],
    pairs: Sequence[Pair],
    atoms: Mapping[Functional, Mapping[str, float]],
    origin: str,
) -> References:
    """Add the difference of isolated atoms (Huang et al. 2025, Eq. 3, cohesive convention).

    Args:
        table: To add to.
        frames: Of the training.
        pairs: Of the training; those with PBE labels tell whether the energies can be those of the labels.
        atoms: Functional -> symbol -> eV, of the same code and pseudopotentials as the labels.
        origin: Whose energies they are, in words.

    Raises:
        DataError: A functional or an element of the training frames is missing, or the energies cannot be those of the labels.
    """
    source, target = (atoms.get(functional, {}) for functional in (Functional.PBE, Functional.R2SCAN))
    present = _elements(frames)
    lacking = [symbol for symbol in present if symbol not in source or symbol not in target]
    if lacking:
        raise DataError(
            f"the isolated atoms {origin} lack {', '.join(lacking)} for PBE or r2SCAN; name a file that has them with "
            "--set options.atoms=FILE, in a study --option finetune-isolated-atoms:atoms=FILE, or choose another method"
        )
    shift = {symbol: target[symbol] - source[symbol] for symbol in sorted(source.keys() & target.keys())}
    doubt = not_the_gap(shift, pair_labels([pair for pair in pairs if pair.gga.functional == Functional.PBE]))
    if doubt is not None:
        raise DataError(f"the isolated atoms {origin} {doubt}")
    new = table.copy()
    for symbol, change in shift.items():
        if atomic_number(symbol) <= N_ELEMENTS:
            new[atomic_number(symbol) - 1] += change
    how = f"those of the start plus the gap of the isolated atoms {origin}"
    return References(table=new, how=how, elements=present, digest=digest(atoms))


def labelled_energies(frames: Sequence[Frame]) -> tuple[list[Integers], Floats]:
    """Atomic numbers and energies (n,) eV/atom of the frames that have one.

    Raises:
        DataError: None has, or one contains an element that CHGNet does not know.
    """
    heaviest = max((int(frame.numbers.max()) for frame in frames), default=0)
    if heaviest > N_ELEMENTS:
        raise DataError(f"CHGNet knows hydrogen to plutonium; leave out frames with {symbols([heaviest])[0]}")
    labelled = [(frame.numbers, frame.energy / frame.n_atoms) for frame in frames if frame.energy is not None]
    if not labelled:
        raise DataError(f"none of {len(frames)} training frames has an energy; references cannot be fitted")
    return [numbers for numbers, _ in labelled], np.array([energy for _, energy in labelled], dtype=np.float64)


def composition_energy(table: Floats, numbers: Sequence[Integers]) -> Floats:
    """What the references say of structures: (n,) eV/atom."""
    energies: Floats = composition_matrix(numbers, ELEMENTS) @ table
    return energies


def _changed(
    table: Floats, numbers: Sequence[Integers], rest: Floats, *, how: str, weights: Floats | None = None
) -> References:
    """The table plus a fit to what it leaves."""
    present = sorted({int(z) for item in numbers for z in item})
    fitted = fit_matrix(
        composition_matrix(numbers, present),
        rest,
        present,
        weights=np.ones(len(rest)) if weights is None else weights,
    )
    new = table.copy()
    for symbol, change in fitted.energies.items():
        new[atomic_number(symbol) - 1] += change
    return References(
        table=new,
        how=how,
        elements=tuple(symbols(present)),
        undetermined=fitted.undetermined,
        n_frames=fitted.n_frames,
        mae=fitted.mae,
    )


def _elements(frames: Sequence[Frame]) -> tuple[str, ...]:
    return tuple(symbols(sorted({int(z) for frame in frames for z in frame.numbers})))

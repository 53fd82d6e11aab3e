"""Which elemental references a run starts with: a scheme of ``references.SCHEMES``, as a change of a network's own table.

A scheme says what to add per element to a source label, or to the prediction of a model; here the network takes the place of the
source label, and its table the sum. What the training frames leave open (an element that none has, two elements that only
occur together) stays as it is in the network, and is listed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import DataError
from xferbench.references import SCHEMES, Labels, digest, pair_labels, read_atoms
from xferbench.references.composition import atomic_number, composition_matrix, present_elements, symbols
from xferbench.references.plausibility import not_the_gap
from xferbench.references.schemes import Calibration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xferbench.models.trainable import Trainable
    from xferbench.records import Floats, Frame
    from xferbench.transfer.data import TrainingData

GIVEN = ("atoms", "phases")
"""Schemes that are no fit: an element without a value would stay tens of eV away from the others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InitialReferences:
    """A table of elemental references and where it comes from.

    Attributes:
        table: (n_elements,) eV/atom, in the order of the network.
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


def initial_references(  # noqa: C901 - one scheme after the other, each with what it may lack
    model: Trainable, name: str, data: TrainingData, predicted: Callable[[], Floats], *, atoms: str = ""
) -> InitialReferences:
    """The table that a scheme makes of a network's own.

    Args:
        model: That starts.
        name: Of the scheme.
        data: What is trained on.
        predicted: Energies (n,) eV/atom that the network predicts for the target frames with an energy; called by the
            model-aware scheme only.
        atoms: File with the energies of isolated atoms; those of the data set if empty.

    Raises:
        DataError: The training data do not suffice for the scheme, contain elements that the network does not know, or
            contradict the isolated atoms.
    """
    scheme, table = SCHEMES[name], model.reference_energies()
    model.check_elements([frame.numbers for frame in data.frames])
    present = symbols(present_elements([frame.numbers for frame in data.frames]))
    if name == "source":
        return InitialReferences(table=table, how="those of the start", elements=tuple(present))
    if scheme.paired:
        labels = pair_labels(data.pairs)
        if not len(labels):
            raise DataError(
                f"none of {len(data.pairs)} training pairs has both energies; take references fit or model-aware"
            )
    else:
        labels = frame_labels(data.frames, predicted() if name == "model-aware" else None)
    columns = [model.elements.index(z) for z in labels.elements]
    if name == "fit":
        # fitted as a change, so that what is open stays
        labels = replace(labels, target=labels.target - labels.fractions @ table[columns])
    tables = (read_atoms(Path(atoms)) if atoms else data.atom_energies) or None
    calibration = Calibration(labels=labels, weights=np.ones(len(labels)), atoms=tables)
    reason = scheme.lacking(calibration)
    if reason is not None:
        raise DataError(f"references {name}: {reason}; or choose another scheme")
    fitted = scheme.fit(calibration)
    change = fitted.shift.energies
    origin = f"of {Path(atoms).name}" if atoms else "of the data set"
    if name in GIVEN:
        lacking = [symbol for symbol in present if symbol not in change]
        if lacking:
            raise DataError(f"references {name} {origin} lack {', '.join(lacking)}; choose another scheme")
        # labels with +U have another zero than any table
        doubt = not_the_gap(
            change, pair_labels([pair for pair in data.pairs if pair.source.functional in (tables or {})])
        )
        if doubt is not None:
            raise DataError(f"references {name} {origin} {doubt}")
    table = table.copy()
    for symbol, energy in change.items():
        if atomic_number(symbol) in model.elements:
            table[model.elements.index(atomic_number(symbol))] += energy
    note = f" ({fitted.note})" if fitted.note else ""
    own = "those of the start plus the change by scheme "
    return InitialReferences(
        table=table,
        how=("fitted to the training energies" if name == "fit" else f"{own}{name}{note}"),
        elements=tuple(present),
        undetermined=tuple(sorted(fitted.shift.undetermined, key=atomic_number)),
        n_frames=len(labels),
        mae=float(np.nanmean(np.abs(labels.target - fitted.predict(labels)))),
        digest=digest(tables or {}) if name in {"atoms", "two-step"} else None,
    )


def frame_labels(frames: Sequence[Frame], predicted: Floats | None = None) -> Labels:
    """Energies of frames of one functional as labels without a source.

    Args:
        frames: Those without an energy are left out.
        predicted: (n,) eV/atom by a model, of the frames that have an energy.

    Raises:
        DataError: No frame has an energy.
    """
    labelled = [frame for frame in frames if frame.energy is not None]
    if not labelled:
        raise DataError(f"none of {len(frames)} training frames has an energy; references cannot be fitted")
    numbers = [frame.numbers for frame in labelled]
    elements = present_elements(numbers)
    return Labels(
        elements=tuple(elements),
        fractions=composition_matrix(numbers, elements),
        n_atoms=np.array([len(item) for item in numbers], dtype=np.int64),
        materials=tuple(frame.material_id for frame in labelled),
        source=np.full(len(labelled), np.nan),
        target=np.array([(frame.energy or 0.0) / frame.n_atoms for frame in labelled], dtype=np.float64),
        model=predicted,
    )

"""The lift itself: a row for each structure, with its parts, its interval, or the reason why it has none."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from xferbench.lifting.correction import named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from xferbench.lifting.correction import Correction, Judged, Placement, Structures
    from xferbench.lifting.intervals import Conformal

    Floats = NDArray[np.float64]

SLACK = 1.5
"""A structure may be so much farther from the pairs, in ``rest`` and ``added``, than the farthest pair is from the others."""


class Zero(StrEnum):
    """What the lifted energies are relative to, and by what right."""

    PAIRS = "pairs"
    """Offsets were fitted to pairs of the code and potentials of the input."""

    MODELS = "models"
    """The input is of the kind that the models were trained on; their own zero is used."""

    NONE = "none"
    """Nothing ties the zeros: only differences within a composition are given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one structure. Energies in eV/atom.

    Attributes:
        frame_id: As in the file.
        composition: Reduced formula.
        n_atoms: In the cell.
        source: Its energy with the source functional, or with the target functional where that is ``kept``.
        status: ``lifted``, ``kept`` (the file has the target functional's own energy), or ``refused``.
        elemental: What the elements alone add; none without pairs.
        model: What the models add to that; without pairs, all that they add.
        energy: Lifted; none if refused. With ``Zero.NONE``, relative to the structure of its composition that has the lowest
            source energy, and so is ``source``.
        half_width: Of the interval about ``energy``; none where none can be given.
        reason: Of a refusal.
    """

    frame_id: str
    composition: str
    n_atoms: int
    source: float
    status: str
    elemental: float | None = None
    model: float | None = None
    energy: float | None = None
    half_width: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """The structures of a lift, as ``Structures`` with what a row shows.

    Attributes:
        structures: Their numbers.
        compositions: (n,) reduced formulas.
        n_atoms: (n,).
        errors: Frame id -> why a model has no answer.
    """

    structures: Structures
    compositions: Sequence[str]
    n_atoms: Sequence[int]
    errors: Mapping[str, str] = field(default_factory=dict)

    def row(
        self, i: int, *, status: str = "lifted", source: float | None = None, reason: str = "", **values: float | None
    ) -> Row:
        """The row of one structure; what is not finite is not there."""
        return Row(
            frame_id=self.structures.ids[i],
            composition=self.compositions[i],
            n_atoms=self.n_atoms[i],
            source=float(self.structures.source[i]) if source is None else source,
            status=status,
            reason=reason,
            **{name: float(v) for name, v in values.items() if v is not None and np.isfinite(v)},
        )

    def refused(self, i: int, reason: str) -> Row:
        """The row of a structure that is not lifted."""
        return self.row(i, status="refused", reason=reason)


def lift(asked: Asked, correction: Correction | None, width: Conformal | None, limits: Limits | None) -> list[Row]:
    """Lift each structure by pairs, or by the models' own zero if there is no correction.

    Args:
        asked: The structures.
        correction: From ``fit``; none to add the models' gap as it is.
        width: From ``conformal``.
        limits: How far from the pairs a structure may be.
    """
    of = asked.structures
    if correction is None:
        return [
            asked.row(i, model=of.added[i], energy=of.source[i] + of.added[i])
            if np.isfinite(of.added[i])
            else asked.refused(i, _no_answer(asked, i))
            for i in range(len(of))
        ]
    gap, elemental, place = correction.gap(of), correction.elemental_gap(of), correction.place(of)
    half = np.full(len(of), np.nan) if width is None else width.half_width(place.leverage)
    reasons = _reasons(asked, correction, place, limits)
    return [
        asked.refused(i, reasons[i])
        if reasons[i]
        else asked.row(
            i,
            elemental=elemental[i],
            model=None if of.model is None else gap[i] - elemental[i],
            energy=of.source[i] + gap[i],
            half_width=half[i],
        )
        for i in range(len(of))
    ]


def differences(asked: Asked) -> list[Row]:
    """Only what no zero enters: energies relative to one structure of the same composition, lifted by the models' gap."""
    of = asked.structures
    groups: dict[str, list[int]] = {}
    for i, composition in enumerate(asked.compositions):
        if np.isfinite(of.added[i]):
            groups.setdefault(composition, []).append(i)
    rows = []
    for i, composition in enumerate(asked.compositions):
        group = groups.get(composition, [])
        if not np.isfinite(of.added[i]):
            rows.append(asked.refused(i, _no_answer(asked, i)))
        elif len(group) < 2:
            rows.append(asked.refused(i, f"the only structure of {composition}, and zeros of energy are not tied"))
        else:
            lowest = min(group, key=lambda j: of.source[j])
            source, model = of.source[i] - of.source[lowest], of.added[i] - of.added[lowest]
            rows.append(asked.row(i, source=float(source), model=model, energy=source + model))
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far from the pairs a structure may be; see ``Placement``. Infinite where the pairs cannot tell."""

    leverage: float
    rest: float
    added: float

    @property
    def known(self) -> bool:
        """Whether the pairs can tell."""
        return bool(np.isfinite([self.leverage, self.rest, self.added]).all())

    @classmethod
    def of(cls, judged: Judged) -> Limits:
        """By how far the pairs are from each other."""
        place = judged.placement
        return cls(
            leverage=_largest(place.leverage), rest=SLACK * _largest(place.rest), added=SLACK * _largest(place.added)
        )


def _largest(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else np.inf


def _reasons(asked: Asked, correction: Correction, place: Placement, limits: Limits | None) -> list[str]:
    """Why each structure is not lifted; empty if it is."""
    determined = np.isfinite(correction.elemental_gap(asked.structures))
    return [
        _unknown(asked, i, correction, determined=bool(determined[i])) or _far(place.take(i), limits)
        for i in range(len(asked.structures))
    ]


def _unknown(asked: Asked, i: int, correction: Correction, *, determined: bool) -> str:
    """What the pairs or the models do not say."""
    of = asked.structures
    foreign = [s for s in named(of.elements, of.fractions[i]) if s not in correction.elemental.energies]
    if foreign:
        return f"no calibration pair has {', '.join(foreign)}"
    if not determined:
        return f"the pairs do not determine the composition: they leave {', '.join(correction.elemental.undetermined)} open"
    return "" if np.isfinite(of.added[i]) else _no_answer(asked, i)


def _far(place: Placement, limits: Limits | None) -> str:
    """In which way a structure, the only one of ``place``, is too far from the pairs."""
    if limits is None:
        return ""
    leverage, rest, added = (float(values[0]) for values in (place.leverage, place.rest, place.added))
    if leverage > limits.leverage * (1 + 1e-9):
        return (
            f"composition too far from the pairs: leverage {leverage:.2g}, of any of them at most {limits.leverage:.2g}"
        )
    if rest > limits.rest:
        return (
            f"source energy {rest:.2f} eV/atom off what the pairs' elements give, among them at most {limits.rest / SLACK:.2f}: "
            "another kind of structure, unit or zero"
        )
    if added > limits.added + 1e-9:
        return f"the models add {added:.3f} eV/atom to the elements' correction, among the pairs at most {limits.added / SLACK:.3f}"
    return ""


def _no_answer(asked: Asked, i: int) -> str:
    return f"no answer of the models: {asked.errors.get(asked.structures.ids[i], 'not predicted')}"

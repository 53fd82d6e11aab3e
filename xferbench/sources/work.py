"""Do the energies, forces and stresses of a source belong together? A physical check of units and signs.

Between two similar frames of one material, energy is what forces and stress did along the way. With fractional
coordinates s and lattice h, to second order (trapezoid),

    ΔE = -a · ½ Σ (F₁ + F₂) · Δs h̄  +  b · ½ (V₁σ₁ + V₂σ₂) : ε

with a = b = 1 if all are in eV and Å and stress is tension positive. Another unit gives its factor, VASP's sign left as it is a
negative one (``mistakes``). The two slopes are fitted over frames of one functional and material, and a source is refused if a
slope is well determined and far from 1.

The trapezoid lacks the third order. Where the stress does opposite work at the two ends, as at equal strains on both sides of
equilibrium, lower orders cancel and the third is all that is left: such a couple is not compared.

Limits. It takes materials with several frames that differ little in place and by some strain, which relaxations and mild
molecular dynamics give, and one frame per material does not: then nothing can be said, and that is what is logged. Errors
of less than a factor of two, or in a minority of the frames, pass.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from xferbench.errors import DataError
from xferbench.mistakes import FORCE_FACTORS, NEAR, STRESS_FACTORS
from xferbench.records import Drop, Frame
from xferbench.tables import table_frames, take

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

MATERIALS = 2000
"""Of each functional that are compared, the first ones: enough for the fit, and little memory."""

STEPS = 4
"""Comparisons of one material at most, so that no single one decides."""

ENOUGH = 500
"""Comparisons of one functional: slopes are known to a few percent, and all of a large set would cost seconds."""

FURTHEST = 0.3
"""Å that an atom, relative to the lattice, may have moved between two frames that are compared."""

LARGEST_STRAIN = 0.08
"""Of a cell between two frames that are compared."""

FEWEST = 8
"""Comparisons to say anything."""

TRAPEZOID = 0.2
"""Of the work of the forces that the trapezoid may be wrong by: it lacks the third order, which is up to that in crystals
rattled by 0.1 Å (measured on the embedded data set)."""

CANCELS = 0.15
"""Of the difference of the work of the stress at the two ends: where the mean is less, the third order is too large a part of it. For
strains along one line the trapezoid is wrong by x E'''/(12 E'') of that difference, x the strain between the ends; -E'''/E'' is some
15 in solids, three times one and the pressure derivative of the bulk modulus. At x = 0.03 that is 0.04: a quarter of the least mean."""

FLOOR = 1e-3
"""eV/atom that energies of similar frames may be wrong by, from k-point meshes that follow the cell and the like."""

NOTHING = 1e-7
"""eV/atom of work of the forces that is none: what rounded coordinates do under ordinary forces."""

FLAT = 1e-6
"""Å³ below which a cell has no volume."""

RANGE = (0.5, 2.0)
"""Slopes that count as right: a factor of ten or a sign lie far outside, noise inside."""

log = logging.getLogger(__name__)
Row = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """A fitted slope and its standard error."""

    value: float
    error: float

    @property
    def is_wrong(self) -> bool:
        """Well determined, and with three standard errors outside the range."""
        low, high = self.value - 3 * self.error, self.value + 3 * self.error
        return (low > RANGE[1] or high < RANGE[0]) and not low < 0 < high

    @property
    def is_right(self) -> bool:
        """Inside the range with three standard errors."""
        return self.value - 3 * self.error > RANGE[0] and self.value + 3 * self.error < RANGE[1]


@dataclass(slots=True, kw_only=True)
class WorkCheck:
    """Collects comparisons of the frames of one functional, in constant memory."""

    latest: dict[tuple[str, bytes], tuple[Frame, int]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    unfinished: Counter[str] = field(default_factory=Counter)
    """Material -> keys of ``latest`` whose comparisons are not ``STEPS`` yet."""

    def may_use(self, material_id: str) -> bool:
        """Whether a frame of this material could be compared, now or later."""
        known = self.unfinished[material_id] > 0
        return len(self.rows) < ENOUGH and (known or len(self.latest) < MATERIALS)

    def add(self, frame: Frame) -> None:
        """Compare a frame with the one of its material that came before."""
        if frame.energy is None or frame.forces is None or frame.stress is None or not all(frame.pbc):
            return
        if len(self.rows) == ENOUGH:
            return
        key = (frame.material_id, frame.numbers.tobytes())
        before, steps = self.latest.get(key, (None, 0))
        if (before is None and len(self.latest) >= MATERIALS) or steps >= STEPS:
            return
        row = None if before is None else compare(before, frame)
        if row is not None:
            self.rows.append(row)
        self.unfinished[frame.material_id] += (before is None) - (row is not None and steps + 1 == STEPS)
        self.latest[key] = (frame, steps + (row is not None))

    def slopes(self) -> tuple[Slope, Slope] | None:
        """Of forces and of stress; ``None`` if there was too little to compare."""
        if len(self.rows) < FEWEST:
            return None
        table = np.array(self.rows)
        table /= (TRAPEZOID * np.abs(table[:, 1:2])) + FLOOR  # rows by how far the trapezoid can be trusted
        slopes = _fit(table)
        residuals = np.abs(table[:, 0] - table[:, 1:] @ [slope.value for slope in slopes])
        kept = residuals <= 5 * np.median(residuals)  # a jump of the magnetic state is no matter of units
        return _fit(table[kept]) if kept.sum() >= FEWEST else slopes


def checked(items: Iterable[Frame | Drop | pa.Table]) -> Iterator[Frame | Drop | pa.Table]:
    """Pass frames on, and look at the units of each functional when all have passed.

    Raises:
        DataError: Forces or stresses are in another unit or have another sign than the source's description says.
    """
    checks: defaultdict[str, WorkCheck] = defaultdict(WorkCheck)
    for item in items:
        frames = _of_use(item, checks) if isinstance(item, pa.Table) else [item]
        for frame in frames:
            if isinstance(frame, Frame):
                checks[frame.functional].add(frame)
        yield item
    for functional, check in checks.items():
        conclude(functional, check)


def _of_use(table: pa.Table, checks: Mapping[str, WorkCheck]) -> Sequence[Frame]:
    """The frames of a table that a check may want; of a large data set, few."""
    if all(len(checks[functional].rows) >= ENOUGH for functional in table["functional"].unique().to_pylist()):
        return []
    names = zip(table["functional"].to_pylist(), table["material_id"].to_pylist(), strict=True)
    rows = [i for i, (functional, material) in enumerate(names) if checks[functional].may_use(material)]
    return table_frames(take(table, rows)) if rows else []


def conclude(functional: str, check: WorkCheck) -> None:
    """Say what the comparisons say.

    Raises:
        DataError: They say that a unit or a sign is wrong.
    """
    slopes = check.slopes()
    if slopes is None:
        log.info("units of %s: %d comparable frames, too few to check them", functional, len(check.rows))
        return
    for name, slope in zip(("forces", "stress"), slopes, strict=True):
        if slope.is_wrong:
            verb = "does" if name == "stress" else "do"
            raise DataError(
                f"{functional} {name} {verb} not belong to the energies: the work of the {name} is to be multiplied by "
                f"{slope.value:.2g} ± {slope.error:.1g} to be the difference of energy over {len(check.rows)} steps; "
                f"{_cause(name, slope.value)}"
            )
        verdict = "right" if slope.is_right else "not decided"
        log.info("units of %s %s: slope %.3g ± %.2g, %s", functional, name, slope.value, slope.error, verdict)


def _cause(name: str, slope: float) -> str:
    """What gives such a slope, and what to do."""
    factors = STRESS_FACTORS if name == "stress" else FORCE_FACTORS
    ratios = {cause: slope * factor for cause, factor in factors.items() if slope * factor > 0 and factor != 1.0}
    cause = min(ratios, key=lambda item: abs(np.log(ratios[item])), default=None)
    if cause is None or not 1 / NEAR[1] < ratios[cause] < 1 / NEAR[0]:
        return "check unit and sign"
    return f"it looks as if {cause}: divide by {factors[cause]:.6g} and prepare again"


def compare(first: Frame, second: Frame) -> Row | None:
    """Difference of energy, work of the forces and work of the stress between two frames, in eV/atom.

    Returns:
        ``None`` if the frames are the same, or too far apart or too evenly about equilibrium for the trapezoid.
    """
    mean = (first.cell + second.cell) / 2
    if min(_volume(first), _volume(second), abs(float(np.linalg.det(mean)))) < FLAT:
        return None
    strain = np.linalg.solve(mean, second.cell - first.cell)
    strain = (strain + strain.T) / 2
    moved = _fractional(second) - _fractional(first)
    path = (moved - np.rint(moved)) @ mean
    path -= path.mean(axis=0)
    if np.abs(strain).max() > LARGEST_STRAIN or np.linalg.norm(path, axis=1).max() > FURTHEST:
        return None
    if first.forces is None or second.forces is None or first.stress is None or second.stress is None:
        return None
    ends = [
        float((_volume(frame) * stress * strain).sum())
        for frame, stress in ((first, first.stress), (second, second.stress))
    ]
    by_forces = -float(((first.forces + second.forces) / 2 * path).sum())
    by_stress = sum(ends) / 2
    if abs(by_forces) < NOTHING * first.n_atoms:  # rounding of places
        by_forces = 0.0
    difference = float((second.energy or 0.0) - (first.energy or 0.0))
    if by_forces == by_stress == 0.0 or abs(by_stress) < CANCELS * abs(ends[1] - ends[0]):
        return None
    n = first.n_atoms
    return difference / n, by_forces / n, by_stress / n


def _fractional(frame: Frame) -> NDArray[np.float64]:
    return np.asarray(np.linalg.solve(frame.cell.T, frame.positions.T).T, dtype=np.float64)


def _volume(frame: Frame) -> float:
    return abs(float(np.linalg.det(frame.cell)))


def _fit(table: NDArray[np.float64]) -> tuple[Slope, Slope]:
    """Least squares without intercept; a column that is nothing but noise gets a large error."""
    values, columns = table[:, 0], table[:, 1:]
    inverse = np.linalg.pinv(columns.T @ columns)
    slopes = inverse @ columns.T @ values
    rest = values - columns @ slopes
    variance = float(rest @ rest) / max(len(values) - 2, 1)
    errors = np.sqrt(np.maximum(np.diag(inverse), 0) * variance)
    empty = (columns == 0).all(axis=0)
    first, second = (
        Slope(value=float(slope), error=float("inf") if none else float(error))
        for slope, error, none in zip(slopes, errors, empty, strict=True)
    )
    return first, second

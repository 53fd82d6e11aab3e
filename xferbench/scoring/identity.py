"""Functional identity: whose labels does a model reproduce, those of the source functional or those of the target?

``measure.identity`` has the model that is fitted, and ``docs/identity.md`` derives it. The verdict is the functional on whose side
of 1/2 the whole interval of λ lies, else ``undecided``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from xferbench.measure import Asked, Refits, Sample, estimates
from xferbench.measure.estimating import FEW_MATERIALS, NO_FREEDOM
from xferbench.measure.identity import (
    FLAT,
    IDENTITY,
    SOFTENING,
    STRESS_IDENTITY,
    STRESS_SOFTENING,
    fit,
    without_pressure,
)
from xferbench.records import Geometry
from xferbench.results import UNDECIDED, Identity, IdentityEntry
from xferbench.scoring.measuring import plan_of
from xferbench.storage import finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xferbench.functionals import Functional, Pair
    from xferbench.measure import Estimate
    from xferbench.tasks import Bootstrap
    from xferbench.tasks.rows import Energies, Joined

    Floats = NDArray[np.float64]
    Quantity = Literal["energy", "forces", "stress"]

NEGLIGIBLE = 1e-12
"""Of the largest squared difference of labels in a frame: below this the labels agree, by symmetry, and decide nothing."""

NO_TRIPLES = "no test pair of one geometry has a prediction and both labels"
NO_DIFFERENCE = "the labels do not differ, or only by a factor"
NO_RELATION = "the predictions do not follow the labels"


class Triples(NamedTuple):
    """Predictions, target labels and, as baseline, source labels of the frames that have all three.

    Attributes:
        rows: None if no frame has.
        refits: How they depend on the calibration frames, if they do.
        no_interval: Why it is not known how sure they are, if it is not.
    """

    rows: Sample | None
    refits: Refits | None = None
    no_interval: str | None = None


def verdict(low: float, high: float, functionals: Pair) -> str:
    """The functional whose labels are nearer, if the whole interval of λ says so; else ``UNDECIDED``."""
    if low > 0.5:
        return functionals.name("target")
    return functionals.name("source") if high < 0.5 else UNDECIDED


def identify(
    test: Joined,
    calibration: Joined,
    energies: Energies,
    *,
    functionals: Pair,
    declared: Functional,
    plan: Bootstrap,
) -> Identity:
    """Which functional a model follows, by energies, forces and stresses.

    Args:
        test: Frames of either side, with predictions.
        calibration: Frames on which elemental references are fitted, to the predictions and to both labels.
        energies: Of the test frames.
        functionals: Which stand on each side.
        declared: What the model says it reproduces. One that stands on neither side loses nothing.
        plan: Of the bootstrap over materials.
    """
    found: dict[Quantity, Triples] = {
        "energy": _energies(test, calibration, energies),
        "forces": _arrays(test, "forces"),
        "stress": _arrays(test, "stress"),
    }
    material = energies.calibrated.material
    entries = tuple(_entry(name, triples, material, plan, functionals) for name, triples in found.items())
    overall = joint(entries, functionals)
    meant = functionals.side_meant(declared)
    loses = meant is not None and overall not in {functionals.name(meant), UNDECIDED}
    return Identity(verdict=overall, declared_loses=loses, entries=entries)


def joint(entries: Sequence[IdentityEntry], functionals: Pair) -> str:
    """What the decided quantities agree on; nothing if only the stress decides, and the interval of energies excludes its answer."""
    verdicts = {entry.quantity: entry.verdict for entry in entries if entry.verdict != UNDECIDED}
    if len(set(verdicts.values())) != 1:
        return UNDECIDED
    found = next(iter(verdicts.values()))
    energy = next((entry for entry in entries if entry.quantity == "energy"), None)
    if set(verdicts) == {"stress"} and energy is not None and energy.ci_low is not None and energy.ci_high is not None:
        answer = 1.0 if found == functionals.name("target") else 0.0
        return found if energy.ci_low <= answer <= energy.ci_high else UNDECIDED
    return found


def _entry(
    quantity: Quantity, triples: Triples, material: NDArray[np.int64], plan: Bootstrap, functionals: Pair
) -> IdentityEntry:
    rows = triples.rows
    if rows is None:
        return IdentityEntry(
            quantity=quantity,
            value=None,
            ci_low=None,
            ci_high=None,
            softening=None,
            uncorrected=None,
            n_frames=0,
            n_materials=0,
            verdict=UNDECIDED,
            reason=NO_TRIPLES,
        )
    plain = quantity != "stress"
    identity, softening = (IDENTITY, SOFTENING) if plain else (STRESS_IDENTITY, STRESS_SOFTENING)
    frames = identity.components(rows)
    informative = frames[:, 2] > NEGLIGIBLE * frames[:, 2].max()
    n_materials = len(np.unique(material[informative]))
    summed = frames.sum(axis=0)
    total = fit(summed if plain else without_pressure(summed))
    asked = [Asked(identity, rows, triples.refits, triples.no_interval), Asked(softening, rows)]
    bootstrap = plan_of(plan, int(material.max()) + 1)
    value, slope = estimates(asked, material, bootstrap, n_materials=n_materials)
    reason = _reason(value, slope, float(total.softening))
    known = reason in {None, FEW_MATERIALS, NO_FREEDOM}
    return IdentityEntry(
        quantity=quantity,
        value=float(total.value) if known else None,
        ci_low=value.low if reason is None else None,
        ci_high=value.high if reason is None else None,
        softening=finite(float(total.softening)),
        uncorrected=finite(float(fit(summed[:5]).uncorrected)),
        n_frames=int(informative.sum()),
        n_materials=n_materials,
        verdict=UNDECIDED if reason is not None else verdict(value.low, value.high, functionals),
        reason=reason,
    )


def _reason(value: Estimate, slope: Estimate, softening: float) -> str | None:
    """Why there is no λ, or no interval of it."""
    if not np.isfinite(softening):
        return NO_DIFFERENCE
    if softening <= FLAT or slope.low <= FLAT:
        return NO_RELATION
    return value.reason


def _arrays(test: Joined, name: str) -> Triples:
    """Of pairs of one geometry."""
    if test.labels.geometry is not Geometry.SAME_GEOMETRY:
        return Triples(None)
    sides = [getattr(item, name) for item in (test.predicted, test.labels.source.values, test.labels.target.values)]
    kept = np.flatnonzero(np.logical_and.reduce([side.present for side in sides]))
    if not len(kept):
        return Triples(None)
    predicted, source, target = (side.take(kept) for side in sides)
    return Triples(
        Sample(
            prediction=predicted.values,
            label=target.values,
            frame=kept[target.owner],
            n_frames=len(test),
            baseline=source.values,
        )
    )


def _energies(test: Joined, calibration: Joined, energies: Energies) -> Triples:
    """Energies per atom, each side without its own elemental references, fitted on the same calibration frames."""
    if test.labels.geometry is not Geometry.SAME_GEOMETRY:
        return Triples(None)
    fitted_on, values = _sides(calibration), _sides(test)
    calibrated = energies.calibrated
    offsets = calibrated.fit(fitted_on)
    if offsets is None:
        return Triples(None)
    rest = values - offsets.per_atom(calibrated.test)
    kept = np.flatnonzero(np.isfinite(rest).all(axis=1))
    if not len(kept):
        return Triples(None)
    rows = Sample(
        prediction=rest[kept, 0:1],
        label=rest[kept, 2:3],
        frame=kept,
        n_frames=len(test),
        baseline=rest[kept, 1:2],
    )
    moves = calibrated.refits(offsets, values)
    if moves is None:
        return Triples(rows, no_interval=NO_FREEDOM)
    taken = [-moves[:, :, side] for side in range(3)]  # references are taken away
    compositions = calibrated.test[kept]
    return Triples(rows, Refits(fractions=compositions, prediction=taken[0], label=taken[2], baseline=taken[1]))


def _sides(joined: Joined) -> Floats:
    """(n_frames, 3) energies per atom of model, source and target; NaN where there is none."""
    labels = joined.labels
    return np.stack([joined.prediction, labels.source.energy_per_atom, labels.target.energy_per_atom], axis=1)

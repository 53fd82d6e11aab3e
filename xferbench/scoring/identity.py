"""Functional identity: whose labels does a model reproduce, those of the GGA or those of r2SCAN?

For a pair with labels G (GGA) and R (r2SCAN), D = R - G, and a prediction M of the same quantity, all pairs together as one
long vector, M is fitted by least squares, without intercept, to

    M = s (G + λ D),        s softening, λ identity: 0 follows the GGA, 1 follows r2SCAN.

A universal potential is too soft (s < 1) by more than the functionals differ, so s must be fitted as well: the plain
projection <M - G, D> / <D, D> = s λ + (s - 1) <G, D> / <D, D> is driven far outside 0 … 1 by a softening of some per cent.
``docs/identity.md`` derives both, their bias and their power.

λ > 1/2 holds exactly if, at the fitted s, R is nearer to M than G is. Hence the verdict: the functional on whose side of
1/2 the whole interval lies, else ``undecided``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from xferbench import references
from xferbench.metrics import sum_by
from xferbench.records import Geometry
from xferbench.results import Identity, IdentityEntry
from xferbench.scoring.rows import composition_energies
from xferbench.statistics import ClusterBootstrap, clusters
from xferbench.storage import finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xferbench.records import Frame, Functional, Pair
    from xferbench.scoring.rows import Joined
    from xferbench.statistics import Interval
    from xferbench.tasks import Bootstrap

    Floats = NDArray[np.float64]
    Triple = tuple[Floats, Floats, Floats]
    """Model, GGA and r2SCAN values of one frame, any shape, the same for the three."""

    Verdict = Literal["GGA", "r2SCAN", "undecided"]

QUANTITIES: tuple[Literal["energy", "forces", "stress"], ...] = ("energy", "forces", "stress")

NEGLIGIBLE = 1e-12
"""Of the largest squared difference of labels in a frame: below this the labels agree, by symmetry, and decide nothing."""

COLLINEAR = 1e-9
"""1 - cos² between G and D below which softening and identity cannot be told apart."""

FLAT = 1e-6
"""Softening below which predictions do not follow the labels at all."""

NO_TRIPLES = "no test pair of one geometry has a prediction and both labels"
NO_DIFFERENCE = "the labels do not differ, or only by a factor"
NO_RELATION = "the predictions do not follow the labels"
ONE_MATERIAL = "no interval: the frames are of a single material"


class Fit(NamedTuple):
    """Of sums (..., 5): identity λ, softening s, and the plain projection, each (...); NaN where undetermined."""

    value: Floats
    softening: Floats
    uncorrected: Floats


def sums(model: Floats, gga: Floats, r2scan: Floats) -> Floats:
    """(5,) what ``fit`` needs of one frame: <G, G>, <G, D>, <D, D>, <M, G>, <M, D>.

    Args:
        model: Predictions, any shape.
        gga: GGA labels, same shape.
        r2scan: r2SCAN labels, same shape.
    """
    m, g, d = (side.ravel() for side in (model, gga, r2scan - gga))
    return np.array([g @ g, g @ d, d @ d, m @ g, m @ d])


def fit(totals: Floats) -> Fit:
    """Least squares of M = s G + b D without intercept, λ = b/s.

    >>> model = 0.8 * np.array([1.0, 2.0])  # r2SCAN labels (1, 2), softened; the GGA says (1, 0)
    >>> [round(float(number), 9) for number in fit(sums(model, np.array([1.0, 0.0]), np.array([1.0, 2.0])))]
    [1.0, 0.8, 0.8]

    Args:
        totals: (..., 5) sums over frames.
    """
    gg, gd, dd, mg, md = np.moveaxis(totals, -1, 0)
    determinant = gg * dd - gd * gd
    possible = determinant > COLLINEAR * gg * dd
    softening = _divide(mg * dd - md * gd, determinant, possible)
    return Fit(
        value=_divide(md * gg - mg * gd, mg * dd - md * gd, possible & (softening > FLAT)),
        softening=softening,
        uncorrected=_divide(md - gd, dd, dd > 0),
    )


def verdict(low: float, high: float) -> Verdict:
    """Whose labels are nearer, if the whole interval of λ says so."""
    if low > 0.5:
        return "r2SCAN"
    return "GGA" if high < 0.5 else "undecided"


def identify(
    test: Joined,
    calibration: Joined,
    *,
    pairs: Sequence[Pair],
    calibration_pairs: Sequence[Pair],
    declared: Functional,
    plan: Bootstrap,
) -> Identity:
    """Which functional a model follows, by energies, forces and stresses.

    Args:
        test: Frames of either functional, with predictions.
        calibration: Frames on which elemental references are fitted, to the predictions and to both labels.
        pairs: That the test frames belong to.
        calibration_pairs: That the calibration frames belong to.
        declared: What the model says it reproduces.
        plan: Of the bootstrap over materials.
    """
    names, material = clusters([frame.material_id for frame in test.frames])
    bootstrap = ClusterBootstrap(n_clusters=len(names), n_resamples=plan.n, seed=plan.seed, confidence=plan.confidence)
    triples = {
        "energy": _energy_triples(test, calibration, pairs, calibration_pairs),
        "forces": _array_triples(test, pairs, "forces"),
        "stress": _array_triples(test, pairs, "stress"),
    }
    entries = tuple(_entry(name, triples[name], material, bootstrap) for name in QUANTITIES)
    overall = joint({entry.verdict for entry in entries})
    family = "GGA" if declared.is_gga else "r2SCAN"
    return Identity(verdict=overall, declared_loses=overall not in {family, "undecided"}, entries=entries)


def joint(verdicts: set[Verdict]) -> Verdict:
    """What the decided quantities agree on."""
    decided = verdicts - {"undecided"}
    return decided.pop() if len(decided) == 1 else "undecided"


def _entry(
    quantity: Literal["energy", "forces", "stress"],
    triples: Sequence[Triple | None],
    material: NDArray[np.int64],
    bootstrap: ClusterBootstrap,
) -> IdentityEntry:
    frames = np.array([sums(*triple) if triple else np.zeros(5) for triple in triples])
    informative = frames[:, 2] > NEGLIGIBLE * frames[:, 2].max()
    n_materials = len(np.unique(material[informative]))
    found = fit(frames.sum(axis=0))
    resampled = fit(bootstrap.resample(sum_by(frames, material, bootstrap.n_clusters)))
    interval = bootstrap.interval(resampled.value, n_materials)
    slope = bootstrap.interval(resampled.softening, n_materials)
    reason = _reason(found, slope, interval) if any(triples) else NO_TRIPLES
    known = reason in {None, ONE_MATERIAL}
    certain = interval if reason is None else None
    return IdentityEntry(
        quantity=quantity,
        value=float(found.value) if known else None,
        ci_low=None if certain is None else certain.low,
        ci_high=None if certain is None else certain.high,
        softening=finite(float(found.softening)),
        uncorrected=finite(float(found.uncorrected)),
        n_frames=int(informative.sum()),
        n_materials=n_materials,
        verdict="undecided" if certain is None else verdict(certain.low, certain.high),
        reason=reason,
    )


def _reason(found: Fit, slope: Interval | None, interval: Interval | None) -> str | None:
    """Why there is no λ, or no interval of it."""
    if not np.isfinite(found.softening):
        return NO_DIFFERENCE
    if found.softening <= FLAT or (slope is not None and slope.low <= FLAT):
        return NO_RELATION
    return ONE_MATERIAL if interval is None else None


def _array_triples(test: Joined, pairs: Sequence[Pair], name: str) -> list[Triple | None]:
    """Of pairs of one geometry."""
    by_id = _same_geometry(pairs)
    triples: list[Triple | None] = []
    for frame, record in zip(test.frames, test.predictions, strict=True):
        pair = by_id.get(frame.pair_id)
        sides = None if pair is None else (getattr(record, name), getattr(pair.gga, name), getattr(pair.r2scan, name))
        triples.append(None if sides is None or any(side is None for side in sides) else sides)
    return triples


def _energy_triples(
    test: Joined, calibration: Joined, pairs: Sequence[Pair], calibration_pairs: Sequence[Pair]
) -> list[Triple | None]:
    """Energies per atom, each side without its own elemental references, fitted on the same calibration frames."""
    fitted_on = _energies(calibration, calibration_pairs)
    complete = np.isfinite(fitted_on).all(axis=1)
    if not complete.any():
        return [None] * len(test.frames)
    numbers = [calibration.frames[i].numbers for i in np.flatnonzero(complete).tolist()]
    rest = _energies(test, pairs)
    for side in range(3):
        rest[:, side] -= composition_energies(references.fit(numbers, fitted_on[complete, side]), test.numbers)
    return [(row[0:1], row[1:2], row[2:3]) if np.isfinite(row).all() else None for row in rest]


def _energies(joined: Joined, pairs: Sequence[Pair]) -> Floats:
    """(n_frames, 3) energies per atom of model, GGA and r2SCAN; NaN where there is none."""
    by_id = _same_geometry(pairs)
    rows = np.full((len(joined.frames), 3), np.nan)
    rows[:, 0] = joined.prediction()
    for row, frame in zip(rows, joined.frames, strict=True):
        if frame.pair_id in by_id:
            pair = by_id[frame.pair_id]
            row[1:] = _per_atom(pair.gga), _per_atom(pair.r2scan)
    return rows


def _same_geometry(pairs: Sequence[Pair]) -> dict[str, Pair]:
    return {pair.pair_id: pair for pair in pairs if pair.geometry is Geometry.SAME_GEOMETRY}


def _per_atom(frame: Frame) -> float:
    return np.nan if frame.energy is None else frame.energy / frame.n_atoms


def _divide(above: Floats, below: Floats, possible: NDArray[np.bool_]) -> Floats:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=possible)

"""Do predicted energies hold the empirical corrections of the Materials Project, which the labels do not?

A model trained on corrected energies differs from uncorrected labels by the corrections. Most of that is linear in the
composition, as any zero of energy is, and says nothing. What is left is telling: O weighs differently in oxides, peroxides
and superoxides, an anion is corrected in compounds and not as an element, a metal with +U in oxides and fluorides only. So,
with r = prediction - label and k = correction, per atom, both without their elemental parts,

    r = β k + error,        β = Σ r k / Σ k²:  0 uncorrected, 1 corrected.

Elemental parts are fitted to all frames at once, which makes β the partial least-squares coefficient (Frisch and Waugh,
Econometrica 1, 387 (1933)). ``docs/identity.md`` says what it cannot tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from xferbench import references
from xferbench.measure import ClusterBootstrap, clusters, sum_by
from xferbench.records import Geometry
from xferbench.results import Corrections

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from xferbench.functionals import Functional, Pair, Side
    from xferbench.records import Frame
    from xferbench.tasks import Bootstrap
    from xferbench.tasks.rows import Joined

    Floats = NDArray[np.float64]

MOST = 4000
"""Frames looked at, evenly spread over all: distances between O atoms take a millisecond each."""

TELLING = 0.01
"""eV/atom. Corrections that elemental offsets leave; smaller ones are below the error of any model."""

FEWEST = 5
"""Materials with a telling correction below which nothing is said."""

LARGEST = 2.0
"""β beyond this is no correction but another error of its shape."""

TOO_FEW = (
    "fewer than {fewest} materials have corrections that elemental offsets leave; oxides beside peroxides, compounds beside "
    "elements, or metals with +U in and outside of oxides are needed"
)
NOTHING = "no frame has a prediction, a label of the declared functional and a known correction"
OTHER_ERROR = "the residual is larger than the corrections: another error of the same shape"


class Evidence(NamedTuple):
    """Residual and correction of the frames that have both, each without its elemental part, eV/atom.

    Attributes:
        residual: (n,) prediction minus label.
        correction: (n,).
        material: (n,) of each frame.
        n_elements: Elemental offsets that were fitted; each takes what one material could have told.
        n_unknown: Frames left out because their correction is not known.
    """

    residual: Floats
    correction: Floats
    material: list[str]
    n_elements: int
    n_unknown: int


def detect(
    parts: Iterable[Joined],
    *,
    functionals: Pair,
    functional: Functional,
    declared: Literal["none", "MP2020"] | None,
    plan: Bootstrap,
) -> Corrections:
    """Whether energies hold corrections, from frames that were predicted.

    Args:
        parts: Test and calibration frames with their predictions.
        functionals: Which stand on each side; labels are those of the side that the functional stands on.
        functional: That the model says it reproduces; one that stands on no side tells nothing.
        declared: What its card says of the corrections.
        plan: Of the bootstrap over materials.
    """
    return judge(gather(parts, functionals.side_meant(functional)), declared=declared, plan=plan)


def gather(parts: Iterable[Joined], side: Side | None) -> Evidence:
    """Residuals and corrections of the frames whose structures were kept, and of at most ``MOST`` of them.

    Args:
        parts: Frames with their predictions.
        side: Whose labels are compared; those of the other side only if the predicted geometry is theirs as well.
    """
    found: list[tuple[Frame, float]] = []
    for joined in parts:
        if side is None or (side != joined.side and joined.labels.geometry is not Geometry.SAME_GEOMETRY):
            continue
        for i, pair in sorted(joined.labels.structures.items()):
            label, energy = pair.of(side), float(joined.predicted.energy[i])
            if label.energy is not None and np.isfinite(energy):
                found.append((label, (energy - label.energy) / label.n_atoms))
    found = found[:: -(-len(found) // MOST) or 1]
    known = [(label, rest, correction) for label, rest in found if (correction := _correction(label)) is not None]
    numbers = [label.numbers for label, _, _ in known]
    values = np.array([(rest, correction / label.n_atoms) for label, rest, correction in known]).reshape(-1, 2)
    values = without_elements(numbers, values)
    return Evidence(
        residual=values[:, 0],
        correction=values[:, 1],
        material=[label.material_id for label, _, _ in known],
        n_elements=len({z for item in numbers for z in item.tolist()}),
        n_unknown=len(found) - len(known),
    )


def without_elements(numbers: Sequence[NDArray[np.int64]], values: Floats) -> Floats:
    """Columns (n, k) of energies per atom without what is linear in the composition, fitted to all of them."""
    if not len(numbers):
        return values
    elements = sorted(set(np.concatenate(numbers).tolist()))
    fractions = references.composition_matrix(numbers, elements)
    rest: Floats = values - fractions @ np.linalg.lstsq(fractions, values, rcond=None)[0]
    return rest


def judge(evidence: Evidence, *, declared: Literal["none", "MP2020"] | None = None, plan: Bootstrap) -> Corrections:
    """β with its interval, and what it says."""
    names, material = clusters(evidence.material)
    residual, correction = evidence.residual, evidence.correction
    telling = len(set(material[np.abs(correction) > TELLING].tolist()))
    telling = max(0, min(telling, len(names) - evidence.n_elements))
    value = low = high = None
    verdict: Literal["corrected", "uncorrected", "undecided", "not_identifiable"] = "not_identifiable"
    reason: str | None = TOO_FEW.format(fewest=FEWEST) if names else NOTHING
    if telling >= FEWEST:
        sums = sum_by(np.stack([residual * correction, correction**2], axis=1), material, len(names))
        bootstrap = ClusterBootstrap(
            n_clusters=len(names), n_resamples=plan.n, seed=plan.seed, confidence=plan.confidence
        )
        interval = bootstrap.interval(_ratio(bootstrap.resample(sums)), telling)
        value = float(_ratio(sums.sum(axis=0)))
        reason = None
        if interval is not None:
            wider = (
                len(names) / (len(names) - evidence.n_elements)
            ) ** 0.5  # offsets fit errors too: HC1 of econometrics
            low, high = (value + wider * (end - value) for end in interval)
            verdict = "corrected" if low > 0.5 else "uncorrected" if high < 0.5 else "undecided"
        if verdict == "corrected" and value > LARGEST:
            verdict, reason = "undecided", OTHER_ERROR
    return Corrections(
        verdict=verdict,
        declared=declared,
        value=value,
        ci_low=low,
        ci_high=high,
        n_frames=len(residual),
        n_materials=telling,
        n_unknown=evidence.n_unknown,
        reason=reason,
    )


def _correction(label: Frame) -> float | None:
    """The upstream source's own correction if it states one, else what the rules say; none if the label holds it already."""
    if label.provenance.get("corrected"):
        return None
    return references.mp2020(label) if label.correction is None else label.correction


def _ratio(sums: Floats) -> Floats:
    above, below = sums[..., 0], sums[..., 1]
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)

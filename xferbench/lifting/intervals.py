"""Intervals that hold whatever the errors are distributed like, if the material is like those of the calibration.

Frames of one material err alike, so a material gives one score, that of one of its frames drawn at random: |error| / √(1 + h), of
a correction fitted without the material, where h is the leverage of its composition. With n materials the
⌈(n + 1) · confidence⌉-th smallest score, times √(1 + h) of a new structure, is the half-width for it. Nothing is assumed but that
the new material is exchangeable with those of the calibration; it is not if it is of another kind.

Whether the intervals hold is measured: a third of the materials is put aside, correction and scores come from the rest, and
the covered share of those put aside is shown with its exact binomial interval, one frame for each material.

References:
    Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World (2005); Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, J. Am. Stat.
    Assoc. 113, 1094 (2018) for scaled scores; Dunn, Wasserman, Ramdas, J. Am. Stat. Assoc. 118, 2491 (2023), one
    score from each group. Scores of left-out fits: Barber, Candès, Ramdas, Tibshirani, Ann. Stat. 49, 486 (2021), whose jackknife has no
    guarantee at the nominal level unless fits barely move; hence the measured coverage.
    Clopper, Pearson, Biometrika 26, 404 (1934).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from xferbench.lifting.correction import fit, left_out, order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xferbench.lifting.correction import Judged, Pairs, Structures

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

ASIDE = 3
"""One material in so many is put aside to measure the coverage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformal:
    """How wide intervals are.

    Attributes:
        quantile: Half-width at leverage 0, eV/atom; none if there are too few materials for the confidence.
        n_materials: With a score.
        confidence: Asked for.
    """

    quantile: float | None
    n_materials: int
    confidence: float

    def half_width(self, leverage: Floats) -> Floats:
        """(n,) eV/atom; NaN if there is none."""
        width = np.nan if self.quantile is None else self.quantile
        return width * np.sqrt(1 + leverage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How often intervals held the truth on materials that had no part in them.

    Attributes:
        held: Materials whose interval held.
        n_materials: Judged.
        low: Of the exact binomial interval (95 %) of the share.
        high: Its other end.
        confidence: Of the intervals that were judged.
    """

    held: int
    n_materials: int
    low: float
    high: float
    confidence: float

    @property
    def as_promised(self) -> bool:
        """Whether the confidence lies in the binomial interval."""
        return self.low <= self.confidence <= self.high

    def __str__(self) -> str:
        verdict = "as promised" if self.as_promised else f"not {100 * self.confidence:.0f} %"
        share = f"{self.held} of {self.n_materials} materials ({100 * self.held / self.n_materials:.0f} %"
        return f"{share}, binomial interval {100 * self.low:.0f} to {100 * self.high:.0f} %): {verdict}"


def conformal(judged: Judged, of: Structures, confidence: float) -> Conformal:
    """The width from left-out errors, one for each material."""
    rows = one_each(of)
    scores = np.abs(judged.error[rows]) / np.sqrt(1 + judged.placement.leverage[rows])
    scores = np.sort(scores[np.isfinite(scores)])
    place = ceil((len(scores) + 1) * confidence - 1e-9)
    quantile = float(scores[place - 1]) if 0 < place <= len(scores) else None
    return Conformal(quantile=quantile, n_materials=len(scores), confidence=confidence)


def one_each(of: Structures) -> Integers:
    """A frame of each material, by the hash of its id: random, and the same in every run."""
    first: dict[str, int] = {}
    for i in sorted(range(len(of)), key=lambda i: order(of.ids[i])):
        first.setdefault(of.materials[i], i)
    return np.array(sorted(first.values()), dtype=np.int64)


def coverage(learn: Pairs, test: Pairs, confidence: float) -> Coverage | None:
    """The share of the test materials whose interval, from the others, holds the true gap; none if no interval can be made."""
    width = conformal(left_out(learn), learn.structures, confidence)
    rows = one_each(test.structures)
    of, correction = test.structures.take(rows), fit(learn)
    error, leverage = correction.gap(of) - test.gap[rows], correction.place(of).leverage
    known = np.isfinite(error)
    if width.quantile is None or not known.any():
        return None
    held = int((np.abs(error[known]) <= width.half_width(leverage[known])).sum())
    return binomial(held, int(known.sum()), confidence)


def measured_coverage(pairs: Pairs, confidence: float) -> Coverage | None:
    """The coverage with a third of the materials put aside; none if the rest is too small for an interval."""
    names: Sequence[str] = sorted(set(pairs.structures.materials), key=order)
    aside = set(names[::ASIDE])
    mask = np.array([name in aside for name in pairs.structures.materials])
    if len(names) - len(aside) < 2:
        return None
    return coverage(pairs.take(~mask), pairs.take(mask), confidence)


def binomial(held: int, n: int, confidence: float) -> Coverage:
    """A share with its exact 95 % interval."""
    from scipy.stats import beta

    low = float(beta.ppf(0.025, held, n - held + 1)) if held else 0.0
    high = float(beta.ppf(0.975, held + 1, n - held)) if held < n else 1.0
    return Coverage(held=held, n_materials=n, low=low, high=high, confidence=confidence)

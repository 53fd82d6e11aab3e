"""How forces, stresses and magnetic moments of two functionals on one geometry compare: sums per pair, statistics of sums.

As in ``xferbench.measure``, a pair is reduced to a row of sums, rows add up over any set of pairs, and a statistic is one
formula on the total. g stands for the source label, r for the target label; differences are target minus source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FORCE_FLOOR = 0.05
"""eV/Å. The direction of a smaller force is noise of the calculation or of its symmetry; such atoms have none here."""

MOMENT_FLOOR = 0.1
"""µB. A smaller moment has no sign worth comparing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """One number about two sets of labels.

    Attributes:
        name: As in files.
        title: As on pages.
        unit: As stored, a key of ``units.RENDERED``.
        formula: In symbols, over all rows of all pairs.
        combine: Sums (..., k) -> values (...); NaN where they define none.
    """

    name: str
    title: str
    unit: str
    formula: str
    combine: Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The sums of one quantity: (source label, target label) of one pair -> (width,)."""

    width: int
    compute: Callable[[Floats, Floats], Floats]
    statistics: tuple[Statistic, ...]

    def __call__(self, source: Floats, target: Floats) -> Floats:
        """The sums of one pair."""
        return self.compute(source, target)


def ratio(top: Floats, bottom: Floats) -> Floats:
    """``top / bottom``, NaN where ``bottom`` is not positive, or so small that the quotient is no number."""
    with np.errstate(over="ignore"):
        found = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
    return np.where(np.isinf(found), np.nan, found)


def vector_sums(source: Floats, target: Floats) -> Floats:
    """Number of components, Σ|r-g|, Σ(r-g)², Σgr, Σg², Σr²."""
    g, r = source.ravel(), target.ravel()
    d = r - g
    return np.array([d.size, np.abs(d).sum(), d @ d, g @ r, g @ g, r @ r], dtype=np.float64)


def force_sums(source: Floats, target: Floats) -> Floats:
    """``vector_sums``; atoms with both forces above ``FORCE_FLOOR``; Σ of the cosines between them; all atoms."""
    norms = [np.sqrt(np.einsum("ij,ij->i", side, side)) for side in (source, target)]
    directed = np.minimum(*norms) >= FORCE_FLOOR
    cosines = np.einsum("ij,ij->i", source, target)[directed] / (norms[0] * norms[1])[directed]
    return np.append(vector_sums(source, target), [directed.sum(), cosines.sum(), len(source)])


def stress_sums(source: Floats, target: Floats) -> Floats:
    """``vector_sums``; number of cells; Σ of a third of the trace of r-g."""
    return np.append(vector_sums(source, target), [1.0, np.trace(target - source) / 3])


def moment_sums(source: Floats, target: Floats) -> Floats:
    """``vector_sums`` of absolute moments; Σ|g|; Σ|r|; atoms with both above ``MOMENT_FLOOR``; of these, flipped ones.

    Reversing all moments of a cell changes nothing physical, so flips are counted against the better of the two signs.
    """
    magnetic = np.minimum(np.abs(source), np.abs(target)) > MOMENT_FLOOR
    flipped = int(((source * target)[magnetic] < 0).sum())
    n = int(magnetic.sum())
    own = [np.abs(source).sum(), np.abs(target).sum(), n, min(flipped, n - flipped)]
    return np.append(vector_sums(np.abs(source), np.abs(target)), own)


def _mae(sums: Floats) -> Floats:
    return ratio(sums[..., 1], sums[..., 0])


def _rmse(sums: Floats) -> Floats:
    return np.sqrt(ratio(sums[..., 2], sums[..., 0]))


def _cosine(sums: Floats) -> Floats:
    return ratio(sums[..., 3], np.sqrt(sums[..., 4]) * np.sqrt(sums[..., 5]))


def _norm_ratio(sums: Floats) -> Floats:
    return np.sqrt(ratio(sums[..., 5], sums[..., 4]))


def _slope(sums: Floats) -> Floats:
    return ratio(sums[..., 3], sums[..., 4])


def _quotient(top: int, bottom: int) -> Callable[[Floats], Floats]:
    return lambda sums: ratio(sums[..., top], sums[..., bottom])


def _errors(unit: str, symbol: str) -> tuple[Statistic, Statistic]:
    return (
        Statistic(name="mae", title="Mean absolute gap", unit=unit, formula=f"mean |{symbol}|", combine=_mae),
        Statistic(name="rmse", title="Root mean square gap", unit=unit, formula=f"√ mean ({symbol})²", combine=_rmse),
    )


ALIKE = (
    Statistic(name="cosine", title="Cosine", unit="1", formula="Σ g·r / √(Σ g² Σ r²)", combine=_cosine),
    Statistic(name="norm_ratio", title="Norm ratio", unit="1", formula="√(Σ r² / Σ g²)", combine=_norm_ratio),
    Statistic(name="slope", title="Slope", unit="1", formula="Σ g·r / Σ g²", combine=_slope),
)

TERMS: dict[str, Terms] = {
    "forces": Terms(
        width=9,
        compute=force_sums,
        statistics=(
            *_errors("eV/Å", "r - g"),
            *ALIKE,
            Statistic(
                name="cosine_atoms",
                title="Mean cosine per atom",
                unit="1",
                formula=f"mean of g·r/(|g||r|) over atoms with both forces of at least {FORCE_FLOOR} eV/Å",
                combine=_quotient(7, 6),
            ),
            Statistic(
                name="directed_atoms",
                title="Atoms with a direction",
                unit="1",
                formula=f"fraction of atoms with both forces of at least {FORCE_FLOOR} eV/Å",
                combine=_quotient(6, 8),
            ),
        ),
    ),
    "stress": Terms(
        width=8,
        compute=stress_sums,
        statistics=(
            *_errors("eV/Å³", "r - g"),
            *ALIKE,
            Statistic(
                name="hydrostatic_shift",
                title="Hydrostatic shift",
                unit="eV/Å³",
                formula="mean tr(r - g)/3, tension positive",
                combine=_quotient(7, 6),
            ),
        ),
    ),
    "magmoms": Terms(
        width=10,
        compute=moment_sums,
        statistics=(
            *_errors("µB", "|r| - |g|"),
            Statistic(
                name="mean_source", title="Mean |m|, source", unit="µB", formula="mean |g|", combine=_quotient(6, 0)
            ),
            Statistic(
                name="mean_target", title="Mean |m|, target", unit="µB", formula="mean |r|", combine=_quotient(7, 0)
            ),
            Statistic(
                name="sign_flips",
                title="Flipped moments",
                unit="1",
                formula=f"fraction of atoms with both |m| above {MOMENT_FLOOR} µB whose relative sign differs, up to the "
                "overall sign of the cell",
                combine=_quotient(9, 8),
            ),
        ),
    ),
}
"""Quantities compared on one geometry."""

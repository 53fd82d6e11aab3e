"""Which elements and which kinds of materials carry the gap, and which carry what is left of it.

With g the gap, x the fractions, Δ the fitted shifts and r = g - x·Δ the rest of each pair, the shares of element e are

| share | formula | reads |
|---|---|---|
| atoms | mean x_e | the yardstick: what the element's share would be if elements did not matter |
| raw | Σ x_e g² / Σ g² | each atom carries an equal part of its pair's squared gap |
| shift | cov(x_e Δ_e, g) / var(g) | what the shift of e explains of the gap's variance; negative where it runs against the others |
| rest | Σ x_e r² / Σ r² | as raw, for what alignment leaves |

Raw and rest shares add up to 1 over the elements. Shift shares add up to 1 - cov(r, g)/var(g), the part of the variance
that elements account for. A share of the rest above the share of atoms says: pairs with this element are aligned worse than
others. It does not say that the element is the cause, since its partners share the blame.

References:
    Pratt, Proc. 2nd Tampere Conf. Statist., 245 (1987), for splitting variance by covariances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xferbench.measure import ClusterBootstrap, clusters
from xferbench.references.comparing import Estimate
from xferbench.references.composition import symbols
from xferbench.references.elemental import beyond_rounding, composition_energies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from xferbench.references.elemental import ElementalReferences, Offsets
    from xferbench.references.labels import Labels

    Floats = NDArray[np.float64]

HALOGENS = frozenset({"F", "Cl", "Br", "I"})
U_METALS = frozenset({"Co", "Cr", "Fe", "Mn", "Mo", "Ni", "V", "W"})
LANTHANIDES, ACTINIDES = range(57, 72), range(89, 104)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A kind of material, told by its elements; a material may be of several kinds.

    Attributes:
        about: The definition in words.
        holds: Whether a set of symbols is of the kind.
    """

    about: str
    holds: Callable[[frozenset[str]], bool]


def _f_elements() -> frozenset[str]:
    return frozenset(symbols([*LANTHANIDES, *ACTINIDES]))


GROUPS: Mapping[str, Group] = {
    "oxide": Group(about="contains O and another element", holds=lambda s: "O" in s and len(s) > 1),
    "halide": Group(
        about="contains F, Cl, Br or I and an element that is none of them",
        holds=lambda s: bool(s & HALOGENS and s - HALOGENS),
    ),
    "+U metal": Group(
        about="contains O or F, and one of Co Cr Fe Mn Mo Ni V W: where the Materials Project adds U (MPRelaxSet)",
        holds=lambda s: bool(s & {"O", "F"} and s & U_METALS),
    ),
    "f-element": Group(about="contains La to Lu or Ac to Lr", holds=lambda s: bool(s & _f_elements())),
    "element": Group(about="contains one element only", holds=lambda s: len(s) == 1),
    "other": Group(
        about="none of the above",
        holds=lambda s: not any(group.holds(s) for name, group in GROUPS.items() if name != "other"),
    ),
}
"""Kinds of materials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementShare:
    """Shares of one element; see the table of the module.

    Attributes:
        n_pairs: That contain it.
    """

    element: str
    n_pairs: int
    atoms: Estimate
    raw: Estimate
    shift: Estimate
    rest: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupShare:
    """One kind of material.

    Attributes:
        about: Its definition.
        raw: MAE of the gap, eV/atom.
        rest: MAE of what alignment leaves, eV/atom.
        share: Of the squared rest of all pairs.
    """

    group: str
    about: str
    n_pairs: int
    n_materials: int
    raw: Estimate
    rest: Estimate
    share: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Shares of every element and kind of material among some pairs.

    Attributes:
        n_left_out: Pairs whose composition the shifts do not determine.
        unexplained: cov(r, g)/var(g).
    """

    n_pairs: int
    n_left_out: int
    unexplained: Estimate
    elements: tuple[ElementShare, ...]
    groups: tuple[GroupShare, ...]


def attribute(
    labels: Labels,
    shift: ElementalReferences | Offsets,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Attribution:
    """Split the gap of some pairs among elements and kinds of materials.

    Args:
        labels: The pairs; best ones that the shift was not fitted to.
        shift: Δ, fitted elsewhere; intervals leave it as it is.
        n_resamples: Of materials.
        seed: Of the resamples.
        confidence: Of the intervals.
    """
    known = np.isfinite(composition_energies(shift, labels.fractions, labels.elements))
    inside = labels.take(known)
    if not len(inside):
        nothing = Estimate(value=None, low=None, high=None)
        return Attribution(n_pairs=0, n_left_out=len(labels), unexplained=nothing, elements=(), groups=())
    rest = beyond_rounding(inside.gap - composition_energies(shift, inside.fractions, inside.elements))
    names, cluster = clusters(inside.materials)
    plan = ClusterBootstrap(n_clusters=len(names), n_resamples=n_resamples, seed=seed, confidence=confidence)
    sums = _Sums(plan=plan, cluster=cluster)
    return Attribution(
        n_pairs=len(inside),
        n_left_out=int((~known).sum()),
        unexplained=sums.variance_share(rest, inside.gap),
        elements=tuple(_elements(inside, shift.energies, rest, sums)),
        groups=tuple(_groups(inside, rest, sums)),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sums:
    """Ratios of sums over pairs, with intervals over materials.

    Attributes:
        cluster: (n,) material of each pair.
    """

    plan: ClusterBootstrap
    cluster: NDArray[np.int64]

    def ratio(self, above: Floats, below: Floats) -> Estimate:
        """Σ above / Σ below."""
        return self._estimate([above, below], lambda s: s[:, 0] / s[:, 1], above != 0)

    def variance_share(self, part: Floats, whole: Floats) -> Estimate:
        """cov(part, whole) / var(whole)."""
        whole = beyond_rounding(whole - whole.mean())  # a covariance knows no constant; without it fewer digits cancel
        columns = [np.ones(len(whole)), part, whole, part * whole, whole**2]
        return self._estimate(
            columns, lambda s: (s[:, 3] * s[:, 0] - s[:, 1] * s[:, 2]) / (s[:, 4] * s[:, 0] - s[:, 2] ** 2), part != 0
        )

    def _estimate(
        self, columns: list[Floats], combine: Callable[[Floats], Floats], matters: NDArray[np.bool_]
    ) -> Estimate:
        n = self.plan.n_clusters
        sums = np.array([np.bincount(self.cluster, column, n) for column in columns]).T
        with np.errstate(divide="ignore", invalid="ignore"):  # nothing to share: NaN, told as None
            value, drawn = combine(sums.sum(axis=0)[None])[0], combine(self.plan.resample(sums))
        if not np.isfinite(value):
            return Estimate(value=None, low=None, high=None)
        drawn[~np.isfinite(drawn)] = np.nan
        interval = self.plan.interval(drawn, len(np.unique(self.cluster[matters])))
        return Estimate(value=float(value), low=interval and interval.low, high=interval and interval.high)


def _elements(labels: Labels, shifts: Mapping[str, float], rest: Floats, sums: _Sums) -> list[ElementShare]:
    shares = []
    for symbol, x in zip(labels.symbols, labels.fractions.T, strict=True):
        if not x.any():
            continue
        shares.append(
            ElementShare(
                element=symbol,
                n_pairs=int((x > 0).sum()),
                atoms=sums.ratio(x, np.ones(len(x))),
                raw=sums.ratio(x * labels.gap**2, labels.gap**2),
                shift=sums.variance_share(x * shifts[symbol], labels.gap),
                rest=sums.ratio(x * rest**2, rest**2),
            )
        )
    return shares


def _groups(labels: Labels, rest: Floats, sums: _Sums) -> list[GroupShare]:
    names = np.array(labels.symbols)
    present = [frozenset(names[row > 0].tolist()) for row in labels.fractions]
    shares = []
    for name, group in GROUPS.items():
        inside = np.array([group.holds(item) for item in present], dtype=np.float64)
        materials = {material for material, kept in zip(labels.materials, inside, strict=True) if kept}
        shares.append(
            GroupShare(
                group=name,
                about=group.about,
                n_pairs=int(inside.sum()),
                n_materials=len(materials),
                raw=sums.ratio(inside * np.abs(labels.gap), inside),
                rest=sums.ratio(inside * np.abs(rest), inside),
                share=sums.ratio(inside * rest**2, rest**2),
            )
        )
    return shares

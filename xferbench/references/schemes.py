"""Ways to get from a source energy to a target energy with numbers per element, behind one interface.

A scheme is fitted on calibration pairs and then predicts the target energy per atom of any structure,

    e = b + c·Δ + (s - 1)(b - c·R)

with b the source label (or, for the model-aware scheme, the energy a model predicts), c the composition fractions, and Δ one
shift per element. Only the two-step scheme scales (s ≠ 1), and what it scales is the energy beyond the references R.

| scheme | Δ of an element | source |
|---|---|---|
| ``source`` | 0: the source's own | |
| ``fit`` | least squares of the target label alone, with b = 0 | Huang et al. 2025, Eq. 2 |
| ``mean`` | the mean gap, the same for all elements | |
| ``independent`` | difference of two fits, one per functional | Huang et al. 2025, Eq. 2 and 3 |
| ``paired`` | least squares of the gap on fractions, each structure counting once | Eq. 2 on differences |
| ``counts`` | the same on atom counts and total energies, so that large cells count more | MACE, ``E0s="average"`` |
| ``ridge`` | ``paired``, shrunk towards the mean gap | Hoerl and Kennard 1970 |
| ``huber`` | ``paired``, outliers weighted down | Huber 1964 |
| ``model-aware`` | least squares of target minus model prediction, on counts | MACE, ``E0s="estimated"``; Tompa et al. |
| ``atoms`` | difference of isolated-atom energies | Huang et al. 2025, cohesive convention; MatPES |
| ``phases`` | difference of the lowest elemental energies among the pairs | Huang et al. 2025, formation convention |
| ``two-step`` | core shift first (``atoms`` if given, else ``independent``), then atomisation energies scaled by s | after TEA |

On pairs, where both functionals label the same structures, least squares is linear in the energies: ``independent`` and
``paired`` are the same shift. They differ where the two fits see different materials, as in the seed paper.

References:
    Huang, Deng, Zhong, Kaplan, Persson, Ceder, npj Comput. Mater. 11, 313 (2025), doi 10.1038/s41524-025-01796-y.
    MACE (github.com/ACEsuit/mace): compute_average_E0s and estimate_e0s_from_foundation in mace/data/utils.py.
    Tompa et al., arXiv:2606.12704, for re-estimated isolated-atom energies. Kaplan et al., arXiv:2503.04070 (MatPES).
    Shiota, Ishihara, Do, Mori, Mizukami, arXiv:2412.13088 (TEA: inner-core energy alignment, then atomisation-energy
    correction). ``two-step`` follows its order of steps, not its formulas: one scale factor, fitted to pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from xferbench.references.composition import symbols
from xferbench.references.elemental import Offsets, composition_energies
from xferbench.references.fitting import fit_matrix
from xferbench.references.plausibility import not_the_gap
from xferbench.references.robust import huber, ridge

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from xferbench.references.labels import Labels
    from xferbench.references.tables import Tables

    Floats = NDArray[np.float64]

PURE = 1 - 1e-12
"""Fraction from which on a structure is an elemental phase."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """What a scheme may look at.

    Attributes:
        labels: Of the calibration pairs.
        weights: (n,) how often each pair counts; a bootstrap resample draws some twice and some not at all.
        atoms: Isolated atoms, functional -> symbol -> eV.
    """

    labels: Labels
    weights: Floats
    atoms: Tables | None = None

    def fit(self, energies: Floats, *, by_counts: bool = False) -> Offsets:
        """Least squares of finite energies on the fractions, eV/atom; by counts, a structure weighs its atoms squared."""
        known = np.isfinite(energies)
        size = self.labels.n_atoms**2 if by_counts else 1
        fitted = fit_matrix(
            self.labels.fractions,
            np.where(known, energies, 0.0),
            self.labels.elements,
            weights=self.weights * size * known,
        )
        return Offsets(energies=fitted.energies, null_space=fitted.null_space)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A scheme after fitting.

    Attributes:
        shift: Δ, eV/atom.
        base: What the shift is added to: the ``source`` label, the prediction of a ``model``, or ``nothing``.
        core: R of the source, from which the scaled part is measured.
        scale: s.
        note: A number the fit chose by itself, in words.
    """

    shift: Offsets
    base: Literal["source", "model", "nothing"] = "source"
    core: Offsets | None = None
    scale: float = 1.0
    note: str = ""

    def predict(self, labels: Labels) -> Floats:
        """(n,) target energies in eV/atom; NaN where the calibration pairs do not determine the composition."""
        base = {"source": labels.source, "model": labels.model, "nothing": np.zeros(len(labels))}[self.base]
        if base is None:
            return np.full(len(labels), np.nan)
        energies: Floats = base + composition_energies(self.shift, labels.fractions, labels.elements)
        if self.core is not None:
            core = composition_energies(self.core, labels.fractions, labels.elements)
            energies = energies + (self.scale - 1) * (base - core)
        return energies


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One way to choose Δ.

    Attributes:
        about: What it does, for a table.
        paired: Whether it needs the source label of the same material.
        source: Paper or code.
        fit: Fits it. Raises ``DataError`` if no calibration pair counts.
        lacking: Why it cannot be used on a calibration; None if it can.
    """

    name: str
    about: str
    source: str
    fit: Callable[[Calibration], Fitted]
    lacking: Callable[[Calibration], str | None] = lambda _: None
    paired: bool = True


def _source(calibration: Calibration) -> Fitted:
    return Fitted(shift=Offsets(energies=dict.fromkeys(calibration.labels.symbols, 0.0)))


def _fit(calibration: Calibration) -> Fitted:
    return Fitted(shift=calibration.fit(calibration.labels.target), base="nothing", note="what binds is left out")


def _mean(calibration: Calibration) -> Fitted:
    mean = float(np.average(calibration.labels.gap, weights=calibration.weights))
    return Fitted(shift=Offsets(energies=dict.fromkeys(calibration.labels.symbols, mean)))


def _independent(calibration: Calibration) -> Fitted:
    source, target = calibration.fit(calibration.labels.source), calibration.fit(calibration.labels.target)
    return Fitted(shift=_difference(target, source))


def _paired(calibration: Calibration) -> Fitted:
    return Fitted(shift=calibration.fit(calibration.labels.gap))


def _counts(calibration: Calibration) -> Fitted:
    return Fitted(shift=calibration.fit(calibration.labels.gap, by_counts=True))


def _ridge(calibration: Calibration) -> Fitted:
    labels, weights = calibration.labels, calibration.weights
    plain = calibration.fit(labels.gap)
    columns = [i for i, symbol in enumerate(labels.symbols) if symbol in plain.energies]
    energies, strength = ridge(labels.fractions[:, columns], labels.gap, weights=weights, groups=labels.materials)
    # shrinking decides what the data leave open: no direction is undetermined
    shift = Offsets(energies=dict(zip(plain.energies, energies.tolist(), strict=True)))
    return Fitted(shift=shift, note=f"strength {strength:.3g} by cross-validation over materials")


def _huber(calibration: Calibration) -> Fitted:
    labels = calibration.labels
    shift, threshold = huber(labels.fractions, labels.gap, labels.elements, weights=calibration.weights)
    return Fitted(shift=shift, note=f"threshold {threshold:.3g} eV/atom")


def _model(calibration: Calibration) -> Fitted:
    labels = calibration.labels
    predicted = np.full(len(labels), np.nan) if labels.model is None else labels.model
    shift = calibration.fit(labels.target - predicted, by_counts=True)
    return Fitted(shift=shift, base="model", note="added to the model's prediction, whose own error counts too")


def _no_model(calibration: Calibration) -> str | None:
    if calibration.labels.model is None:
        return "needs the energies that a source model predicts for the target frames: --predictions FILE"
    if not np.isfinite(calibration.labels.model[calibration.weights > 0]).any():
        return "the predictions have no energy of a calibration frame; predict the train split too"
    return None


def _atoms(calibration: Calibration) -> Fitted:
    source, target = _atom_tables(calibration)
    shift = _difference(target, source)
    doubt = not_the_gap(shift.energies, calibration.labels)
    return Fitted(shift=shift, note=f"they {doubt}" if doubt else "")


def _no_atoms(calibration: Calibration) -> str | None:
    if calibration.atoms is None:
        return "needs isolated atoms of the same code and pseudopotentials as the labels: --atoms FILE"
    lacking = [name for name in calibration.labels.functionals if name not in calibration.atoms]
    return f"the table of isolated atoms has no {' and no '.join(lacking)}" if lacking else None


def _phases(calibration: Calibration) -> Fitted:
    source, target = (
        _lowest(calibration, energies) for energies in (calibration.labels.source, calibration.labels.target)
    )
    return Fitted(shift=_difference(target, source))


def _no_phases(calibration: Calibration) -> str | None:
    return None if _pure(calibration).any() else "no calibration pair is an elemental phase"


def _two_step(calibration: Calibration) -> Fitted:
    labels, weights = calibration.labels, calibration.weights
    if calibration.atoms is not None and _no_atoms(calibration) is None:
        source, target = _atom_tables(calibration)
        core = "isolated atoms"
    else:
        source, target = calibration.fit(labels.source), calibration.fit(labels.target)
        core = "fitted references, since there are no isolated atoms of both functionals"
    rest_source = labels.source - composition_energies(source, labels.fractions, labels.elements)
    rest_target = labels.target - composition_energies(target, labels.fractions, labels.elements)
    known = np.isfinite(rest_source + rest_target) & (weights > 0)
    x, y, w = rest_source[known], rest_target[known], weights[known]
    size = float(w @ x**2)
    scale = float(w @ (x * y)) / size if size > np.finfo(np.float64).eps * float(w @ labels.source[known] ** 2) else 1.0
    note = f"core: {core}; atomisation energies times {scale:.4f}"
    return Fitted(shift=_difference(target, source), core=source, scale=scale, note=note)


def _difference(target: Offsets, source: Offsets) -> Offsets:
    """Shift of the elements that both have. Fits to the same structures leave the same directions open."""
    return Offsets(
        energies={s: value - source.energies[s] for s, value in target.energies.items() if s in source.energies},
        null_space=target.null_space,
    )


def _atom_tables(calibration: Calibration) -> tuple[Offsets, Offsets]:
    tables = calibration.atoms or {}
    source, target = (Offsets(energies=tables[name]) for name in calibration.labels.functionals)
    return source, target


def _pure(calibration: Calibration) -> NDArray[np.bool_]:
    """(n,) pairs that count and consist of one element."""
    pure: NDArray[np.bool_] = (calibration.labels.fractions.max(axis=1) > PURE) & (calibration.weights > 0)
    return pure


def _lowest(calibration: Calibration, energies: Floats) -> Offsets:
    """Lowest energy of each element's phases."""
    rows = np.flatnonzero(_pure(calibration))
    columns = calibration.labels.fractions[rows].argmax(axis=1)
    names = symbols([calibration.labels.elements[column] for column in np.unique(columns)])
    return Offsets(
        energies={n: float(energies[rows[columns == c]].min()) for n, c in zip(names, np.unique(columns), strict=True)}
    )


_TABLE = (
    Scheme(name="source", about="source energies as they are", source="", fit=_source, paired=False),
    Scheme(
        name="fit",
        about="target labels alone, fitted",
        source="Huang et al. 2025, Eq. 2",
        fit=_fit,
        paired=False,
    ),
    Scheme(name="mean", about="one shift for every atom", source="", fit=_mean),
    Scheme(
        name="independent",
        about="one fit per functional, subtracted",
        source="Huang et al. 2025, Eq. 2 and 3",
        fit=_independent,
    ),
    Scheme(name="paired", about="one fit to the differences", source="Huang et al. 2025, Eq. 2", fit=_paired),
    Scheme(name="counts", about="fit on atom counts and totals", source='MACE, E0s="average"', fit=_counts),
    Scheme(name="ridge", about="shrunk towards the mean gap", source="Hoerl and Kennard 1970", fit=_ridge),
    Scheme(name="huber", about="outliers weighted down", source="Huber 1964", fit=_huber),
    Scheme(
        name="model-aware",
        about="fit to target minus model prediction",
        source='MACE, E0s="estimated"; arXiv:2606.12704',
        fit=_model,
        lacking=_no_model,
        paired=False,
    ),
    Scheme(
        name="atoms",
        about="isolated atoms",
        source="Huang et al. 2025; MatPES, arXiv:2503.04070",
        fit=_atoms,
        lacking=_no_atoms,
    ),
    Scheme(
        name="phases",
        about="lowest elemental phase of each functional",
        source="Huang et al. 2025, formation convention",
        fit=_phases,
        lacking=_no_phases,
    ),
    Scheme(
        name="two-step",
        about="core shift, then scaled atomisation energy",
        source="after TEA, arXiv:2412.13088",
        fit=_two_step,
    ),
)
SCHEMES = {scheme.name: scheme for scheme in _TABLE}
"""Every scheme by name, in the order of the table."""


def paired_shift(labels: Labels) -> Offsets:
    """Δ of the ``paired`` scheme, every pair counting once.

    Raises:
        DataError: No pairs.
    """
    return _paired(Calibration(labels=labels, weights=np.ones(len(labels)))).shift

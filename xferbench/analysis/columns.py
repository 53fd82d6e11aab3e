"""Pairs as columns of numbers: one pass over the data, after which no structure is needed any more.

Forces, stresses and moments are reduced to sums over the rows of a pair at once, so memory does not grow with the atoms.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import compress
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from xferbench.analysis.labels import TERMS
from xferbench.errors import DataError
from xferbench.records import Geometry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from xferbench.records import Frame, FramePair

    Floats = NDArray[np.float64]

QUANTITIES = ("energy", *TERMS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """Pairs of a source frame with a target frame; row i of everything is pair i.

    Attributes:
        functionals: Of the source frame, as in files.
        formulas: Reduced composition, elements in alphabetical order: ``Cl1Na1``.
        numbers: Atomic numbers of each target structure.
        source: (n,) eV/atom of the source frame; NaN where a frame has no energy.
        target: (n,) the same of the target frame.
        sums: ``forces``, ``stress``, ``magmoms`` -> (n, k) sums over the rows of a pair, see ``labels``; zero without labels.
        reasons: Each of ``QUANTITIES`` -> why each pair is not compared; empty where it is.
        corrected: (n,) whether a frame carries an empirical correction, which is not used here.
        corrected_inside: (n,) whether an energy holds a correction that the source does not state apart.
    """

    pair_ids: Sequence[str]
    material_ids: Sequence[str]
    splits: Sequence[str]
    functionals: Sequence[str]
    formulas: Sequence[str]
    numbers: Sequence[NDArray[np.int64]]
    source: Floats
    target: Floats
    sums: Mapping[str, Floats]
    reasons: Mapping[str, Sequence[str]]
    corrected: NDArray[np.bool_]
    corrected_inside: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pair_ids)

    @property
    def gap(self) -> Floats:
        """(n,) target minus source, eV/atom."""
        return self.target - self.source

    def has(self, quantity: str) -> NDArray[np.bool_]:
        """(n,) whether both frames have the label and may be compared."""
        return np.array([not reason for reason in self.reasons[quantity]], dtype=bool)

    def missing(self, quantity: str) -> dict[str, int]:
        """Reason -> pairs that are not compared."""
        return dict(sorted(Counter(filter(None, self.reasons[quantity])).items()))

    def take(self, rows: NDArray[np.bool_]) -> Columns:
        """The pairs of a mask, shape (n,)."""
        return Columns(
            pair_ids=list(compress(self.pair_ids, rows)),
            material_ids=list(compress(self.material_ids, rows)),
            splits=list(compress(self.splits, rows)),
            functionals=list(compress(self.functionals, rows)),
            formulas=list(compress(self.formulas, rows)),
            numbers=list(compress(self.numbers, rows)),
            source=self.source[rows],
            target=self.target[rows],
            sums={name: values[rows] for name, values in self.sums.items()},
            reasons={name: list(compress(values, rows)) for name, values in self.reasons.items()},
            corrected=self.corrected[rows],
            corrected_inside=self.corrected_inside[rows],
        )


def collect(pairs: Iterable[FramePair], splits: Mapping[str, str]) -> Columns:
    """Reduce pairs to columns.

    Args:
        pairs: In any order; the columns keep it.
        splits: Material id -> split.

    Raises:
        DataError: There are no pairs, or the labels of a pair have different shapes.
    """
    names: list[tuple[str, str, str, str, str]] = []
    numbers, energies, corrected, inside = [], [], [], []
    sums: dict[str, list[Floats]] = {name: [] for name in TERMS}
    reasons: dict[str, list[str]] = {name: [] for name in QUANTITIES}
    for pair in pairs:
        names.append(_names(pair, splits))
        numbers.append(pair.target.numbers)
        energies.append([_per_atom(pair.source), _per_atom(pair.target)])
        corrected.append(pair.source.correction is not None or pair.target.correction is not None)
        inside.append(any(frame.provenance.get("corrected") is True for frame in (pair.source, pair.target)))
        for name in QUANTITIES:
            reasons[name].append(_reason(pair, name))
        for name, terms in TERMS.items():
            sums[name].append(np.zeros(terms.width) if reasons[name][-1] else _sums(pair, name))
    if not names:
        raise DataError("there are no pairs to analyse; prepare a data set that has some")
    pair_ids, material_ids, split_names, functionals, formulas = map(list, zip(*names, strict=True))
    return Columns(
        pair_ids=pair_ids,
        material_ids=material_ids,
        splits=split_names,
        functionals=functionals,
        formulas=formulas,
        numbers=numbers,
        source=np.array(energies)[:, 0],
        target=np.array(energies)[:, 1],
        sums={name: np.array(rows) for name, rows in sums.items()},
        reasons=reasons,
        corrected=np.array(corrected),
        corrected_inside=np.array(inside),
    )


def reduced_formula(numbers: NDArray[np.int64]) -> str:
    """The composition divided by its greatest common divisor, elements in alphabetical order.

    >>> reduced_formula(np.array([11, 17, 11, 17]))
    'Cl1Na1'
    """
    from ase.data import chemical_symbols

    counts = Counter(numbers.tolist())
    divisor = gcd(*counts.values())
    parts = sorted((chemical_symbols[z], n // divisor) for z, n in counts.items())
    return "".join(f"{symbol}{n}" for symbol, n in parts)


def _names(pair: FramePair, splits: Mapping[str, str]) -> tuple[str, str, str, str, str]:
    formula = reduced_formula(pair.target.numbers)
    return pair.pair_id, pair.material_id, splits[pair.material_id], pair.source.functional, formula


def _per_atom(frame: Frame) -> float:
    return np.nan if frame.energy is None else frame.energy / frame.n_atoms


def _reason(pair: FramePair, quantity: str) -> str:
    """Why a quantity of a pair is not compared; empty if it is."""
    if quantity != "energy" and pair.geometry is not Geometry.SAME_GEOMETRY:
        return "there are no structures" if pair.geometry is Geometry.ENERGIES_ONLY else "the two geometries differ"
    lacking = [frame.functional for frame in (pair.source, pair.target) if getattr(frame, quantity) is None]
    return f"no label from {' and '.join(lacking)}" if lacking else ""


def _sums(pair: FramePair, quantity: str) -> Floats:
    source, target = getattr(pair.source, quantity), getattr(pair.target, quantity)
    if source.shape != target.shape:
        raise DataError(
            f"{quantity} of pair {pair.pair_id} have shapes {source.shape} and {target.shape}; prepare the data set again"
        )
    return TERMS[quantity](source, target)

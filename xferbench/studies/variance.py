"""Which choice matters, the weights that move or the references? Analysis of variance of the logarithms of errors.

A method is a network, a strategy and a reference scheme. The logarithm of its error, mean over seeds, is taken as a sum of one
term for each; what no such sum gives is "not additive". The part of a choice is what leaving its term out adds to the sum of
squares that is not explained (Type II, for grids with holes: Langsrud, Stat. Comput. 13, 163 (2003)), over the whole sum of squares.
Where choices go together such parts overlap or lack something, so that they need not add up to 1. Intervals are those of the
same parts with test materials and training seeds drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.measure import Estimate
from xferbench.studies.measuring import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xferbench.records import Floats
    from xferbench.studies.summarising import Curve

    Interval = Callable[[str, float, Floats], Estimate]

CHOICES = ("network", "strategy", "references")
REST = "not additive"
CONTRAST = "references − strategy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Of the variance between methods.

    Attributes:
        source: One of ``CHOICES``, ``REST``, or ``CONTRAST``, the difference of two parts.
        freedom: Degrees of freedom.
        share: Of the sum of squares of log errors, 0 to 1; of a difference, -1 to 1.
    """

    subset: float
    quantity: str
    source: str
    freedom: int
    share: Estimate


def parts(known: Mapping[tuple[str, str], Curve], subsets: Sequence[float], interval: Interval) -> list[Part]:
    """Parts of every choice that can be told from the others, by subset and quantity.

    Args:
        known: (method, quantity) -> errors with their draws.
        subsets: Fractions of the training materials to look at.
        interval: (quantity, value, draws) -> the value with its interval.

    Returns:
        Nothing of a subset and quantity with fewer than three methods, or with an error of zero, which has no logarithm.
    """
    return [part for subset in subsets for name in QUANTITIES for part in _parts(known, subset, name, interval)]


def shares(methods: Sequence[str], errors: Floats) -> dict[str, tuple[int, Floats]]:
    """Source -> degrees of freedom, and parts of the variance.

    Args:
        methods: (n,) ``[MODEL/]STRATEGY+REFERENCES``.
        errors: (..., n), positive.

    Returns:
        Parts of shape (...), NaN where all errors are the same. A choice that others determine is left out.
    """
    logs = np.log(errors)
    columns = {name: _indicators(levels) for name, levels in zip(CHOICES, _choices(methods), strict=True)}
    whole = _unexplained([], logs)[1]
    rank, rest = _unexplained(list(columns.values()), logs)
    found: dict[str, tuple[int, Floats]] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for name in CHOICES:
            others, without = _unexplained([columns[other] for other in CHOICES if other != name], logs)
            if rank > others:
                found[name] = rank - others, (without - rest) / whole
        if len(methods) > rank:
            found[REST] = len(methods) - rank, rest / whole
    return found


def to_json(found: Sequence[Part]) -> list[dict[str, Any]]:
    """Plain values."""
    return [
        {
            "subset": part.subset,
            "quantity": part.quantity,
            "source": part.source,
            "freedom": part.freedom,
            **part.share.to_json(),
        }
        for part in found
    ]


def from_json(values: Sequence[Mapping[str, Any]]) -> list[Part]:
    """What ``to_json`` made plain."""
    names = ("subset", "quantity", "source", "freedom")
    return [Part(**{name: item[name] for name in names}, share=Estimate.from_json(item)) for item in values]


def _parts(known: Mapping[tuple[str, str], Curve], subset: float, quantity: str, interval: Interval) -> list[Part]:
    there = [
        (method, curve, curve.subsets.index(subset))
        for (method, of), curve in known.items()
        if of == quantity and subset in curve.subsets
    ]
    if len(there) < 3:
        return []
    errors = np.stack([np.append(curve.errors[at], curve.draws[:, at]) for _, curve, at in there], axis=1)
    if not (errors > 0).all():
        return []
    found = shares([method for method, _, _ in there], errors)
    if {"strategy", "references"} <= found.keys():
        found[CONTRAST] = 1, found["references"][1] - found["strategy"][1]
    return [
        Part(
            subset=subset,
            quantity=quantity,
            source=source,
            freedom=freedom,
            share=interval(quantity, float(values[0]), values[1:]),
        )
        for source, (freedom, values) in found.items()
    ]


def _choices(methods: Sequence[str]) -> list[list[str]]:
    """Network, strategy and references of each method."""
    split = []
    for method in methods:
        network, _, rest = method.rpartition("/")
        strategy, _, references = rest.partition("+")
        split.append((network, strategy, references))
    return [list(levels) for levels in zip(*split, strict=True)]


def _indicators(levels: Sequence[str]) -> Floats:
    """(n, n_levels) ones where a method has the level."""
    return np.asarray(np.array(levels)[:, None] == np.unique(levels), dtype=np.float64)


def _unexplained(columns: Sequence[Floats], logs: Floats) -> tuple[int, Floats]:
    """Rank of constant and columns together, and the sums of squares (...) of what they leave of (..., n) logarithms."""
    design = np.hstack([np.ones((logs.shape[-1], 1)), *columns])
    left, singular, _ = np.linalg.svd(design, full_matrices=False)
    base = left[:, singular > singular[0] * max(design.shape) * np.finfo(np.float64).eps]
    rest = logs - (logs @ base) @ base.T
    return base.shape[1], (rest**2).sum(axis=-1)

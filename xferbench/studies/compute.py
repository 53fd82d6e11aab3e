"""Transfer against training from scratch at equal compute, from the logs of the runs.

The axis is the optimiser steps of a run: batches have one size, so a step costs about the same whatever the method. What the
pre-training cost is not on it: the question is what to do with a published model. Errors are those of the *validation*
split, the only ones that are known at every epoch; the best so far counts, as it is what would be exported.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.measure import Curve, gain
from xferbench.studies.measuring import QUANTITIES
from xferbench.studies.plan import Cell, scratch_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Rows = Sequence[Mapping[str, float]]
    Logs = Callable[[Cell], Rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeGain:
    """A method against scratch with the same data and seeds, means over seeds.

    Attributes:
        n_seeds: Seeds that both have.
        gain: Part of the validation error of scratch, after all its steps, that the method removes by then.
        gain_sd: Over seeds; ``None`` with one.
        reached: Part of the steps of scratch after which the method is as good as scratch gets; ``None`` if it never
            is with some seed.
    """

    method: str
    subset: float
    quantity: str
    n_seeds: int
    gain: float
    gain_sd: float | None
    reached: float | None


def compute_gains(cells: Sequence[Cell], logs: Logs) -> list[ComputeGain]:
    """All comparisons that the finished runs allow.

    Args:
        cells: Finished runs.
        logs: Rows of the log of a run: ``step`` and ``val_<quantity>``.
    """
    known = {(cell.method, cell.subset, cell.seed): cell for cell in cells}
    grouped: dict[tuple[str, float], list[tuple[Rows, Rows]]] = {}
    for cell in cells:
        partner = known.get((scratch_of(cell.method), cell.subset, cell.seed))
        if partner is not None and partner != cell:
            grouped.setdefault((cell.method, cell.subset), []).append((logs(cell), logs(partner)))
    made = [
        _compute_gain(method, subset, quantity, pairs)
        for (method, subset), pairs in grouped.items()
        for quantity in QUANTITIES
    ]
    return [item for item in made if item is not None]


def to_json(found: Sequence[ComputeGain]) -> list[dict[str, Any]]:
    """Plain values."""
    return [asdict(item) for item in found]


def from_json(values: Sequence[Mapping[str, Any]]) -> list[ComputeGain]:
    """What ``to_json`` made plain."""
    return [ComputeGain(**item) for item in values]


def _compute_gain(method: str, subset: float, quantity: str, pairs: Sequence[tuple[Rows, Rows]]) -> ComputeGain | None:
    column = f"val_{quantity}"
    both = [(_best(own, column), _best(other, column), own) for own, other in pairs]
    known = [(own, other, rows) for own, other, rows in both if own is not None and other is not None]
    if not known:
        return None
    gains = [_gain(own, other) for own, other, _ in known]
    reached = [_reached(rows, column, other) for _, other, rows in known]
    return ComputeGain(
        method=method,
        subset=subset,
        quantity=quantity,
        n_seeds=len(known),
        gain=float(np.mean(gains)),
        gain_sd=float(np.std(gains, ddof=1)) if len(gains) > 1 else None,
        reached=None if any(map(math.isnan, reached)) else float(np.mean(reached)),
    )


def _gain(own: Curve, scratch: Curve) -> float:
    """After all steps of scratch; after those of the method if it has fewer."""
    return gain(own, scratch, [min(float(scratch.x[-1]), float(own.x[-1]))])[0].fraction


def _reached(rows: Rows, column: str, scratch: Curve) -> float:
    """Part of the steps of scratch until its best error is reached, 0 if that is before training; NaN if it never is."""
    first = next((row["step"] for row in rows if row[column] <= scratch.errors[-1]), math.nan)
    return first / float(scratch.x[-1])


def _best(rows: Rows, column: str) -> Curve | None:
    """Best error so far against steps; nothing for a method without steps."""
    points = [(row["step"], row[column]) for row in rows if row["step"] > 0 and row[column] > 0]
    if not points:
        return None
    steps, errors = np.array(points, dtype=np.float64).T
    return Curve(x=steps, errors=np.minimum.accumulate(errors))

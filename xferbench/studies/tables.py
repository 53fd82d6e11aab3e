"""A study as CSV: every run, every summary line, and curves that ``xferbench fit-scaling`` reads."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from xferbench.studies.summarising import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xferbench.studies.content import Study


def runs_csv(study: Study) -> str:
    """One line per run and quantity."""
    header = ("method", "subset", "n_training", "seed", "quantity", "unit", "error")
    rows = (
        (entry.method, entry.subset, entry.n_training, seed, entry.quantity, entry.unit, value)
        for entry in study.entries
        for seed, value in sorted(entry.values.items())
    )
    return _csv(header, rows)


def summary_csv(study: Study) -> str:
    """One line per method, subset and quantity."""
    lines = [{key: value for key, value in plain(entry).items() if key != "values"} for entry in study.entries]
    header = tuple(lines[0]) if lines else ()
    return _csv(header, (tuple(line.values()) for line in lines))


def curve_csv(study: Study, quantity: str) -> str:
    """Training frames and a column per method; every seed has a row."""
    known = {entry.method for entry in study.entries if entry.quantity == quantity}
    methods = [method for method in study.plan.methods if method in known]
    found = {
        (entry.subset, seed, entry.method): value
        for entry in study.entries
        if entry.quantity == quantity
        for seed, value in entry.values.items()
    }
    keys = sorted({key[:2] for key in found})
    rows = ((study.n_training[key[0]], *(found.get((*key, method), "") for method in methods)) for key in keys)
    return _csv(("n_training", *methods), rows)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return text.getvalue()

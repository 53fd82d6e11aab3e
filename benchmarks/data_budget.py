"""How often the error to expect with more labels is what came: the largest training sets of learning curves, hidden.

    python benchmarks/data_budget.py docs/reports/study-scaling/{energy,forces,stress,magmoms}.csv [--write docs/studies.md]

Each table is one that ``xferbench fit-scaling`` reads: training frames, then a column of errors per curve, a row per run. Of every
curve the largest size is hidden, then the two largest, and so on while three are left; the error of each hidden run is
compared with the interval that the rest gives for its size. A number of these cases is drawn without looking; all of them
follow.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from page import put

from xferbench.measure import FEWEST_SIZES, expected_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONFIDENCE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A run that was hidden.

    Attributes:
        curve: Whose run.
        n_sizes: That were left to judge by.
        factor: Its training frames over the largest of these.
        covered: Whether its error lies in the interval.
        width: Upper end of the interval over the lower one.
    """

    curve: str
    n_sizes: int
    factor: float
    covered: bool
    width: float


def cases(table: Path) -> Iterator[Case]:
    """Every hidden run of a table."""
    rows = pd.read_csv(table)
    sizes = rows.iloc[:, 0].to_numpy(float)
    for name in rows.columns[1:]:
        errors = rows[name].to_numpy(float)
        there = np.isfinite(errors) & (sizes > 0)
        distinct = np.unique(sizes[there])
        for n_sizes in range(FEWEST_SIZES, len(distinct)):
            shown = there & (sizes <= distinct[n_sizes - 1])
            found = expected_errors(sizes[shown], errors[shown], distinct[n_sizes:].tolist(), confidence=CONFIDENCE)
            for n, interval in zip(distinct[n_sizes:], found, strict=True):
                for error in errors[there & (sizes == n)]:
                    yield Case(
                        curve=f"{table.stem}, {name}",
                        n_sizes=n_sizes,
                        factor=float(n / distinct[n_sizes - 1]),
                        covered=bool(interval.low <= error <= interval.high),
                        width=interval.high / interval.low,
                    )


def row(title: str, chosen: Sequence[Case]) -> str:
    """A line of the table."""
    factors = [case.factor for case in chosen]
    inside = sum(case.covered for case in chosen)
    width = float(np.median([case.width for case in chosen]))
    return (
        f"| {title} | {len(chosen)} | {min(factors):.1f} to {max(factors):.1f} | {inside} | "
        f"{100 * inside / len(chosen):.0f} % | {width:.1f} |"
    )


def report(found: Sequence[Case], n_draws: int, seed: int) -> str:
    """Drawn cases, all, and those by what was left to judge by, as Markdown."""
    drawn = np.random.default_rng(seed).choice(len(found), min(n_draws, len(found)), replace=False)
    lines = [
        "| hidden runs | number | times the largest set shown | inside | covered | upper end over lower, median |",
        "|---|---|---|---|---|---|",
        row("drawn", [found[i] for i in drawn]),
        row("all", found),
        *(
            row(f"{n_sizes} sizes shown", [case for case in found if case.n_sizes == n_sizes])
            for n_sizes in sorted({case.n_sizes for case in found})
        ),
    ]
    curves = len({case.curve for case in found})
    return "\n".join([*lines, "", f"{100 * CONFIDENCE:.0f} % intervals, {curves} curves, draws of seed {seed}.", ""])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help="the page to put the table into")
    arguments = parser.parse_args()
    found = [case for table in arguments.tables for case in cases(table)]
    text = report(found, arguments.draws, arguments.seed)
    print(text, end="")
    if arguments.write is not None:
        put(arguments.write, "data budget", text)


if __name__ == "__main__":
    main()

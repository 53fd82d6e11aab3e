"""Elemental references on real Materials Project numbers: python benchmarks/rxnnet_table.py main.csv.

``main.csv`` is the table ``main`` of RxnNet (rasmusfr/RxnNet, MIT; Materials Project energies, CC-BY-4.0), eV/atom: GGA(+U)
energies with the MP2020 corrections, raw r2SCAN energies, formation enthalpies of both and of the mixed scheme, CHGNet
0.3 energies, and experimental formation enthalpies. Rows that have both energies are used.

References:
    npj Comput. Mater. 10 (2024), doi 10.1038/s41524-024-01404-5; the table was converted from the repository's pickle of
    20 March 2024.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xferbench import references
from xferbench.sources.mp_thermo import atoms_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

FOLDS = 10
ENTHALPIES = {"hf_gga_gga_u": "GGA(+U), corrected", "hf_r2scan": "r2SCAN", "hf_gga_gga_u_r2scan": "mixed"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Rows with both functionals.

    Attributes:
        values: Column -> (n,) eV/atom, NaN where there is none.
        numbers: Atomic numbers of one formula unit of each row.
        n_read: Rows of the file.
    """

    values: dict[str, Floats]
    numbers: list[Integers]
    n_read: int

    def take(self, keep: NDArray[np.bool_]) -> list[Integers]:
        """Atomic numbers of some rows."""
        return [item for item, kept in zip(self.numbers, keep, strict=True) if kept]


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Differences of two energies.

    Attributes:
        mae: Mean absolute, eV/atom.
        largest: Largest absolute, eV/atom.
        n: Rows.
        n_missing: Rows without a value of either, or whose composition the other folds do not determine.
    """

    mae: float
    largest: float
    n: int
    n_missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything the table shows.

    Attributes:
        n_read: Rows of the file.
        n_paired: Rows with both functionals.
        enthalpies: Column -> error against experiment.
        explained: Column -> rest of energy minus formation enthalpy after elemental references.
        chgnet_gga: CHGNet energy against corrected GGA(+U), no alignment.
        chgnet_gga_aligned: The same, aligned out of sample.
        chgnet_raw: CHGNet energy against r2SCAN, no alignment.
        chgnet_in_sample: The same with offsets fitted to all rows.
        chgnet_aligned: The same with offsets fitted to the other folds.
        functionals_raw: Corrected GGA(+U) against r2SCAN, no alignment.
        functionals_aligned: The same, aligned out of sample: what no elemental reference can repair.
    """

    n_read: int
    n_paired: int
    enthalpies: dict[str, Errors]
    explained: dict[str, Errors]
    chgnet_gga: Errors
    chgnet_gga_aligned: Errors
    chgnet_raw: Errors
    chgnet_in_sample: Errors
    chgnet_aligned: Errors
    functionals_raw: Errors
    functionals_aligned: Errors


def read(path: Path) -> Rows:
    """Rows of the file that have both energies."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    paired = [row for row in rows if row["e_gga_gga_u"] and row["e_r2scan"]]
    names = ["e_gga_gga_u", "e_r2scan", "hf_ref", "e_chgnet", *ENTHALPIES]
    values = {name: np.array([float(row[name] or "nan") for row in paired]) for name in names}
    return Rows(values=values, numbers=[atoms_of(row["composition"]) for row in paired], n_read=len(rows))


def errors_of(difference: Floats) -> Errors:
    """Summary of differences, NaN counted as missing."""
    there = np.isfinite(difference)
    size = np.abs(difference[there])
    return Errors(mae=float(size.mean()), largest=float(size.max()), n=int(there.sum()), n_missing=int((~there).sum()))


def in_sample(rows: Rows, difference: Floats) -> Floats:
    """What elemental references fitted to the differences leave of them."""
    there = np.isfinite(difference)
    numbers = rows.take(there)
    rest = np.full(len(difference), np.nan)
    rest[there] = references.subtract(references.fit(numbers, difference[there]), numbers, difference[there])
    return rest


def out_of_sample(rows: Rows, difference: Floats) -> Floats:
    """The same with references fitted to the other folds; NaN where these do not determine the composition.

    Rows of one set of elements stay in one fold, so no row is aligned by a compound of its own chemical system.
    """
    fold = folds(rows.numbers)
    there = np.isfinite(difference)
    rest = np.full(len(difference), np.nan)
    for number in range(FOLDS):
        fit_on = there & (fold != number)
        fitted = references.fit(rows.take(fit_on), difference[fit_on])
        known = there & (fold == number)
        known[known] = references.estimable(fitted, rows.take(known))
        rest[known] = references.subtract(fitted, rows.take(known), difference[known])
    return rest


def folds(numbers: Sequence[Integers]) -> Integers:
    """(n,) fold of each row: sets of elements dealt in a random order that is always the same."""
    systems = [tuple(sorted(set(item.tolist()))) for item in numbers]
    distinct = sorted(set(systems))
    dealt = np.random.RandomState(0).permutation(len(distinct)) % FOLDS
    place = {system: int(fold) for system, fold in zip(distinct, dealt, strict=True)}
    return np.array([place[system] for system in systems])


def report(path: Path) -> Report:
    """All numbers of the table."""
    rows = read(path)
    source, target, chgnet = (rows.values[name] for name in ("e_gga_gga_u", "e_r2scan", "e_chgnet"))
    return Report(
        n_read=rows.n_read,
        n_paired=len(rows.numbers),
        enthalpies={name: errors_of(rows.values[name] - rows.values["hf_ref"]) for name in ENTHALPIES},
        explained={
            "r2SCAN": errors_of(in_sample(rows, target - rows.values["hf_r2scan"])),
            "GGA(+U), corrected": errors_of(in_sample(rows, source - rows.values["hf_gga_gga_u"])),
        },
        chgnet_gga=errors_of(chgnet - source),
        chgnet_gga_aligned=errors_of(out_of_sample(rows, chgnet - source)),
        chgnet_raw=errors_of(chgnet - target),
        chgnet_in_sample=errors_of(in_sample(rows, chgnet - target)),
        chgnet_aligned=errors_of(out_of_sample(rows, chgnet - target)),
        functionals_raw=errors_of(source - target),
        functionals_aligned=errors_of(out_of_sample(rows, source - target)),
    )


def table(found: Report) -> str:
    """The report as Markdown, eV/atom."""
    lines = [
        f"{found.n_paired} of {found.n_read} rows have both functionals. eV/atom.",
        "",
        "| quantity | mean absolute | largest | rows | without value |",
        "|---|---:|---:|---:|---:|",
    ]
    named = [(f"formation enthalpy, {ENTHALPIES[name]}, against experiment", e) for name, e in found.enthalpies.items()]
    named += [(f"energy - enthalpy of {name} after elemental references", e) for name, e in found.explained.items()]
    named += [
        ("CHGNet 0.3 against corrected GGA(+U), raw", found.chgnet_gga),
        ("the same, aligned out of sample", found.chgnet_gga_aligned),
        ("CHGNet 0.3 against r2SCAN, raw", found.chgnet_raw),
        ("the same, aligned in sample", found.chgnet_in_sample),
        ("the same, aligned out of sample", found.chgnet_aligned),
        ("corrected GGA(+U) against r2SCAN, raw", found.functionals_raw),
        ("the same, aligned out of sample", found.functionals_aligned),
    ]
    lines += [f"| {name} | {e.mae:.3g} | {e.largest:.3g} | {e.n} | {e.n_missing} |" for name, e in named]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("csv", type=Path, help="the table, as CSV")
    print(table(report(parser.parse_args().csv)))


if __name__ == "__main__":
    main()

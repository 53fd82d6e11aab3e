"""An analysis as CSV, and as text for a terminal."""

from __future__ import annotations

import csv
import io
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from xferbench.analysis.content import settled
from xferbench.analysis.estimating import DECIMALS
from xferbench.analysis.labels import TERMS, ratio
from xferbench.report.rounding import show, shown_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xferbench.analysis.content import Analysis
    from xferbench.analysis.elements import ElementRow
    from xferbench.analysis.estimating import Estimate

ESTIMATE = ("value", "ci_low", "ci_high")


def statistics_csv(analysis: Analysis) -> str:
    """One line per statistic of every table."""
    header = ["table", "resampled", "statistic", "unit", *ESTIMATE, "n_pairs", "n_clusters", "reason"]
    rows = [
        [table.key, table.cluster, item.name, item.unit, *_numbers(item), item.n_pairs, item.n_clusters, item.reason]
        for table in analysis.tables.values()
        for item in table.estimates
    ]
    return _csv(header, map(settled, rows))


def elements_csv(analysis: Analysis) -> str:
    """One line per element; energies in eV/atom."""
    header = ["element", "n_pairs", "n_materials", "reference_source", "reference_target"]
    header += [f"{name}{end}" for name in ("shift", "tree", "permutation") for end in ("", "_ci_low", "_ci_high")]
    header += ["shift_determined_in_resamples"]
    return _csv(header, [settled(_element(row)) for row in analysis.elements])


def pairs_csv(analysis: Analysis) -> str:
    """One line per pair; energies in eV/atom, forces in eV/Å, stresses in eV/Å³, moments in µB."""
    columns = analysis.columns
    maes = {
        name: np.where(columns.has(name), ratio(columns.sums[name][:, 1], columns.sums[name][:, 0]), np.nan)
        for name in TERMS
    }
    numbers = {
        "energy_source": columns.source,
        "energy_target": columns.target,
        "gap": columns.gap,
        "gap_in_sample": analysis.in_sample.target - analysis.in_sample.source,
        "gap_out_of_sample": analysis.out_of_sample.target - analysis.out_of_sample.source,
        "force_mae": maes["forces"],
        "stress_mae": maes["stress"],
        "magmom_mae": maes["magmoms"],
    }
    names = zip(columns.pair_ids, columns.material_ids, columns.splits, columns.formulas, columns.numbers, strict=True)
    rows = (
        [pair, material, split, formula, len(atoms), *map(_number, values)]
        for (pair, material, split, formula, atoms), values in zip(
            names, np.column_stack(list(numbers.values())).tolist(), strict=True
        )
    )
    return _csv(["pair_id", "material_id", "split", "composition", "n_atoms", *numbers], rows)


def terminal_table(analysis: Analysis) -> str:
    """Every statistic with its interval, in aligned columns."""
    lines = [
        f"{analysis.dataset.name} {analysis.dataset.version}: {analysis.source.prose} and {analysis.target}, {analysis.counts.pairs} pairs"
    ]
    for table in analysis.tables.values():
        lines.append(f"\n{table.title}")
        known = any(item.n_pairs for item in table.estimates)
        lines += [f"  {item.title:36s} {written(item)}" for item in table.estimates if known]
        if not known:
            lines.append("  nothing to compare")
    return "\n".join(lines)


def written(item: Estimate) -> str:
    """A value with interval and unit, or why there is none."""
    if item.value is None:
        return item.reason or ""
    return f"{show(item.value, item.ci_low, item.ci_high, item.unit)} {shown_unit(item.unit)}".rstrip()


def _element(row: ElementRow) -> list[object]:
    return [
        row.symbol,
        row.n_pairs,
        row.n_materials,
        row.source,
        row.target,
        *_numbers(row.shift),
        *_numbers(row.tree),
        *_numbers(row.permutation),
        row.determined,
    ]


def _numbers(item: Estimate | None) -> list[float | None]:
    return [None if item is None else getattr(item, name) for name in ESTIMATE]


def _number(value: float) -> float | None:
    """As ``settled`` would write it, without its recursion: there are millions of them."""
    return round(value, DECIMALS) + 0.0 if isfinite(value) else None


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Comma-separated text of settled values; what is missing is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()

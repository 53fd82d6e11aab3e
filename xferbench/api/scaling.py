"""``xferbench fit-scaling``: power laws through a table of errors against training structures."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import DataError, FormatError, UsageError
from xferbench.measure import FACTORS, FEWEST_SIZES, Curve, expected_errors, fit_power_law
from xferbench.measure import versus as compare_curves
from xferbench.registry import check_name
from xferbench.storage import finite, read_bytes

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from xferbench.measure import Estimate, PowerLawFit, Versus

NOTE = (
    "Each size has one number, so the scatter of the points about the law stands for all noise; the form of the law is "
    "taken as true, also where it is extrapolated, but not for the errors to expect, where the slope may change as it has "
    "done so far. never: the curves do not meet."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScalingReport:
    """Power laws through errors against training structures. ``print`` shows them with their intervals.

    Attributes:
        fits: Column -> its law.
        comparisons: Names of two columns -> where they cross, and what the first is worth in data.
        expected: Column -> structures -> the error to expect of one more run, 90 % interval; a column with fewer than three sizes
            has none.
    """

    fits: Mapping[str, PowerLawFit]
    comparisons: Mapping[tuple[str, str], Versus]
    expected: Mapping[str, Mapping[float, Estimate]]

    def to_json(self) -> dict[str, Any]:
        """Plain values; infinity is null."""
        return {
            "fits": {name: _fit_json(fit) for name, fit in self.fits.items()},
            "comparisons": [
                {"first": first, "second": second, **item.to_json("n")}
                for (first, second), item in self.comparisons.items()
            ],
            "expected": {
                name: [{"n": n, **error.to_json()} for n, error in found.items()]
                for name, found in self.expected.items()
            },
            "scope": NOTE,
        }

    def __str__(self) -> str:
        return _table(self)


def fit_scaling(
    path: str | os.PathLike[str],
    *,
    first: float,
    last: float = math.inf,
    floor: bool = False,
    versus: Sequence[str] = (),
    seed: int = 0,
) -> ScalingReport:
    """Fit a power law to every column of a table.

    Args:
        path: CSV with a header: training structures, then one column of errors per curve; an empty cell is no value.
        first: Smallest number of structures to fit, the declared start of the power law.
        last: Largest number.
        floor: Whether the laws have an irreducible error.
        versus: ``first:second`` column names to compare.
        seed: Of the intervals.

    Raises:
        StorageError: The file cannot be read.
        FormatError: It is not such a table.
        UsageError: A comparison that is not two columns, or an empty range.
        DataError: Too few points in the range.
    """
    if not 0 < first < last:
        raise UsageError(f"the range from {first:g} to {last:g} structures is empty; both must be positive")
    path = Path(path)
    sizes, columns = _read(path)
    pairs = [_pair(text, columns) for text in versus]
    fits = {}
    for number, (name, errors) in enumerate(columns.items()):
        try:
            fits[name] = fit_power_law(sizes, errors, fit_range=(first, last), floor=floor, seed=[seed, number])
        except ValueError as error:
            raise DataError(f"{path}, column {name}: {error}") from error
    curves = {name: _curve(sizes, errors) for name, errors in columns.items()}
    inside = sorted({n for n in sizes if first <= n <= last})
    compared = {
        (one, other): compare_curves(fits[one], fits[other], inside, curves[one](inside), curves[other])
        for one, other in pairs
    }
    expected = {name: _expected(sizes, errors, first, last) for name, errors in columns.items()}
    return ScalingReport(fits=fits, comparisons=compared, expected=expected)


def _expected(sizes: Sequence[float], errors: Sequence[float], first: float, last: float) -> dict[float, Estimate]:
    """With several times the structures of the largest size in the range that has an error."""
    inside = [(n, e) for n, e in zip(sizes, errors, strict=True) if first <= n <= last and math.isfinite(e)]
    if len({n for n, _ in inside}) < FEWEST_SIZES:
        return {}
    n, e = zip(*inside, strict=True)
    beyond = [max(n) * factor for factor in FACTORS]
    return dict(zip(beyond, expected_errors(n, e, beyond), strict=True))


def _table(report: ScalingReport) -> str:
    """Fits and comparisons as text."""
    lines = []
    for name, fit in report.fits.items():
        formula = f"{fit.law.prefactor:.4g} · n^{-fit.law.exponent:.4g}"
        formula += f" + {fit.law.floor:.4g}" if fit.with_floor else ""
        lines.append(f"{name} = {formula}")
        lines += [f"  {line}" for line in _fit_lines(fit)]
    for (first, second), item in report.comparisons.items():
        lines.append(f"\n{first} against {second}")
        lines.append(f"  {second} is better from {_text(item.crossing)} structures")
        lines.append(f"  {'structures':>12s}  times the data by the laws, and between the points")
        lines += [
            f"  {n:12,.0f}  {_text(factor)}, {_observed(item.observed[n])}" for n, factor in item.equivalence.items()
        ]
    if any(report.expected.values()):
        lines.append("\nwith more structures, the error to expect of one more run [90 % interval]")
        for name, found in report.expected.items():
            lines += (
                [f"  {name}: " + "; ".join(f"{n:,.0f}: {_text(error)}" for n, error in found.items())] if found else []
            )
    confidence = next(iter(report.fits.values())).confidence
    return "\n".join([*lines, "", f"[ ] holds the {confidence * 100:g} % interval but there. {NOTE}"])


def _fit_lines(fit: PowerLawFit) -> Iterator[str]:
    yield f"slope {-fit.exponent.value:.3f} [{-fit.exponent.high:.3f}, {-fit.exponent.low:.3f}], R² {fit.r2:.3f} (log)"
    if fit.with_floor:
        yield f"floor {_text(fit.floor)}"
    low, high = fit.fit_range
    until = f" to {high:,.0f}" if math.isfinite(high) else " on"
    yield f"{fit.n_points} points from {low:,.0f}{until}, {fit.n_outside} outside"


def _read(path: Path) -> tuple[list[float], dict[str, list[float]]]:
    try:
        reader = csv.reader(io.StringIO(read_bytes(path).decode("utf-8-sig")))
        rows = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path} is not a CSV table ({error}); save it as comma-separated UTF-8 text") from error
    if len(rows) < 2 or len(rows[0][1]) < 2:
        raise FormatError(f"{path}: a header, a column of sizes and one of errors at least are needed")
    header = rows[0][1]
    if len(set(header)) < len(header):
        raise FormatError(f"{path}: two columns have the same name: {', '.join(header)}")
    problems, numbers = [], []
    for line, row in rows[1:]:
        if len(row) != len(header):
            problems.append(f"row {line} has {len(row)} cells, the header {len(header)}")
            continue
        numbers.append([_number(cell, f"row {line}, {name}", problems) for name, cell in zip(header, row, strict=True)])
    if problems:
        raise FormatError(f"{path}: {'; '.join(problems)}")
    columns = {name: [row[i] for row in numbers] for i, name in enumerate(header)}
    return columns.pop(header[0]), columns


def _number(cell: str, where: str, problems: list[str]) -> float:
    try:
        number = float(cell) if cell.strip() else math.nan
    except ValueError:
        problems.append(f"{where}: {cell!r} is no number")
        return math.nan
    if math.isinf(number):
        problems.append(f"{where}: {cell!r} is not finite; leave the cell empty if there is no value")
    return number


def _pair(text: str, columns: Mapping[str, object]) -> tuple[str, str]:
    first, colon, second = text.partition(":")
    if not colon:
        raise UsageError(f"--versus {text!r}: write two columns as first:second")
    return check_name("column", first, columns), check_name("column", second, columns)


def _curve(sizes: Sequence[float], errors: Sequence[float]) -> Curve:
    """The points as they are; several of one size, such as training seeds, count as their mean."""
    runs: dict[float, list[float]] = {}
    for n, error in zip(sizes, errors, strict=True):
        if n > 0 and error > 0:  # none where there is no value; the fit refuses others that lie in its range
            runs.setdefault(n, []).append(error)
    ordered = sorted(runs)
    return Curve(x=np.array(ordered), errors=np.array([sum(runs[n]) / len(runs[n]) for n in ordered]))


def _fit_json(fit: PowerLawFit) -> dict[str, Any]:
    return {
        "prefactor": fit.prefactor.to_json(),
        "exponent": fit.exponent.to_json(),
        "floor": fit.floor.to_json(),
        "with_floor": fit.with_floor,
        "r2": finite(fit.r2),
        "fit_range": [finite(end) for end in fit.fit_range],
        "n_points": fit.n_points,
        "n_outside": fit.n_outside,
        "method": fit.method,
        "confidence": fit.confidence,
    }


def _observed(factor: float) -> str:
    return f"{factor:,.2g}" if factor < 1 else f"{factor:,.1f}" if math.isfinite(factor) else "beyond"


def _text(estimate: Estimate) -> str:
    value, low, high = (f"{number:,.4g}" if number < 1000 else _large(number) for number in estimate)
    return f"{value} [{low}, {high}]"


def _large(number: float) -> str:
    return "never" if math.isinf(number) else f"{number:,.0f}"

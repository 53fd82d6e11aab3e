"""What ``xferbench refs compare`` found, as a report for a terminal and for a page.

Every sentence with a number takes it from the report, so a page that is made again after the data set has grown says what is
true then.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from xferbench.errors import UsageError
from xferbench.measure import FEWEST
from xferbench.report.blocks import Cell, Column, Heading, Report, Row, Table, Text, marked
from xferbench.report.markdown import markdown
from xferbench.report.rounding import fixed
from xferbench.report.terminal import terminal
from xferbench.storage import write_json, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from xferbench.api.referencing import ReferenceReport
    from xferbench.references import Comparison
    from xferbench.references.comparing import Errors, Estimate, Outcome, Shift

NO_VALUE = "-"

QUESTION = (
    "How far does the target energy follow from the source energy of the same structure, if all one may add is a number per "
    "element? Each scheme below chooses these numbers in its own way on the training pairs and is judged on the test pairs, "
    "whose materials it has not seen."
)


def text(report: ReferenceReport) -> str:
    """For the terminal."""
    remarks = tuple(
        f"{item.scheme}: {item.note or f'not applicable, {item.reason}'}"
        for item in report.comparison.outcomes
        if item.note or item.reason
    )
    schemes, *others = tables(report)
    return terminal(
        Report(title=_title(report), lede=_heading(report), blocks=(schemes, Text(items=remarks, kind="list"), *others))
    )


def page(report: ReferenceReport) -> str:
    """A Markdown page with the text that says what the numbers show."""
    sections = [
        block for table in tables(report) for block in (Heading(text=table.title), replace(table, titled=False))
    ]
    return markdown(
        Report(
            title=_title(report),
            lede=marked(f"Made by `{report.command}`; nothing here is typed by hand."),
            blocks=(
                Text(items=(_heading(report), QUESTION)),
                Text(items=tuple(map(marked, findings(report))), kind="list"),
                *sections,
            ),
        )
    )


def _title(report: ReferenceReport) -> str:
    return f"Elemental references on {report.dataset} {report.version}"


def write(report: ReferenceReport, path: Path) -> None:
    """Write a page or JSON, as the name of the file says.

    Raises:
        UsageError: It ends in neither ``.md`` nor ``.json``.
        StorageError: The disk refuses.
    """
    if path.suffix == ".md":
        write_text(path, page(report))
    elif path.suffix == ".json":
        write_json(path, report.to_json())
    else:
        raise UsageError(f"{path} ends in neither .md (a page) nor .json (full precision); name it accordingly")


def findings(report: ReferenceReport) -> list[str]:
    """What the numbers say, in sentences."""
    comparison = report.comparison
    done = {
        item.scheme: item for item in comparison.outcomes if item.test is not None and item.test.mae.value is not None
    }
    lines = []
    if {"source", "mean", "paired"} <= set(done):
        raw, mean, paired = (_mae(done[name]) for name in ("source", "mean", "paired"))
        lines.append(
            f"The gap is {raw:.3f} eV/atom on average. One shift for all atoms leaves {mean:.3f}, one per element {paired:.3f} "
            f"eV/atom: {100 * paired / raw:.1f} % of the gap do not follow from which elements there are."
        )
    if comparison.correlation_raw is not None and comparison.correlation_referenced is not None:
        lines.append(
            f"Pearson's coefficient of the two functionals' energies is {comparison.correlation_raw:.4f} as they are and "
            f"{comparison.correlation_referenced:.4f} after each one's own references (test pairs). It mostly compares "
            "compositions; the remaining error above is the stricter number."
        )
    full = [item for item in done.values() if item.test is not None and item.test.n_left_out == 0]
    if len(full) > 1:
        best = min(full, key=_mae)
        lines.append(
            f"Of the schemes that reach every test pair, `{best.scheme}` leaves least: {_mae(best):.4f} eV/atom "
            f"({best.about}{'; ' + best.note if best.note else ''}){_verdict(best)}."
        )
    partial = [item for item in done.values() if item.test is not None and item.test.n_left_out]
    lines += [
        f"`{item.scheme}` reaches {item.test.n_pairs} of {comparison.n_test} test pairs; its errors are not comparable with the "
        "others."
        for item in partial
        if item.test is not None
    ]
    lines += [f"`{item.scheme}` is not applicable: {item.reason}." for item in comparison.outcomes if item.reason]
    if comparison.unseen:
        lines.append(f"No training pair contains {', '.join(comparison.unseen)}: no fit knows their shift.")
    return lines


def tables(report: ReferenceReport) -> list[Table]:
    """All tables of a report."""
    found = [_schemes(report.comparison), _shifts(report)]
    if report.curve:
        found.append(_curve(report))
    if report.attribution is not None:
        found += [_elements(report), _groups(report)]
    return found


def _heading(report: ReferenceReport) -> str:
    comparison = report.comparison
    other = "".join(
        f", and {count} with {name} energies, which have another zero than {report.source} ones"
        for name, count in report.other_functional.items()
    )
    return (
        f"{report.dataset} {report.version}: fitted on {comparison.n_calibration} train pairs, judged on {comparison.n_test} "
        f"test pairs; {comparison.n_dropped} pairs without both energies left out{other}. Energies in eV/atom; in brackets "
        f"{100 * report.confidence:.0f} % intervals over materials ({report.n_resamples} resamples)."
    )


def _schemes(comparison: Comparison) -> Table:
    rows = [[item.scheme, item.about, item.source or NO_VALUE, *_errors(item)] for item in comparison.outcomes]
    chosen = [f"`{item.scheme}`: {item.note}." for item in comparison.outcomes if item.note]
    return _table(
        "What each scheme leaves over",
        (
            "scheme",
            "shift of an element",
            "after",
            "train MAE",
            "test MAE",
            "test RMSE",
            "minus paired",
            "explained",
            "test pairs",
        ),
        rows,
        note="MAE and RMSE of the target energy; `minus paired` is the difference of test MAEs on the same pairs and resamples: "
        "an interval without zero tells two schemes apart. `explained` is the fraction of the gap's scatter about its training "
        "mean, 0 for `mean`. On pairs `independent` and `paired` are the same fit, since least squares is linear in the "
        f"energies. n/a: see above.{' '.join(['', *chosen])}",
    )


def _errors(outcome: Outcome) -> list[str]:
    if outcome.test is None or outcome.calibration is None:
        return ["n/a", "n/a", "n/a", "n/a", "n/a", "0"]
    test: Errors = outcome.test
    return [
        _number(outcome.calibration.mae.value),
        _interval(test.mae),
        _interval(test.rmse),
        NO_VALUE if outcome.scheme == "paired" or outcome.versus_paired is None else _interval(outcome.versus_paired),
        _number(test.explained.value, 5),
        str(test.n_pairs) + (f" (not determined: {test.n_left_out})" if test.n_left_out else ""),
    ]


def _shifts(report: ReferenceReport) -> Table:
    comparison = report.comparison
    shown = [
        item for item in comparison.outcomes if item.shifts is not None and item.scheme not in {"source", "fit", "mean"}
    ]
    drawn = next((item.shifts for item in shown if item.scheme == "paired"), None) or {}
    rows = [
        [
            symbol,
            str(count),
            f"{100 * drawn[symbol].n_resamples / report.n_resamples:.0f} %" if symbol in drawn else NO_VALUE,
            *(_shift((item.shifts or {})[symbol]) for item in shown),
        ]
        for symbol, count in comparison.n_structures.items()
    ]
    return _table(
        "Shift of each element, target minus source",
        ("element", "train pairs", "determined", *(item.scheme for item in shown)),
        rows,
        note="Value ± standard deviation over resamples of the training materials, each fitted anew. `determined` is the share of "
        "resamples that determine the element at all; where it is small, the deviation is that of the lucky ones. No deviation "
        f"stands where fewer than {FEWEST} materials hold the element or one alone tells its shift, so that nobody knows the scatter, "
        "or where nothing is fitted; `-` "
        "stands where the pairs do not determine the element. `ridge` gives a value, shrunk towards the mean, where the others "
        "give none; that is in its deviation.",
    )


def _shift(shift: Shift) -> str:
    if shift.value is None:
        return NO_VALUE
    if shift.error is None:
        return f"{shift.value:.3f}"
    return f"{shift.value:.3f} ± {shift.error:.3f}"


def _curve(report: ReferenceReport) -> Table:
    rows = [
        [
            str(point.n),
            point.choice,
            f"{point.n_elements:.1f}",
            f"{100 * point.determined:.0f} %",
            _number(point.mae.value),
            f"{_number(point.mae.low)} to {_number(point.mae.high)}" if point.n_repeats > 1 else NO_VALUE,
        ]
        for point in report.curve
    ]
    return _table(
        "How many labelled structures a shift needs",
        ("pairs", "choice", "elements", "test pairs determined", "test MAE", "over repeats"),
        rows,
        note="The `paired` scheme fitted to part of the training pairs. `random` is the mean over shuffles; `covering` chooses "
        "compositions greedily by D-optimal design. The MAE is over the test pairs whose composition is determined: compare "
        "rows only where that share is alike.",
    )


def _elements(report: ReferenceReport) -> Table:
    attribution = report.attribution
    rows = [
        [item.element, str(item.n_pairs), *map(_share, (item.atoms, item.raw, item.shift, item.rest))]
        for item in (attribution.elements if attribution else ())
    ]
    return _table(
        "Share of each element, test pairs",
        ("element", "pairs", "atoms", "raw gap", "explained by its shift", "rest"),
        rows,
        note="`atoms`: of all atoms, each pair counting once: the yardstick. `raw gap` and `rest`: of the squared gap before and "
        "after alignment, each atom carrying an equal part of its pair's. `explained by its shift`: of the variance of the gap; "
        "negative where an element runs against the others.",
    )


def _groups(report: ReferenceReport) -> Table:
    attribution = report.attribution
    rows = [
        [
            item.group,
            item.about,
            f"{item.n_pairs} of {item.n_materials}",
            _interval(item.raw),
            _interval(item.rest),
            _share(item.share),
        ]
        for item in (attribution.groups if attribution else ())
    ]
    return _table(
        "Kinds of materials, test pairs",
        ("kind", "definition", "pairs of materials", "gap MAE", "MAE after alignment", "share of the rest"),
        rows,
        note="A material may be of several kinds. The share is of the squared rest.",
    )


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> Table:
    return Table(
        title=title,
        titled=True,
        note=marked(note),
        columns=tuple(Column(title=name) for name in head),
        rows=tuple(Row(cells=tuple(Cell(text=marked(text)) for text in cells)) for cells in rows),
    )


def _verdict(best: Outcome) -> str:
    """Whether the best scheme can be told from the plain fit."""
    difference = best.versus_paired
    if best.scheme == "paired" or difference is None or difference.low is None or difference.high is None:
        return ""
    told = "can" if difference.high < 0 else "cannot"
    return f"; it {told} be told from `paired` with these materials (difference {_interval(difference)})"


def _mae(outcome: Outcome) -> float:
    return float("inf") if outcome.test is None or outcome.test.mae.value is None else outcome.test.mae.value


def _number(value: float | None, digits: int = 4) -> str:
    return NO_VALUE if value is None else fixed(value, digits)


def _interval(estimate: Estimate) -> str:
    if estimate.value is None:
        return NO_VALUE
    if estimate.low is None or estimate.high is None:
        return _number(estimate.value)
    return f"{_number(estimate.value)} [{_number(estimate.low)}, {_number(estimate.high)}]"


def _share(estimate: Estimate) -> str:
    if estimate.value is None:
        return NO_VALUE
    ends = (
        f" [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"
        if estimate.low is not None and estimate.high is not None
        else ""
    )
    return f"{100 * estimate.value:.1f} %{ends}"

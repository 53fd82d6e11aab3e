"""What stands behind a row of the ranking, as HTML tables: every metric with its counts, the identity, the slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench.drawing.markup import Markup, element
from xferbench.drawing.rounding import show, shown_unit
from xferbench.leaderboard.board import FEW_MATERIALS
from xferbench.leaderboard.wording import MISSING, full_label, label, plural, unit_arrow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xferbench.results import Corrections, IdentityEntry, MetricEntry, Overlap, Result, SliceEntry

Cell = str | Markup


def metrics_table(result: Result) -> Markup:
    """Every metric of a result: value, interval, what it rests on, and why something is missing."""
    rows = [
        [
            full_label(metric),
            shown_value(metric),
            str(metric.n_frames),
            materials(metric.n_materials),
            str(metric.n_missing),
            metric.reason or "",
        ]
        for metric in result.metrics
    ]
    return _table("Every metric", ["Metric", "Value", "Frames", "Materials", "Missing", "Remark"], rows)


def identity_table(result: Result) -> Markup | None:
    """λ of each quantity and the functional it speaks for; nothing if no quantity was looked at."""
    rows = [_identity_row(entry) for entry in result.identity.entries]
    heads = ["By", "λ (0 GGA, 1 r2SCAN)", "Softening", "Frames", "Materials", "Follows", "Remark"]
    return _table("Functional identity", heads, rows) if rows else None


def slices_table(result: Result) -> Markup | None:
    """The metrics of each part of the test frames, regimes of an audit last; nothing if no slice has a frame."""
    regimes = () if result.overlap is None else result.overlap.slices
    known = [part for part in (*result.slices, *regimes) if part.n_frames]
    if not known:
        return None
    metrics = {metric.key: metric for part in known for metric in part.metrics}
    heads: list[Cell] = ["Slice", "Frames", *[_heading(metric) for metric in metrics.values()]]
    rows = [[part.name, str(part.n_frames), *_slice_cells(part, metrics)] for part in known]
    return _table("Slices of the test frames", heads, rows)


def overlap_table(result: Result) -> Markup | None:
    """Every metric over all test frames and over those the training set has not seen; nothing if it was not audited."""
    found = result.overlap
    if found is None:
        return None
    title = f"Overlap with the training set: {overlap_words(found)}"
    clean = {metric.key: metric for metric in found.clean}
    heads = ["Metric", "All frames", "Clean frames", "Frames", "Materials", "Remark"]
    rows: list[list[Cell]] = [
        [
            full_label(metric),
            shown_value(metric),
            shown_value(clean[metric.key]),
            f"{clean[metric.key].n_frames} of {metric.n_frames}",
            materials(clean[metric.key].n_materials),
            clean[metric.key].reason or "",
        ]
        for metric in result.metrics
        if metric.key in clean
    ]
    return _table(title, heads, rows or [["No clean scores", found.reason or "", "", "", "", ""]])


def overlap_words(overlap: Overlap) -> str:
    """How many test pairs the training set has seen, of how many, and what is known of the others."""
    total = sum(overlap.regimes.values())
    seen, known, new = (overlap.regimes.get(name, 0) for name in ("seen-structure", "new-material", "new-chemsys"))
    return (
        f"{seen} of {plural(total, 'test pair')} seen in training; {known} new materials of known chemical systems, "
        f"{new} of new ones"
    )


def corrections_words(found: Corrections) -> str:
    """Whether energies hold MP2020 corrections, and what that rests on."""
    verdict = found.verdict.replace("_", " ")
    if found.value is None:
        return f"{verdict}: {found.reason}"
    share = show(found.value, found.ci_low, found.ci_high, "1")
    told = f"{verdict}: {share} of MP2020, from {plural(found.n_materials, 'telling material')}"
    return f"{told}; {found.reason}" if found.reason else told


def shown_value(metric: MetricEntry) -> str:
    """Value, interval and unit; a dash where there is none."""
    if metric.value is None:
        return MISSING
    return f"{show(metric.value, metric.ci_low, metric.ci_high, metric.unit)} {shown_unit(metric.unit)}".strip()


def materials(count: int) -> Cell:
    """A count of materials, marked where it is too small to compare models by."""
    return element("span", f"only {count}", class_="mark") if 0 < count < FEW_MATERIALS else str(count)


def _identity_row(entry: IdentityEntry) -> list[Cell]:
    known = entry.value is not None
    return [
        entry.quantity,
        str(show(entry.value, entry.ci_low, entry.ci_high, "1")) if entry.value is not None else MISSING,
        str(show(entry.softening, None, None, "1")) if known and entry.softening is not None else MISSING,
        str(entry.n_frames),
        materials(entry.n_materials),
        entry.verdict,
        entry.reason or "",
    ]


def _heading(metric: MetricEntry) -> Markup:
    unit = ", ".join(filter(None, [metric.reference, unit_arrow(metric)]))
    return element("span", label(metric), element("small", unit))


def _slice_cells(part: SliceEntry, keys: Iterable[str]) -> list[Cell]:
    own = {metric.key: metric for metric in part.metrics}
    return [_slice_cell(own.get(key)) for key in keys]


def _slice_cell(metric: MetricEntry | None) -> Cell:
    if metric is None or metric.value is None:
        return MISSING
    shown = str(show(metric.value, metric.ci_low, metric.ci_high, metric.unit))
    if metric.n_materials >= FEW_MATERIALS:
        return shown
    few = element("small", f"only {plural(metric.n_materials, 'material')}", class_="mark")
    return element("span", shown, few)


def _table(title: str, heads: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> Markup:
    """A small table that scrolls by itself where the page is narrow."""
    body = [
        element("tr", element("th", cells[0], scope="row"), *[element("td", cell) for cell in cells[1:]])
        for cells in rows
    ]
    table = element(
        "table",
        element("caption", title),
        element("thead", element("tr", *[element("th", head, scope="col") for head in heads])),
        element("tbody", *body),
        class_="evidence",
    )
    return element("div", table, class_="scroll", tabindex="0", role="region", aria_label=title)

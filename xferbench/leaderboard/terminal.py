"""The ranking for a terminal: plain text in aligned columns."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from xferbench.drawing.rounding import Shown, show, shown_unit
from xferbench.leaderboard.board import FEW_MATERIALS
from xferbench.leaderboard.ranking import Entry, rank
from xferbench.leaderboard.wording import (
    LOSES,
    MISMATCH,
    MISSING,
    full_label,
    label,
    overlap_sentence,
    seen,
    statistic,
    unit_arrow,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xferbench.leaderboard.ranking import Ranking, Row
    from xferbench.results import MetricEntry, Result
    from xferbench.tasks import Task

WIDTH = 100
NAME_WIDTH = 31
GAP = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of text: two heading lines and a line per row, not yet padded."""

    title: str
    unit: str = ""
    texts: tuple[str, ...]

    @property
    def width(self) -> int:
        """Characters it needs."""
        return max(map(len, (self.title, self.unit, *self.texts)))

    @property
    def lines(self) -> list[str]:
        """Headings and rows, all of one width."""
        return [text.ljust(self.width) for text in (self.title, self.unit, *self.texts)]


def terminal_table(results: Iterable[Result], task: Task) -> str:
    """Rank results of one task as text of at most ``WIDTH`` columns, in lines without trailing blanks.

    The main metric is always shown. Others of its reference and statistic follow as far as they fit, unless no result measures
    them on ``FEW_MATERIALS`` materials; the last line says how many are left.

    Args:
        results: All of ``task``; trials on a limited number of frames are allowed, and named as such.
        task: Gives the title, the functional and the confidence of the intervals.

    Raises:
        ValueError: A result belongs to another task version.
    """
    entries = [Entry(result=result) for result in results]
    strangers = [
        f"{entry.model_id} ({entry.result.task.key})" for entry in entries if entry.result.task.key != task.key
    ]
    if strangers:
        raise ValueError(f"not of {task.key}: {', '.join(strangers)}")
    head = f"{task.title} ({task.key}): {task.functional.value} labels, {task.split} split"
    if not entries:
        return f"{head}\n\nno results yet"
    ranking = rank(entries)
    columns, shown = _columns(ranking)
    rows = zip(*[column.lines for column in columns], strict=True)
    table = [GAP.join(cells).rstrip() for cells in rows]
    return "\n".join([head, "", *table, "", *_remarks(ranking, task, shown)])


def _columns(ranking: Ranking) -> tuple[list[Column], int]:
    """The columns that fit, and how many of them are metrics."""
    rows = ranking.rows
    columns = [
        Column(title="#", texts=tuple(map(_place, rows))),
        Column(title="model", texts=tuple(map(_name, rows))),
        Column(title="made for", texts=tuple(map(_functional, rows))),
    ]
    fixed = len(columns)
    for metric in _candidates(rows[0].entry):
        column = Column(title=label(metric), unit=unit_arrow(metric), texts=_values(rows, metric.key))
        used = sum(other.width + len(GAP) for other in columns)
        few = _materials(rows, metric.key) < FEW_MATERIALS
        if metric.main or (not few and used + column.width <= WIDTH):
            columns.append(column)
    return columns, len(columns) - fixed


def _materials(rows: Sequence[Row], key: str) -> int:
    """The most materials that any row measures a metric on; none if no row has a value."""
    found = [row.entry.result.metric(key) for row in rows]
    return max((item.n_materials for item in found if item is not None and item.value is not None), default=0)


def _candidates(entry: Entry) -> list[MetricEntry]:
    """The main metric, then those of its statistic: first what has no energy reference, then what has the same."""
    main = entry.main
    others = [
        metric
        for metric in entry.result.metrics
        if not metric.main and metric.reference in {main.reference, None} and statistic(metric) in {statistic(main), ""}
    ]
    return [main, *sorted(others, key=lambda metric: metric.reference is not None)]


def _place(row: Row) -> str:
    if row.entry.is_floor:
        return "·"
    return MISSING if row.rank is None else str(row.rank)


def _name(row: Row) -> str:
    name = "".join(character if character.isprintable() else "?" for character in row.entry.name)
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"


def _functional(row: Row) -> str:
    model = row.entry.result.model
    marks = ("" if model.declared_match else f" {MISMATCH}") + (
        f" {LOSES}" if row.entry.result.identity.declared_loses else ""
    )
    return model.functional.value + marks


def _values(rows: Sequence[Row], key: str) -> tuple[str, ...]:
    """Value and interval of each row; values are right-aligned, so intervals start in one column."""
    shown = [_shown(row.entry.result.metric(key)) for row in rows]
    width = max(len(item.value) for item in shown)
    return tuple(f"{item.value.rjust(width)} {item.interval}".rstrip() for item in shown)


def _shown(metric: MetricEntry | None) -> Shown:
    if metric is None or metric.value is None:
        return Shown(value=MISSING, interval="")
    return show(metric.value, metric.ci_low, metric.ci_high, metric.unit)


def _remarks(ranking: Ranking, task: Task, shown: int) -> list[str]:
    """What the table cannot say by itself, one remark per line, none longer than ``WIDTH``."""
    entries = [row.entry for row in ranking.rows]
    counts = entries[0].result.counts
    confidence = f"{task.bootstrap.confidence * 100:g} %"
    remarks = [
        f"ranked by {full_label(entries[0].main)}",
        f"{counts.frames} frames of {counts.materials} materials; [ ] holds the {confidence} interval",
    ]
    if any(entry.is_floor for entry in entries):
        remarks.append("· floor: a baseline without a potential, not ranked")
    if any(not entry.result.model.declared_match for entry in entries):
        remarks.append(f"{MISMATCH} made for another functional than the labels")
    if any(entry.result.identity.declared_loses for entry in entries):
        remarks.append(f"{LOSES} its predictions follow the other functional than it declares")
    if any(entry.result.counts.limit is not None for entry in entries):
        remarks.append("a trial on some of the frames (--limit): compares with no other result")
    remarks += [f"{_name(row)}: {_clean(row.entry.result)}" for row in ranking.rows if row.entry.result.overlap]
    remarks += [f"{_place(row)} {_name(row)}: not ranked, {row.shortfall}" for row in ranking.unranked]
    overlap = overlap_sentence(ranking)
    remarks += [overlap] if overlap else []
    left = len(entries[0].result.metrics) - shown
    if left:
        remarks.append(f"{left} more metrics are in the result file")
    return [line for remark in remarks for line in wrap(remark, WIDTH)]


def _clean(result: Result) -> str:
    """How much of the test set the training set has seen, and the main metric without it."""
    if result.overlap is None or not result.overlap.clean:
        reason = "" if result.overlap is None else result.overlap.reason
        return f"{seen(result)}; no clean scores: {reason}"
    main = next(metric for metric in result.overlap.clean if metric.main)
    shown = _shown(main)
    value = f"{shown.value} {shown.interval}".rstrip()
    return (
        f"{seen(result)}; over the {main.n_frames} clean frames {full_label(main)} is {value} {shown_unit(main.unit)}"
    )

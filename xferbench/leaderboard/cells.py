"""One row of a ranking as HTML: every number as text, with its interval, a whisker, and why it is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench.drawing.figures import whisker
from xferbench.drawing.markup import Markup, element, join
from xferbench.drawing.rounding import percent, show
from xferbench.leaderboard.aggregate import aggregate_of, aggregated
from xferbench.leaderboard.board import FEW_MATERIALS
from xferbench.leaderboard.wording import LOSES, MISMATCH, MISSING, clean_metric, follows, plural, seen, suspicions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.leaderboard.board import Section
    from xferbench.leaderboard.columns import Column
    from xferbench.leaderboard.ranking import Row
    from xferbench.results import MetricEntry, Result


def table_row(section: Section, row: Row, place: int, columns: Sequence[Column], anchor: str) -> Markup:
    """One table row.

    Args:
        section: Whose floors the aggregate is taken over.
        row: The result in its place.
        place: Position in the ranking, which sorting by rank restores.
        columns: Of the table.
        anchor: Id of the element on the page that describes the model.
    """
    entry, result = row.entry, row.entry.result
    return element(
        "tr",
        element("td", _rank(row), class_="rank", data_sort=str(place)),
        _name(row, anchor),
        element("td", *_functional(row), data_sort=result.model.functional.value),
        element("td", _badge(result), title=_evidence(result), data_sort=result.identity.verdict),
        *[_cell(result, column) for column in columns],
        *([_aggregate_cell(result, section)] if aggregated(section) else []),
        element("td", percent(result.coverage), element("small", _counted(row)), data_sort=repr(result.coverage)),
        class_="floor" if entry.is_floor else None,
        data_row=True,
    )


def _name(row: Row, anchor: str) -> Markup:
    """The name as a link to all that is known, and under it where the model comes from and what is odd about it."""
    flag = suspicions(row.entry.result)
    return element(
        "th",
        element("a", row.entry.name, href=f"#{anchor}"),
        element("small", _origin(row)),
        element("small", known, class_="mark") if (known := seen(row.entry.result)) else None,
        element("small", flag, class_="mark") if flag else None,
        scope="row",
        class_="model",
        data_sort=row.entry.name,
    )


def _rank(row: Row) -> Markup | None:
    """The rank, and under it the ranks that the intervals allow."""
    if row.rank is None:
        return None
    return join(str(row.rank), element("small", f"{row.best}–{row.worst}") if row.best != row.worst else None)


def _counted(row: Row) -> str:
    counts = row.entry.result.counts
    return f"{counts.predicted} of {counts.frames}, {counts.materials}"


def _origin(row: Row) -> str:
    """One line under the name: what kind of thing this is and what it was trained on."""
    card = row.entry.card
    if row.shortfall:
        return row.shortfall
    if card is None:
        return "floor" if row.entry.is_floor else "no card"
    parent = f"from {card.base_model}" if card.base_model is not None else ""
    return " · ".join(filter(None, [", ".join(card.training_sets), parent]))


def _functional(row: Row) -> list[Markup | str]:
    model = row.entry.result.model
    if model.declared_match:
        return [model.functional.value]
    mark = element("span", MISMATCH, class_="mark", aria_label="not the functional of the task", role="img")
    return [model.functional.value, " ", mark]


def _badge(result: Result) -> Markup:
    """The functional whose labels it follows; the mark of a model that declares another has its meaning as text."""
    identity = result.identity
    kind = "loses" if identity.declared_loses else "open" if identity.verdict == "undecided" else "found"
    meaning = element("span", " not what it declares", class_="visually-hidden") if LOSES in follows(result) else None
    return element("span", follows(result), meaning, class_=f"badge {kind}")


def _aggregate_cell(result: Result, section: Section) -> Markup:
    found = aggregate_of(result, section)
    if found is None:
        reason = element("span", "lacks one of the errors", class_="why")
        return element("td", MISSING, reason, class_="aggregate", data_sort="")
    capped = ", ".join(name.rpartition("/")[2] for name in found.capped)
    return element(
        "td",
        element("span", show(found.value, None, None, "1").value, class_="v"),
        element("span", f"at the floor: {capped}", class_="why") if capped else None,
        class_="aggregate",
        data_sort=repr(found.value),
    )


def _evidence(result: Result) -> str:
    """λ of each quantity that has one: what the verdict rests on."""
    known = [
        f"{entry.quantity} λ = {show(entry.value, entry.ci_low, entry.ci_high, '1')}"
        for entry in result.identity.entries
        if entry.value is not None
    ]
    return "; ".join(known) or "no quantity tells"


def _clean(metric: MetricEntry) -> Markup:
    """The value over the frames that the training set has not seen, under that of all."""
    shown = MISSING if metric.value is None else show(metric.value, metric.ci_low, metric.ci_high, metric.unit)
    return element("small", f"clean {shown}")


def _cell(result: Result, column: Column) -> Markup:
    metric, clean = result.metric(column.metric.key), clean_metric(result, column.metric.key)
    if metric is None or metric.value is None:
        reason = "" if metric is None else metric.reason
        return element("td", MISSING, element("span", reason, class_="why"), class_=column.classes, data_sort="")
    shown = show(metric.value, metric.ci_low, metric.ci_high, metric.unit)
    few = metric.n_materials < FEW_MATERIALS
    remarks = [
        "" if shown.interval else metric.reason,
        f"only {plural(metric.n_materials, 'material')}" if few else "",
    ]
    return element(
        "td",
        element("span", shown.value, class_="v"),
        element("span", f" {shown.interval}", class_="ci") if shown.interval else None,
        None if clean is None else _clean(clean),
        *[element("span", remark, class_="why") for remark in remarks if remark],
        whisker(metric.value, metric.ci_low, metric.ci_high, column.scale),
        class_=column.classes,
        data_sort=repr(metric.value),
    )

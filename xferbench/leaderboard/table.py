"""The ranking of one task version as an HTML table that reads without a script and sorts with one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xferbench.drawing.figures import Scale, scale_for, whisker
from xferbench.drawing.markup import Markup, element, join
from xferbench.drawing.rounding import percent, show
from xferbench.leaderboard.wording import MISMATCH, MISSING, follows, label, small_print, statistic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.leaderboard.board import Section
    from xferbench.leaderboard.ranking import Row
    from xferbench.results import MetricEntry, Result

STATISTICS = {"mae": "mean absolute", "rmse": "root mean square"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """One metric of the table.

    Attributes:
        metric: Describes the metric; its value is that of some row.
        scale: Shared by the whiskers of the column.
        classes: What the switches above the table show and hide, and which column ranks.
    """

    metric: MetricEntry
    scale: Scale
    classes: str


def ranking_table(section: Section, anchors: dict[str, str]) -> Markup:
    """Controls and table of a section.

    Args:
        section: The section.
        anchors: Model id -> id of the element on the page that describes the model.
    """
    columns = table_columns(section)
    bodies = [_body(section.ranking.ranked, columns, anchors)]
    if section.ranking.unranked:
        bodies.append(_body(section.ranking.unranked, columns, anchors, title="Not ranked"))
    title = f"Ranking of {section.key} by {label(section.main)}"
    table = element(
        "table",
        element("caption", title, class_="visually-hidden"),
        element("thead", element("tr", *_headings(columns))),
        *bodies,
        class_="ranking",
    )
    scroller = element("div", table, class_="scroll", tabindex="0", role="region", aria_label=title)
    return join(_controls(section), scroller)


def table_columns(section: Section) -> tuple[Column, ...]:
    """The metrics of a section with their scales and style classes, in the order of the task."""
    references, statistics = _switchable(section.columns)
    names = Counter(metric.name for metric in section.columns)
    columns = []
    for metric in section.columns:
        classes = ["metric"] + (["main"] if metric.main else [])
        if metric.reference in references and names[metric.name] > 1:
            classes += ["r", f"r-{metric.reference}"]
        if statistic(metric) in statistics:
            classes += ["s", f"s-{statistic(metric)}"]
        columns.append(Column(metric=metric, scale=_scale(section, metric.key), classes=" ".join(classes)))
    return tuple(columns)


def _scale(section: Section, key: str) -> Scale:
    """A scale for the whiskers of one column: all its values and interval ends."""
    metrics = [metric for row in section.ranking.rows if (metric := row.entry.result.metric(key)) is not None]
    numbers = [number for metric in metrics for number in (metric.value, metric.ci_low, metric.ci_high)]
    return scale_for(number for number in numbers if number is not None)


def _switchable(metrics: Sequence[MetricEntry]) -> tuple[list[str], list[str]]:
    """References of the metric that has most of them, and statistics; either is empty if there is no choice."""
    names: dict[str, list[str]] = {}
    for metric in metrics:
        if metric.reference is not None:
            names.setdefault(metric.name, []).append(metric.reference)
    references = max(names.values(), key=len, default=[])
    statistics = list(dict.fromkeys(filter(None, map(statistic, metrics))))
    return (references if len(references) > 1 else []), (statistics if len(statistics) > 1 else [])


def _controls(section: Section) -> Markup:
    references, statistics = _switchable(section.columns)
    main, floors = section.main, None
    if any(row.entry.is_floor for row in section.ranking.rows):
        box = element("input", type="checkbox", value="floors", checked=True)
        floors = element("fieldset", element("legend", "Show"), element("label", box, "floors"))
    return element(
        "form",
        _choice("Energies", f"energies-{section.slug}", {name: name for name in references}, main.reference),
        _choice("Errors", f"errors-{section.slug}", {name: STATISTICS[name] for name in statistics}, statistic(main)),
        floors,
        class_="controls",
        autocomplete="off",
        aria_label=f"What the table of {section.key} shows",
    )


def _choice(title: str, name: str, options: dict[str, str], chosen: str | None) -> Markup | None:
    if not options:
        return None
    return element(
        "fieldset",
        element("legend", title),
        *[
            element("label", element("input", type="radio", name=name, value=value, checked=value == chosen), text)
            for value, text in options.items()
        ],
    )


def _headings(columns: Sequence[Column]) -> list[Markup]:
    return [
        element("th", "Rank", scope="col", class_="rank"),
        element("th", "Model", scope="col"),
        element("th", "Functional", element("small", "declared"), scope="col"),
        element("th", "Follows", element("small", "found"), scope="col"),
        *map(_metric_heading, columns),
        element("th", "Coverage", element("small", "frames, materials"), scope="col", data_first="descending"),
    ]


def _metric_heading(column: Column) -> Markup:
    metric = column.metric
    first = "ascending" if metric.better == "lower" else "descending"
    return element(
        "th",
        label(metric),
        element("small", small_print(metric)),
        scope="col",
        class_=column.classes,
        data_first=first,
        aria_sort=first if metric.main else None,
    )


def _body(rows: Sequence[Row], columns: Sequence[Column], anchors: dict[str, str], title: str = "") -> Markup:
    heading = None
    if title:
        heading = element("tr", element("td", title, colspan=4 + len(columns)), class_="group")
    return element("tbody", heading, *[_row(row, place, columns, anchors) for place, row in enumerate(rows)])


def _row(row: Row, place: int, columns: Sequence[Column], anchors: dict[str, str]) -> Markup:
    """One table row; ``place`` is its position in the ranking, which sorting by rank restores."""
    entry, result = row.entry, row.entry.result
    name = element("a", entry.name, href=f"#{anchors[entry.model_id]}")
    return element(
        "tr",
        element("td", _rank(row), class_="rank", data_sort=str(place)),
        element("th", name, element("small", _origin(row)), scope="row", data_sort=entry.name),
        element("td", *_functional(row), data_sort=result.model.functional.value),
        element("td", follows(result), title=_evidence(result), data_sort=result.identity.verdict),
        *[_cell(result.metric(column.metric.key), column) for column in columns],
        element("td", percent(result.coverage), element("small", _counted(row)), data_sort=repr(result.coverage)),
        class_="floor" if entry.is_floor else None,
        data_row=True,
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


def _evidence(result: Result) -> str:
    """λ of each quantity that has one: what the verdict rests on."""
    known = [
        f"{entry.quantity} λ = {show(entry.value, entry.ci_low, entry.ci_high, '1')}"
        for entry in result.identity.entries
        if entry.value is not None
    ]
    return "; ".join(known) or "no quantity tells"


def _cell(metric: MetricEntry | None, column: Column) -> Markup:
    if metric is None or metric.value is None:
        reason = "" if metric is None else metric.reason
        return element("td", MISSING, element("span", reason, class_="why"), class_=column.classes, data_sort="")
    shown = show(metric.value, metric.ci_low, metric.ci_high, metric.unit)
    return element(
        "td",
        element("span", shown.value, class_="v"),
        element("span", f" {shown.interval}", class_="ci") if shown.interval else None,
        None if shown.interval or metric.reason is None else element("span", metric.reason, class_="why"),
        whisker(metric.value, metric.ci_low, metric.ci_high, column.scale),
        class_=column.classes,
        data_sort=repr(metric.value),
    )

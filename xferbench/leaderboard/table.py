"""The ranking of one task version as an HTML table that reads without a script and sorts with one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xferbench.drawing.figures import Scale, scale_for, whisker
from xferbench.drawing.markup import Markup, element, join
from xferbench.drawing.rounding import percent, show
from xferbench.leaderboard.aggregate import aggregate_of, aggregated, label_key
from xferbench.leaderboard.board import FEW_MATERIALS
from xferbench.leaderboard.wording import (
    LOSES,
    MISMATCH,
    MISSING,
    clean_metric,
    follows,
    is_minor,
    label,
    plural,
    seen,
    small_print,
    statistic,
    suspicions,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.leaderboard.board import Section
    from xferbench.leaderboard.ranking import Row
    from xferbench.results import MetricEntry, Result

STATISTICS = {"mae": "mean absolute", "rmse": "root mean square"}


CROWDED = 4
"""Floors that would stretch a scale by more than this lie beyond it, as arrowheads."""


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
    bodies = [_body(section, section.ranking.ranked, columns, anchors)]
    if section.ranking.unranked:
        bodies.append(_body(section, section.ranking.unranked, columns, anchors, title="Not ranked"))
    title = f"Ranking of {section.key} by {label(section.main)}"
    table = element(
        "table",
        element("caption", title, class_="visually-hidden"),
        element("thead", element("tr", *_headings(section, columns))),
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
        classes = ["metric"] + (["main"] if metric.main else ["minor"] if is_minor(metric) else [])
        if metric.reference in references and names[metric.name] > 1:
            classes += ["r", f"r-{metric.reference}"]
        if statistic(metric) in statistics:
            classes += ["s", f"s-{statistic(metric)}"]
        columns.append(Column(metric=metric, scale=_scale(section, metric.key), classes=" ".join(classes)))
    return tuple(columns)


def _scale(section: Section, key: str) -> Scale:
    """A scale for the whiskers of one column: all values and interval ends, unless floors far off would crowd the models."""
    known = [
        (row.entry, metric) for row in section.ranking.rows if (metric := row.entry.result.metric(key)) is not None
    ]
    whole = scale_for(number for _, metric in known for number in _numbers(metric))
    models = [number for entry, metric in known if not entry.is_floor for number in _numbers(metric)]
    if whole.log or not models:
        return whole
    close = scale_for(models)
    return close if whole.high - whole.low > CROWDED * (close.high - close.low) else whole


def _numbers(metric: MetricEntry) -> list[float]:
    return [number for number in (metric.value, metric.ci_low, metric.ci_high) if number is not None]


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
    main = section.main
    return element(
        "form",
        _choice("Energies", f"energies-{section.slug}", {name: name for name in references}, main.reference),
        _choice("Errors", f"errors-{section.slug}", {name: STATISTICS[name] for name in statistics}, statistic(main)),
        _switches(section),
        class_="controls",
        autocomplete="off",
        aria_label=f"What the table of {section.key} shows",
    )


def _switches(section: Section) -> Markup | None:
    """What can be shown or hidden, and is at first: floors are, further metrics and the aggregate are not."""
    boxes: list[Markup] = []
    for value, text, wanted, shown in (
        ("floors", "floors", any(row.entry.is_floor for row in section.ranking.rows), True),
        ("every", "every metric", any(map(is_minor, section.columns)), False),
        ("aggregate", "aggregate", bool(aggregated(section)), False),
    ):
        if wanted:
            boxes.append(element("label", element("input", type="checkbox", value=value, checked=shown), text))
    return element("fieldset", element("legend", "Show"), *boxes) if boxes else None


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


def _headings(section: Section, columns: Sequence[Column]) -> list[Markup]:
    parts = ", ".join(map(label_key, aggregated(section)))
    aggregate = element("th", "Aggregate", element("small", f"{parts} ↓"), scope="col", class_="aggregate")
    return [
        element("th", "Rank", scope="col", class_="rank"),
        element("th", "Model", scope="col", class_="model"),
        element("th", "Functional", element("small", "declared"), scope="col"),
        element("th", "Follows", element("small", "found"), scope="col"),
        *map(_metric_heading, columns),
        *([aggregate] if parts else []),
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


def _body(
    section: Section, rows: Sequence[Row], columns: Sequence[Column], anchors: dict[str, str], title: str = ""
) -> Markup:
    heading = None
    if title:
        heading = element("tr", element("td", title, colspan=4 + len(columns)), class_="group")
    return element("tbody", heading, *[_row(section, row, place, columns, anchors) for place, row in enumerate(rows)])


def _row(section: Section, row: Row, place: int, columns: Sequence[Column], anchors: dict[str, str]) -> Markup:
    """One table row; ``place`` is its position in the ranking, which sorting by rank restores."""
    entry, result = row.entry, row.entry.result
    return element(
        "tr",
        element("td", _rank(row), class_="rank", data_sort=str(place)),
        _name(row, anchors[entry.model_id]),
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

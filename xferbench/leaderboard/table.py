"""The ranking of one task version as an HTML table that reads without a script and sorts with one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench.drawing.markup import Markup, element, join
from xferbench.leaderboard.aggregate import aggregated, label_key
from xferbench.leaderboard.cells import table_row
from xferbench.leaderboard.columns import switchable, table_columns
from xferbench.leaderboard.wording import is_minor, label, small_print, statistic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.leaderboard.board import Section
    from xferbench.leaderboard.columns import Column
    from xferbench.leaderboard.ranking import Row

STATISTICS = {"mae": "mean absolute", "rmse": "root mean square"}


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


def _controls(section: Section) -> Markup:
    references, statistics = switchable(section.columns)
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
    lines = [table_row(section, row, place, columns, anchors[row.entry.model_id]) for place, row in enumerate(rows)]
    return element("tbody", heading, *lines)

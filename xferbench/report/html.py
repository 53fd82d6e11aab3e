"""A report as HTML that opens from disk and from any static host. Templates escape everything that is not a figure.

Pages load nothing from elsewhere: a content security policy allows the page's own style and script and nothing else. A page
that stands alone carries its style; the pages of a site share ``assets/``. The script (``assets/site.js``) sorts, filters and
reads out points of figures; without it every page is still whole.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from xferbench.report.blocks import Cell, Column, Heading, Report, Row, Span, Table, words
from xferbench.report.markup import address, trusted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from xferbench.report.blocks import Block, Line

HERE = Path(__file__).parent
STYLES = ("figure.css", "page.css")
SCRIPT = "site.js"


def assets() -> dict[str, str]:
    """Name -> text of the files that the pages of a site share."""
    return {"site.css": style_sheet(), SCRIPT: (HERE / "assets" / SCRIPT).read_text(encoding="utf-8")}


def style_sheet() -> str:
    """Everything a page needs: the rules of figures and those of pages."""
    return "".join((HERE / "assets" / name).read_text(encoding="utf-8") for name in STYLES)


def figure_style() -> str:
    """The part of it that a figure needs where it stands alone."""
    return "".join((HERE / "assets" / name).read_text(encoding="utf-8") for name in STYLES[:-1])


def page(report: Report, *, site: str | None = None, style: str = "") -> str:
    """A whole page; the same report gives the same bytes.

    Args:
        report: What it says.
        site: Path from the page to the root of its site, ``""`` or ``"../"``; without one the page carries its own style
            and has no script.
        style: Rules after the shared ones, from our own source files, for a page that stands alone.
    """
    template = _environment().get_template("page.html.j2")
    return template.render(
        report=report, root=site or "", linked=site is not None, style=trusted(style_sheet() + style)
    )


def standalone(figure: Markup, style: str = "") -> str:
    """An SVG element as a file of its own, with the style that it has on a page.

    Args:
        figure: One ``svg`` element with a ``viewBox``.
        style: Rules after those that all figures share.

    Raises:
        ValueError: It is no ``svg`` element.
    """
    if not figure.startswith("<svg "):
        raise ValueError(f"a figure starts with <svg, not {figure[:20]!r}")
    alone = "svg:root { width: auto; min-width: 0; max-width: none; background: var(--paper); }\n"
    drawn = str(figure)
    start = drawn.index(">") + 1
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {drawn[len("<svg ") : start]}'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"{opening}<style>{figure_style()}{style}{alone}</style>{drawn[start:]}\n"
    )


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"pieces": _pieces, "words": words, "headings": _headings}
    made.globals |= {
        "address": address,
        "orders": orders,
        "choices": _choices,
        "kind": lambda block: type(block).__name__,
    }
    return made


def _pieces(line: Line) -> list[Span]:
    """A line as spans."""
    parts = line if isinstance(line, tuple) else (line,)
    return [part if isinstance(part, Span) else Span(text=part) for part in parts if part]


def _headings(blocks: Sequence[Block]) -> list[Heading]:
    """The parts of a page that have an address of their own."""
    return [block for block in blocks if isinstance(block, Heading) and block.level == 2 and block.id]


def orders(table: Table) -> list[list[int | None]]:
    """Place of each cell in its column, best first and from 0, equal ones alike; ``None`` where there is nothing to sort.

    The script sorts by these whole numbers, so what "better" means, and what text sorts like, is decided here once.
    """
    rows = [row for row in table.rows if row.kind != "group"]
    places = [_order(column, [row.cells[k] for row in rows]) for k, column in enumerate(table.columns)]
    numbers = iter(zip(*places, strict=True))
    return [[None] * len(row.cells) if row.kind == "group" else list(next(numbers)) for row in table.rows]


def _order(column: Column, cells: Sequence[Cell]) -> list[int | None]:
    def cost(cell: Cell) -> float | str | None:
        if cell.value is not None:
            return column.cost(cell.value)
        return None if column.numeric else words(cell.text).casefold()

    costs = [cost(cell) for cell in cells]
    place = {
        value: k for k, value in enumerate(sorted({value for value in costs if value is not None}, key=_numbers_first))
    }
    return [None if value is None else place[value] for value in costs]


def _numbers_first(value: float | str) -> tuple[bool, float, str]:
    return (True, 0.0, value) if isinstance(value, str) else (False, value, "")


def _choices(rows: Sequence[Row], key: str) -> list[str]:
    """The values of a filter, sorted."""
    found = {value for row in rows for value in row.tags.get(key, "").split("|")} - {""}
    return sorted(found, key=lambda value: (value.casefold(), value))


def slug(text: str) -> str:
    """A text as part of an address: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")

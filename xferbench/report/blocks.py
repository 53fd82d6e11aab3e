"""What a report is made of, whatever it is read on: a page, a README or a terminal.

A report is a sequence of blocks that hold text and numbers already turned into text (``rounding``). Three renderers show the
same blocks: ``html.page``, ``markdown.markdown`` and ``terminal.terminal``. A block never holds HTML or Markdown; only
figures, which this package draws itself, are ``Markup``.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - part of the dataclasses
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from markupsafe import Markup  # noqa: TC002 - part of the dataclasses


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of a line that is not plain text.

    Attributes:
        text: What is read.
        kind: How it is meant. ``ties`` are the letters of tie groups, ``warn`` is what a reader should not miss.
        href: Where it leads: an http(s) address, ``#anchor``, or a path from the root of the site. Anything else is refused
            by the renderers and becomes its text alone.
        hint: What stands behind it, for those who point at it. Never the only place of a fact.
    """

    text: str
    kind: Literal["plain", "strong", "quiet", "code", "ties", "warn", "good", "open"] = "plain"
    href: str | None = None
    hint: str = ""


Line: TypeAlias = str | Span | tuple[str | Span, ...]
"""Text within a block."""


def words(line: Line) -> str:
    """A line as plain text."""
    parts = line if isinstance(line, tuple) else (line,)
    return "".join(part.text if isinstance(part, Span) else part for part in parts)


def marked(text: str) -> Line:
    """Prose of our own with code between backticks; never for text from data, whose backticks mean nothing.

    >>> marked("run `xferbench score` again")[1].text
    'xferbench score'
    """
    parts = text.split("`")
    return tuple(Span(text=part, kind="code") if k % 2 else part for k, part in enumerate(parts) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A heading; ``id`` is its address within the page."""

    text: str
    level: Literal[2, 3] = 2
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A paragraph, or a list where it has several ``items``.

    Attributes:
        kind: ``lead`` says what matters most, ``note`` stands under a table, ``warning`` is not to be missed, ``code`` is
            shown as it is.
    """

    items: tuple[Line, ...]
    kind: Literal["plain", "lead", "note", "warning", "list", "code"] = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Terms and what is to be said of each.

    Attributes:
        kind: ``short`` facts stand beside each other, ``long`` ones below.
    """

    items: tuple[tuple[str, Line], ...]
    kind: Literal["short", "long"] = "long"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its heading.
        note: Under the heading: unit and direction.
        best: Which values are best, so that a click sorts them to the top; ``one``: those closest to 1. Text where absent.
        shown: Whether it is there before the reader chooses columns.
        href: Where the heading leads.
    """

    title: str
    note: str = ""
    best: Literal["lower", "higher", "one"] | None = None
    shown: bool = True
    href: str | None = None

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers."""
        return self.best is not None

    def cost(self, value: float) -> float:
        """A value, turned so that lower is better."""
        return {"higher": -value, "one": abs(value - 1)}.get(self.best or "", value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What is read first.
        note: What is read second: an interval, a reason.
        value: What it sorts by, in any unit; text sorts by itself, a number without value comes last.
        figure: A drawing of the same number, for pages.
    """

    text: Line = ""
    note: Line = ""
    value: float | None = None
    figure: Markup | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a table; its first cell names it.

    Attributes:
        kind: ``floor`` is a baseline, set apart; ``group`` heads the rows below, with its first cell only.
        tags: Filter -> values of this row, ``|`` between them.
    """

    cells: tuple[Cell, ...]
    kind: Literal["plain", "floor", "group"] = "plain"
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A choice above a table that leaves out rows.

    Attributes:
        key: Of ``Row.tags``.
        title: What the reader chooses by.
        kind: ``choice`` lists the values found, ``switch`` keeps the rows that have any value, ``also`` shows those rows
            only while it is on.
        on: Whether a switch is on before the reader touches it.
    """

    key: str
    title: str
    kind: Literal["choice", "switch", "also"] = "choice"
    on: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        title: Its name, read out by screen readers; shown where ``titled``.
        id: Its address within the page, and its key in the state that an address carries.
        note: What the numbers mean, for pages and READMEs; a terminal has no room for it.
        sorted_by: Column the rows are sorted by, best first.
        ranking: Whether the reader can sort, search, filter and choose columns; on a phone each row is then a card.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    id: str = ""
    note: Line = ""
    titled: bool = False
    ranking: bool = False
    sorted_by: int | None = None
    filters: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A drawing of this package.

    Attributes:
        drawing: SVG with its message as ``aria-label``.
        caption: What is seen.
        path: The same figure as a file, for Markdown.
        wide: Whether it scrolls by itself where the page is narrow.
    """

    drawing: Markup
    caption: Line = ""
    path: str | None = None
    wide: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures side by side, as many as fit."""

    items: tuple[Figure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Files beside the report: label -> path from the root of the site."""

    title: str
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """Blocks that a page shows on demand and the other renderers under a heading."""

    title: Line
    blocks: tuple[Block, ...]
    opened: bool = False


Block: TypeAlias = Heading | Text | Facts | Table | Figure | Figures | Download | Folded


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole report.

    Attributes:
        title: Its name.
        lede: One sentence under it.
        eyebrow: What it belongs to, above the title.
        links: Label and address of neighbouring pages.
        closing: The last line.
        kind: What the script of the site may add: ``compare`` lets the reader choose two models.
    """

    title: str
    blocks: tuple[Block, ...]
    lede: Line = ""
    eyebrow: Line = "xferbench"
    links: tuple[tuple[str, str], ...] = ()
    closing: Line = ""
    kind: Literal["", "compare"] = ""

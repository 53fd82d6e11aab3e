"""A report as Markdown, in which nothing foreign becomes markup."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from xferbench.report.blocks import (
    Cell,
    Download,
    Facts,
    Figure,
    Figures,
    Folded,
    Heading,
    Report,
    Span,
    Table,
    Text,
    words,
)
from xferbench.report.markup import address

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from xferbench.report.blocks import Block, Line

SPECIAL = re.compile(r"(\[[-−+\d.,e ∞]+\](?![(\[:]))|([\\`*_{}\[\]|~#!])")
"""An interval in brackets, which stays as it is, or a character that Markdown may read as markup."""


def markdown(report: Report) -> str:
    """The whole report as one file; the same report gives the same bytes."""
    parts = [f"# {plain(report.title)}", line(report.lede), *_blocks(report.blocks, 2), line(report.closing)]
    return "\n\n".join(filter(None, parts)) + "\n"


def plain(text: str) -> str:
    """Text that Markdown and HTML leave as it is: one line, markup characters escaped."""
    return SPECIAL.sub(lambda found: found[1] or f"\\{found[2]}", escape(" ".join(text.split()), quote=False))


def line(text: Line) -> str:
    """A line with its emphasis, code and links."""
    parts = text if isinstance(text, tuple) else (text,)
    return "".join(_piece(part) for part in parts)


def _piece(part: str | Span) -> str:
    if isinstance(part, str):
        lead, tail = part[: len(part) - len(part.lstrip())], part[len(part.rstrip()) :]
        return f"{' ' if lead else ''}{plain(part)}{' ' if tail and part.strip() else ''}"
    text = f"`{part.text}`" if part.kind == "code" and "`" not in part.text else plain(part.text)
    if part.kind == "strong":
        text = f"**{text}**"
    href = address(part.href)
    return f"[{text}]({href.replace('(', '%28').replace(')', '%29')})" if href else text


def _blocks(blocks: Iterable[Block], level: int) -> Iterator[str]:  # noqa: C901 - one case for each kind of block
    for block in blocks:
        match block:
            case Heading():
                yield f"{'#' * max(block.level, level)} {plain(block.text)}"
            case Text(kind="code"):
                yield "\n".join(f"    {words(item)}" for item in block.items)
            case Text(kind="list") | Text(kind="warning"):
                yield "\n".join(f"- {line(item)}" for item in block.items)
            case Text():
                yield "\n\n".join(map(line, block.items))
            case Facts(kind="short"):
                yield "\n".join(f"- {plain(term)}: {line(value)}" for term, value in block.items)
            case Facts():
                yield "\n".join(f"- **{plain(term)}.** {line(value)}" for term, value in block.items)
            case Table():
                yield _table(block)
            case Figure():
                yield from _images([block])
            case Figures():
                yield from _images(block.items)
            case Download():
                yield f"{plain(block.title)}: " + ", ".join(
                    line(Span(text=label, href=path)) for label, path in block.files
                )
            case Folded():
                yield f"{'#' * (level + 1)} {line(block.title)}"
                yield from _blocks(block.blocks, level + 1)


def _images(figures: Iterable[Figure]) -> Iterator[str]:
    known = [f"![{plain(words(item.caption))}]({address(item.path)})" for item in figures if item.path is not None]
    if known:
        yield "\n".join(known)


def _table(block: Table) -> str:
    shown = [k for k, column in enumerate(block.columns) if column.shown]
    header = [
        f"{plain(block.columns[k].title)} ({plain(block.columns[k].note)})"
        if block.columns[k].note
        else plain(block.columns[k].title)
        for k in shown
    ]
    rows = [
        [_cell(row.cells[k], floor=row.kind == "floor" and k == 0) if k < len(row.cells) else "" for k in shown]
        for row in block.rows
    ]
    left = {header[n] for n, k in enumerate(shown) if not block.columns[k].numeric}
    written = table(header, rows, left=left)
    title = f"**{plain(block.title)}**" if block.titled else ""
    return "\n\n".join(filter(None, (title, line(block.note), written)))


def _cell(cell: Cell, *, floor: bool) -> str:
    text, note = line(cell.text), line(cell.note)
    text = f"*{text}*" if floor else text
    return f"{text} {note}".strip()


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: Container[str]) -> str:
    """A table; cells are written as they are.

    Args:
        header: Names of the columns.
        rows: As many cells as names.
        left: Names of the columns aligned to the left; the others hold numbers.
    """
    rule = [":--" if name in left else "--:" for name in header]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])

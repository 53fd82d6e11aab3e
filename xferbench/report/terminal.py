"""A report as plain text for a terminal of ``WIDTH`` columns; tables are laid out by tabulate."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from tabulate import tabulate

from xferbench.report.blocks import Download, Facts, Figure, Figures, Folded, Heading, Report, Table, Text, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from xferbench.report.blocks import Block, Cell, Line

WIDTH = 100
NAME_WIDTH = 31
"""Letters of a cell of text; longer ones end in an ellipsis, so that one name cannot push the numbers off the screen."""

GAP = "  "


def terminal(report: Report) -> str:
    """The whole report, in lines without trailing blanks."""
    parts = [printable(report.title), *_wrapped(report.lede), *_blocks(report.blocks), *_wrapped(report.closing)]
    text = "\n\n".join(part for part in parts if part)
    return "\n".join(row.rstrip() for row in text.splitlines())


def printable(line: Line) -> str:
    """A line without anything that could move the cursor: what is not printable is a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(words(line).split()))


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    known = tuple(blocks)
    for block, after in zip(known, (*known[1:], None), strict=True):
        match block:
            case Heading() if not isinstance(after, Figure | Figures | Download):
                yield printable(block.text)
            case Text(kind="list") | Text(kind="warning"):
                yield "\n".join(
                    text for item in block.items for text in wrap(f"- {printable(item)}", WIDTH, subsequent_indent="  ")
                )
            case Text():
                yield "\n".join(text for item in block.items for text in _wrapped(item))
            case Facts():
                yield "\n".join(
                    text
                    for term, value in block.items
                    for text in wrap(f"{printable(term)}: {printable(value)}", WIDTH, subsequent_indent="  ")
                )
            case Table():
                yield _table(block)
            case Folded():
                yield printable(block.title)
                yield from _blocks(block.blocks)
            case Heading() | Figure() | Figures() | Download():
                pass  # nothing a terminal could show


def _wrapped(line: Line) -> list[str]:
    return wrap(printable(line), WIDTH)


def _table(table: Table) -> str:
    """A table, whole; of a ranking the columns that fit, from the left, and the last line counts those that do not."""
    columns = [_column(table, k) for k, column in enumerate(table.columns) if column.shown]
    used, shown = 0, 0
    for column in columns:
        used += max(map(len, column)) + (len(GAP) if shown else 0)
        if used > WIDTH and shown and table.ranking:
            break
        shown += 1
    text = tabulate(
        list(zip(*columns[:shown], strict=True)), tablefmt="plain", disable_numparse=True, preserve_whitespace=True
    )
    left = len(table.columns) - shown
    title = f"{printable(table.title)}\n" if table.titled else ""
    more = f"\n\n{left} more column{'s' if left > 1 else ''} on the page and in the files" if left else ""
    return f"{title}{text}{more}"


def _column(table: Table, k: int) -> list[str]:
    """Heading lines and cells of one column; numbers end, and so intervals begin, in one place."""
    column = table.columns[k]
    cells = [row.cells[k] if k < len(row.cells) else None for row in table.rows]
    texts = ["" if cell is None else _short(cell) if table.ranking else printable(cell.text) for cell in cells]
    if k == 0:
        texts = [f"· {text}" if row.kind == "floor" else text for text, row in zip(texts, table.rows, strict=True)]
    if column.numeric:
        width = max(map(len, texts), default=0)
        texts = [text.rjust(width) for text in texts]
    texts = [
        f"{text} {printable(cell.note)}".rstrip() if cell and column.numeric and cell.value is not None else text
        for text, cell in zip(texts, cells, strict=True)
    ]
    heads = (
        [printable(column.title), printable(column.note)]
        if any(item.note for item in table.columns)
        else [printable(column.title)]
    )
    return [*heads, *texts]


def _short(cell: Cell) -> str:
    text = printable(cell.text)
    return text if len(text) <= NAME_WIDTH else f"{text[: NAME_WIDTH - 1]}…"

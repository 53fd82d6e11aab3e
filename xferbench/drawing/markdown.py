"""Markdown in which nothing foreign becomes markup."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

SPECIAL = re.compile(r"([\\`*_{}\[\]|~#!])")


def plain(text: str) -> str:
    """Text that Markdown and HTML leave as it is: one line, markup characters escaped."""
    return SPECIAL.sub(r"\\\1", escape(" ".join(text.split()), quote=False))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: Container[str]) -> str:
    """A table; cells are written as they are.

    Args:
        header: Names of the columns.
        rows: As many cells as names.
        left: Names of the columns aligned to the left; the others hold numbers.
    """
    rule = [":--" if name in left else "--:" for name in header]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])

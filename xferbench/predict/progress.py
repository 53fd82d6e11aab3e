"""The progress bar on stderr: how far, how fast, how long still, how many failed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm

LINES_EVERY = 30.0
"""Seconds between two lines where stderr is a file or a pipe."""

LINE = "{desc}: {n_fmt}/{total_fmt} structures, {rate_fmt}, {elapsed} gone, {remaining} left{postfix}\n"


def bar(title: str, total: int, done: int, *, show: bool) -> tqdm[NoReturn]:
    """A bar over structures: redrawn on a terminal, a line now and then elsewhere.

    Args:
        title: What is being done.
        total: All structures.
        done: Those finished by an earlier run: shown as done, not counted in the rate.
        show: Whether to draw anything.
    """
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    return tqdm(
        desc=title,
        total=total,
        initial=done,
        unit=" structures",
        file=sys.stderr,
        disable=not show,
        dynamic_ncols=terminal,
        mininterval=0.2 if terminal else LINES_EVERY,
        maxinterval=10.0 if terminal else LINES_EVERY,
        miniters=None if terminal else 1,
        bar_format=None if terminal else LINE,
    )

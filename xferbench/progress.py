"""The progress bar on stderr: how far, how fast, how long still, and what its user adds (failures, a loss)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm

LINES_EVERY = 30.0
"""Seconds between two lines where stderr is a file or a pipe."""

LINE = "{desc}: {n_fmt}/{total_fmt}{unit}, {rate_fmt}, {elapsed} gone, {remaining} left{postfix}\n"


def bar(title: str, total: int, done: int, *, unit: str, show: bool) -> tqdm[NoReturn]:
    """A bar over things: redrawn on a terminal, a line now and then elsewhere.

    Args:
        title: What is being done.
        total: All of the things.
        done: Those finished by an earlier run: shown as done, not counted in the rate.
        unit: What the things are, in the plural.
        show: Whether to draw anything.
    """
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    return tqdm(
        desc=title,
        total=total,
        initial=done,
        unit=f" {unit}",
        file=sys.stderr,
        disable=not show,
        dynamic_ncols=terminal,
        mininterval=0.2 if terminal else LINES_EVERY,
        maxinterval=10.0 if terminal else LINES_EVERY,
        miniters=None if terminal else 1,
        bar_format=None if terminal else LINE,
    )


def silent(_message: str) -> None:
    """Say nothing: where notes go if nobody asked for them."""

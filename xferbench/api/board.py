"""The leaderboard as a directory: cards, results and predictions in, a site and a README out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xferbench import board as boards
from xferbench.progress import silent

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from xferbench.board import BuildReport


def build_leaderboard(
    directory: str | os.PathLike[str] = "leaderboard",
    *,
    cache_dir: Path | None = None,
    say: Callable[[str], None] = silent,
) -> BuildReport:
    """Make the site and README.md of a leaderboard from its cards, results and predictions. The same files give the same bytes.

    Nothing is written if anything is wrong. Pairs of models that were not tested yet are tested where predictions and data set
    are here; ``BuildReport.untested`` says where they are not.

    Args:
        directory: With ``models/*.toml``, ``results/*/*.json`` and ``predictions/*/*.parquet``.
        cache_dir: Where prepared data sets live.
        say: Where notes go.

    Raises:
        StorageError: The directory is no leaderboard, or a file cannot be read or written.
        FormatError: Cards or results break their schema or contradict each other; every problem is listed.
    """
    return boards.build(Path(directory), cache_dir=cache_dir, say=say)

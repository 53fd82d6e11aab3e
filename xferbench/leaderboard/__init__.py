"""Cards and results -> ranked tables: ``README.md``, ``index.html``, and text for a terminal. The only place that rounds.

leaderboard/
├── models/<model-id>.toml                        cards, written by people
├── results/<task-id>@<version>/<model-id>.json   results, written by ``xferbench score``
├── README.md                                     generated
└── index.html                                    generated, one file, opens from disk
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xferbench.errors import StorageError
from xferbench.leaderboard.board import Board, read_board
from xferbench.leaderboard.cards import ModelCard, cards_directory, load_cards, read_card
from xferbench.leaderboard.markdown import render_markdown
from xferbench.leaderboard.page import render_page
from xferbench.leaderboard.terminal import terminal_table
from xferbench.storage import write_text

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Board",
    "BuildReport",
    "ModelCard",
    "build",
    "cards_directory",
    "load_cards",
    "read_board",
    "read_card",
    "render_markdown",
    "render_page",
    "terminal_table",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What ``build`` wrote.

    Attributes:
        readme: The Markdown table.
        page: The HTML page.
        results: ``id@version`` of each task -> number of results on it, floors included.
        models: Ids of the models that have a result, floors left out.
    """

    readme: Path
    page: Path
    results: dict[str, int]
    models: tuple[str, ...]


def build(directory: Path, *, cards: Path | None = None, tasks: Path | None = None) -> BuildReport:
    """Read a leaderboard directory and write its ``README.md`` and ``index.html``; the same files give the same bytes.

    Nothing is written if anything is wrong.

    Args:
        directory: The leaderboard.
        cards: Where the cards are instead of ``directory/models``.
        tasks: Where the task files are instead of the package's own.

    Raises:
        StorageError: The directory is not there or no leaderboard, or a file cannot be read or written.
        FormatError: Cards or results break their schema or contradict each other; every problem is listed.
    """
    board = read_board(directory, cards=cards, tasks=tasks)
    if not any((directory / name).is_dir() for name in ("models", "results")):  # somebody else's README.md may be there
        raise StorageError(
            f"{directory} has neither models/ nor results/, so it is no leaderboard; name one, or make them"
        )
    markdown, page = render_markdown(board), render_page(board)
    write_text(directory / "README.md", markdown)
    write_text(directory / "index.html", page)
    rows = [row for section in board.sections for row in section.ranking.rows]
    return BuildReport(
        readme=directory / "README.md",
        page=directory / "index.html",
        results={section.key: len(section.ranking.rows) for section in board.sections},
        models=tuple(sorted({row.entry.model_id for row in rows if not row.entry.is_floor})),
    )

"""Cards and results -> the board: a static site, a README, and text for a terminal.

```
leaderboard/
├── models/<model-id>.toml                        cards, written by people
├── results/<task-id>@<version>/<model-id>.json   results, written by ``xferbench score``
├── predictions/<task-id>@<version>/<model-id>.parquet
├── comparisons/<task-id>@<version>.json          paired tests, made by ``xferbench leaderboard build`` from the predictions
├── README.md                                     generated, as is everything below
├── index.html compare.html reading.html news.html
├── models/<model-id>.html tasks/<task-id>.html datasets/<name>.html
├── assets/ data/
└── site.json                                     what was generated, with hashes
```

| module | holds |
|---|---|
| ``cards`` | what a model is |
| ``reading`` | a directory in memory, checked |
| ``ranking`` | who is ahead of whom |
| ``comparisons`` | how sure that is: paired tests, kept beside the results |
| ``aggregate`` | one number, for readers who insist |
| ``words``, ``tables``, ``content`` | what is said, as blocks of ``report`` |
| ``site`` | the files |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xferbench.board.cards import ModelCard, cards_directory, load_cards, read_card
from xferbench.board.comparisons import make_tests, path_of, write_tests
from xferbench.board.content import scoreboard
from xferbench.board.reading import Board, Section, read_board
from xferbench.board.site import site, write_site
from xferbench.errors import StorageError, XferbenchError
from xferbench.report.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from xferbench.results import Result
    from xferbench.tasks import Task

__all__ = [
    "Board",
    "BuildReport",
    "ModelCard",
    "build",
    "cards_directory",
    "load_cards",
    "read_board",
    "read_card",
    "site",
    "terminal_table",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What ``build`` wrote.

    Attributes:
        readme: The Markdown tables.
        page: The first page of the site.
        pages: Number of generated files.
        results: ``id@version`` of each task -> number of results on it, floors included.
        models: Ids of the models that have a result, floors left out.
        untested: ``id@version`` -> why the order of its models is not tested.
    """

    readme: Path
    page: Path
    pages: int
    results: dict[str, int]
    models: tuple[str, ...]
    untested: dict[str, str]


def build(
    directory: Path,
    *,
    cards: Path | None = None,
    tasks: Path | None = None,
    cache_dir: Path | None = None,
    say: Callable[[str], None] = lambda _message: None,
) -> BuildReport:
    """Read a leaderboard directory, test what is not tested yet, and write README and site; the same files give the same bytes.

    Nothing is written if anything is wrong. Pages of an earlier build that no longer exist are removed; files that no build
    made are left alone.

    Args:
        directory: The leaderboard.
        cards: Where the cards are instead of ``directory/models``.
        tasks: Where the task files are instead of the package's own.
        cache_dir: Where prepared data sets live.
        say: Where notes go.

    Raises:
        StorageError: The directory is not there or no leaderboard, or a file cannot be read or written.
        FormatError: Cards or results break their schema or contradict each other; every problem is listed.
    """
    board = read_board(directory, cards=cards, tasks=tasks)
    if not any((directory / name).is_dir() for name in ("models", "results")):  # somebody else's README.md may be there
        raise StorageError(
            f"{directory} has neither models/ nor results/, so it is no leaderboard; name one, or make them"
        )
    board = Board(sections=tuple(_tested(directory, section, cache_dir, say) for section in board.sections))
    files = site(board)
    write_site(directory, files)
    rows = [row for section in board.sections for row in section.ranking.rows]
    return BuildReport(
        readme=directory / "README.md",
        page=directory / "index.html",
        pages=len(files),
        results={section.key: len(section.ranking.rows) for section in board.sections},
        models=tuple(sorted({row.entry.model_id for row in rows if not row.entry.is_floor})),
        untested={section.key: section.untested for section in board.sections if section.tests is None},
    )


def _tested(directory: Path, section: Section, cache_dir: Path | None, say: Callable[[str], None]) -> Section:
    """A section with its tests, made now if the stored ones are not of these results and everything needed is here."""
    if section.tests is not None or len(section.ranking.models) < 2:
        return section
    if section.task is None:
        return section.tested(None, "the definition of this task version is not here")
    say(f"testing the models of {section.key} pair by pair")
    try:
        tests = make_tests(directory, section.task, section.ranking, cache_dir)
    except XferbenchError as error:
        return section.tested(None, str(error))
    write_tests(path_of(directory, section.key), tests)
    return section.tested(tests)


def terminal_table(results: Iterable[Result], task: Task) -> str:
    """Rank results of one task by value, as text for a terminal.

    Raises:
        ValueError: A result belongs to another task version.
    """
    return terminal(scoreboard(results, task))

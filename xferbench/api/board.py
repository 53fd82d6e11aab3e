"""The leaderboard as a directory: cards, results and predictions in, a site and a README out; and where others find it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench import board as boards
from xferbench import publish
from xferbench.board.site import stale
from xferbench.errors import IntegrityError
from xferbench.progress import silent

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from xferbench.board import BuildReport

PEOPLE = ("models/*.toml", "results/*/*.json", "predictions/*/*.parquet", "audits/*/*.json", "comparisons/*.json")
"""What a board is made from, and travels with its site: every number can be checked where it is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedBoard:
    """What was, or with ``dry_run`` would be, uploaded. ``print`` lists it.

    Attributes:
        address: Of the site on the Hub.
        files: Path in the repository -> bytes.
        uploaded: False for a trial.
    """

    address: str
    files: dict[str, int]
    uploaded: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"address": self.address, "files": self.files, "uploaded": self.uploaded}

    def __str__(self) -> str:
        lines = [f"{size:>10,}  {name}" for name, size in self.files.items()]
        end = "uploaded to" if self.uploaded else "would go to"
        return "\n".join([*lines, f"{len(self.files)} files, {sum(self.files.values()):,} bytes, {end} {self.address}"])


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


def publish_leaderboard(
    directory: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    dry_run: bool = False,
) -> PublishedBoard:
    """Upload a board, its site and what it is made from, to a static Space of the Hugging Face Hub, as one commit.

    Args:
        directory: A built board.
        repo_id: ``owner/name``; made if it does not exist.
        private: Make a new repository private; an existing one stays what it is.
        dry_run: Check and list only; the network is not used.

    Raises:
        IntegrityError: The pages are not what the results give.
        UsageError: The name is no repository, or the network is forbidden.
        StorageError: The directory is no board, or the Hub refuses.
        FormatError: Cards or results are not in order.
    """
    directory = Path(directory)
    publish.check_repository(repo_id)
    made = boards.site(boards.read_board(directory))
    if changed := stale(directory, made):
        raise IntegrityError(
            f"{changed[0]} is not what the results give; run `xferbench leaderboard build {directory}` first"
        )
    sources = {path.relative_to(directory).as_posix(): path for pattern in PEOPLE for path in directory.glob(pattern)}
    sizes = {name: len(data) for name, data in made.items()}
    sizes |= {name: path.stat().st_size for name, path in sources.items()}
    address = f"https://huggingface.co/spaces/{repo_id}"
    if not dry_run:
        publish.publish_site({**made, **sources}, repo_id, title="xferbench", private=private, message="The board")
    return PublishedBoard(address=address, files=dict(sorted(sizes.items())), uploaded=not dry_run)

"""The switch of a checkout to the second edition: table, card, records, versions and the pins of the tasks, in one command.

The board is no part of it: models have to predict the new structures first (``xferbench score``), and rows of the old task versions stay as
they are, under their own versions.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xferbench.errors import DataError, UsageError
from xferbench.factory.mini import edition
from xferbench.storage import read_bytes, write_bytes, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PINNED = """
import sys, tempfile
from pathlib import Path
from xferbench import dataset
from xferbench.sources import mini
with tempfile.TemporaryDirectory() as place:
    print(dataset.build(mini.load(), Path(place) / "mini").fingerprint)
"""
"""Prints the fingerprint of the data set as a fresh interpreter sees it, with the table and the version just written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was written. ``print`` shows it.

    Attributes:
        tasks: ``id@version`` of the tasks that now pin the data set.
    """

    version: str
    fingerprint: str
    tasks: tuple[str, ...]

    def __str__(self) -> str:
        return f"mini {self.version}, {self.fingerprint}\npinned by {', '.join(self.tasks)}\nnow score the models of the board again"


def publish(root: Path, records: Sequence[Path], scans: Path | None, version: str = "2") -> Published:
    """Put an edition in the place of the published one.

    Args:
        root: A checkout: ``xferbench/`` and ``tasks/`` beside each other.
        records: Of the factory, later files beside the first.
        scans: Mesh scans of first-edition crystals.
        version: Of the data set.

    Raises:
        UsageError: The checkout has this version already, or is none.
        DataError: The table makes no data set, so nothing is pinned; what was written is to be taken back with git.
        FormatError: No crystal is finished.
    """
    place = root / "xferbench" / "sources" / "mini"
    module = place / "__init__.py"
    text = read_bytes(module).decode()
    stated = re.findall(r'^VERSION = "(.*)"$', text, re.MULTILINE)
    if len(stated) != 1 or stated == [version]:
        raise UsageError(f"{module} states version {', '.join(stated) or 'none'}; a checkout of another one is wanted")
    edition.build(records, scans, place / "mini.parquet", place / "card.md")
    write_bytes(place / "records.jsonl", b"".join(read_bytes(path) for path in records))
    text = text.replace(f'VERSION = "{stated[0]}"', f'VERSION = "{version}"')
    write_text(module, text.replace(f"version {stated[0]};", f"version {version};"))
    fingerprint = _fingerprint(root)
    pinned = [_pin(path, fingerprint, stated[0], version) for path in sorted((root / "tasks").glob("*.toml"))]
    return Published(version=version, fingerprint=fingerprint, tasks=tuple(filter(None, pinned)))


def _fingerprint(root: Path) -> str:
    ran = subprocess.run([sys.executable, "-c", PINNED], cwd=root, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise DataError(f"the new table makes no data set: {(ran.stderr.strip().splitlines() or ['no message'])[-1]}")
    return ran.stdout.split()[-1]


def _pin(path: Path, fingerprint: str, old: str, new: str) -> str | None:
    """The key of a task of mini, with its pin moved and its version raised; None for a task of other data."""
    text = read_bytes(path).decode()
    if not re.search(r'^dataset = "mini"$', text, re.MULTILINE):
        return None
    number = int(re.findall(r"^version = (\d+)$", text, re.MULTILINE)[0]) + 1
    text = re.sub(r"^version = \d+$", f"version = {number}", text, flags=re.MULTILINE)
    text = re.sub(r'^fingerprint = ".*"$', f'fingerprint = "{fingerprint}"', text, flags=re.MULTILINE)
    write_text(path, text.replace(f"data set, version {old}", f"data set, version {new}"))
    return f"{path.stem}@{number}"

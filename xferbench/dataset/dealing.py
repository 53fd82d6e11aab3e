"""Pairs twice: once to see what belongs together, once to be dealt to splits. Only where a split rule asks for it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from xferbench.dataset.spill import Spill
from xferbench.grouping import Grouper
from xferbench.tables import FRAME_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from xferbench.dataset.facts import Places
    from xferbench.records import SplitRule

    Tables = tuple[pa.Table, ...]


def settled(
    tables: Iterable[Tables],
    rule: SplitRule,
    places: Places,
    scratch: Path | None = None,
    *,
    like: Places | None = None,
) -> Iterator[Tables]:
    """The same pairs, when ``places`` know where all their materials go.

    A rule that looks at ids alone lets them pass; else they wait on disk until the last one has been looked at.

    Args:
        tables: source frames and their partners, or frames that stand alone, ``FRAME_SCHEMA``.
        rule: Of ``places``.
        places: Are told the groups.
        scratch: A directory on the disk to use; the system's place for temporary files if not given.
        like: Materials whose groups are known there keep them.

    Raises:
        UsageError: A held-out element does not exist.
        DataError: No material contains a held-out element.
        StorageError: The disk refuses.
    """
    if not rule.needs_structures:
        yield from tables
        return
    grouper = Grouper(rule)
    with ExitStack() as stack:
        spills: list[Spill] = []
        for row in tables:
            spills = spills or [stack.enter_context(Spill(FRAME_SCHEMA, scratch)) for _ in row]
            for table, spill in zip(row, spills, strict=True):
                spill.append(table)
            grouper.add(row[-1])
        places.groups = grouper.groups(None if like is None else like.groups)
        yield from zip(*spills, strict=True)

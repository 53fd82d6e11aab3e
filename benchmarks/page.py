"""Pages on which benchmarks keep what they measured, each between two markers of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench.storage import write_text

if TYPE_CHECKING:
    from pathlib import Path


def put(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- end name -->``.

    Args:
        page: Of Markdown.
        name: Of the measurement.
        text: Whole lines.

    Raises:
        SystemExit: The page lacks a marker.
        StorageError: The disk refuses; the page is as it was.
    """
    start, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(start)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise SystemExit(f"{page} has no markers {start.strip()} and {end}")
    write_text(page, f"{before}{found}{text}{ended}{after}")

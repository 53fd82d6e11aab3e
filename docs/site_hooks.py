"""What the documentation site needs beyond its configuration: MkDocs calls these functions by their names."""

from __future__ import annotations

from typing import Any


def on_page_markdown(markdown: str, *, page: Any, **_rest: Any) -> str:  # noqa: ANN401 - MkDocs' own types
    """The text of a page; a report's README becomes its ``index.html``, so what links to that page links to itself."""
    source = page.file.src_uri
    if source.startswith("reports/") and source.endswith("/README.md"):
        return markdown.replace("](index.html)", "](README.md)")
    return markdown

"""HTML and SVG by construction, for figures; text is escaped unless it is already ``Markup``. Pages come from templates."""

from __future__ import annotations

from functools import cache
from urllib.parse import quote, urlsplit

from markupsafe import Markup, escape

__all__ = ["Markup", "address", "element", "is_web_address", "join", "trusted"]

VOID = frozenset({"br", "hr", "input", "link", "meta"})
SHAPES = frozenset({"circle", "line", "path", "rect"})


def trusted(text: str) -> Markup:
    """Mark text from our own source files as markup. Never call it on anything read from a file of data."""
    return Markup(text)  # noqa: S704 - that is what it is for


def join(*children: str | None) -> Markup:
    """Children one after the other; plain text is escaped, ``None`` left out."""
    return Markup().join(item for item in children if item is not None)


def element(tag: str, /, *children: str | None, **attributes: str | float | bool | None) -> Markup:
    """``<tag attributes>children</tag>``.

    Args:
        tag: Element name.
        *children: Markup, or text to escape; ``None`` is left out.
        **attributes: ``class_`` is written ``class``, ``aria_label`` ``aria-label``. ``True`` is written as a bare name,
            ``None`` and ``False`` not at all.
    """
    written = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in VOID:
        return trusted(f"<{tag}{written}>")
    if tag in SHAPES and not children:
        return trusted(f"<{tag}{written}/>")
    return trusted(f"<{tag}{written}>{join(*children)}</{tag}>")


def is_web_address(address: str) -> bool:
    """Whether an address is plain ``http(s)://host…``: nothing that runs, no spaces, no quotes."""
    if not address.isprintable() or any(character in address for character in " \"'<>\\"):
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def address(href: str | None, root: str = "") -> str | None:
    """A target as it may stand in a page or a README; ``None`` where it is not allowed.

    Args:
        href: An http(s) address, ``#anchor``, or a path from the root of the site, with ``#anchor`` where wanted.
        root: Path from the page to the root of the site, such as ``../``.

    >>> address("models/a b.html#x", "../"), address("javascript:alert(1)"), address("../../etc/passwd")
    ('../models/a%20b.html#x', None, None)
    """
    if href is None:
        return None
    if is_web_address(href):
        return href
    path, _, anchor = href.partition("#")
    if path.startswith("/") or ":" in path or "\\" in path or ".." in path.split("/"):
        return None
    return (root + quote(path) if path else "") + (f"#{quote(anchor)}" if anchor else "")


def _attribute(name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    written = _written(name)
    if value is True:
        return f" {written}"
    return f' {written}="{value if isinstance(value, int | float) else escape(value)}"'


@cache
def _written(name: str) -> str:
    return name.rstrip("_").replace("_", "-")

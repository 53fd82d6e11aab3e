"""HTML and SVG by construction: text is escaped unless it is already ``Markup``, so nothing hostile gets through by omission."""

from __future__ import annotations

from html import escape
from urllib.parse import quote, urlsplit

VOID = frozenset({"br", "hr", "input", "link", "meta"})
SHAPES = frozenset({"circle", "line", "path", "rect"})


class Markup(str):
    """Text that is valid markup already. Only ``element``, ``join`` and ``trusted`` make it."""

    __slots__ = ()


def trusted(text: str) -> Markup:
    """Mark text from our own source files as markup. Never call it on anything read from a file of data."""
    return Markup(text)


def join(*children: str | None) -> Markup:
    """Children one after the other; plain text is escaped, ``None`` left out."""
    return Markup("".join(item if isinstance(item, Markup) else escape(item) for item in children if item is not None))


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
        return Markup(f"<{tag}{written}>")
    if tag in SHAPES and not children:
        return Markup(f"<{tag}{written}/>")
    return Markup(f"<{tag}{written}>{join(*children)}</{tag}>")


def link(address: str, *children: str | None, **attributes: str | None) -> Markup:
    """An anchor to a web address; anything that is not plain http(s) becomes its text alone."""
    if not is_web_address(address):
        return join(*children)
    return element("a", *children, href=address, rel="noopener", **attributes)


def relative_link(path: str, *children: str | None, **attributes: str | bool | None) -> Markup:
    """An anchor to a file beside the page, percent-encoded so that no path can turn into another address."""
    return element("a", *children, href=f"./{quote(path)}", **attributes)


def is_web_address(address: str) -> bool:
    """Whether an address is plain ``http(s)://host…``: nothing that runs, no spaces, no quotes."""
    if not address.isprintable() or any(character in address for character in " \"'<>\\"):
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def _attribute(name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    written = name.rstrip("_").replace("_", "-")
    return f" {written}" if value is True else f' {written}="{escape(str(value))}"'

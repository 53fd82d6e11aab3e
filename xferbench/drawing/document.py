"""A page as one HTML file that opens from disk, and a figure as one SVG file: nothing is loaded from anywhere.

A page forbids itself everything in a content security policy: its own style, its own script by hash, nothing else. Foreign
text is escaped by ``markup``; the policy is the second lock on that door.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from xferbench.drawing.markup import Markup, element, trusted

ASSETS = Path(__file__).parent / "assets"
FIGURES = ASSETS / "figure.css"
"""Colours, and the rules that figures need."""

STYLE = ASSETS / "page.css"
"""The rules of everything else on a page."""

ALONE = "svg:root { width: auto; min-width: 0; max-width: none; background: var(--paper); }\n"
"""A figure that is a file fills what it is shown in."""


def style_sheet() -> str:
    """The style sheet that all pages share."""
    return figure_style() + STYLE.read_text(encoding="utf-8")


def figure_style() -> str:
    """The part of it that a figure needs where it stands alone."""
    return FIGURES.read_text(encoding="utf-8")


def document(title: str, *body: str | None, style: str = "", script: str = "") -> str:
    """The whole page; the same content gives the same bytes.

    Args:
        title: Of the window.
        *body: Markup, or text to escape.
        style: Rules after those of the shared style sheet, from our own source files.
        script: A script from our own source files; the page must be whole without it.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", trusted(style_sheet() + style)),
    )
    ending = element("script", trusted(script)) if script else None
    return f"<!doctype html>\n{element('html', head, element('body', *body, ending), lang='en')}\n"


def standalone(figure: Markup, style: str = "") -> str:
    """An SVG element as a file of its own, with the style that it has on a page.

    Args:
        figure: One ``svg`` element with a ``viewBox``.
        style: Rules after those that all figures share.

    Raises:
        ValueError: It is no ``svg`` element.
    """
    if not figure.startswith("<svg "):
        raise ValueError(f"a figure starts with <svg, not {figure[:20]!r}")
    rules = figure_style() + style + ALONE
    opening = '<svg xmlns="http://www.w3.org/2000/svg" '
    start = figure.index(">") + 1
    written = opening + figure[len("<svg ") : start] + element("style", trusted(rules)) + figure[start:]
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{written}\n'


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f" script-src 'sha256-{digest}';" if script else ""
    return f"default-src 'none'; style-src 'unsafe-inline';{allowed} base-uri 'none'; form-action 'none'"

"""Figures as PNG, drawn by resvg in the light colours of the style sheet.

resvg knows no custom properties, no media queries and no ``:is``, so the style is rewritten without them. Text is set in
DejaVu Sans, which comes with matplotlib, and in no font of the machine: the same figure gives the same bytes wherever the
same version of resvg draws it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from xferbench.errors import MissingExtraError
from xferbench.report.html import figure_style, standalone
from xferbench.report.markup import Markup, element, trusted

if TYPE_CHECKING:
    from types import ModuleType

ZOOM = 2.0
"""Pixels for each unit of a figure: sharp in print at the size of a text column."""

FONT = "DejaVu Sans"
FILES = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")

RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")


def require() -> tuple[ModuleType, Path]:
    """resvg, and the folder of the fonts: ask before a long computation whether a PNG can be written at its end.

    Raises:
        MissingExtraError: A package is not installed.
    """
    try:
        import matplotlib as mpl
        import resvg_py
    except ModuleNotFoundError as error:
        raise MissingExtraError(f'PNG needs the package {error.name!r}; pip install ".[png]"') from error
    return resvg_py, Path(mpl.get_data_path()) / "fonts" / "ttf"


def png(figure: Markup, style: str = "") -> bytes:
    """An SVG element as PNG on the paper of the page.

    Args:
        figure: One ``svg`` element with a ``viewBox``.
        style: Rules after those that all figures share.

    Raises:
        MissingExtraError: The optional packages are not installed.
        ValueError: It is no ``svg`` element.
    """
    resvg, fonts = require()
    rules = element("style", trusted(simplified(figure_style() + style)))
    svg = re.sub(r"<style>.*?</style>", lambda _: rules, standalone(figure, style), flags=re.DOTALL)
    families = dict.fromkeys(["font_family", "sans_serif_family", "serif_family", "monospace_family"], FONT)
    return bytes(
        resvg.svg_to_bytes(
            svg_string=svg,
            background=_palette(figure_style())["paper"],
            zoom=ZOOM,
            skip_system_fonts=True,
            font_files=[str(fonts / name) for name in FILES],
            **families,
        )
    )


def simplified(style: str) -> str:
    """Rules without custom properties, at-rules, ``:is`` and ``:root``.

    >>> simplified(":root { --ink: #000; } @media print { p { color: red; } } .a :is(b, i) { fill: var(--ink); }")
    '.a b, .a i { fill: #000; }'
    """
    colours = _palette(style)
    rules = []
    for selectors, body in RULE.findall(_without_at_rules(style)):
        if ":root" not in selectors:
            values = re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], body.strip())
            rules.append(f"{', '.join(_expanded(selectors))} {{ {values} }}")
    return "\n".join(rules)


def _palette(style: str) -> dict[str, str]:
    """Custom properties of the first, light, ``:root``."""
    found = re.search(r":root \{(.*?)\}", style, re.DOTALL)
    return dict(re.findall(r"--([\w-]+):\s*([^;]+);", found[1])) if found else {}


def _without_at_rules(style: str) -> str:
    """The style without ``@media`` and the like, whose blocks nest one level."""
    return re.sub(r"@[^{}]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", style)


def _expanded(selectors: str) -> list[str]:
    """Single selectors, each ``:is(a, b)`` written out."""
    single = re.split(r",\s*(?![^()]*\))", selectors.strip())
    out = []
    for selector in single:
        found = re.search(r":is\(([^)]*)\)", selector)
        out += (
            [selector.replace(found[0], part.strip()) for part in found[1].split(",")]
            if found is not None
            else [selector]
        )
    return out

"""Small figures as inline SVG: dot and whisker, parity plot, periodic table.

No plotting package: the same numbers give the same bytes everywhere, and the page needs nothing from outside. Colours come
from the page's style sheet through class names, so one figure serves light, dark and print. Every figure carries its
message as text (``aria-label`` or text elements); none relies on colour alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from xferbench.report.markup import Markup, element, join
from xferbench.report.rounding import compact, fixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LOG_RATIO = 10
"""Values that span more than this ratio are drawn on a logarithmic scale, else the small ones fall on one point."""

DECADES = 4
"""Most powers of ten on a logarithmic scale."""

SHADES = 7
"""Steps of the sequential palette, classes ``q0`` (small) to ``q6`` (large)."""

PERIODIC_TABLE = """
H  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  He
Li Be .  .  .  .  .  .  .  .  .  .  B  C  N  O  F  Ne
Na Mg .  .  .  .  .  .  .  .  .  .  Al Si P  S  Cl Ar
K  Ca Sc Ti V  Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
Rb Sr Y  Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I  Xe
Cs Ba .  Hf Ta W  Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn
Fr Ra .  Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
.  .  .  La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu
.  .  .  Ac Th Pa U  Np Pu Am Cm Bk Cf Es Fm Md No Lr
"""
POSITIONS = {
    symbol: (row, column)
    for row, line in enumerate(PERIODIC_TABLE.split("\n")[1:-1])
    for column, symbol in enumerate(line.split())
    if symbol != "."
}
"""Element symbol -> (row, column) from 0; rows 7 and 8 are the lanthanides and actinides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Maps values to 0 … 1.

    Attributes:
        low: Drawn at 0.
        high: Drawn at 1.
        log: Whether equal ratios, not equal differences, are equally long.
    """

    low: float
    high: float
    log: bool

    def fraction(self, value: float) -> float:
        """Where a value lies, cut to 0 … 1."""
        if self.log:
            part = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return min(max(part, 0.0), 1.0)

    def covers(self, value: float) -> bool:
        """Whether a value lies on the scale."""
        return self.low <= value <= self.high


def scale_for(values: Iterable[float]) -> Scale:
    """A scale for all values: from zero, or logarithmic if they are positive and span a large ratio.

    A logarithmic scale is cut off ``DECADES`` below its largest value, or one nearly exact model would press all others
    together; what is smaller is drawn at its low end.
    """
    known = list(values)
    low, high = min(known, default=0.0), max(known, default=0.0)
    if low > 0 and high > LOG_RATIO * low:
        return Scale(low=max(low, high * 10.0**-DECADES) / 1.2, high=high * 1.2, log=True)
    margin = 0.05 * (max(high, 0.0) - min(low, 0.0)) or 1.0
    return Scale(low=min(low, 0.0) - (margin if low < 0 else 0.0), high=max(high, 0.0) + margin, log=False)


def whisker(value: float, low: float | None, high: float | None, scale: Scale) -> Markup:
    """A dot at the value and a line over its interval, on a track shared by a table column.

    What lies beyond the scale is an arrowhead at the end of the track, never a dot or a cap where there is none. The
    numbers stand beside it as text, so it is hidden from screen readers.
    """
    width, middle, inset = 112, 7, 7

    def x(number: float) -> str:
        return fixed(inset + (width - 2 * inset) * scale.fraction(number), 1)

    interval = None
    if low is not None and high is not None and x(low) != x(high):
        caps = [f"M{x(end)} {middle - 3}v6" for end in (low, high) if scale.covers(end)]
        interval = element("path", class_="ci", d=f"M{x(low)} {middle}H{x(high)}{''.join(caps)}")
    if scale.covers(value):
        mark = element("circle", class_="dot", cx=x(value), cy=middle, r=2.6)
    else:
        outwards = 6 if value > scale.high else -6
        mark = element("path", class_="dot beyond", d=f"M{x(value)} {middle - 4}l{outwards} 4l{-outwards} 4z")
    return element(
        "svg",
        element("line", class_="track", x1=inset, x2=width - inset, y1=middle, y2=middle),
        interval,
        mark,
        class_="whisker",
        viewBox=f"0 0 {width} {2 * middle}",
        width=width,
        height=2 * middle,
        aria_hidden="true",
    )


def parity_scale(labels: Iterable[float]) -> Scale:
    """Axis of a parity plot: the range of the labels and a quarter of it on each side.

    Labels, not predictions, decide, so all models of a task share one axis and one wild prediction cannot flatten it.
    """
    known = list(labels)
    low, high = min(known, default=0.0), max(known, default=0.0)
    margin = 0.25 * (high - low) or 1.0
    return Scale(low=low - margin, high=high + margin, log=False)


def parity(
    points: Sequence[tuple[float, float]],
    scale: Scale,
    *,
    title: str,
    unit: str,
    across: str = "DFT",
    up: str = "model",
) -> Markup:
    """Prediction (upwards) against label (rightwards), with the diagonal.

    Args:
        points: (label, prediction), both in ``unit``.
        scale: Of both axes. Predictions outside are drawn on the frame in another colour and counted in words.
        title: What is compared; read out by screen readers and shown above.
        unit: Of both axes, in words.
        across: What is on the axis to the right.
        up: What is on the axis upwards.
    """
    left, top, side = 52, 22, 188

    def spot(label: float, prediction: float) -> str:
        x, y = left + side * scale.fraction(label), top + side * (1 - scale.fraction(prediction))
        return f"M{fixed(x, 1)} {fixed(y, 1)}h0"

    inside = [point for point in points if scale.covers(point[1])]
    outside = [point for point in points if not scale.covers(point[1])]
    missing = f"{len(outside)} off the frame" if outside else ""
    return element(
        "svg",
        element("text", title, class_="t", x=left, y=12),
        element("text", missing, class_="note", x=left + side, y=12, text_anchor="end") if missing else None,
        element("rect", class_="frame", x=left, y=top, width=side, height=side),
        _ticks(scale, left=left, top=top, side=side),
        element("path", class_="diagonal", d=f"M{left} {top + side}L{left + side} {top}"),
        element("path", class_="points", d="".join(spot(*point) for point in inside)) if inside else None,
        element("path", class_="points off", d="".join(spot(*point) for point in outside)) if outside else None,
        element("text", f"{across}, {unit}", class_="axis", x=left + side / 2, y=top + side + 32, text_anchor="middle"),
        element(
            "text",
            up,
            class_="axis",
            transform=f"translate(11 {top + side / 2}) rotate(-90)",
            text_anchor="middle",
        ),
        class_="parity",
        role="img",
        data_low=f"{scale.low:.6g}",
        data_high=f"{scale.high:.6g}",
        data_unit=unit,
        viewBox=f"0 0 {left + side + 8} {top + side + 38}",
        aria_label=", ".join(filter(None, [f"{title}: {up} against {across}, {len(points)} points, {unit}", missing])),
    )


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` to ``high``: multiples of 1, 2 or 5 times a power of ten, as few as three if that can be."""
    power = 10.0 ** math.floor(math.log10(high - low))
    for step in (factor * power for factor in (5, 2, 1, 0.5, 0.2)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first >= 2:
            break
    return [round(n * step, 12) for n in range(first, last + 1)]


def _ticks(scale: Scale, *, left: float, top: float, side: float) -> Markup:
    """Grid lines and their numbers on both axes."""
    marks = []
    for value in ticks(scale.low, scale.high):
        text = f"{value:g}".replace("-", "−")
        x, y = left + side * scale.fraction(value), top + side * (1 - scale.fraction(value))
        marks += [
            element("path", class_="grid", d=f"M{fixed(x, 1)} {top}v{side}M{left} {fixed(y, 1)}h{side}"),
            element("text", text, x=fixed(x, 1), y=top + side + 15, text_anchor="middle"),
            element("text", text, x=left - 6, y=fixed(y + 3.5, 1), text_anchor="end"),
        ]
    return join(*marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementError:
    """One cell of the periodic table.

    Attributes:
        value: In the stored unit.
        n_frames: Frames that hold the element.
    """

    value: float
    n_frames: int


def periodic_table(cells: Mapping[str, ElementError], scale: Scale, *, unit: str, title: str) -> Markup:
    """The periodic table with a value and a count in each known cell, shaded by value; other elements stay empty.

    Rows below the last known element are left out, and so are lanthanides and actinides without data.

    Args:
        cells: Element symbol -> what is known of it.
        scale: Shared by the tables that are compared.
        unit: As stored; values are shown rounded in its rendered unit.
        title: Read out by screen readers before the values.
    """
    width, height, rows = 44, 50, rows_shown(cells)
    drawn = [
        _cell(symbol, cells.get(symbol), scale, unit=unit, x=column * width, y=rows[row] * height)
        for symbol, (row, column) in POSITIONS.items()
        if row in rows
    ]
    return element(
        "svg",
        *drawn,
        class_="ptable",
        role="img",
        viewBox=f"0 0 {18 * width} {(max(rows.values()) + 1) * height}",
        aria_label=f"{title}. "
        + ", ".join(_spoken(symbol, cells[symbol], unit) for symbol in POSITIONS if symbol in cells),
    )


def shade(value: float, scale: Scale) -> int:
    """Step of the palette, 0 … ``SHADES`` - 1, for a value."""
    return min(int(scale.fraction(value) * SHADES), SHADES - 1)


def rows_shown(cells: Iterable[str]) -> dict[int, float]:
    """Row of ``POSITIONS`` -> row of the drawing: periods to the last one with data, then f-block rows with data."""
    known = {POSITIONS[symbol][0] for symbol in cells if symbol in POSITIONS}
    f_block = sorted(row for row in known if row >= 7)
    last = max([row for row in known if row < 7] + [row - 2 for row in f_block], default=3)
    main = range(max(last, 3) + 1)
    return {row: float(row) for row in main} | {row: len(main) + 0.4 + k for k, row in enumerate(f_block)}


@cache
def _empty(symbol: str, x: float, y: float) -> Markup:
    """The cell of an element without data: the same in every figure."""
    return element("g", _BOX, element("text", symbol, x=7, y=17), class_="none", transform=f"translate({x:g} {y:g})")


_BOX = element("rect", x=1, y=1, width=42, height=48, rx=3)


def _cell(symbol: str, known: ElementError | None, scale: Scale, *, unit: str, x: float, y: float) -> Markup:
    if known is None:
        return _empty(symbol, x, y)
    return element(
        "g",
        _BOX,
        element("text", symbol, class_="sym", x=6, y=17),
        element("text", compact(known.value, unit), class_="val", x=22, y=32, text_anchor="middle"),
        element("text", f"n {known.n_frames}", class_="n", x=22, y=44, text_anchor="middle"),
        class_=f"q{shade(known.value, scale)}",
        transform=f"translate({x:g} {y:g})",
    )


def _spoken(symbol: str, known: ElementError, unit: str) -> str:
    return f"{symbol} {compact(known.value, unit)} from {known.n_frames} frames"

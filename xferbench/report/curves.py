"""Errors against data on logarithmic axes: lines with bands, and bridges from curve to curve.

A bridge says how much data one curve needs for the error of another. Curves are told apart by colour, by the shape of their points and by their name at the right end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xferbench.report.figures import Scale
from xferbench.report.markup import Markup, element, join
from xferbench.report.rounding import fixed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Spot = tuple[float, float]

LEFT, TOP, WIDTH, HEIGHT, RIGHT, BOTTOM = 58.0, 26.0, 380.0, 260.0, 190.0, 42.0
LINE = 13.0
"""Height of a name."""

COLOURS = 6
STYLE = """
.curves { width: 100%; max-width: 44rem; height: auto; font: 11px var(--sans); }
.curves text { fill: var(--soft); }
.curves .t { fill: var(--ink); font-weight: 600; }
.curves .frame { fill: none; stroke: var(--rule); }
.curves .grid { stroke: var(--hair); fill: none; }
.curves .line { fill: none; stroke: currentColor; stroke-width: 1.6; }
.curves .law { fill: none; stroke: currentColor; stroke-width: 1; stroke-dasharray: 2 3; }
.curves .band { fill: currentColor; fill-opacity: 0.14; stroke: none; }
.curves .spot { fill: var(--paper); stroke: currentColor; stroke-width: 1.6; }
.curves .name { fill: currentColor; }
.curves .bridge { fill: none; stroke: var(--soft); stroke-dasharray: 1 3; }
.c0 { color: #66625b; } .c1 { color: #0b5a8a; } .c2 { color: #9c4308; } .c3 { color: #1e6b45; } .c4 { color: #7a3b86; } .c5 { color: #8a6d00; }
@media (prefers-color-scheme: dark) {
  .c0 { color: #a09c94; } .c1 { color: #82c0e6; } .c2 { color: #f0a868; } .c3 { color: #7fcfa2; } .c4 { color: #cf9bd9; } .c5 { color: #d9c063; }
}
"""
"""Rules after those of the shared style sheet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One curve.

    Attributes:
        name: As written at its end.
        points: (x, value, low, high), x increasing, all positive; an end that is not positive or not finite draws no band.
        law: (x, value) of two ends of a fitted straight line; none without.
    """

    name: str
    points: tuple[tuple[float, float, float, float], ...]
    law: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A level line from a curve to where another one has the same value, with a word on it."""

    start: float
    end: float
    value: float
    text: str


def curves(series: Sequence[Series], *, title: str, across: str, up: str, bridges: Sequence[Bridge] = ()) -> Markup:
    """Curves on two logarithmic axes.

    Args:
        series: At least one, each with at least one point. Colours repeat after ``COLOURS``, names do not.
        title: What is shown.
        across: What is to the right, with its unit.
        up: What is upwards, with its unit.
        bridges: Between curves; those that leave the frame are left out.
    """
    scales = _scales(series)
    ends = _spread([_spot(item.points[-1][:2], scales)[1] for item in series])
    drawn = [_series(item, k, scales, ends[k]) for k, item in enumerate(series)]
    inside = [bridge for bridge in bridges if scales[0].covers(bridge.end) and scales[1].covers(bridge.value)]
    spoken = "; ".join(
        f"{item.name}: {', '.join(f'{value:.3g} at {x:.3g}' for x, value, _, _ in item.points)}" for item in series
    )
    return element(
        "svg",
        element("text", title, class_="t", x=LEFT, y=14),
        _axes(scales),
        *(_bridge(bridge, scales) for bridge in inside),
        *drawn,
        element("text", across, x=LEFT + WIDTH / 2, y=TOP + HEIGHT + 36, text_anchor="middle"),
        element("text", up, transform=f"translate(12 {TOP + HEIGHT / 2:g}) rotate(-90)", text_anchor="middle"),
        class_="curves",
        role="img",
        viewBox=f"0 0 {LEFT + WIDTH + RIGHT:g} {TOP + HEIGHT + BOTTOM:g}",
        aria_label=f"{title}, {up} against {across}. {spoken}",
    )


def decades(low: float, high: float) -> list[float]:
    """Marks of a logarithmic axis: 1, 2 and 5 times powers of ten, powers alone where that were more than eight."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    inside = [value for value in every if low <= value <= high]
    return inside if len(inside) <= 8 else [10.0**power for power in powers if low <= 10.0**power <= high]


def _scales(series: Sequence[Series]) -> tuple[Scale, Scale]:
    """From the smallest to the largest of everything that is drawn, with a margin."""
    x = [point[0] for item in series for point in item.points]
    y = [value for item in series for point in item.points for value in point[1:] if 0 < value < math.inf]
    return (
        Scale(low=min(x) / 1.15, high=max(x) * 1.15, log=True),
        Scale(low=min(y) / 1.2, high=max(y) * 1.2, log=True),
    )


def _spot(point: Spot, scales: tuple[Scale, Scale]) -> Spot:
    across, up = scales
    return LEFT + WIDTH * across.fraction(point[0]), TOP + HEIGHT * (1 - up.fraction(point[1]))


def _path(points: Sequence[Spot], scales: tuple[Scale, Scale]) -> str:
    spots = (_spot(point, scales) for point in points)
    return "M" + "L".join(f"{fixed(x, 1)} {fixed(y, 1)}" for x, y in spots)


def _series(item: Series, number: int, scales: tuple[Scale, Scale], name_at: float) -> Markup:
    line = [point[:2] for point in item.points]
    law = [point for point in item.law if scales[1].covers(point[1])]
    return element(
        "g",
        _band(item, scales),
        element("path", class_="law", d=_path(law, scales)) if len(law) > 1 else None,
        element("path", class_="line", d=_path(line, scales)),
        *(element("path", class_="spot", d=_mark(number, *_spot(point, scales))) for point in line),
        element("text", item.name, class_="name", x=LEFT + WIDTH + 8, y=fixed(name_at + 4, 1)),
        class_=f"c{number % COLOURS}",
    )


def _band(item: Series, scales: tuple[Scale, Scale]) -> Markup | None:
    """The intervals of the points, joined; a single one is a bar."""
    known = [(x, low, high) for x, _, low, high in item.points if 0 < low <= high < math.inf]
    if not known:
        return None
    if len(known) == 1:
        x, low, high = known[0]
        return element("path", class_="line", d=_path([(x, low), (x, high)], scales))
    lower, upper = [(x, low) for x, low, _ in known], [(x, high) for x, _, high in known]
    return element("path", class_="band", d=_path([*lower, *reversed(upper)], scales) + "Z")


def _mark(number: int, x: float, y: float) -> str:
    """A small shape around a point: circle, square, diamond, triangle, by turns."""
    shapes = (
        "m-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0 -6.4 0z",
        "m-3 -3h6v6h-6z",
        "m0 -4l4 4l-4 4l-4 -4z",
        "m0 -4l3.8 6.6h-7.6z",
    )
    return f"M{fixed(x, 1)} {fixed(y, 1)}{shapes[number % len(shapes)]}"


def _bridge(bridge: Bridge, scales: tuple[Scale, Scale]) -> Markup:
    (x, y), (end, _) = _spot((bridge.start, bridge.value), scales), _spot((bridge.end, bridge.value), scales)
    return join(
        element("path", class_="bridge", d=f"M{fixed(x, 1)} {fixed(y, 1)}H{fixed(end, 1)}"),
        element("text", bridge.text, x=fixed((x + end) / 2, 1), y=fixed(y - 3, 1), text_anchor="middle"),
    )


def _axes(scales: tuple[Scale, Scale]) -> Markup:
    return join(
        element("rect", class_="frame", x=LEFT, y=TOP, width=WIDTH, height=HEIGHT), *_across(scales), *_up(scales)
    )


def _across(scales: tuple[Scale, Scale]) -> Iterator[Markup]:
    for value in decades(scales[0].low, scales[0].high):
        x = fixed(_spot((value, scales[1].low), scales)[0], 1)
        yield element("path", class_="grid", d=f"M{x} {TOP:g}v{HEIGHT:g}")
        yield element("text", f"{value:,.0f}", x=x, y=TOP + HEIGHT + 15, text_anchor="middle")


def _up(scales: tuple[Scale, Scale]) -> Iterator[Markup]:
    for value in decades(scales[1].low, scales[1].high):
        y = _spot((scales[0].low, value), scales)[1]
        yield element("path", class_="grid", d=f"M{LEFT:g} {fixed(y, 1)}h{WIDTH:g}")
        yield element("text", f"{value:g}", x=LEFT - 6, y=fixed(y + 3.5, 1), text_anchor="end")


def _spread(wanted: Sequence[float]) -> list[float]:
    """Heights of names, near where they are wanted, none on top of another."""
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    placed: dict[int, float] = {}
    lowest = -math.inf
    for k in order:
        placed[k] = lowest = max(wanted[k], lowest + LINE)
    excess = max(0.0, lowest - (TOP + HEIGHT)) if order else 0.0
    return [placed[k] - excess for k in range(len(wanted))]

"""The figures of an analysis as SVG: parity of energies; occurrences, references and importance of each element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xferbench.report.figures import POSITIONS, Scale, parity, rows_shown, scale_for, shade
from xferbench.report.markup import Markup, element
from xferbench.report.rounding import fixed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from xferbench.analysis.content import Analysis
    from xferbench.analysis.elements import ElementRow

    Floats = NDArray[np.float64]

POINTS = 2000
"""Most points of a parity plot; more would only make the file larger."""

WIDTH, HEADER, STRIPE = 48, 20, 16
"""Of a cell of a periodic table."""

STYLE = """
.ptable .stripe text { font-size: 11px; }
.ptable .stripe rect { stroke: none; }
.ptable .box { fill: var(--raised); stroke: var(--rule); }
.ptable .sym { fill: var(--ink); }
.ptable .few { fill: var(--soft); font-size: 9px; }
.ptable .unknown text { fill: var(--soft); }
.ptable .unknown rect { fill: none; }
"""
"""Rules for the cells with several values, after those of the shared style sheet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stripe:
    """One value of a cell.

    Attributes:
        text: As written; empty if there is no value.
        level: Step of the palette; ``None`` if there is no value.
    """

    text: str
    level: int | None


def figures(analysis: Analysis) -> dict[str, Markup]:
    """File name without ending -> figure; those without anything to show are left out."""
    names = analysis.source.prose, analysis.target
    drawn = {
        "parity-raw": energies(analysis.columns.source, analysis.columns.target, "Raw", names),
        "parity-in-sample": energies(
            analysis.in_sample.source, analysis.in_sample.target, "Referenced, in sample", names
        ),
        "parity-out-of-sample": energies(
            analysis.out_of_sample.source, analysis.out_of_sample.target, "Referenced, test", names
        ),
        "occurrences": occurrences(analysis.elements),
        "elements": shifts(analysis.elements, names),
        "importance": shares(analysis.elements),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def energies(source: Floats, target: Floats, title: str, names: tuple[str, str]) -> Markup | None:
    """Energies per atom of both functionals on one scale, with the diagonal; nothing without energies.

    Args:
        source: (n,) eV/atom; NaN is left out.
        target: (n,) the same.
        title: Which energies.
        names: Of the source and of the target functional, for the axes.
    """
    known = np.flatnonzero(np.isfinite(source) & np.isfinite(target))
    if not known.size:
        return None
    chosen = known[thinned(known.size)]
    both = np.concatenate([source[known], target[known]])
    margin = 0.05 * float(np.ptp(both)) or 1.0
    scale = Scale(low=float(both.min()) - margin, high=float(both.max()) + margin, log=False)
    shown = (
        f"{title}, {chosen.size} of {known.size} pairs" if chosen.size < known.size else f"{title}, {known.size} pairs"
    )
    points = list(zip(source[chosen].tolist(), target[chosen].tolist(), strict=True))
    return parity(points, scale, title=shown, unit="eV/atom", across=names[0], up=f"{names[1]}, eV/atom")


def thinned(n: int) -> NDArray[np.int64]:
    """Which of n points to draw: all, or ``POINTS`` at random, the same ones each time."""
    if n <= POINTS:
        return np.arange(n)
    return np.sort(np.random.RandomState(0).permutation(n)[:POINTS])


def occurrences(rows: Sequence[ElementRow]) -> Markup | None:
    """Each cell: how many pairs hold the element. Nothing without elements."""
    if not rows:
        return None
    scale = scale_for(row.n_pairs for row in rows)
    cells = {row.symbol: (Stripe(text=str(row.n_pairs), level=shade(row.n_pairs, scale)),) for row in rows}
    return split_table(cells, {row.symbol: row.n_materials for row in rows}, "Pairs that hold each element")


def shifts(rows: Sequence[ElementRow], names: tuple[str, str]) -> Markup | None:
    """Each cell: reference in the source, reference in the target, difference; eV/atom. Nothing without elements."""
    references = [abs(value) for row in rows for value in (row.source, row.target) if value is not None]
    gaps = [abs(row.shift.value) for row in rows if row.shift.value is not None]
    if not references:
        return None
    top, gap_top = _from_zero(references), _from_zero(gaps)
    cells = {
        row.symbol: (
            _stripe(row.source, top, 2),
            _stripe(row.target, top, 2),
            _stripe(row.shift.value, gap_top, 2),
        )
        for row in rows
    }
    title = f"Elemental references of {' and '.join(names)} and their difference, eV/atom"
    return split_table(cells, {row.symbol: row.n_materials for row in rows}, title)


def shares(rows: Sequence[ElementRow]) -> Markup | None:
    """Each cell: importance by the tree, per atom; increase of the error under permutation, meV/atom."""
    known = [(row, row.tree.value, row.permutation.value) for row in rows if row.tree and row.permutation]
    if not known:
        return None
    tree = _from_zero([value or 0.0 for _, value, _ in known])
    permutation = _from_zero([abs(value or 0.0) * 1e3 for _, _, value in known])
    cells = {
        row.symbol: (_stripe(a, tree, 2), _stripe(None if b is None else b * 1e3, permutation, 1, signed=True))
        for row, a, b in known
    }
    title = "Importance of elements: decision tree per atom, and permutation control in meV/atom"
    return split_table(cells, {row.symbol: row.n_materials for row, _, _ in known}, title)


def split_table(cells: Mapping[str, Sequence[Stripe]], counts: Mapping[str, int], title: str) -> Markup:
    """The periodic table with several values in each known cell, one below the other.

    Args:
        cells: Element symbol -> its stripes, the same number in every cell.
        counts: Element symbol -> materials that contain it.
        title: Read out by screen readers before the values.
    """
    n = max((len(stripes) for stripes in cells.values()), default=1)
    height, rows = HEADER + n * STRIPE + 6, rows_shown(cells)
    drawn = [
        element(
            "g",
            *_cell(symbol, cells.get(symbol), counts.get(symbol, 0), height),
            class_=None if symbol in cells else "none",
            transform=f"translate({column * WIDTH:g} {rows[row] * height:g})",
        )
        for symbol, (row, column) in POSITIONS.items()
        if row in rows
    ]
    spoken = [
        f"{symbol} {' and '.join(stripe.text or 'open' for stripe in cells[symbol])}"
        for symbol in POSITIONS
        if symbol in cells
    ]
    return element(
        "svg",
        *drawn,
        class_="ptable",
        role="img",
        viewBox=f"0 0 {18 * WIDTH} {(max(rows.values()) + 1) * height:g}",
        aria_label=f"{title}. {', '.join(spoken)}",
    )


def _cell(symbol: str, stripes: Sequence[Stripe] | None, n: int, height: float) -> list[Markup]:
    box = element("rect", class_="box" if stripes else None, x=1, y=1, width=WIDTH - 2, height=height - 2, rx=3)
    if stripes is None:
        return [box, element("text", symbol, x=7, y=17)]
    return [
        box,
        element("text", symbol, class_="sym", x=6, y=15),
        element("text", str(n), class_="few", x=WIDTH - 6, y=14, text_anchor="end"),
        *[_band(stripe, HEADER + k * STRIPE) for k, stripe in enumerate(stripes)],
    ]


def _band(stripe: Stripe, y: float) -> Markup:
    return element(
        "g",
        element("rect", x=2, y=y, width=WIDTH - 4, height=STRIPE),
        element("text", stripe.text or "open", x=WIDTH / 2, y=y + 12, text_anchor="middle"),
        class_="stripe unknown" if stripe.level is None else f"stripe q{stripe.level}",
    )


def _stripe(value: float | None, scale: Scale, decimals: int, *, signed: bool = False) -> Stripe:
    """A value shaded by its size; where only positive values mean something (``signed``), others stay pale."""
    if value is None:
        return Stripe(text="", level=None)
    return Stripe(text=fixed(value, decimals).replace("-", "−"), level=shade(value if signed else abs(value), scale))


def _from_zero(sizes: Sequence[float]) -> Scale:
    return Scale(low=0.0, high=max(sizes, default=0.0) or 1.0, log=False)

"""An analysis as a report, for its page and its README."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench.analysis import wording
from xferbench.analysis.figures import figures
from xferbench.analysis.tables import written
from xferbench.report import blocks
from xferbench.report.blocks import Cell, Column, Download, Facts, Figure, Figures, Folded, Heading, Report, Row, Text
from xferbench.report.figures import Scale, whisker
from xferbench.report.rounding import fixed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from markupsafe import Markup

    from xferbench.analysis.content import Analysis, Table
    from xferbench.analysis.estimating import Estimate
    from xferbench.report.blocks import Block

ENERGIES = ("energy/raw", "energy/in-sample", "energy/out-of-sample")
LABELS = ("forces", "stress", "magmoms")
MISSING = "–"
FILES = ("index.html", "README.md", "analysis.json", "statistics.csv", "elements.csv", "pairs.csv")
CAPTIONS = {
    "parity-raw": "Energies as calculated",
    "parity-in-sample": "Referenced, in sample",
    "parity-out-of-sample": "Referenced, out of sample",
    "occurrences": "Of each element: the pairs that hold it; top right the number of materials",
    "elements": "Of each element: source reference, target reference, their difference in eV/atom; top right the number of "
    "materials. Darker is further from zero",
    "importance": "Of each element: decision tree per atom, largest 1; permutation control in meV/atom. Darker matters more",
}


def analysis_report(analysis: Analysis) -> Report:
    """The whole report; the same analysis gives the same report."""
    drawn = figures(analysis)
    return Report(
        title=wording.heading(analysis),
        eyebrow="xferbench analyze",
        lede=wording.lede(analysis),
        blocks=(
            Facts(items=tuple(wording.facts(analysis)), kind="short"),
            Download(title="The same, and the numbers", files=tuple((name, name) for name in FILES)),
            *_energies(analysis, drawn),
            *_composition(analysis),
            *_elements(analysis, drawn),
            Heading(text="Forces, stress, magnetic moments", id="labels"),
            *[block for key in LABELS for block in _labels(analysis, analysis.tables[key])],
            Heading(text="Which elements make the functionals disagree", id="importance"),
            Text(items=(wording.importance_sentence(analysis),), kind="lead"),
            *_pictures(drawn, "importance"),
            Heading(text="Left out", id="left-out"),
            Text(items=tuple(wording.left_out(analysis)), kind="list"),
            Heading(text="How to read", id="reading"),
            Facts(items=tuple(wording.HOW_TO_READ.items())),
        ),
        closing=f"Built by xferbench from data of fingerprint {analysis.dataset.fingerprint}. "
        "The same data give the same report, byte for byte.",
    )


def _energies(analysis: Analysis, drawn: Mapping[str, Markup]) -> Iterator[Block]:
    tables, shift = [analysis.tables[key] for key in ENERGIES], analysis.tables["energy/shift"]
    yield Heading(text="Energies", id="energies")
    yield Text(items=tuple(wording.energy_sentences(analysis)), kind="lead")
    plots = [_figure(name, drawn) for name in drawn if name.startswith("parity")]
    if plots:
        yield Figures(items=tuple(plots))
    known = {item.name: item.title for part in tables for item in part.estimates}
    if known:
        cells = [{item.name: item for item in part.estimates} for part in tables]
        rows: list[list[str | Cell]] = [
            [title, *[_cell(part.get(name)) for part in cells]] for name, title in known.items()
        ]
        rows.append(["Pairs, materials", *[_size(part) for part in tables]])
        yield _table("Energies of both functionals", ["", *[part.title for part in tables]], rows)
    if shift.estimates:
        yield Heading(text=shift.title, level=3)
        yield _statistics(shift)
    yield Text(items=tuple(f"{part.title}: {part.remark}" for part in (*tables, shift)), kind="note")


def _composition(analysis: Analysis) -> Iterator[Block]:
    part = analysis.tables["composition"]
    yield Heading(text="Same composition, no reference", id="composition")
    yield Text(items=(wording.composition_sentence(analysis),), kind="lead")
    if any(item.value is not None for item in part.estimates):
        yield _statistics(part)
    yield Text(items=(part.remark,), kind="note")


def _labels(analysis: Analysis, part: Table) -> Iterator[Block]:
    known = [item for item in part.estimates if item.value is not None]
    yield Heading(text=part.title, level=3)
    if not known:
        yield Text(items=(wording.nothing(analysis, part),))
        return
    size = f"{wording.counted(known[0].n_pairs, 'pair')} of {wording.counted(known[0].n_clusters, 'material')}."
    yield Text(items=(f"{size} {part.remark}",), kind="note")
    yield _statistics(part)


def _elements(analysis: Analysis, drawn: Mapping[str, Markup]) -> Iterator[Block]:
    yield Heading(text="Elements", id="elements")
    if not analysis.elements:
        yield Text(items=("No pair has both energies.",))
        return
    yield from _pictures(drawn, "occurrences", "elements")
    if "elements" not in drawn:
        yield Text(items=("The pairs determine no element by itself, only combinations.",))
    ends = [
        end
        for row in analysis.elements
        for end in (row.shift.value, row.shift.ci_low, row.shift.ci_high)
        if end is not None
    ]
    margin = 0.05 * (max(ends, default=0.0) - min(ends, default=0.0)) or 1.0
    scale = Scale(low=min(ends, default=0.0) - margin, high=max(ends, default=0.0) + margin, log=False)
    head = [
        "Element",
        "Pairs",
        "Materials",
        f"{analysis.source.prose}, eV/atom",
        f"{analysis.target}, eV/atom",
        "Shift",
        "Tree, per atom",
        "Permutation",
    ]
    rows: list[list[str | Cell]] = [
        [
            row.symbol,
            str(row.n_pairs),
            str(row.n_materials),
            reference(row.source),
            reference(row.target),
            _cell(row.shift, scale),
            _cell(row.tree),
            _cell(row.permutation),
        ]
        for row in analysis.elements
    ]
    yield Folded(
        title="Every element: references, shifts with intervals, importance",
        blocks=(_table("Every element", head, rows),),
    )


def _statistics(part: Table) -> blocks.Table:
    rows: list[list[str | Cell]] = [[item.title, _cell(item), item.formula] for item in part.estimates]
    return _table(part.title, ["", "Value", "Formula"], rows)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str | Cell]]) -> blocks.Table:
    return blocks.Table(
        title=title,
        columns=tuple(
            Column(title=name, best=None if name in {"", "Element", "Formula"} else "lower") for name in head
        ),
        rows=tuple(
            Row(cells=tuple(cell if isinstance(cell, Cell) else Cell(text=cell) for cell in cells)) for cells in rows
        ),
    )


def _cell(item: Estimate | None, scale: Scale | None = None) -> Cell:
    """A number with interval and unit, with a whisker if a scale is given; a dash, with the reason, where there is none."""
    if item is None or item.value is None:
        return Cell(text=MISSING, note="" if item is None else item.reason or "")
    drawn = None if scale is None else whisker(item.value, item.ci_low, item.ci_high, scale)
    return Cell(text=written(item), value=item.value, figure=drawn)


def _size(part: Table) -> str:
    return f"{part.estimates[0].n_pairs}, {part.estimates[0].n_clusters}" if part.estimates else MISSING


def _pictures(drawn: Mapping[str, Markup], *names: str) -> Iterator[Figure]:
    yield from (_figure(name, drawn) for name in names if name in drawn)


def _figure(name: str, drawn: Mapping[str, Markup]) -> Figure:
    wide = not name.startswith("parity")
    return Figure(drawing=drawn[name], caption=CAPTIONS[name], path=f"figures/{name}.svg", wide=wide)


def reference(value: float | None) -> str:
    """A reference energy in eV/atom, or a dash."""
    return MISSING if value is None else fixed(value, 3).replace("-", "−")

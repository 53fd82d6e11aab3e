"""An analysis as one HTML file that opens from disk, in the look of the leaderboard. It needs no script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench.analysis import wording
from xferbench.analysis.figures import STYLE, figures
from xferbench.analysis.report import ENERGIES, LABELS, MISSING, reference
from xferbench.drawing.document import document
from xferbench.drawing.figures import SHADES, Scale, whisker
from xferbench.drawing.markup import Markup, element, join
from xferbench.drawing.rounding import show, shown_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.analysis.content import Analysis, Table
    from xferbench.analysis.elements import ElementRow
    from xferbench.analysis.estimating import Estimate

PAGE_STYLE = (
    STYLE
    + """
.parities { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 1.5rem 2rem; margin: 1.5rem 0 0.5rem; }
.parities .parity { max-width: 24rem; }
table.numbers { width: auto; min-width: min(100%, 40rem); }
table.numbers td.v { padding-right: 2.25rem; }
.numbers .formula { color: var(--soft); font-size: 0.82rem; white-space: normal; min-width: 16rem; max-width: 34rem; }
.numbers tbody th { font-weight: 400; min-width: 9rem; }
.numbers tbody th, .numbers thead :first-child { position: sticky; left: 0; background: var(--paper); z-index: 1; }
.numbers .size td, .numbers .size th { color: var(--soft); font-size: 0.85rem; border-bottom: 0; }
.numbers .symbol { font-weight: 600; min-width: 0; }
.numbers thead td { border-bottom: 1px solid var(--ink); }
.key { max-width: 52rem; }
.key b { color: var(--ink); font-weight: 600; }
.key .ramp { vertical-align: baseline; margin-left: 0.4rem; }
.lead { font-size: 1.05rem; }
"""
)
SECTIONS = {
    "energies": "Energies",
    "composition": "Same composition, no reference",
    "elements": "Elements",
    "labels": "Forces, stress, magnetic moments",
    "importance": "Which elements make the functionals disagree",
    "left-out": "Left out",
    "reading": "How to read",
}


def render_page(analysis: Analysis) -> str:
    """The whole page; the same analysis gives the same bytes."""
    drawn = figures(analysis)
    sections = {
        "energies": _energies(analysis, drawn),
        "composition": _composition(analysis),
        "elements": _elements(analysis, drawn),
        "labels": join(*[_labels(analysis, analysis.tables[key]) for key in LABELS]),
        "importance": _importance(analysis, drawn),
        "left-out": element("ul", *[element("li", line) for line in wording.left_out(analysis)]),
        "reading": _reading(),
    }
    return document(
        f"{wording.heading(analysis)} – xferbench",
        element("a", "Skip to the numbers", href="#main", class_="skip"),
        _top(analysis),
        element("main", *[_section(name, content) for name, content in sections.items()], id="main"),
        element("footer", element("p", _closing(analysis), class_="quiet")),
        style=PAGE_STYLE,
    )


def _top(analysis: Analysis) -> Markup:
    links = [element("li", element("a", title, href=f"#{name}")) for name, title in SECTIONS.items()]
    terms = [element("div", element("dt", term), element("dd", value)) for term, value in wording.facts(analysis)]
    return element(
        "header",
        element("p", "xferbench analyze", class_="eyebrow"),
        element("h1", wording.heading(analysis)),
        element("p", wording.lede(analysis), class_="lede"),
        element("dl", *terms, class_="facts"),
        element("nav", element("ul", *links), aria_label="Contents"),
        class_="top",
    )


def _section(name: str, content: Markup) -> Markup:
    return element("section", element("h2", SECTIONS[name]), content, id=name, class_="task")


def _energies(analysis: Analysis, drawn: dict[str, Markup]) -> Markup:
    plots = [element("figure", drawn[name]) for name in drawn if name.startswith("parity")]
    tables, shift = [analysis.tables[key] for key in ENERGIES], analysis.tables["energy/shift"]
    return join(
        *[element("p", text, class_="lead") for text in wording.energy_sentences(analysis)],
        element("div", *plots, class_="parities") if plots else None,
        _comparison(tables),
        *([element("h3", shift.title), _statistics(shift)] if shift.estimates else []),
        element("div", *[element("p", f"{part.title}: {part.remark}") for part in (*tables, shift)], class_="notes"),
    )


def _comparison(tables: Sequence[Table]) -> Markup:
    """One row per statistic, one column per table."""
    known = {item.name: item for part in tables for item in part.estimates}
    cells = [{item.name: item for item in part.estimates} for part in tables]
    rows = [
        element("tr", element("th", item.title, scope="row"), *[_value(part.get(name)) for part in cells])
        for name, item in known.items()
    ]
    sizes = element(
        "tr", element("th", "Pairs, materials", scope="row"), *[_size(part) for part in tables], class_="size"
    )
    return _table("Energies of both functionals", ["", *[part.title for part in tables]], [*rows, sizes])


def _composition(analysis: Analysis) -> Markup:
    part = analysis.tables["composition"]
    return join(
        element("p", wording.composition_sentence(analysis), class_="lead"),
        _statistics(part) if any(item.value is not None for item in part.estimates) else None,
        element("div", element("p", part.remark), class_="notes"),
    )


def _labels(analysis: Analysis, part: Table) -> Markup:
    known = [item for item in part.estimates if item.value is not None]
    if not known:
        return join(element("h3", part.title), element("p", wording.nothing(analysis, part)))
    size = f"{wording.counted(known[0].n_pairs, 'pair')} of {wording.counted(known[0].n_clusters, 'material')}. {part.remark}"
    return join(element("h3", part.title), element("p", size, class_="quiet"), _statistics(part))


def _statistics(part: Table) -> Markup:
    rows = [
        element(
            "tr",
            element("th", item.title, scope="row"),
            _value(item),
            element("td", item.formula, class_="formula"),
        )
        for item in part.estimates
    ]
    return _table(part.title, ["", "Value", "Formula"], rows)


def _elements(analysis: Analysis, drawn: dict[str, Markup]) -> Markup:
    if not analysis.elements:
        return element("p", "No pair has both energies.")
    counts = join(
        element(
            "p",
            "Of each element: ",
            element("b", "the pairs that hold it"),
            "; top right the number of materials. ",
            _ramp(),
            class_="quiet key",
        ),
        _wide(drawn["occurrences"], "Pairs that hold each element"),
    )
    if "elements" not in drawn:
        alone = "The pairs determine no element by itself, only combinations."
        return join(counts, element("p", alone), _element_table(analysis.elements))
    legend = element(
        "p",
        "Of each element, from above: ",
        element("b", f"reference in {analysis.gga}"),
        ", ",
        element("b", f"in {wording.R2SCAN}"),
        ", ",
        element("b", "their difference"),
        ", in eV/atom; top right the number of materials. Darker is further from zero. ",
        _ramp(),
        class_="quiet key",
    )
    return join(
        counts,
        legend,
        _wide(drawn["elements"], "Elemental references"),
        element(
            "details",
            element("summary", "Every element ", element("span", "references, shifts with intervals, importance")),
            element("div", _element_table(analysis.elements), class_="inside"),
        ),
    )


def _element_table(rows: Sequence[ElementRow]) -> Markup:
    ends = [end for row in rows for end in (row.shift.value, row.shift.ci_low, row.shift.ci_high) if end is not None]
    margin = 0.05 * (max(ends, default=0.0) - min(ends, default=0.0)) or 1.0
    scale = Scale(low=min(ends, default=0.0) - margin, high=max(ends, default=0.0) + margin, log=False)
    lines = [
        element(
            "tr",
            element("th", row.symbol, scope="row", class_="symbol"),
            element("td", f"{row.n_pairs}, {row.n_materials}"),
            element("td", reference(row.gga)),
            element("td", reference(row.r2scan)),
            _value(row.shift, scale),
            _value(row.tree),
            _value(row.permutation),
        )
        for row in rows
    ]
    header = ["", "Pairs, materials", "GGA, eV/atom", "r²SCAN, eV/atom", "Shift", "Tree, per atom", "Permutation"]
    return _table("Every element", header, lines)


def _importance(analysis: Analysis, drawn: dict[str, Markup]) -> Markup:
    sentence = element("p", wording.importance_sentence(analysis), class_="lead")
    if "importance" not in drawn:
        return sentence
    legend = element(
        "p",
        "Of each element, from above: ",
        element("b", "decision tree per atom"),
        ", largest 1; ",
        element("b", "permutation control"),
        " in meV/atom. Darker matters more. ",
        _ramp(),
        class_="quiet key",
    )
    return join(sentence, legend, _wide(drawn["importance"], "Importance of elements"))


def _reading() -> Markup:
    terms = [item for term, text in wording.HOW_TO_READ.items() for item in (element("dt", term), element("dd", text))]
    return element("dl", *terms, class_="reading")


def _table(title: str, header: Sequence[str], rows: Sequence[Markup]) -> Markup:
    head = [element("th", name, scope="col") if name else element("td") for name in header]
    table = element(
        "table",
        element("caption", title, class_="visually-hidden"),
        element("thead", element("tr", *head)),
        element("tbody", *rows),
        class_="ranking numbers",
    )
    return _wide(table, title)


def _wide(content: Markup, title: str) -> Markup:
    """Content that scrolls sideways by itself on a narrow screen, with the keyboard too."""
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=title)


def _value(item: Estimate | None, scale: Scale | None = None) -> Markup:
    """A cell with value, unit and interval, and a whisker if a scale is given."""
    if item is None:
        return element("td", MISSING, class_="v")
    if item.value is None:
        return element("td", MISSING, element("span", item.reason, class_="why"), class_="v")
    text = show(item.value, item.ci_low, item.ci_high, item.unit)
    unit = shown_unit(item.unit)
    return element(
        "td",
        element("span", text.value, class_="v"),
        f" {unit}" if unit else None,
        " ",
        element("span", text.interval, class_="ci") if text.interval else None,
        None if scale is None else whisker(item.value, item.ci_low, item.ci_high, scale),
        class_="v",
    )


def _size(part: Table) -> Markup:
    if not part.estimates:
        return element("td", "none")
    return element("td", f"{part.estimates[0].n_pairs}, {part.estimates[0].n_clusters}")


def _ramp() -> Markup:
    return element("span", *[element("i", class_=f"q{k}") for k in range(SHADES)], class_="ramp", aria_hidden="true")


def _closing(analysis: Analysis) -> str:
    return (
        f"Built by xferbench from data of fingerprint {analysis.source.fingerprint}. "
        "The same data give the same page, byte for byte."
    )

"""A study as one HTML file that opens from disk, in the look of the leaderboard."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from xferbench.drawing.curves import STYLE
from xferbench.drawing.document import document
from xferbench.drawing.figures import Scale, scale_for, whisker
from xferbench.drawing.markup import Markup, element, join
from xferbench.drawing.rounding import show, shown_unit
from xferbench.workflow.studies import report, wording
from xferbench.workflow.studies.figures import TITLES, figures
from xferbench.workflow.studies.measuring import QUANTITIES, metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.workflow.studies.content import Study
    from xferbench.workflow.studies.summarising import Entry

PAGE_STYLE = (
    STYLE
    + """
table.numbers { width: auto; min-width: min(100%, 40rem); }
table.numbers td { padding-right: 2rem; }
.numbers tbody th { font-weight: 400; min-width: 12rem; }
.curves { margin: 1.5rem 0 2.5rem; }
"""
)


def render_page(study: Study) -> str:
    """The whole page; the same study gives the same bytes."""
    drawn = figures(study)
    parts = [_errors(study, subset) for subset in sorted(study.plan.subsets)]
    tables = [
        _section(title, element("p", text), _from_markdown(title, content))
        for title, text, content in report.sections(study)
        if not title.startswith("Test errors")
    ]
    return document(
        f"{report.heading(study)} – xferbench",
        _top(study),
        element(
            "main",
            _section("Curves", *(element("figure", figure) for figure in drawn.values())) if drawn else None,
            *(part for part in parts if part is not None),
            *tables,
            id="main",
        ),
        element("footer", element("p", "The same runs give the same page, byte for byte.", class_="quiet")),
        style=PAGE_STYLE,
    )


def _top(study: Study) -> Markup:
    warning = wording.SYNTHETIC.replace("**", "")
    return element(
        "header",
        element("p", f"xferbench study {study.plan.kind}", class_="eyebrow"),
        element("h1", report.heading(study)),
        element("p", warning, class_="banner") if study.synthetic else None,
        *(element("p", line.replace("`", ""), class_="lede") for line in report.facts(study)),
        element("p", wording.READING.replace("**", ""), class_="quiet"),
        class_="top",
    )


def _errors(study: Study, subset: float) -> Markup | None:
    """The errors after one training set, with whiskers on a scale per quantity."""
    chosen = [entry for entry in study.entries if entry.subset == subset]
    if not chosen:
        return None
    header = ["Method", *(f"{TITLES[name]}, {shown_unit(metric(name).unit)}" for name in QUANTITIES)]
    scales = {name: _scale([entry for entry in chosen if entry.quantity == name]) for name in QUANTITIES}
    known = {(entry.method, entry.quantity): entry for entry in chosen}
    names = dict.fromkeys(entry.method for entry in chosen)  # by energy error, since entries are
    rows = [
        element(
            "tr",
            element("th", name, scope="row"),
            *(_cell(known.get((name, quantity)), scales[quantity]) for quantity in QUANTITIES),
        )
        for name in names
    ]
    rows += [
        element("tr", element("th", name, scope="row"), element("td", why, colspan=len(QUANTITIES)))
        for name, why in report.without_result(study, subset).items()
    ]
    return _section(f"Test errors, {study.n_training[subset]:,} training frames", _table(header, rows))


def _scale(entries: Sequence[Entry]) -> Scale:
    return scale_for(end for entry in entries for end in entry.mean if not math.isnan(end))


def _cell(entry: Entry | None, scale: Scale) -> Markup:
    if entry is None:
        return element("td", report.MISSING)
    low, high = (None, None) if math.isnan(entry.mean.low) else entry.mean[1:]
    text = show(entry.mean.value, low, high, entry.unit)
    spread = None if entry.seed_sd is None else f" ± {report.spread_text(entry.seed_sd, entry.unit)}"
    return element(
        "td",
        element("span", text.value, class_="v"),
        " ",
        element("span", text.interval, spread, class_="ci"),
        whisker(entry.mean.value, low, high, scale),
    )


def _from_markdown(title: str, content: str) -> Markup:
    """A table of the report as HTML: the cells are the same texts."""
    lines = [line.strip("| ").split(" | ") for line in content.splitlines() if line.startswith("|")]
    if not lines:
        return element("p", content)
    rows = [
        element(
            "tr",
            element("th", _unescaped(line[0]), scope="row"),
            *(element("td", _unescaped(cell)) for cell in line[1:]),
        )
        for line in lines[2:]
    ]
    return join(_table([_unescaped(cell) for cell in lines[0]], rows, title))


def _unescaped(cell: str) -> str:
    return cell.replace("\\", "")


def _section(title: str, *content: Markup) -> Markup:
    return element("section", element("h2", title), *content, class_="task")


def _table(header: Sequence[str], rows: Sequence[Markup], title: str = "Errors") -> Markup:
    made = element(
        "table",
        element("caption", title, class_="visually-hidden"),
        element("thead", element("tr", *(element("th", name, scope="col") for name in header))),
        element("tbody", *rows),
        class_="ranking numbers",
    )
    return element("div", made, class_="scroll", tabindex="0", role="region", aria_label=title)

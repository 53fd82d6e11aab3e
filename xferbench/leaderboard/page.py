"""The leaderboard as one HTML file that opens from disk; without a script it only loses sorting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xferbench.drawing.document import document
from xferbench.drawing.markup import Markup, element
from xferbench.leaderboard.columns import table_columns
from xferbench.leaderboard.details import element_tables, model_details, parity_plots, provenance
from xferbench.leaderboard.table import ranking_table
from xferbench.leaderboard.wording import (
    HOW_TO_READ,
    MISMATCH,
    audit_sentence,
    empty_sentence,
    facts,
    interval_name,
    label,
    losing,
    overlap_sentence,
    subject,
    thin_sentence,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.leaderboard.board import Board, Section

SCRIPT = Path(__file__).parent / "assets" / "page.js"
LEDE = (
    "How well machine-learning interatomic potentials reproduce energies, forces, stresses and magnetic moments across "
    "density functionals, from GGA to r²SCAN, on structures calculated with both."
)

SUPERSEDED = "An earlier version of the task, kept for the record. Its numbers compare with no other version."
PARITY = (
    "Each point is one frame or one force component; the axes are those of all models. At most 500 points per plot, the "
    "same for every model. Elemental references are removed from both energies."
)
BY_ELEMENT = (
    "Errors over the frames that hold an element, for forces over its atoms; n counts the frames. Cells without a number "
    "have no test data."
)


def render_page(board: Board) -> str:
    """The whole page; the same board gives the same bytes."""
    return document(
        "xferbench leaderboard",
        element("a", "Skip to the tables", href="#main", class_="skip"),
        _top(board),
        element("main", *_sections(board), _reading(), id="main"),
        element("footer", element("p", _closing(board), class_="quiet")),
        script=SCRIPT.read_text(encoding="utf-8"),
    )


def _top(board: Board) -> Markup:
    links = [
        element("li", element("a", subject(section), href=f"#{section.slug}"), f" {section.key}")
        for section in board.current
    ]
    links.append(element("li", element("a", "How to read", href="#reading")))
    return element(
        "header",
        element("p", "xferbench", class_="eyebrow"),
        element("h1", "Leaderboard"),
        element("p", LEDE, class_="lede"),
        element("nav", element("ul", *links), aria_label="Contents"),
        class_="top",
    )


def _sections(board: Board) -> list[Markup]:
    if not board.sections:
        return [element("section", element("p", "No results yet."), class_="task")]
    return [_section(section) for section in (*board.current, *board.earlier)]


def _section(section: Section) -> Markup:
    anchors = {row.entry.model_id: f"{section.slug}-{k}" for k, row in enumerate(section.ranking.rows, start=1)}
    terms = [element("div", element("dt", term), element("dd", value)) for term, value in facts(section)]
    return element(
        "section",
        element("p", "Task" if section.current else "Earlier version", class_="eyebrow"),
        element("h2", subject(section)),
        None if section.current else element("p", SUPERSEDED, class_="banner"),
        None if section.task is None else element("p", " ".join(section.task.description.split())),
        element("dl", *terms, class_="facts"),
        element("h3", "Ranking"),
        ranking_table(section, anchors),
        element("div", *[element("p", text) for text in _notes(section)], class_="notes"),
        *_titled("Parity", PARITY, parity_plots(section)),
        *_titled("By element", BY_ELEMENT, element_tables(section)),
        *_titled("Models", "", model_details(section, anchors)),
        *_titled("Provenance", "", provenance(section)),
        id=section.slug,
        class_="task",
    )


def _titled(title: str, remark: str, content: Markup | None) -> Sequence[Markup | None]:
    if content is None:
        return []
    return [element("h3", title), element("p", remark, class_="quiet") if remark else None, content]


def _notes(section: Section) -> list[str]:
    """What must be said under a table, only if it applies."""
    rows = section.ranking.rows
    brackets = f"Brackets and bars: {interval_name(section)}."
    if any(not row.entry.result.model.declared_match for row in rows):
        brackets += f" {MISMATCH}: declared for another functional than the labels."
    if losing(section):
        brackets += f" {losing(section)}"
    if any(row.entry.is_floor for row in rows):
        brackets += " Italics: floors, baselines without a potential and without a rank."
    logarithmic = list(dict.fromkeys(label(column.metric) for column in table_columns(section) if column.scale.log))
    if logarithmic:
        brackets += f" Bars on a logarithmic scale: {', '.join(logarithmic)}."
    remarks = (
        overlap_sentence(section.ranking),
        brackets,
        thin_sentence(section),
        empty_sentence(section),
        audit_sentence(section),
    )
    return [text for text in remarks if text]


def _reading() -> Markup:
    terms = [item for term, text in HOW_TO_READ.items() for item in (element("dt", term), element("dd", text))]
    return element(
        "section", element("h2", "How to read"), element("dl", *terms, class_="reading"), id="reading", class_="task"
    )


def _closing(board: Board) -> str:
    results = sum(len(section.ranking.rows) for section in board.sections)
    return f"Built by xferbench from {results} result files. The same files give the same page, byte for byte."

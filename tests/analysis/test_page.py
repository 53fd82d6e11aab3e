"""The page: one valid file that loads nothing, in all states of the data."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xferbench.analysis import wording
from xferbench.analysis.figures import STYLE
from xferbench.analysis.report import FILES, analysis_report
from xferbench.report.html import page


def render_page(found):
    """The page as it is written."""
    return page(analysis_report(found), style=STYLE)


LOADING = {"src", "srcset", "data", "action", "formaction", "poster", "xlink:href", "background"}


def test_the_page_is_balanced_and_its_links_lead_to_its_sections(found, html):
    tree = html(render_page(found))
    ids = [node.get("id") for node in tree.iter() if node.get("id")]
    assert len(set(ids)) == len(ids)
    assert {"energies", "composition", "elements", "labels", "importance", "left-out", "reading"} <= set(ids)
    assert [node.get("href") for node in tree.iter("a")] == ["#main", *FILES]
    assert tree.find("html").get("lang") == "en"


def test_nothing_is_loaded_and_no_script_runs(found, html):
    tree = html(render_page(found))
    assert [(node.tag, name) for node in tree.iter() for name in node.attrib if name in LOADING] == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "use", "image"} & {n.tag for n in tree.iter()}
    policy = next(node.get("content") for node in tree.iter("meta") if node.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'")
    assert "script-src" not in policy
    assert "url(" not in STYLE
    assert "</style" not in STYLE


def test_there_are_no_inline_handlers_or_styles(found, html):
    names = {name for node in html(render_page(found)).iter() for name in node.attrib}
    assert not {name for name in names if name.startswith("on") or name == "style"}


def test_every_statistic_is_on_the_page(found, html):
    text = html(render_page(found)).words
    for table in found.tables.values():
        for item in table.estimates:
            assert item.title in text or table.key == "importance"
    for sentence in (*wording.energy_sentences(found), wording.composition_sentence(found), *wording.left_out(found)):
        assert " ".join(sentence.split()) in text


def test_tables_have_captions_and_header_cells(found, html):
    for table in html(render_page(found)).iter("table"):
        assert table.find("caption").words
        assert {node.get("scope") for node in table.iter("th")} == {"col", "row"}
        widths = {len(list(row)) for row in table.iter("tr")}
        assert len(widths) == 1


def test_wide_content_scrolls_by_itself(found, html):
    tree = html(render_page(found))
    scrollers = [node for node in tree.iter("div") if node.get("class") == "scroll"]
    inside = {id(node) for scroller in scrollers for node in scroller.iter()}
    wide = [node for node in tree.iter() if node.tag == "table" or node.get("class") == "ptable"]
    assert wide
    assert all(id(node) in inside for node in wide)
    assert all(node.get("tabindex") == "0" and node.get("aria-label") for node in scrollers)


def test_figures_can_be_read_out(found, html):
    figures = [node for node in html(render_page(found)).iter("svg") if node.get("aria-hidden") != "true"]
    assert len(figures) == 6
    assert all(node.get("role") == "img" and node.get("aria-label") for node in figures)


def test_names_cannot_become_markup(hostile, html):
    text = render_page(hostile)
    assert "<script>" not in text
    assert "<script>alert(1)</script>" in html(text).words


def test_a_data_set_without_anything_to_show_still_gives_a_page(found, html):
    nothing = {
        key: replace(table, estimates=tuple(replace(item, value=None, reason="why") for item in table.estimates))
        for key, table in found.tables.items()
    }
    nothing["energy/raw"] = replace(nothing["energy/raw"], estimates=())
    columns = replace(found.columns, source=found.columns.source * float("nan"))
    missing = {name: {"no label from PBE": 42} for name in ("energy", "forces", "stress", "magmoms")}
    bare = replace(
        found,
        tables=nothing,
        elements=(),
        spread={},
        columns=columns,
        counts=replace(found.counts, missing=missing),
    )
    text = html(render_page(bare)).words
    assert "No pair has both energies." in text
    assert "Nothing to compare: 42 pairs, no label from PBE." in text


def test_the_same_analysis_gives_the_same_bytes(found):
    assert render_page(found) == render_page(found)


@pytest.mark.parametrize("name", ["one pair", "one material", "one element", "nothing varies", "no energies"])
def test_odd_data_give_a_balanced_page_without_holes(odd, html, name):
    text = html(render_page(odd[name])).words
    for hole in ("None", "nan ", "inf "):
        assert hole not in text, hole


def test_elements_that_only_occur_together_are_open_not_without_energies(odd, html):
    text = html(render_page(odd["one material"])).words
    assert "No pair has both energies." not in text
    assert "only combinations with other elements are determined" in text


def test_reasons_and_formulas_cannot_become_markup(found, html):
    bad = "<img src=x onerror=alert(1)>&amp;"
    table = found.tables["forces"]
    broken = replace(table, estimates=(table.estimates[0], replace(table.estimates[1], value=None, reason=bad)))
    text = render_page(replace(found, tables={**found.tables, "forces": broken}))
    assert "<img" not in text
    assert bad in html(text).words


def test_statistics_that_nothing_enters_are_a_sentence_and_no_table(odd, found):
    assert "mean |r - g|" in render_page(found).partition('id="composition"')[2].partition("<h2")[0]
    section = render_page(odd["one pair"]).partition('id="composition"')[2].partition("<h2")[0]
    assert "No composition has two structures whose energies can be compared." in section
    assert "<table" not in section

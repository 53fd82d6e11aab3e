"""One report, three renderings: a page, Markdown, a terminal. Text stays text in all of them."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.report.blocks import (
    Cell,
    Column,
    Download,
    Facts,
    Figure,
    Figures,
    Filter,
    Folded,
    Heading,
    Report,
    Row,
    Span,
    Table,
    Text,
    words,
)  # fmt: skip
from xferbench.report.html import assets, figure_style, orders, page, standalone
from xferbench.report.markdown import markdown
from xferbench.report.markup import address, element
from xferbench.report.terminal import WIDTH, terminal

DRAWING = element("svg", element("title", "drawn"), viewBox="0 0 1 1")


def table(*values, best="lower", kinds=(), **changes):
    rows = tuple(
        Row(cells=(Cell(text=f"m{k}"), Cell(text="—" if v is None else f"{v:g}", value=v)), kind=kind)
        for k, (v, kind) in enumerate(zip(values, [*kinds, *["plain"] * len(values)], strict=False))
    )
    return Table(
        title="T",
        id="t",
        columns=(Column(title="Model"), Column(title="Error", note="eV", best=best)),
        rows=rows,
        **changes,
    )


REPORT = Report(
    title="A & B",
    lede=("One ", Span(text="sentence", kind="strong"), "."),
    links=(("Home", "index.html"),),
    blocks=(
        Heading(text="First", id="first"),
        Text(items=("Words.",)),
        Text(kind="list", items=("one", ("two ", Span(text="x.html", kind="code", href="a/x.html")))),
        Text(kind="warning", items=("Careful.",)),
        Facts(items=(("Term", "Value"),)),
        table(2.0, 1.0, kinds=("floor",)),
        Figure(drawing=DRAWING, caption="Seen", path="figures/seen.svg", wide=True),
        Figures(items=(Figure(drawing=DRAWING), Figure(drawing=DRAWING))),
        Download(title="Data", files=(("CSV", "data/x.csv"),)),
        Folded(title="More", blocks=(Text(items=("hidden",)),)),
    ),
    closing="End.",
)  # fmt: skip


def test_a_page_shows_every_block(html):
    tree = html(page(REPORT))
    assert tree.find("html/head/title").text == "A & B – xferbench"
    main = next(tree.iter("main"))
    assert [node.tag for node in main] == ["h2", "p", "ul", "p", "dl", "div", "figure", "div", "p", "details"]
    assert main.find("h2").get("id") == "first"
    assert main.find("ul/li/a").get("href") == "a/x.html"
    assert len(list(main.iter("svg"))) == 3
    assert main.find("details/summary").words == "More"
    assert main.find("details").words == "More hidden"


def test_markdown_shows_the_same():
    assert markdown(REPORT).split("\n\n") == [
        "# A &amp; B",
        "One **sentence**.",
        "## First",
        "Words.",
        "- one\n- two [`x.html`](a/x.html)",
        "- Careful.",
        "- **Term.** Value",
        "| Model | Error (eV) |\n| :-- | --: |\n| *m0* | 2 |\n| m1 | 1 |",
        "![Seen](figures/seen.svg)",
        "Data: [CSV](data/x.csv)",
        "### More",
        "hidden",
        "End.\n",
    ]


def test_a_terminal_shows_the_same():
    assert terminal(REPORT).split("\n\n") == [
        "A & B", "One sentence.", "First", "Words.", "- one\n- two x.html", "- Careful.", "Term: Value",
        "Model  Error\n       eV\n· m0   2\nm1     1", "More", "hidden", "End.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("best", "values", "places"),
    [
        ("lower", [3.0, 1.0, 2.0], [2, 0, 1]),
        ("higher", [3.0, 1.0, 2.0], [0, 2, 1]),
        ("one", [1.5, 0.9, 1.0], [2, 1, 0]),
        ("lower", [1.0, None, 1.0], [0, None, 0]),
    ],
)
def test_a_column_sorts_in_its_own_sense_best_first(best, values, places):
    assert [row[1] for row in orders(table(*values, best=best))] == places


def test_text_sorts_by_itself_and_groups_do_not_sort():
    rows = (Row(cells=(Cell(text="b"),)), Row(cells=(Cell(text="apart"),), kind="group"), Row(cells=(Cell(text="A"),)))
    assert orders(Table(title="T", columns=(Column(title="x"),), rows=rows)) == [[1], [None], [0]]


def test_the_places_are_in_the_page(html):
    tree = html(page(Report(title="T", blocks=(table(2.0, None, 1.0, ranking=True, sorted_by=1),)), site=""))
    assert [row[1].get("data-s") for row in tree.find(".//table").rows()] == ["1", None, "0"]
    assert [head.get("aria-sort") for head in tree.find(".//thead/tr")] == [None, "ascending"]


def test_filters_offer_what_the_rows_have(html):
    rows = tuple(Row(cells=(Cell(text=f"m{k}"),), tags={"kind": value}) for k, value in enumerate(["b|a", "c", ""]))
    block = Table(
        title="T",
        id="t",
        columns=(Column(title="Model"),),
        rows=rows,
        ranking=True,
        filters=(Filter(key="kind", title="Kind"),),
    )
    tree = html(page(Report(title="T", blocks=(block,)), site=""))
    assert [option.words for option in tree.iter("option")] == ["all", "a", "b", "c"]


def test_hidden_columns_are_in_the_page_and_nowhere_else(html):
    columns = (
        Column(title="Model"),
        Column(title="Seen", best="lower"),
        Column(title="Secret", best="lower", shown=False),
    )
    block = Table(
        title="T", columns=columns, rows=(Row(cells=(Cell(text="m"), Cell(text="1"), Cell(text="2"))),), ranking=True
    )
    report = Report(title="T", blocks=(block,))
    assert [cell.get("hidden") for cell in html(page(report, site="")).find(".//table").rows()[0]] == [None, None, ""]
    assert "Secret" not in markdown(report)
    assert "Secret" not in terminal(report)
    assert "1 more column on the page" in terminal(report)


@given(st.text(), st.text())
def test_no_text_becomes_markup(one, other):
    from html.parser import HTMLParser

    tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append((tag, sorted(name for name, _ in attrs)))

    def read(first, second):
        tags.clear()
        blocks = (
            Heading(text=first), Text(items=((first, Span(text=second, kind="code", hint=first)),)), Facts(items=((first, second),)),
            Table(title=first, columns=(Column(title=first or "x", note=second),), rows=(Row(cells=(Cell(text=first, note=second),)),)),
        )  # fmt: skip
        Reader().feed(page(Report(title=first, lede=second, blocks=blocks)))
        return list(tags)

    wanted = read("a" if one else "", "a" if other else "")
    assert read(one, other) == wanted


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_moves_the_cursor_of_a_terminal(text):
    shown = terminal(Report(title=text, blocks=(Text(items=(text,)), Facts(items=((text, text),)))))
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert all(len(line) <= WIDTH for line in shown.splitlines()[1:]) or len(text) > WIDTH


@pytest.mark.parametrize(
    ("href", "written"),
    [
        ("https://example.org/a", "https://example.org/a"),
        ("models/a b.html#x y", "../models/a%20b.html#x%20y"),
        ("#x", "#x"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("//evil.example", None),
        ("/etc/passwd", None),
        ("a/../../b", None),
        ("a\\b", None),
        (None, None),
    ],
)
def test_only_web_addresses_and_paths_inside_the_site_are_links(href, written):
    assert address(href, "../") == written


def test_a_page_of_a_site_shares_style_and_script_and_one_alone_has_no_script(html):
    alone, linked = html(page(REPORT)), html(page(REPORT, site="../"))
    assert not list(alone.iter("script"))
    assert "script-src" not in next(node.get("content") for node in alone.iter("meta") if node.get("http-equiv"))
    assert [node.get("src") for node in linked.iter("script")] == ["../assets/site.js"]
    assert set(assets()) == {"site.css", "site.js"}
    assert next(alone.iter("style")).text.strip() == assets()["site.css"].strip()


def test_the_plain_text_of_a_line():
    assert words(("a ", Span(text="b", kind="strong"))) == "a b"
    assert words("a") == words(Span(text="a")) == "a"


def test_a_figure_of_its_own_is_xml_with_its_style():
    figure = element("svg", element("text", "a < b"), class_="parity", viewBox="0 0 1 1")
    tree = ET.fromstring(standalone(figure, ".own {}").encode())  # noqa: S314 - our own markup
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    style, text = list(tree)
    assert style.text.startswith(figure_style())
    assert ".own {}" in style.text
    assert text.text == "a < b"


def test_only_a_figure_can_stand_alone():
    with pytest.raises(ValueError, match="starts with <svg"):
        standalone(element("p", "words"))

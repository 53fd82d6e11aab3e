"""The page as a whole: one valid file, nothing loaded, nothing hostile, the same bytes."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from xferbench.drawing.document import figure_style, style_sheet
from xferbench.leaderboard.board import Board, read_board
from xferbench.leaderboard.page import SCRIPT, render_page

HOSTILE = "<script>alert(1)</script>"
LOADING = {"src", "srcset", "data", "action", "formaction", "poster", "xlink:href", "background"}


@pytest.fixture
def page(lay_out, task_files):
    """``page(results, cards)`` -> the HTML."""
    return lambda *arguments: render_page(read_board(lay_out(*arguments), tasks=task_files))


@pytest.fixture
def full(page, make_result, make_floor):
    """A page with models, floors, an incomplete result and an older version."""
    counts = {"predicted": 9, "failed": 1, "errors": {"boom": 1}}
    return page(
        [
            make_result("alpha", 0.1),
            make_result("beta", 0.12, model={"functional": "PBE", "declared_match": False}),
            make_result("gamma", 0.05, coverage=0.9, counts=counts),
            make_floor("zero", 0.3),
            make_result("alpha", 0.4, task={"version": 1, "key": "springs@1"}),
        ]
    )


def attributes(tree, name):
    return [node.get(name) for node in tree.iter() if node.get(name) is not None]


def test_tags_are_balanced_and_the_page_says_its_language(full, html):
    assert full.startswith("<!doctype html>\n")
    assert html(full).find("html").get("lang") == "en"


def test_ids_are_unique_and_every_inner_link_has_its_target(full, html):
    tree = html(full)
    ids = attributes(tree, "id")
    assert len(set(ids)) == len(ids)
    targets = [address.removeprefix("#") for address in attributes(tree, "href") if address.startswith("#")]
    assert targets
    assert set(targets) <= set(ids)


def test_nothing_is_loaded_from_anywhere(full, html):
    tree = html(full)
    loading = [(node.tag, name) for node in tree.iter() for name in node.attrib if name in LOADING]
    assert loading == []
    assert {node.tag for node in tree.iter() if node.get("href") is not None} == {"a"}
    assert not {"link", "img", "iframe", "object", "embed", "base", "use", "image"} & {node.tag for node in tree.iter()}
    style = "".join(node.words for node in tree.iter("style"))
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_forbids_every_script_but_our_own(full, html):
    tree = html(full)
    policy = next(node.get("content") for node in tree.iter("meta") if node.get("http-equiv"))
    assert policy.startswith("default-src 'none';")
    (script,) = [node.text for node in tree.iter("script")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-inline" not in re.search(r"script-src[^;]*", policy)[0]


def test_there_are_no_inline_handlers_or_styles(full, html):
    names = {name for node in html(full).iter() for name in node.attrib}
    assert not {name for name in names if name.startswith("on")}
    assert "style" not in names


def test_assets_cannot_end_their_own_element():
    assert "</script" not in SCRIPT.read_text(encoding="utf-8").lower()
    assert "</style" not in style_sheet().lower()


def test_text_from_cards_cannot_become_markup(page, html, make_result, make_card):
    extra = f"""notes = '''{HOSTILE}'''
base_model = '''"><img src=x onerror=alert(1)>'''
transfer = {{method = "other"}}"""
    card = make_card("alpha", name=HOSTILE, extra=extra).replace('["Set"]', f'["{HOSTILE}"]')
    card = card.replace('"A. Author"', f'"{HOSTILE}"').replace('code = "MIT"', f'code = "{HOSTILE}"')
    card = card.replace("@article{key}", f"@article{{{HOSTILE}}}")
    text = page([make_result("alpha")], {"alpha": card})
    tree = html(text)
    assert len(list(tree.iter("script"))) == 1
    assert not list(tree.iter("img"))
    assert HOSTILE not in text
    assert tree.words.count(HOSTILE) >= 6


def test_text_from_results_cannot_become_markup(page, html, make_floor):
    floor = make_floor(
        "zero",
        model={"kind": "floor", "name": HOSTILE, "source_sha256": HOSTILE},
        predictions={"digest": HOSTILE},
        dataset={"name": HOSTILE, "version": HOSTILE},
        environment={"python": HOSTILE, "packages": {HOSTILE: HOSTILE}},
        counts={"predicted": 9, "failed": 1, "errors": {HOSTILE: 1}},
        coverage=0.9,
    )
    text = page([floor])
    assert len(list(html(text).iter("script"))) == 1
    assert HOSTILE not in text


def test_the_same_files_give_the_same_bytes_whatever_the_order(lay_out, task_files, make_result):
    results = [make_result("alpha", 0.1), make_result("beta", 0.2)]
    first = render_page(read_board(lay_out(results), tasks=task_files))
    second = render_page(read_board(lay_out(results[::-1]), tasks=task_files))
    assert first == second


def test_the_page_knows_no_time_and_no_place(full, tmp_path):
    assert str(tmp_path) not in full
    assert not re.search(r"20\d\d-\d\d-\d\d|\d\d:\d\d", full)


def test_sections_come_newest_first_and_older_ones_are_flagged(full, html):
    sections = list(html(full).iter("section"))
    assert [node.get("id") for node in sections] == ["springs-v2", "springs-v1", "reading"]
    banners = [[p.words for p in node.iter("p") if p.get("class") == "banner"] for node in sections]
    assert [len(found) for found in banners] == [0, 1, 0]
    assert "compare with no other version" in banners[1][0]


def test_a_section_has_all_its_parts_in_order(full, html):
    section = next(html(full).iter("section"))
    assert [node.words for node in section.iter("h3")] == ["Ranking", "Parity", "By element", "Models", "Provenance"]
    assert section.find("h2").words == "Springs"


def test_the_notes_say_what_applies(full, html):
    notes = [node.words for node in html(full).iter("div") if node.get("class") == "notes"]
    assert "so their order is not established: Alpha and Beta." in notes[0]
    assert "95 % intervals" in notes[0]
    assert "≠: declared for another functional" in notes[0]
    assert "Italics: floors" in notes[0]
    assert "≠" not in notes[1]
    assert "floors" not in notes[1]


def test_bars_on_a_logarithmic_scale_are_named(page, html, make_result):
    text = page([make_result("alpha", 0.01, 0.001), make_result("beta", 5.0, 0.1)])
    notes = next(node.words for node in html(text).iter("div") if node.get("class") == "notes")
    assert "Bars on a logarithmic scale: Energy MAE, Energy RMSE, Force MAE." in notes


def test_the_page_is_fit_for_phones_paper_darkness_and_no_script(full, html):
    tree = html(full)
    assert any(node.get("name") == "viewport" for node in tree.iter("meta"))
    style = "".join(node.text for node in tree.iter("style"))
    for rule in (
        "prefers-color-scheme: dark",
        "@media print",
        "max-width: 720px",
        "overflow-x: auto",
        ":focus-visible",
    ):
        assert rule in style
    assert not list(tree.iter("noscript"))
    assert not list(tree.iter("button"))  # the script makes them; without it headings are plain text


def test_every_switch_has_its_rule(full, html):
    tree = html(full)
    style = "".join(node.text for node in tree.iter("style"))
    for value in {node.get("value") for node in tree.iter("input")}:
        assert f'input[value="{value}"]' in style


def test_every_radio_group_has_a_name_of_its_own(full, html):
    groups = {}
    for section in html(full).iter("section"):
        for node in section.iter("input"):
            if node.get("type") == "radio":
                groups.setdefault(node.get("name"), set()).add(section.get("id"))
    assert len(groups) == 4
    assert all(len(sections) == 1 for sections in groups.values())


def test_an_empty_board_is_a_page_too(html):
    tree = html(render_page(Board(sections=())))
    assert "No results yet." in tree.words


def test_colours_have_enough_contrast():
    style = figure_style()
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    )
    for scheme in (light, dark):
        for name in ("ink", "soft", "accent", "warn"):
            assert contrast(scheme[name], scheme["paper"]) >= 4.5, name
    inks = {"light": ["#12202b"] * 5 + ["#ffffff"] * 2, "dark": ["#eef3f6"] * 4 + ["#0c1a24"] * 3}
    for step in range(7):
        assert contrast(light[f"q{step}"], inks["light"][step]) >= 4.5
        assert contrast(dark[f"q{step}"], inks["dark"][step]) >= 4.5


def contrast(first, second):
    """Contrast ratio of WCAG 2.1."""

    def luminance(colour):
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)

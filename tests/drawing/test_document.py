"""A page of its own loads nothing, allows nothing, and is the same bytes each time."""

from __future__ import annotations

import base64
import hashlib
from xml.etree import ElementTree as ET

import pytest

from xferbench.drawing.document import document, figure_style, standalone, style_sheet
from xferbench.drawing.markup import element

HOSTILE = "</title><script>alert(1)</script>"


def policy(tree):
    return next(node.get("content") for node in tree.iter("meta") if node.get("http-equiv"))


def test_a_page_has_its_title_body_and_both_styles(html):
    tree = html(document("T", element("p", "words"), style=".own { color: red; }"))
    assert tree.find("html/head/title").text == "T"
    assert tree.find("html/body/p").text == "words"
    assert tree.find("html/head/style").text == style_sheet() + ".own { color: red; }"


def test_titles_and_text_are_escaped(html):
    text = document(HOSTILE, HOSTILE)
    assert HOSTILE not in text
    assert not list(html(text).iter("script"))


def test_a_page_without_a_script_allows_none(html):
    tree = html(document("T"))
    assert "script-src" not in policy(tree)
    assert policy(tree).startswith("default-src 'none';")


def test_a_page_with_a_script_allows_that_one_alone(html):
    tree = html(document("T", script="let a = 1 < 2"))
    digest = base64.b64encode(hashlib.sha256(b"let a = 1 < 2").digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy(tree)
    assert [node.text for node in tree.iter("script")] == ["let a = 1 < 2"]


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

"""Nothing that was not written as markup becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.report.markup import element, is_web_address, join, trusted

HOSTILE = "<script>alert('x')</script>"


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def read(markup):
    reader = Reader()
    reader.feed(markup)
    reader.close()
    return reader


def test_text_is_escaped_and_markup_is_not():
    assert element("p", HOSTILE) == "<p>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;</p>"
    assert element("p", element("b", "a & b")) == "<p><b>a &amp; b</b></p>"


def test_attributes_are_escaped():
    assert element("p", title='"><script>') == '<p title="&#34;&gt;&lt;script&gt;"></p>'


@pytest.mark.parametrize(
    ("attributes", "written"),
    [
        ({"class_": "a"}, ' class="a"'),
        ({"aria_label": "a"}, ' aria-label="a"'),
        ({"checked": True}, " checked"),
        ({"checked": False}, ""),
        ({"title": None}, ""),
        ({"x": 1.5}, ' x="1.5"'),
        ({"x": 0}, ' x="0"'),
        ({"x": ""}, ' x=""'),
    ],
)
def test_attribute_names_and_values(attributes, written):
    assert element("p", **attributes) == f"<p{written}></p>"


def test_void_elements_and_shapes_have_no_end_tag():
    assert element("input", type="radio") == '<input type="radio">'
    assert element("rect", x=1) == '<rect x="1"/>'


def test_none_is_left_out():
    assert join("a", None, element("b", None, "c")) == "a<b>c</b>"


def test_trusted_text_is_not_touched():
    assert element("style", trusted("a > b")) == "<style>a > b</style>"


def test_text_added_to_markup_is_escaped():
    assert element("b", "x") + HOSTILE == "<b>x</b>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"


@given(st.text())
def test_any_text_comes_back_as_it_went_in(text):
    reader = read(element("p", text, title=text))
    assert reader.tags == ["p"]
    assert reader.text == text.replace("\r\n", "\n").replace("\r", "\n") or reader.text == text
    assert reader.attributes == [("title", text)]


@pytest.mark.parametrize("address", ["https://example.org", "http://example.org/a?b=1&c=2#d"])
def test_web_addresses_are_recognised(address):
    assert is_web_address(address)


@pytest.mark.parametrize(
    "address",
    ["", "example.org", "ftp://example.org", "javascript://example.org", "data:text/html,x", "https://", "https://[",
     'https://e.org/"x', "https://e.org/<b>", "https://e.org/a b", "https://e.org/\n", "HTTPS:example"],
)  # fmt: skip
def test_what_is_not_a_plain_web_address_is_not_taken_for_one(address):
    assert not is_web_address(address)

"""What benchmarks write on a page stays between their markers."""

from __future__ import annotations

import re

import pytest

START, END = "<!-- train speed -->", "<!-- end train speed -->"


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(
        f"before é\n{START}\nold\ntable\n{END}\nafter\n<!-- train -->\nkept\n<!-- end train -->\n", encoding="utf-8"
    )
    return path


def test_only_what_stood_between_the_two_markers_is_replaced(script, page):
    script("page").put(page, "train speed", "new ü\n")
    assert page.read_text(encoding="utf-8") == (
        f"before é\n{START}\nnew ü\n{END}\nafter\n<!-- train -->\nkept\n<!-- end train -->\n"
    )


def test_writing_twice_is_writing_once(script, page):
    put = script("page").put
    put(page, "train", "new\n")
    once = page.read_bytes()
    put(page, "train", "new\n")
    assert page.read_bytes() == once


@pytest.mark.parametrize("text", ["nothing", f"{START}\nold", f"old\n{END}\n", f"{END}\n{START}\nold\n"])
def test_a_page_without_both_markers_in_order_is_refused_and_left_alone(script, page, text):
    page.write_text(text)
    with pytest.raises(SystemExit, match=re.escape(f"{page} has no markers {START} and {END}")):
        script("page").put(page, "train speed", "new\n")
    assert page.read_text() == text

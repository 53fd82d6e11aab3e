"""Markdown stays text unless it was meant as markup."""

from __future__ import annotations

import pytest

from xferbench.report.markdown import plain, table


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", "a\\|b"),
        ("<script>", "&lt;script&gt;"),
        ("*x* _y_ `z`", "\\*x\\* \\_y\\_ \\`z\\`"),
        ("[x](javascript:y)", "\\[x\\](javascript:y)"),
        ("a\n\n# b", "a \\# b"),
        ("\\", "\\\\"),
        ("1 [−0.5, 2.5] eV", "1 [−0.5, 2.5] eV"),
        ("[1](x)", "\\[1\\](x)"),
        ("[1]: x", "\\[1\\]: x"),
        ("mini-static@1", "mini-static@1"),
    ],
)
def test_text_cannot_become_markup(text, escaped):
    assert plain(text) == escaped


def test_a_table_has_a_head_a_rule_and_its_rows():
    text = table(["Name", "Value"], [["a", "1"], ["b", "2"]], left=("Name",))
    assert text.splitlines() == ["| Name | Value |", "| :-- | --: |", "| a | 1 |", "| b | 2 |"]

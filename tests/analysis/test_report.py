"""The Markdown report: all numbers, nothing hostile."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from xferbench.analysis import wording
from xferbench.analysis.figures import figures
from xferbench.analysis.report import ENERGIES, LABELS, analysis_report, reference
from xferbench.analysis.tables import written
from xferbench.report.markdown import markdown


def render_report(found):
    """The README as it is written."""
    return markdown(analysis_report(found))


def test_every_statistic_is_in_the_report(found):
    text = render_report(found)
    for key in (*ENERGIES, *LABELS, "composition"):
        for item in found.tables[key].estimates:
            assert written(item) in text, (key, item.name)
    for row in found.elements:
        assert f"| {row.symbol} | {row.n_pairs} | {row.n_materials} |" in text


def test_rows_have_as_many_cells_as_their_head(found):
    for block in re.findall(r"(?:^\|.*\n)+", render_report(found), flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_every_image_is_a_figure_that_is_written(found):
    linked = re.findall(r"!\[.*?\]\(figures/(.+?)\.svg\)", render_report(found))
    assert sorted(linked) == sorted(figures(found))


def test_names_cannot_become_markup(hostile):
    assert "<script>" not in render_report(hostile)


def test_missing_parts_are_said_not_shown(found):
    stress = replace(
        found.tables["stress"],
        estimates=tuple(replace(item, value=None, reason="why") for item in found.tables["stress"].estimates),
    )
    bare = replace(
        found,
        elements=(),
        spread={},
        counts=replace(found.counts, missing={**found.counts.missing, "stress": {"no label from PBE": 42}}),
        tables={
            **found.tables,
            "stress": stress,
            **{key: replace(found.tables[key], estimates=()) for key in ENERGIES},
        },
    )
    text = render_report(bare)
    assert "### Stress\n\nNothing to compare: 42 pairs, no label from PBE." in text
    assert wording.energy_sentences(bare)[0] in text
    assert "elements.svg" not in text


def test_references_have_a_real_minus_and_three_decimals():
    assert reference(-1.23456) == "−1.235"
    assert reference(None) == "–"


@pytest.mark.parametrize("name", ["one pair", "one material", "one element", "nothing varies", "no energies"])
def test_odd_data_give_a_report_without_holes(odd, name):
    text = render_report(odd[name])
    assert not re.search(r"\b(None|nan|inf)\b", text)
    assert "\n\n\n" not in text
    assert sorted(re.findall(r"figures/(.+?)\.svg", text)) == sorted(figures(odd[name]))
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_a_table_that_is_empty_is_a_column_of_dashes(odd):
    text = render_report(odd["one pair"])
    assert "| Pairs, materials | 1, 1 | 1, 1 | – |" in text
    assert re.search(r"^\| Mean absolute gap \| 1500\S* meV/atom \| 0\S* meV/atom \| – \|$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("value", [0.0, -0.0, -0.0001])
def test_a_reference_of_nothing_has_no_minus(value):
    assert reference(value) == "0.000"


def test_statistics_that_nothing_enters_are_a_sentence_and_no_table(odd):
    part = render_report(odd["one pair"]).partition("## Same composition")[2].partition("## Elements")[0]
    assert "No composition has two structures" in part
    assert "|" not in part

"""Tables behind a row: every metric with its counts, the identity, the slices."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xferbench.leaderboard.evidence import (
    corrections_words,
    identity_table,
    materials,
    metrics_table,
    overlap_table,
    overlap_words,
    shown_value,
    slices_table,
)
from xferbench.results import Corrections, from_json


def words(node):
    return " ".join(" ".join(node.itertext()).split())


@pytest.fixture
def rows(html):
    """``rows(table)`` -> its head and rows as words."""
    return lambda table: [[words(cell) for cell in row] for row in html(table).iter("tr")]


@pytest.fixture
def with_slices(make_data):
    """A result with a slice of six materials, one of two, and an empty one."""
    data = make_data("alpha")
    metric = data["metrics"][3]
    few = metric | {"n_materials": 2, "ci_low": None, "ci_high": None, "reason": "too few"}
    absent = few | {"value": None, "n_materials": 0}
    data["slices"] = [
        {"name": "at-rest", "n_frames": 8, "metrics": [metric | {"n_materials": 6}]},
        {"name": "magnetic", "n_frames": 2, "metrics": [few]},
        {"name": "hubbard-u", "n_frames": 0, "metrics": []},
        {"name": "distorted", "n_frames": 1, "metrics": [absent]},
    ]
    return from_json(data, "")


def test_every_metric_has_a_row_with_value_and_counts(rows, make_result):
    head, first, *rest = rows(metrics_table(make_result("alpha", 0.142, 0.026)))
    assert head == ["Metric", "Value", "Frames", "Materials", "Missing", "Remark"]
    assert first == ["Energy MAE (raw, meV/atom ↓)", "16900 [13800, 20000] meV/atom", "10", "5", "0", ""]
    assert len(rest) == 4


def test_a_metric_of_few_materials_says_how_few(rows, make_data):
    data = make_data("alpha")
    data["metrics"][3] |= {"n_materials": 4, "n_frames": 7, "n_missing": 3}
    assert rows(metrics_table(from_json(data, "")))[4] == [
        "Force MAE (meV/Å ↓)", "71.0 [64.5, 77.5] meV/Å", "7", "only 4", "3", "",
    ]  # fmt: skip


def test_a_metric_without_value_says_why(rows, make_data):
    data = make_data("alpha")
    data["metrics"][3] |= {"value": None, "ci_low": None, "ci_high": None, "reason": "no <forces>", "n_materials": 0}
    assert rows(metrics_table(from_json(data, "")))[4][1::2] == ["—", "0", "no <forces>"]


def test_the_identity_is_shown_by_quantity_with_its_interval(rows, make_result):
    assert rows(identity_table(make_result()))[1:] == [
        ["stress", "0.90 [0.70, 1.20]", "0.800", "10", "5", "r2SCAN", ""]
    ]


def test_a_quantity_that_cannot_tell_says_why(rows, make_data):
    data = make_data()
    data["identity"]["entries"][0] |= {
        "value": None, "ci_low": None, "ci_high": None, "reason": "labels agree", "verdict": "undecided",
    }  # fmt: skip
    assert rows(identity_table(from_json(data, "")))[1] == [
        "stress", "—", "—", "10", "5", "undecided", "labels agree",
    ]  # fmt: skip


def test_without_a_quantity_there_is_no_identity_table(make_result):
    assert identity_table(make_result(identity={"entries": []})) is None


def test_slices_share_their_columns_and_mark_few_materials(rows, with_slices):
    assert rows(slices_table(with_slices)) == [
        ["Slice", "Frames", "Force MAE meV/Å ↓"],
        ["at-rest", "8", "71.0 [64.5, 77.5]"],
        ["magnetic", "2", "71.0 only 2 materials"],
        ["distorted", "1", "—"],
    ]


def test_regimes_of_an_audit_are_slices_too(rows, audited_result, with_slices):
    regimes = replace(audited_result.overlap, slices=with_slices.slices[:1])
    assert [row[0] for row in rows(slices_table(replace(audited_result, overlap=regimes)))] == ["Slice", "at-rest"]


def test_without_frames_in_a_slice_there_is_no_slice_table(make_data):
    assert slices_table(from_json(make_data(), "")) is None
    data = make_data()
    data["slices"] = [{"name": "hubbard-u", "n_frames": 0, "metrics": []}]
    assert slices_table(from_json(data, "")) is None


def test_a_table_scrolls_by_itself_and_has_a_name(html, make_result):
    region = html(metrics_table(make_result())).find("div")
    assert (region.get("class"), region.get("tabindex"), region.get("role")) == ("scroll", "0", "region")
    assert region.get("aria-label") == words(region.find(".//caption")) == "Every metric"


def test_rows_and_columns_have_header_cells(html, make_result):
    tree = html(metrics_table(make_result()))
    assert {head.get("scope") for head in tree.findall(".//thead//th")} == {"col"}
    assert {head.get("scope") for head in tree.findall(".//tbody//th")} == {"row"}


def test_text_of_a_result_cannot_become_markup(make_data):
    data = make_data()
    data["identity"]["entries"][0] |= {"ci_low": None, "ci_high": None, "reason": "<script>alert(1)</script>"}
    assert "<script>" not in identity_table(from_json(data, ""))


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (1, "only 1"), (4, "only 4"), (5, "5")])
def test_few_materials_are_marked(count, text):
    assert materials(count).replace('<span class="mark">', "").replace("</span>", "") == text


def test_a_value_has_its_unit(make_result):
    assert shown_value(make_result("alpha", 0.142, 0.026).main) == "142 [116, 168] meV/atom"


class TestOverlap:
    def test_all_and_clean_scores_stand_side_by_side(self, rows, audited_result):
        head, first = rows(overlap_table(audited_result))
        assert head == ["Metric", "All frames", "Clean frames", "Frames", "Materials", "Remark"]
        assert first[1:] == ["142 [116, 168] meV/atom", "200 [150, 250] meV/atom", "6 of 10", "only 3", ""]

    def test_the_title_says_how_much_was_seen(self, html, audited_result):
        assert "4 of 10 test pairs seen in training" in words(html(overlap_table(audited_result)))
        assert overlap_words(audited_result.overlap).endswith(
            "4 new materials of known chemical systems, 2 of new ones"
        )

    def test_a_result_without_audit_has_no_such_table(self, make_result):
        assert overlap_table(make_result()) is None

    def test_without_clean_scores_the_reason_stands_there(self, rows, audited_result):
        none = replace(audited_result.overlap, clean=(), n_clean=0, reason="all seen")
        assert rows(overlap_table(replace(audited_result, overlap=none)))[1][:2] == ["No clean scores", "all seen"]


class TestCorrections:
    FOUND = Corrections(
        verdict="corrected", declared=None, value=0.987, ci_low=0.91, ci_high=1.06, n_frames=120, n_materials=40,
        n_unknown=3, reason=None,
    )  # fmt: skip

    def test_the_share_stands_with_its_interval_and_what_it_rests_on(self):
        assert corrections_words(self.FOUND) == "corrected: 0.987 [0.910, 1.060] of MP2020, from 40 telling materials"

    def test_what_cannot_be_told_says_why(self):
        silent = replace(
            self.FOUND, verdict="not_identifiable", value=None, ci_low=None, ci_high=None, reason="too few materials"
        )
        assert corrections_words(silent) == "not identifiable: too few materials"

    def test_a_doubt_is_added(self):
        doubted = replace(self.FOUND, verdict="undecided", reason="another error")
        assert corrections_words(doubted).endswith("40 telling materials; another error")

from __future__ import annotations

import pytest

from xferbench.report.curves import STYLE
from xferbench.report.html import page
from xferbench.studies.report import study_report


def render_page(study):
    return page(study_report(study), style=STYLE)


@pytest.fixture
def study(finished):
    return finished("scaling")


def test_the_page_is_whole_and_loads_nothing(study, html):
    text = render_page(study)
    tree = html(text)
    assert text == render_page(study)
    [policy] = [node.get("content") for node in tree.iter("meta") if node.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    assert not [node for node in tree.iter() if node.get("src") or (node.get("href") or "#")[0] != "#"]


def test_every_table_of_the_report_is_on_the_page(study, html):
    titles = [node.words for node in html(render_page(study)).iter("h2")]
    for wanted in ("Curves", "Power laws", "Against scratch", "Equal compute", "Forgetting"):
        assert wanted in titles
    assert sum(title.startswith("Test errors") for title in titles) == 4


def test_every_error_has_its_whisker(study, html):
    tree = html(render_page(study))
    whiskers = [node for node in tree.iter("svg") if node.get("class") == "whisker"]
    assert len(whiskers) == len(study.entries)


def test_there_is_a_figure_for_every_quantity(study, html):
    assert len([node for node in html(render_page(study)).iter("svg") if node.get("class") == "curves"]) == 4


def test_a_method_without_any_result_has_a_row_with_its_reason(run_study, html):
    study = run_study(methods=("scratch+fit", "finetune+atoms")).study
    rows = [node.words for node in html(render_page(study)).iter("tr")]
    assert "finetune+atoms0DataError: finetune+atoms needs the energies of atoms–––" in rows


def test_a_name_cannot_become_markup(study, html):
    from dataclasses import replace

    broken = replace(study, failed={"runs/<script>": "<b>x</b>"})
    assert not list(html(render_page(broken)).iter("script"))


def test_the_page_of_methods_has_no_curves(finished, html):
    tree = html(render_page(finished("methods")))
    assert "Curves" not in [node.words for node in tree.iter("h2")]
    assert [node.words for node in tree.iter("h1")] == ["Transfer methods on synthetic"]


def test_tables_can_be_scrolled_with_the_keyboard(study, html):
    regions = [node for node in html(render_page(study)).iter("div") if node.get("class") == "scroll"]
    assert regions
    assert all(node.get("tabindex") == "0" and node.get("aria-label") for node in regions)


def test_an_error_without_interval_has_a_point_alone(study, html):
    import math
    from dataclasses import replace

    from xferbench.measure import Estimate

    bare = [replace(e, mean=Estimate(e.mean.value, math.nan, math.nan), seed_sd=None) for e in study.entries]
    tree = html(render_page(replace(study, entries=bare)))
    whiskers = [node for node in tree.iter("svg") if node.get("class") == "whisker"]
    assert len(whiskers) == len(bare)
    assert not [node for svg in whiskers for node in svg.iter("path")]

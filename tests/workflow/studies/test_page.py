from __future__ import annotations

import pytest

from xferbench.workflow.studies.page import render_page


@pytest.fixture
def study(finished):
    return finished("scaling")


def words(node):
    return " ".join("".join(node.itertext()).split())


def test_the_page_is_whole_and_loads_nothing(study, html):
    page = render_page(study)
    tree = html(page)
    assert page == render_page(study)
    [policy] = [node.get("content") for node in tree.iter("meta") if node.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    assert not [node for node in tree.iter() if node.get("src") or (node.get("href") or "#")[0] != "#"]


def test_every_table_of_the_report_is_on_the_page(study, html):
    titles = [words(node) for node in html(render_page(study)).iter("h2")]
    for wanted in ("Curves", "Power laws", "Against scratch", "Equal compute", "Forgetting"):
        assert wanted in titles
    assert sum(title.startswith("Test errors") for title in titles) == 4


def test_every_error_has_its_whisker(study, html):
    tree = html(render_page(study))
    whiskers = [node for node in tree.iter("svg") if node.get("class") == "whisker"]
    assert len(whiskers) == len(study.entries)


def test_there_is_a_figure_for_every_quantity(study, html):
    assert len([node for node in html(render_page(study)).iter("svg") if node.get("class") == "curves"]) == 4


def test_a_name_cannot_become_markup(study, html):
    from dataclasses import replace

    broken = replace(study, failed={"runs/<script>": "<b>x</b>"})
    assert not list(html(render_page(broken)).iter("script"))

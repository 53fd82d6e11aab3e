"""The site in a real browser: no errors, no sideways scrolling, everything the script promises, and no serious axe finding.

Needs Chromium (Debian: ``apt-get install chromium``) and Playwright; axe-core comes by ``make browser``. What is missing is
named by the skip.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from xferbench.board import build, read_board
from xferbench.board.comparisons import path_of, write_tests

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = "</script><img src=x onerror=alert(1)>"
LONG = "Extraordinarily" * 20
WIDTHS = (1440, 390)

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason='pip install ".[dev]" has Playwright'),
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium here; Debian: apt-get install chromium, or `make browser`"
    ),
]


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=WIDTHS, ids=lambda width: f"{width}px")
def width(request):
    """A desktop and a phone."""
    return request.param


@pytest.fixture
def open_page(browser):
    """``open_page(path, width)`` -> a page; the test fails on any console message or error of the page."""
    problems: list[str] = []
    context = browser.new_context(offline=True)

    def start(path, width=1440, anchor=""):
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 900 if width > 500 else 844})
        page.on("console", lambda message: problems.append(f"{path.name}: {message.type} {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"{path.name}: {error}"))
        page.goto(path.as_uri() + anchor)
        return page

    yield start
    context.close()
    assert problems == []


@pytest.fixture
def site(lay_out, make_result, make_floor, make_card, make_tests, task_files):  # noqa: PLR0917 - fixtures
    """A small site with hostile and very long names, tested pairs, a floor and an incomplete result."""
    names = {"alpha": "Alpha r2SCAN", "beta": HOSTILE[:60], "gamma": "Gamma", "delta": "W" * 60}
    results = [
        make_result("alpha", 0.10, 0.01, model={"name": names["alpha"]}, notes=[HOSTILE + LONG]),
        make_result("beta", 0.12, 0.01, model={"name": names["beta"]}),
        make_result("gamma", 0.30, 0.02, model={"functional": "PBE", "declared_match": False}),
        make_result("delta", 0.05, 0.01, coverage=0.9, counts={"predicted": 9, "failed": 1, "errors": {LONG: 1}}),
        make_floor("zero", 0.2),
    ]
    cards = {
        name: make_card(
            name,
            text,
            "PBE" if name == "gamma" else "r2SCAN",
            f'notes = "{LONG}"\ndate_added = "2026-01-0{k + 1}"\n'
            + ('checkpoint_url = "https://example.org/w"\n' if k else ""),
        ).replace('["Set"]', f'["Set", "Other{k}"]')
        for k, (name, text) in enumerate(names.items())
    }
    directory = lay_out(results, cards)
    standings = [("alpha", 1, 2, "a"), ("beta", 1, 2, "a"), ("gamma", 3, 3, "b")]
    section = read_board(directory, tasks=task_files).sections[0]
    write_tests(
        path_of(directory, section.key), make_tests(standings, significant={("alpha", "gamma"), ("beta", "gamma")})
    )
    assert build(directory, tasks=task_files).untested == {}
    return directory


def pages(directory):
    return sorted(path for path in directory.rglob("*.html") if "node_modules" not in path.parts)


def test_every_page_opens_from_disk_without_errors_or_sideways_scrolling(site, open_page, width):
    for path in pages(site):
        page = open_page(path, width)
        page.wait_for_load_state()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.title(), path
        page.close()


def test_every_page_passes_axe(site, open_page, width):
    if not AXE.exists():
        pytest.skip("no axe-core here; `make browser` gets it with npm")
    source = AXE.read_text(encoding="utf-8")
    for path in pages(site):
        page = open_page(path, width)
        page.evaluate(source)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")["violations"]
        told = [f"{item['id']} ({item['impact']}): {item['nodes'][0]['html'][:160]}" for item in found]
        assert told == [], path
        page.close()


def test_the_answer_is_on_the_first_screen(site, open_page, width):
    page = open_page(site / "index.html", width)
    box = page.locator("#board tbody tr").first.bounding_box()
    assert box["y"] < 450
    assert page.locator("#board tbody td[data-s]").first.is_visible()
    if width == 390:  # a card: score left, name right, in one line
        score, name = (
            page.locator("#board tbody td").first.bounding_box(),
            page.locator("#board tbody th").first.bounding_box(),
        )
        assert score["x"] < name["x"]
        assert abs(score["y"] - name["y"]) < 12


def shown(page, table="ranking"):
    return page.eval_on_selector_all(
        f"#{table} tbody tr:not([hidden]) th a",
        "nodes => nodes.map(node => node.getAttribute('href').replace(/.*models\\/|\\.html/g, ''))",
    )


def test_sorting_by_click_and_keyboard_is_best_first_and_kept_in_the_address(site, open_page):
    page = open_page(site / "tasks" / "springs.html")
    assert shown(page) == ["alpha", "beta", "zero", "gamma", "delta"]
    gap = page.locator("#ranking th", has_text="Gap explained")
    gap.locator("button").focus()
    page.keyboard.press("Enter")
    assert gap.get_attribute("aria-sort") == "descending"
    assert shown(page) == ["delta", "alpha", "beta", "zero", "gamma"]
    page.keyboard.press("Enter")
    assert gap.get_attribute("aria-sort") == "ascending"
    assert shown(page) == ["gamma", "zero", "beta", "alpha", "delta"]
    address = page.url
    again = open_page(site / "tasks" / "springs.html", anchor="#" + address.partition("#")[2])
    assert shown(again) == ["gamma", "zero", "beta", "alpha", "delta"]


def test_a_phone_orders_cards_by_any_column_and_shows_that_score_first(site, open_page):
    page = open_page(site / "tasks" / "springs.html", 390)
    page.locator("details.filters > summary").click()
    page.get_by_label("Order by").select_option(label="Gap explained, aligned, ↑")
    assert shown(page) == ["delta", "alpha", "beta", "zero", "gamma"]
    first = page.locator("#ranking tbody tr").first.locator("td[data-main]")
    assert first.get_attribute("data-label") == "Gap explained"
    assert page.url.endswith("#ranking.sort=gap-explained-aligned")
    assert open_page(site / "tasks" / "springs.html").get_by_label("Order by").is_hidden()  # headings do it there


def test_the_whole_board_of_a_small_suite_is_on_the_first_screen(site, open_page):
    page = open_page(site / "index.html")
    assert page.locator("#board tbody tr").last.bounding_box()["y"] < 900
    assert page.locator("#board svg.whisker").first.is_visible()


def test_rows_without_a_value_stay_last_both_ways(site, open_page):
    page = open_page(site / "tasks" / "springs.html")
    button = page.locator("#ranking th", has_text="Rank").locator("button")
    for _ in range(2):
        button.click()
        assert set(shown(page)[-2:]) == {"zero", "delta"}


def test_search_filters_and_columns_are_kept_in_the_address(site, open_page):
    page = open_page(site / "tasks" / "springs.html")
    page.get_by_label("Search").fill("ALPHA r2scan")
    assert shown(page) == ["alpha"]
    page.get_by_label("Search").fill("")
    page.locator("select[name=functional]").select_option("PBE")
    assert shown(page) == ["zero", "gamma"]
    page.get_by_label("floors").uncheck()
    assert shown(page) == ["gamma"]
    assert page.locator("form output").inner_text() == "1 of 5 rows"
    page.locator("details.columns summary").click()
    page.get_by_role("checkbox", name="Energy RMSE").check()
    page.get_by_role("checkbox", name="Gap explained").uncheck()
    again = open_page(site / "tasks" / "springs.html", anchor="#" + page.url.partition("#")[2])
    assert shown(again) == ["gamma"]
    assert again.locator("#ranking th", has_text="Energy RMSE").is_visible()
    assert again.locator("#ranking th", has_text="Gap explained").is_hidden()
    assert (
        again.locator("#ranking tbody tr:not([hidden]) td:visible").count()
        == page.locator("#ranking tbody tr:not([hidden]) td:visible").count()
    )


def test_switches_keep_rows_that_have_what_they_ask(site, open_page):
    page = open_page(site / "tasks" / "springs.html")
    page.get_by_label("open weights").check()
    assert shown(page) == ["beta", "zero", "gamma", "delta"]
    page.get_by_label("re-scored").check()
    assert shown(page) == ["beta", "zero", "gamma"]
    page.locator("select[name=trained]").select_option("Other1")
    assert shown(page) == ["beta", "zero"]


def test_downloads_are_there(site, open_page):
    page = open_page(site / "index.html")
    for label, name in (("CSV", "results.csv"), ("JSON", "results.json"), ("Parquet", "results.parquet")):
        href = page.get_by_role("link", name=label, exact=True).evaluate("node => node.href")
        assert Path(href.removeprefix("file://")) == site / "data" / name
        assert page.get_by_role("link", name=label, exact=True).get_attribute("download") is not None


def test_two_models_are_compared_with_their_test(site, open_page):
    page = open_page(site / "compare.html", anchor="#a=gamma&b=alpha")
    page.get_by_text("they differ").wait_for()
    text = page.locator("main").inner_text()
    assert "Energy MAE: 100 [50, 150] meV/atom; they differ, p 0.01, adjusted 0.02 (3 pairs, Holm)." in text
    better = page.eval_on_selector_all("main table tbody tr", "rows => rows.map(row => row.lastChild.textContent)")
    assert len(better) > 2
    assert [text for text in better if text != "not tested"] == ["Alpha r²SCAN"]
    page.locator("select[name=b]").select_option("delta")
    page.get_by_text("Not tested here: xferbench compare gamma delta -t springs").wait_for()
    assert page.url.endswith("#a=gamma&b=delta")
    assert page.locator("img").count() == 0


def test_a_point_of_a_parity_plot_is_read_out(site, open_page):
    page = open_page(site / "models" / "alpha.html")
    plot = page.locator("svg.parity").first
    plot.scroll_into_view_if_needed()
    plot.hover()
    told = page.locator("p.told").first
    assert told.inner_text().startswith("DFT ")
    assert "eV/atom" in told.inner_text()


def test_targets_are_large_enough_and_reachable_by_keyboard(site, open_page, width):
    page = open_page(site / "index.html", width)
    small = page.eval_on_selector_all(
        "button, summary, input, select, nav a, tbody th a, .download a",
        "nodes => nodes.filter(node => node.checkVisibility() && !node.closest('label')).map(node => node.getBoundingClientRect())"
        ".filter(box => box.width < 24 || box.height < 24).map(box => `${box.width}x${box.height}`)",
    )
    assert small == []
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def test_dark_and_print_are_styled(site, open_page):
    page = open_page(site / "index.html")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.emulate_media(media="print", color_scheme="light")
    assert page.locator("form.controls").is_hidden()
    assert page.evaluate("getComputedStyle(document.querySelector('thead')).display") == "table-header-group"


def test_without_a_script_the_page_is_whole(site, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert page.locator("#board tbody tr").count() == 5
    assert page.locator("form").is_hidden()
    context.close()


def test_a_short_heading_does_not_wrap_word_by_word(site, open_page):
    page = open_page(site / "tasks" / "springs.html")
    rank = page.locator("#ranking thead th", has_text="Rank").locator("small").bounding_box()
    assert rank["height"] < 40  # two lines


def test_the_data_of_the_compare_page_is_json_in_one_call(site):
    text = (site / "data" / "model-alpha.js").read_text()
    assert json.loads(text.removeprefix("xferbench.model(").removesuffix(");\n"))["id"] == "alpha"

"""What the pages say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xferbench.board import Board, Section, read_board, site, terminal_table
from xferbench.board.content import index, model_page
from xferbench.board.ranking import Entry, rank
from xferbench.board.words import answer
from xferbench.report.html import page
from xferbench.report.terminal import WIDTH
from xferbench.results import from_json
from xferbench.scoring import Worst

HOSTILE = "</script><img src=x onerror=alert(1)>'\"`|*_[x](javascript:alert(1))"


@pytest.fixture
def pages(lay_out, task_files, html):
    """``pages(results, cards)`` -> path -> element tree of every HTML page."""

    def make(results, cards=None):
        files = site(read_board(lay_out(results, cards), tasks=task_files))
        return {path: html(data.decode()) for path, data in files.items() if path.endswith(".html")}

    return make


def rows(tree, place=0):
    return [[cell.words for cell in row] for row in list(tree.iter("table"))[place].rows()]


def test_the_first_page_answers_first(pages, make_result, make_floor):
    index = pages([make_result("beta", 0.2, 0.02), make_result("alpha", 0.1, 0.01), make_floor("zero", 0.15)])[
        "index.html"
    ]
    main = next(index.iter("main"))
    assert [child.tag for child in main][:3] == ["p", "form", "div"]
    answer = next(main.iter("p")).words
    assert answer == "Springs, Energy MAE: Alpha leads with 100 meV/atom; without a model, “Zero” has 150 meV/atom."
    assert [row[:2] for row in rows(index)] == [
        ["Alpha", "100[90, 110]"], ["Zero", "150[124, 176]"], ["Beta", "200[180, 220]"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("worst", "told"),
    [(1, "better than all for sure"), (2, "tied with 1 of 2 others"), (3, "tied with all 2 others")],
)
def test_the_answer_says_how_sure_it_is(make_result, make_tests, worst, told):
    results = [make_result(name, error) for name, error in (("alpha", 0.1), ("beta", 0.2), ("gamma", 0.3))]
    section = Section(
        key="springs@2",
        task_id="springs",
        version=2,
        task=None,
        current=True,
        ranking=rank(Entry(result=item) for item in results),
    ).tested(make_tests([("alpha", 1, worst, "a"), ("beta", 2, 3, "a"), ("gamma", 2, 3, "a")]))
    assert answer(section) == f"Alpha leads with 100 meV/atom, {told}."


def test_links_of_every_page_lead_somewhere(pages, make_result, make_floor):
    found = pages([make_result("alpha"), make_floor("zero")])
    for path, tree in found.items():
        folder = path.rpartition("/")[0]
        for node in tree.iter("a"):
            target, _, anchor = node.get("href").partition("#")
            if not target:
                assert any(other.get("id") == anchor for other in tree.iter())
                continue
            place = target.removeprefix("../") if target.startswith("../") else f"{folder}/{target}".lstrip("/")
            known = place in found or place.startswith(("data/results.", "results/"))
            assert known, f"{path} links to {target}"


def test_addresses_do_not_depend_on_ranks_or_versions(pages, make_result):
    first = set(pages([make_result("alpha", 0.1), make_result("beta", 0.2)]))
    again = set(pages([make_result("alpha", 0.3), make_result("beta", 0.2)]))
    assert (
        first
        == again
        >= {"models/alpha.html", "models/beta.html", "tasks/springs.html", "datasets/mini.html", "compare.html"}
    )


def test_hostile_names_and_reasons_stay_text(lay_out, make_result, make_card, task_files, html):
    long = "x" * 300
    result = make_result(
        "alpha",
        model={"name": HOSTILE},
        notes=[HOSTILE],
        coverage=0.9,
        counts={"predicted": 9, "failed": 1, "errors": {HOSTILE + long: 1}},
    )
    card = make_card(
        "alpha", "Alpha", extra=f'base_model = "beta"\nnotes = """{HOSTILE.replace(chr(34), "")} {long}"""\n'
    ).replace("[license]", '[transfer]\nstrategy = "other"\n[license]')
    files = site(
        read_board(lay_out([result, make_result("gamma", model={"name": HOSTILE})], {"alpha": card}), tasks=task_files)
    )
    for path, data in files.items():
        text = data.decode(errors="replace")
        if path.endswith(".html"):
            tree = html(text)
            assert not list(tree.iter("img"))
            assert not [node for node in tree.iter() for name in node.attrib if name.startswith("on")]
            assert not [node for node in tree.iter("a") if "javascript:" in node.get("href", "")]
        elif path.endswith(".js") and path.startswith("data/"):
            assert "<" not in text
        elif path == "README.md":
            assert "<img" not in text
            assert "](javascript" not in text.replace("\\]", "")


def test_a_formula_in_a_name_is_text_in_the_csv(lay_out, make_result, task_files):
    files = site(read_board(lay_out([make_result("alpha", model={"name": "=cmd()"})], {}), tasks=task_files))
    assert b",'=cmd()," in files["data/results.csv"]


def test_downloads_hold_every_number_in_full(lay_out, make_result, task_files, tmp_path):
    import json

    import pandas as pd

    result = make_result("alpha", 0.1234567890123)
    files = site(read_board(lay_out([result]), tasks=task_files))
    for name in ("results.csv", "results.json", "results.parquet"):
        (tmp_path / name).write_bytes(files[f"data/{name}"])
    tables = [
        pd.read_csv(tmp_path / "results.csv"),
        pd.DataFrame(json.loads((tmp_path / "results.json").read_text())),
        pd.read_parquet(tmp_path / "results.parquet"),
    ]
    for table in tables:
        assert table["value"].tolist() == [metric.value for metric in result.metrics]
        assert table["metric"].tolist() == [metric.key for metric in result.metrics]


def test_news_are_the_days_of_cards_and_no_others(pages, make_result, make_card):
    cards = {
        "alpha": make_card("alpha", extra='date_added = "2026-01-02"'),
        "beta": make_card("beta", extra='date_added = "2026-03-04"'),
        "gamma": make_card("gamma"),
    }
    found = pages([make_result("alpha"), make_result("beta"), make_result("gamma")], cards)
    assert [node.words for node in found["news.html"].iter("h2")] == ["2026-03-04", "2026-01-02"]


def test_without_days_there_are_no_news(pages, make_result):
    assert "news.html" not in pages([make_result("gamma")])


def test_a_model_that_follows_another_functional_is_marked_in_words(pages, make_result):
    found = pages([make_result("alpha", identity={"verdict": "GGA", "declared_loses": True})])
    assert "GGA ✗ not what it declares" in found["index.html"].find(".//table").words
    assert (
        "✗: its predictions follow the other functional than it declares."
        in next(found["index.html"].iter("main")).words
    )


def test_the_functional_is_written_one_way_on_pages(pages, make_result):
    found = pages([make_result("alpha", notes=["follows r2SCAN"])])
    assert not [path for path, tree in found.items() if "r2SCAN" in tree.words]


def test_incomplete_results_stand_below_with_the_reason(pages, make_result):
    counts = {"predicted": 9, "failed": 1, "errors": {"boom": 1}}
    found = pages([make_result("alpha", 0.2), make_result("beta", 0.1, 0.01, coverage=0.9, counts=counts)])
    table = rows(found["tasks/springs.html"])
    assert [row[0] for row in table] == ["Alpha", "Not ranked", "Betacovers 90.0 % of the frames"]


def test_an_audited_model_shows_both_numbers(pages, audited_result):
    tree = pages([audited_result])["models/alpha.html"]
    assert "4 of 10 test pairs seen in training" in tree.words
    (table,) = [table for table in tree.iter("table") if "with and without" in table.find("caption").words]
    assert table.rows()[0][2].words == "200 [150, 250] meV/atom"


@pytest.fixture
def table(springs):
    """``table(*results)`` -> lines."""
    return lambda *results: terminal_table(results, springs).splitlines()


def test_the_whole_table_of_a_small_task_in_a_terminal(table, make_result, make_floor):
    mismatched = make_result("beta", 0.2, 0.02, model={"functional": "PBE+U", "declared_match": False})
    assert table(mismatched, make_result("alpha", 0.1, 0.01), make_floor("zero", 0.15)) == [
        "Springs (springs@2): r²SCAN labels, test split",
        "",
        "Model   Rank  Declares  Energy MAE      Force MAE            Gap explained         Checked",
        "                        meV/atom ↓      meV/Å ↓              ↑",
        "Alpha   1     r²SCAN    100 [90, 110]    50.0 [47.5, 52.5]   0.900 [0.890, 0.910]  self-reported",
        "· Zero        r²SCAN    150 [124, 176]   75.0 [68.5, 81.5]   0.850 [0.824, 0.876]  computed",
        "Beta    2     PBE+U ≠   200 [180, 220]  100.0 [95.0, 105.0]  0.800 [0.780, 0.820]  self-reported",
        "",
        "5 more columns on the page and in the files",
        "",
        "ranked by Energy MAE (aligned, meV/atom ↓)",
        "10 frames of 5 materials; [ ] holds the 95 % interval",
        "≠: declared for another functional than the labels.",
        "Floors, in italics or behind a dot, are baselines without a potential and take no rank.",
        "The order is by value alone and not tested: `xferbench compare` tests it.",
    ]  # fmt: skip


def test_lines_fit_a_terminal_whatever_the_names_and_numbers(table, make_result, make_floor):
    long = {"name": "An extraordinarily long name of a model that nobody can remember"}
    results = [make_result(f"m{k}", 0.1234 + 7 * k, 0.00123, model=long) for k in range(6)]
    lines = table(*results, make_floor("zero", model={"kind": "floor", **long}))
    assert max(map(len, lines)) <= WIDTH
    assert any("…" in line for line in lines)


def test_control_characters_in_names_do_not_reach_the_terminal(table, make_result):
    text = "\n".join(table(make_result("alpha", model={"name": "a\x1b[31mb\nc"})))
    assert "\x1b" not in text
    assert "a?[31mb c" in text


def test_trials_are_shown_and_called_trials(table, make_result):
    lines = table(make_result("alpha", counts={"limit": 10}))
    assert "a trial on some of the frames (--limit): compares with no other result" in lines


def test_a_main_metric_without_a_value_is_a_dash_and_explained(table, make_data, main_changed, make_result):
    data = main_changed(make_data("zero"), value=None, ci_low=None, ci_high=None, reason="no energy")
    lines = table(make_result("alpha"), from_json(data, ""))
    assert "Zero: not ranked, no value of the main metric: no energy" in lines


def test_an_audit_in_a_terminal(table, audited_result):
    text = " ".join(table(audited_result))
    assert (
        "Alpha: 4 of 10 test pairs seen in training; over the 6 clean frames Energy MAE (aligned, meV/atom ↓) is 200"
        in text
    )


def test_no_results_give_a_line_not_an_error(table):
    assert table() == ["Springs (springs@2): r²SCAN labels, test split", "", "no results yet"]


def test_results_of_another_task_version_are_a_mistake_of_the_caller(table, make_result):
    with pytest.raises(ValueError, match=r"not of springs@2: alpha \(springs@1\)"):
        table(make_result("alpha", task={"version": 1, "key": "springs@1"}))


def test_the_first_page_of_a_large_board_is_small(make_result, make_tests):
    """200 models × 10 tasks in under 300 kB; ``benchmarks/board_size.py`` builds such a board whole."""
    results = [make_result(f"model-{k:03d}", 0.1 + k / 1000) for k in range(200)]
    tests = make_tests([(item.model.id, 1, 4, "abc") for item in results[:1]])
    standings = tuple(replace(tests.standings[0], model=item.model.id) for item in results)
    tests = replace(tests, standings=standings, pairs=())
    ranking = rank(Entry(result=item) for item in results)
    sections = tuple(
        Section(key=f"springs{t}@2", task_id=f"springs{t}", version=2, task=None, current=True, ranking=ranking).tested(
            tests
        )
        for t in range(10)
    )
    text = page(index(Board(sections=sections)), site="")
    assert text.count("<tr") == 201
    assert len(text.encode()) < 300_000


def test_a_model_page_names_its_worst_structures_and_the_command_that_checks_it(make_result, make_tests):
    results = [make_result(name, error) for name, error in (("alpha", 0.1), ("beta", 0.2))]
    section = Section(
        key="springs@2",
        task_id="springs",
        version=2,
        task=None,
        current=True,
        ranking=rank(Entry(result=item) for item in results),
    )
    tests = make_tests([("alpha", 1, 1, "a"), ("beta", 2, 2, "b")])
    frame = Worst(frame_id="frame-7", material_id="NaCl", prediction=-3.0, label=-3.25)
    tests = replace(tests, standings=(replace(tests.standings[0], frames=(frame,)), tests.standings[1]))
    board = Board(sections=(section.tested(tests),))
    text = page(model_page(board, "alpha"))
    assert "xferbench verify leaderboard --model alpha" in text
    assert "Worst structures" in text
    assert text.index("frame-7") < text.index("NaCl") < text.index(">250<")
    assert "Worst structures" not in page(model_page(board, "beta"))


def test_the_markdown_says_what_models_were_trained_on(make_result, lay_out, make_card, task_files):
    directory = lay_out([make_result("alpha", 0.1)], {"alpha": make_card("alpha", "Alpha", "r2SCAN", "")})
    text = site(read_board(directory, tasks=task_files))["README.md"].decode()
    assert "Trained on" in text
    assert "| Set |" in text

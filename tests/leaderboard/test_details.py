"""Parity plots, element tables, cards and provenance."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xferbench.leaderboard.details import element_tables, model_details, parity_plots, provenance
from xferbench.results import Corrections, from_json


@pytest.fixture
def models(section, html):
    """``models(results, cards)`` -> the model list as an element tree."""

    def make(results, cards=None):
        found = section(*results, cards=cards)
        return html(model_details(found, {row.entry.model_id: row.entry.model_id for row in found.ranking.rows}))

    return make


def definitions(details):
    return {term.words: value.words for term, value in zip(details.iter("dt"), details.iter("dd"), strict=True)}


def test_each_model_has_a_figure_with_its_plots_and_its_main_value(section, html, make_result, make_floor):
    tree = html(parity_plots(section(make_result("alpha"), make_floor("zero", 0.3))))
    figures = list(tree.iter("figure"))
    assert [figure.find("figcaption").words for figure in figures] == [
        "Alpha Energy MAE 142 [116, 168] meV/atom",
        "Zero Energy MAE 300 [274, 326] meV/atom",
    ]
    assert [len(list(figure.iter("svg"))) for figure in figures] == [2, 2]
    assert [figure.get("class") for figure in figures] == [None, "floor"]


def test_all_plots_of_a_quantity_share_their_axes(section, html, make_result, make_data):
    wild = make_data("beta")
    wild["parity"]["energy"] = [[0.0, 99.0], [1.0, 1.0]]
    tree = html(parity_plots(section(make_result("alpha"), from_json(wild, ""))))
    energies = [svg for svg in tree.iter("svg") if svg.get("aria-label").startswith("Energy")]
    ticks = [[text.text for text in svg.iter("text") if text.get("class") is None] for svg in energies]
    assert ticks[0] == ticks[1]
    assert "1 off the frame" in energies[1].words


def test_a_result_with_forces_only_has_one_plot(section, html, make_data):
    data = make_data(parity={"energy": []})
    data["parity"] = {"forces": [[0.0, 0.1]]}
    assert len(list(html(parity_plots(section(from_json(data, "")))).iter("svg"))) == 1


def test_without_points_there_is_no_parity_section(section, make_data):
    data = make_data()
    data["parity"] = {}
    assert parity_plots(section(from_json(data, ""))) is None


def test_element_tables_are_grouped_by_model_and_the_best_model_is_open(section, html, make_result, make_floor):
    tree = html(element_tables(section(make_result("alpha", 0.2), make_floor("zero", 0.1))))
    assert [(node.find("summary").words, node.get("open")) for node in tree.iter("details")] == [
        ("Zero", None),
        ("Alpha", ""),
    ]
    alpha = list(tree.iter("details"))[1]
    assert [svg.get("aria-label") for svg in alpha.iter("svg")] == [
        "Alpha, Energy MAE by element in meV/atom. Li 200 from 6 frames, O 400 from 8 frames",
        "Alpha, Force MAE by element in meV/Å. O 200 from 8 frames",
    ]


def test_shades_are_comparable_between_models(section, html, make_result):
    tree = html(element_tables(section(make_result("alpha", 0.1), make_result("beta", 0.2))))
    cells = {}
    for details in tree.iter("details"):
        svg = next(details.iter("svg"))
        cells[details.find("summary").words] = {g.words[:2].strip(): g.get("class") for g in svg.iter("g")}
    assert cells["Alpha"]["O2"] == cells["Beta"]["Li"]
    assert cells["Alpha"]["Li"] < cells["Beta"]["O4"]


def test_legends_name_the_ends_of_the_scale(section, html, make_result):
    tree = html(element_tables(section(make_result("alpha", 0.1))))
    legend = next(node for node in tree.iter("p") if node.get("class") == "legend")
    assert [part.words for part in legend] == ["Energy MAE", "aligned, meV/atom ↓", "0", "", "210"]


def test_without_element_errors_there_are_no_tables(section, make_result):
    assert element_tables(section(make_result(per_element=[]))) is None


def test_a_card_is_shown_in_full(models, make_result, make_card):
    extra = (
        'base_model = "chgnet-0.3.0"\nmodel_params = 5\nrepo = "https://e.org/c"\ndoi = "10.1000/x"\n'
        'lifecycle = "deprecated"\nnotes = "Mind the gap."\ntransfer = {method = "tl-refit-atomref", n_train = 7}'
    )
    found = definitions(models([make_result("alpha")], {"alpha": make_card(extra=extra)}))
    assert found["Version"] == "1.0, deprecated"
    assert found["Transferred from"] == "chgnet-0.3.0: fine-tuning with refitted elemental references, 7 structures"
    assert found["Forces"] == "gradient of the energy"
    assert found["Licence"] == "code MIT; weights MIT"
    assert found["Links"] == "DOI, code"
    assert found["Notes"] == "Mind the gap."
    assert found["Parameters"] == "5"
    assert found["Citation"] == "@article{key}"


def test_links_of_a_card_go_where_the_card_says(models, make_result, make_card):
    card = make_card(extra='repo = "https://e.org/c?a=1&b=2"')
    tree = models([make_result("alpha")], {"alpha": card})
    assert [node.get("href") for node in tree.iter("a")] == [
        "https://e.org/c?a=1&b=2",
        "./results/springs%402/alpha.json",
    ]


def test_the_result_is_offered_for_download_and_identified(models, make_result):
    tree = models([make_result("alpha", model={"source_sha256": "sha256:1", "card_sha256": "sha256:2"})])
    found = definitions(tree)
    assert found["Result file"] == "results/springs@2/alpha.json"
    assert found["Predictions"] == "sha256:" + "c" * 64
    assert found["Model source"] == "sha256:1"
    assert found["Card when scored"] == "sha256:2"
    assert found["Scored with"] == "Python 3.11, numpy 2.0"
    assert found["Alignment"] == "2 elements on 30 frames, rank 2, condition 1.5"


def test_training_overlap_and_corrections_are_facts_of_a_model(models, make_result, make_floor, audited_result):
    assert "Overlap with training" not in definitions(models([make_floor("zero", 0.3)]))
    assert definitions(models([make_result("alpha")]))["Overlap with training"] == "not audited"
    silent = Corrections(
        verdict="not_identifiable", declared=None, value=None, ci_low=None, ci_high=None, n_frames=9, n_materials=1,
        n_unknown=0, reason="too few",
    )  # fmt: skip
    tree = models([replace(audited_result, corrections=silent)])  # replaces the file of the first
    assert definitions(tree)["Overlap with training"].startswith("4 of 10 test pairs seen in training")
    assert definitions(tree)["Corrections in predictions"] == "not identifiable: too few"
    assert "Clean frames" in tree.words


def test_failures_are_listed_with_their_counts(models, make_result):
    counts = {"predicted": 7, "failed": 3, "errors": {"isolated <atom>": 2, "boom": 1}}
    tree = models([make_result("alpha", coverage=0.7, counts=counts)])
    assert definitions(tree)["Frames"] == "7 of 10 predicted (70.0 %), 3 failed"
    assert [item.words for item in tree.iter("li")] == ["1 × boom", "2 × isolated <atom>"]


def test_frames_that_alignment_leaves_out_are_counted(models, make_data):
    data = make_data()
    data["alignment"]["not_estimable"] = ["f1", "f2"]
    assert definitions(models([from_json(data, "")]))["Alignment"].endswith("2 test frames left out")


def test_a_floor_has_no_card_but_its_counts(models, make_floor):
    found = definitions(models([make_floor("zero", alignment=None)]))
    assert "Citation" not in found
    assert "Alignment" not in found
    assert found["Frames"] == "10 of 10 predicted (100 %), 0 failed"


def test_suspicions_come_first_and_are_counted_in_the_summary(models, make_result):
    tree = models([make_result("alpha", notes=["forces look <flipped>"])])
    assert tree.find(".//summary").words == "Alpha alpha ⚠ 1 suspicion"
    first = tree.find(".//div")[0]
    assert (first.get("class"), first.words) == ("banner", "forces look <flipped>")


def test_a_model_without_suspicions_has_no_banner(models, make_result):
    assert not [node for node in models([make_result("alpha")]).iter("ul") if node.get("class") == "banner"]


def test_identity_slices_and_metrics_follow_the_facts(models, make_data):
    data = make_data("alpha")
    data["slices"] = [{"name": "at-rest", "n_frames": 8, "metrics": [data["metrics"][3]]}]
    captions = [node.words for node in models([from_json(data, "")]).iter("caption")]
    assert captions == ["Functional identity", "Slices of the test frames", "Every metric"]


def test_details_can_be_linked_to(models, make_result):
    assert [node.get("id") for node in models([make_result("alpha")]).iter("details")] == ["alpha"]


def test_provenance_identifies_task_and_data(section, html, make_result):
    found = definitions(html(provenance(section(make_result("alpha")))))
    assert found == {
        "Task": "springs@2",
        "Task file": "sha256:" + "b" * 64,
        "Data set": "mini 1",
        "Fingerprint": "sha256:" + "a" * 64,
        "Test frames": "10 of 5 materials",
        "Calibration frames": "30",
        "Cite": "@article{springs}",
    }

from __future__ import annotations

import json

import pytest

import xferbench as xb
from xferbench.dataset import Dataset, locate
from xferbench.errors import UnknownNameError
from xferbench.registry import FLOORS, MODEL_VARIANTS, SOURCES
from xferbench.tasks import list_tasks

LISTS = {
    "datasets": xb.list_datasets,
    "tasks": xb.list_tasks,
    "models": xb.list_models,
    "strategies": xb.list_strategies,
}


def listing(what):
    return LISTS[what]().to_json()


def names(what):
    return LISTS[what]().names


def info(name):
    return xb.info(name).to_json()


def test_every_table_is_listed_whole():
    assert names("datasets") == list(SOURCES)
    assert names("tasks") == list(list_tasks())
    built_in = [f"{name}:{variant}" for name, variants in MODEL_VARIANTS.items() for variant in variants]
    assert names("models") == built_in + [f"floor:{name}" for name in FLOORS]


@pytest.mark.parametrize("what", ["datasets", "tasks", "models"])
def test_every_name_comes_with_a_line_about_it(what):
    assert all(row["about"].strip() and "\n" not in row["about"] for row in listing(what))


@pytest.mark.parametrize("what", LISTS)
def test_no_line_has_markup(what):
    assert not [row for row in listing(what) if "``" in row["about"]]


def test_what_is_prepared_is_shown_beside_what_can_be(tmp_path):
    made = xb.prepare("mini", cache_dir=tmp_path)
    other = xb.prepare("mini", split_by="chemsys", cache_dir=tmp_path)
    found = xb.list_datasets(cache_dir=tmp_path)
    rows = {row["name"]: row["prepared"] for row in found.to_json()}
    (mini,), (split,) = rows["mini"], rows["mini+by-chemsys"]
    assert mini["fingerprint"] == made.fingerprint
    assert split["recipe"] == "xferbench prepare mini --split-by chemsys"
    assert rows["matpes"] == []
    text = str(found)
    assert f"{made.directory}, 1, " in text
    assert "kB, " in text
    assert "made by `xferbench prepare mini`" in text
    assert xb.info("mini+by-chemsys", cache_dir=tmp_path).to_json()["prepared"] == [split]
    (other.directory / "manifest.json").unlink()
    assert f"GONE: {other.directory}" in str(xb.list_datasets(cache_dir=tmp_path))


def test_a_data_set_is_described_with_its_counts():
    facts = info("mini")
    assert facts["kind"] == "dataset"
    assert facts["frames"]["PBE"] == facts["frames"]["r2SCAN"] > 80
    assert facts["split"].keys() == {"train", "val", "test"}
    assert facts["pairing"].startswith("same_geometry")


def test_a_task_is_described_with_its_metrics():
    facts = info("mini-static")
    assert facts["key"] == "mini-static@1"
    assert {"key": "force_mae", "unit": "eV/Å", "better": "lower", "version": 2} in facts["metrics"]
    assert (facts["kind"], facts["kind_of_task"]) == ("task", "static")


def test_a_model_is_described_by_its_card_and_a_floor_by_its_docstring():
    assert info("chgnet:r2scan")["functional"] == "r2SCAN"
    assert "source" in info("floor:copy-source")["about"]


def test_either_spelling_of_a_model_gives_the_canonical_one():
    assert info("chgnet-r2scan") == info("chgnet:r2scan")
    assert info("floor-ridge")["name"] == "floor:ridge"


def test_an_unknown_name_suggests_the_near_one_of_any_kind():
    with pytest.raises(UnknownNameError, match="did you mean 'chgnet:r2scan'"):
        info("chgnet:r2scn")
    with pytest.raises(UnknownNameError, match="did you mean 'mini'"):
        info("minni")


def test_a_task_may_be_asked_for_with_its_version():
    assert info("mini-static@1") == info("mini-static")


def test_a_data_set_of_the_users_files_is_described_without_reading_any():
    facts = info("extxyz")
    assert facts["frames"] == "counted when it is prepared"
    assert sum(facts["split"].values()) == pytest.approx(1.0)


def test_the_counts_of_a_data_set_are_those_of_its_frames(cache):
    data = Dataset.open(locate("mini", cache))
    facts = info("mini")
    assert facts["frames"]["PBE"] >= len(data.frames("source"))
    assert facts["materials"] >= len(data.splits)
    assert facts["version"] == data.version


@pytest.mark.parametrize("name", ["mini", "mini-static", "chgnet:0.2.0", "floor:ridge"])
def test_a_description_is_plain_json_and_says_nothing_empty(name):
    facts = info(name)
    assert json.loads(json.dumps(facts, default=str)).keys() == facts.keys()
    assert all(value not in (None, "", ()) for value in facts.values())


def test_what_is_listed_of_a_model_agrees_with_its_card():
    about = {row["name"]: row["about"] for row in listing("models")}
    for name in ("chgnet:r2scan", "chgnet:0.3.0"):
        facts = info(name)
        assert about[name] == f"{facts['model_name']} ({facts['functional']})"


@pytest.mark.parametrize(
    ("name", "pairing"),
    [("mp-aloe", "unpaired: target frames for training"), ("mp-thermo", "same_material: "), ("hub", "same_geometry: ")],
)
def test_what_a_pair_shares_is_told_in_words(name, pairing):
    assert info(name)["pairing"].startswith(pairing)

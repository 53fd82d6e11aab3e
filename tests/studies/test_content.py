from __future__ import annotations

import json

import pytest

from xferbench.storage import to_json
from xferbench.studies.content import FORGOTTEN, _forgotten
from xferbench.studies.plan import Cell


@pytest.fixture
def study(finished):
    return finished("methods")


def test_everything_is_plain_json(study):
    values = json.loads(to_json(study.to_json()))
    assert values["schema"] == 2
    assert values["test"] == {"frames": 15, "left_out": [], "materials": study.n_materials}
    assert len(values["errors"]) == 3 * 4
    assert values["scaling"] is None
    assert values["failed"] == {}
    assert values["open"] == []


def test_forgetting_names_its_units(study):
    for item in study.to_json()["forgetting"]:
        assert item["unit"] == FORGOTTEN[item["quantity"]]
        assert item["before"] == pytest.approx(0.1)


def test_runs_that_are_missing_are_counted(run_study, data, tmp_path):
    import shutil

    from xferbench.studies import summarise
    from xferbench.studies.plan import read_plan

    run_study()
    out = tmp_path / "study"
    shutil.rmtree(out / "runs" / "scratch+fit" / "subset-1" / "seed-1")
    found = summarise(read_plan(out), data, out, {})
    assert list(found.open_runs) == ["runs/scratch+fit/subset-1/seed-1"]
    assert {len(entry.values) for entry in found.entries if entry.method == "scratch+fit"} == {1}


def cell(method, seed):
    return Cell(method=method, subset=1.0, seed=seed)


def evaluation(before, after):
    return {"source_test_before": before, "source_test": after}


def test_forgetting_by_hand():
    known = {
        cell("lora+fit", 0): evaluation({"forces": 0.10, "stress": 0.01}, {"forces": 0.14, "stress": 0.01}),
        cell("lora+fit", 1): evaluation({"forces": 0.10, "stress": 0.01}, {"forces": 0.18, "stress": 0.02}),
    }
    found = {item.quantity: item for item in _forgotten(list(known), known.__getitem__)}
    assert set(found) == {"forces", "stress"}
    assert found["forces"].change == pytest.approx(0.06)
    assert found["forces"].seed_sd == pytest.approx(0.02 * 2**0.5)
    assert found["forces"].before == pytest.approx(0.10)
    assert found["stress"].change == pytest.approx(0.005)


def test_remembering_better_is_negative():
    known = {cell("replay+fit", 0): evaluation({"forces": 0.10}, {"forces": 0.08})}
    [item] = _forgotten(list(known), known.__getitem__)
    assert item.change == pytest.approx(-0.02)
    assert item.seed_sd is None


@pytest.mark.parametrize("lacking", [{"forces": None}, {}])
def test_a_quantity_that_one_side_lacks_is_not_compared(lacking):
    known = {cell("lora+fit", 0): evaluation({"forces": 0.1, "stress": 0.1}, {**lacking, "stress": 0.1})}
    assert [item.quantity for item in _forgotten(list(known), known.__getitem__)] == ["stress"]


def test_a_network_that_started_from_nothing_has_nothing_to_forget():
    known = {cell("scratch+fit", 0): evaluation(None, {"forces": 0.1})}
    assert _forgotten(list(known), known.__getitem__) == []


def test_the_raw_energy_of_the_source_is_not_looked_at():
    known = {cell("lora+fit", 0): evaluation({"energy": 1.0}, {"energy": 9.0})}
    assert _forgotten(list(known), known.__getitem__) == []

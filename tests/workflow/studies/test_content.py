from __future__ import annotations

import json

import pytest

from xferbench.storage import to_json
from xferbench.workflow.studies.content import FORGOTTEN


@pytest.fixture
def study(finished):
    return finished("methods")


def test_everything_is_plain_json(study):
    values = json.loads(to_json(study.to_json()))
    assert values["schema"] == 1
    assert values["test"] == {"frames": 15, "left_out": [], "materials": study.n_materials}
    assert len(values["errors"]) == 3 * 4
    assert values["scaling"] is None
    assert values["failed"] == {}
    assert values["open"] == []


def test_forgetting_names_its_units(study):
    for item in study.to_json()["forgetting"]:
        assert item["unit"] == FORGOTTEN[item["quantity"]]
        assert item["before"] == pytest.approx(0.1)


def test_runs_that_are_missing_are_counted(conduct, data, tmp_path):
    import shutil

    from xferbench.workflow.studies import look
    from xferbench.workflow.studies.plan import read_plan

    conduct()
    out = tmp_path / "study"
    shutil.rmtree(out / "runs" / "scratch" / "subset-1" / "seed-1")
    found = look(read_plan(out), data, out, {})
    assert list(found.open_runs) == ["runs/scratch/subset-1/seed-1"]
    assert {len(entry.values) for entry in found.entries if entry.method == "scratch"} == {1}

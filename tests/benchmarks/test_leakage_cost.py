"""The training set that is timed is what it says: half of it of test compositions, none of it a test structure."""

from __future__ import annotations

import pytest

from xferbench import audit as audits
from xferbench import dataset as datasets


@pytest.fixture(scope="module")
def module(script):
    return script("leakage_cost")


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    from xferbench.sources import mini

    return datasets.build(mini.load(), tmp_path_factory.mktemp("mini") / "d")


@pytest.mark.parametrize("form", ["extxyz", "documents"])
def test_half_of_the_records_have_a_test_composition_and_none_a_test_structure(module, mini, tmp_path, form):
    frames = module.training_set(mini, 16, 60)
    path = tmp_path / ("t.extxyz" if form == "extxyz" else "t.jsonl")
    path.write_text("".join(getattr(module, form)(frames)))
    made = audits.audit(mini, path)
    assert made.compared == dict.fromkeys(audits.KINDS, 60)
    assert made.counts["structure"] == 0
    assert made.counts["composition"] > 0
    known = audits.comparing.Known(mini, "test")
    hits = [bool(known.match(record)["composition"]) for record in audits.comparing.records(path)]
    assert sum(hits) == 30


def test_the_table_has_a_row_for_each_job_and_scales_to_the_large_set(module):
    lines = module.report([module.Cost(job="a", items=1000, seconds=0.06)], 30).splitlines()
    assert lines[-1] == "| a | 1000 | 60.0 | 1.5 |"


def test_every_job_is_timed(module, tmp_path):
    costs = module.measure(8, 12, tmp_path)
    assert [cost.items for cost in costs] == [12, 12, 200, 200, 12, 12, 12]
    assert all(cost.seconds > 0 for cost in costs)

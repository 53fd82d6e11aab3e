"""Targets by name, task and directory; what is printed is counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xferbench import workflow
from xferbench.audit import read_audit
from xferbench.errors import IntegrityError, UnknownNameError
from xferbench.workflow import auditing


@pytest.fixture
def train(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("NaCl\nmp-1\nFe\n")
    return path


def test_a_task_a_name_and_a_directory_are_the_same_target(train, cache):
    made = [
        workflow.audit(target, train, cache_dir=cache)
        for target in ("mini-static", "mini", str(cache / "datasets" / "mini-1"))
    ]
    assert made[0] == made[1] == made[2]
    assert made[0].dataset == "mini"


def test_the_audit_is_written_when_asked(train, cache, tmp_path):
    made = workflow.audit("mini", train, cache_dir=cache, out=tmp_path / "a.json", counts_only=True, with_hash=True)
    assert read_audit(tmp_path / "a.json") == made
    assert made.overlapping is None
    assert made.train_sha256 is not None


def test_the_table_has_counts_and_no_names(train, cache):
    made = workflow.audit("mini", train, cache_dir=cache)
    text = workflow.audit_table(made)
    assert "3 training records against 59 test pairs of mini 1" in text
    assert (
        "structure          0 pairs overlap (the same structure, to the tolerance; no record has one: nothing is proved)"
        in text
    )
    assert all(name not in text for names in made.overlapping.values() for name in names)
    odd = workflow.audit_table(replace(made, unread=2, uncompared=3))
    assert "2 records with nothing to compare" in odd
    assert "3 structures of a test composition that could not be compared" in odd


def test_another_data_set_than_the_task_pins_is_refused(train, cache, monkeypatch):
    task = auditing.load_task("mini-static")
    monkeypatch.setattr(auditing, "load_task", lambda _: replace(task, fingerprint="sha256:" + "0" * 64))
    with pytest.raises(IntegrityError, match="task mini-static@1 is about data with fingerprint"):
        workflow.audit("mini-static", train, cache_dir=cache)


def test_unknown_targets_are_told(train, cache):
    with pytest.raises(UnknownNameError, match="'minni' is neither a directory nor a data set"):
        workflow.audit("minni", train, cache_dir=cache)


def test_the_source_training_set_is_listed_beside_the_data_set(synthetic_dataset, tmp_path):
    (tmp_path / "t.txt").write_text("3-17\nmp-1\n")
    made = workflow.exclude_from_source(synthetic_dataset, tmp_path / "t.txt")
    assert made.path == synthetic_dataset.directory.with_name("synthetic.source-train.txt")
    assert made.path.read_text() == "mp-1\n"
    line = workflow.exclusion_line(made)
    assert line.startswith("source training set: 1 of 2 records are left (1 by id, 0 by structure), listed in ")

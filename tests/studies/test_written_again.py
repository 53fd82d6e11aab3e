"""A study says the same from its numbers alone; one of the first edition says it in the words of today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xferbench import write_study
from xferbench.errors import DataError, FormatError
from xferbench.studies import first_edition, write
from xferbench.studies.content import Study
from xferbench.transfer.config import read_method

REPORTS = Path(__file__).parents[2] / "docs" / "reports"
KEPT = sorted(path.parent for path in REPORTS.glob("*/study.json"))


@pytest.mark.parametrize("kind", ["methods", "scaling"])
def test_the_numbers_of_a_study_are_all_that_its_files_are_made_of(finished, kind, tmp_path):
    study = finished(kind)
    first = write(study, tmp_path)
    before = [path.read_bytes() for path in first]
    (tmp_path / "plan.json").write_text("{}")
    report = write_study(tmp_path)
    assert [path.read_bytes() for path in report.written] == before
    assert json.loads((tmp_path / "plan.json").read_text())["methods"] == list(study.plan.methods)


@pytest.mark.parametrize("directory", KEPT, ids=lambda path: path.name)
def test_the_reports_that_are_kept_are_what_their_numbers_say(directory, tmp_path):
    values = json.loads((directory / "study.json").read_text())
    for path in write(Study.from_json(values, directory), tmp_path):
        assert path.read_bytes() == (directory / path.relative_to(tmp_path)).read_bytes(), path.name


@pytest.mark.parametrize("name", first_edition.METHODS)
def test_every_word_of_the_first_edition_is_a_method_of_today(name):
    assert read_method(first_edition.METHODS[name].format(steps=169))


def old(**more):
    """A study of the first edition, as far as its words go."""
    line = {"method": "finetune-refit-refs-then-unfreeze", "subset": 1.0, "quantity": "energy"}
    return {
        "schema": 1,
        "plan": {
            "methods": ["finetune-refit-refs-then-unfreeze", "lora"],
            "options": {"lora": {"rank": 4}},
            "config": {"start": "0.3.0", "epochs": 25, "batch_size": 8},
            "fit_from": 1,
        },
        "errors": [{**line, "n_training": 100}],
        "equal_compute": [line],
        "forgetting": [line],
        "scaling": None,
        "failed": {"runs/lora/subset-1/seed-0": "no memory"},
        "open": [],
        **more,
    }


def test_the_words_of_the_first_edition_become_those_of_today():
    found = first_edition.in_present_words(old())
    # freed in the first epoch after half of 25, each of 13 steps
    assert found["plan"]["methods"] == ["finetune+fit:after=169", "lora+fit"]
    assert found["plan"]["options"] == {"lora+fit": {"rank": 4}}
    assert found["plan"]["config"] == {"model": "chgnet:0.3.0", "epochs": 25, "batch_size": 8}
    assert {item["method"] for name in ("errors", "equal_compute", "forgetting") for item in found[name]} == {
        "finetune+fit:after=169"
    }
    assert found["failed"] == {"runs/lora+fit/subset-1/seed-0": "no memory"}
    assert found["training"] == [{"subset": 1.0, "n_training": 100}]


def test_what_is_no_study_is_said(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*study\.json"):
        write_study(tmp_path)
    for text, message in (
        ('{"schema": 9}', r"study\.json is no study of schema 2 or 1, but 9; run the study again"),
        ("[]", r"study\.json is no study of schema 2 or 1, but None"),
        ('{"schema": 2}', r"study\.json is no study: KeyError\('plan'\)"),
    ):
        (tmp_path / "study.json").write_text(text)
        with pytest.raises(FormatError, match=message):
            write_study(tmp_path)

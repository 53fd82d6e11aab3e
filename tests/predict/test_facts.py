from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from xferbench.errors import FormatError, StorageError, UsageError
from xferbench.models import ModelSpec
from xferbench.predict.facts import (
    ModelFacts,
    facts_of,
    refuse_difference,
    run_settings,
    source_sha256,
    structures_sha256,
    versions,
    with_facts,
)
from xferbench.records import Functional

FACTS = ModelFacts(
    functional=Functional.R2SCAN,
    supported_elements=("Li", "O"),
    references={"Li": -2.4, "O": 1 / 3},
    card="# A card\n",
    source_sha256="sha256:00",
    versions={"python": "3.11.0"},
)
BUILTIN = ModelSpec(kind="builtin", name="chgnet:0.3.0", model_id="chgnet-0.3.0")


def settings_of(frames, given=None, **options):
    return run_settings(BUILTIN, frames, given or {}, **{"device": "cpu", "batch_size": 16, "timeout": 1.0, **options})


def test_facts_come_back_from_the_settings_they_are_kept_in():
    settings = {"task": "t@1", "source_sha256": "sha256:00", "versions": {"python": "3.11.0"}}
    kept = json.loads(json.dumps(with_facts(settings, FACTS)))
    assert facts_of(kept, "here") == FACTS
    assert {key: kept[key] for key in settings} == settings
    assert sorted(kept["facts"]) == ["card", "functional", "references", "supported_elements"]


def test_facts_that_say_nothing_come_back_too():
    facts = replace(FACTS, supported_elements=None, references=None, card=None, source_sha256=None)
    assert facts_of(with_facts({"versions": {"python": "3.11.0"}, "source_sha256": None}, facts), "here") == facts


def test_settings_without_facts_are_refused():
    with pytest.raises(FormatError, match=r"here: .*functional"):
        facts_of({"task": "t@1"}, "here")


def test_versions_are_of_python_and_of_installed_packages_only():
    found = versions()
    assert found["python"].count(".") == 2
    assert {"python", "ase", "numpy"} <= set(found)
    assert "no-such-package" not in found


def test_the_source_hash_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("x = 1\n")
    spec = ModelSpec(kind="file", name="model.py", path=str(path), model_id="model")
    assert source_sha256(spec) == f"sha256:{hashlib.sha256(b'x = 1' + bytes([10])).hexdigest()}"
    assert source_sha256(BUILTIN) is None
    path.unlink()
    with pytest.raises(StorageError, match=r"cannot read .*model\.py"):
        source_sha256(spec)


def test_the_structures_digest_sees_structures_and_ids_but_no_label(frames):
    first = frames[0]
    digest = structures_sha256(frames)
    assert structures_sha256(frames) == digest
    unlabelled = replace(first, energy=None, forces=None, stress=None, magmoms=None, provenance={"a": 1})
    assert structures_sha256([unlabelled, *frames[1:]]) == digest
    for changed in (
        replace(first, frame_id="other"),
        replace(first, positions=first.positions + 1e-12),
        replace(first, cell=first.cell * 1.01),
        replace(first, numbers=first.numbers[::-1]),
        replace(first, pbc=(True, True, False)),
    ):
        assert structures_sha256([changed, *frames[1:]]) != digest


def test_the_settings_have_everything_that_decides_the_numbers(frames):
    settings = settings_of(frames, {"task": "t@1", "limit": None}, device="cuda")
    assert sorted(settings) == [
        "batch_size", "device", "kind", "limit", "model", "source_sha256", "structures", "structures_sha256", "task",
        "timeout", "versions",
    ]  # fmt: skip
    assert settings["kind"] == "model"
    assert settings["model"] == "chgnet-0.3.0"
    assert settings["device"] == "cuda"
    assert settings["structures"] == 5
    assert json.loads(json.dumps(settings)) == settings


def test_tuples_in_settings_are_lists_as_json_gives_them_back(frames):
    assert settings_of(frames, {"properties": ("energy", "forces")})["properties"] == ["energy", "forces"]


@pytest.mark.parametrize("name", ["model", "facts", "device"])
def test_a_caller_may_not_set_what_the_run_sets(frames, name):
    with pytest.raises(UsageError, match=f"settings {name} are set by the run"):
        settings_of(frames, {name: 1})


def test_equal_settings_are_accepted_in_any_order():
    refuse_difference({"a": 1, "b": {"c": [1, 2], "d": None}}, {"b": {"d": None, "c": [1, 2]}, "a": 1}, Path("p"))


def test_each_setting_that_differs_is_named_with_both_values():
    old = {"batch_size": 16, "versions": {"torch": "2.4.0", "ase": "3.23"}, "limit": 5, "same": 1}
    new = {"batch_size": 8, "versions": {"torch": "2.13.0", "ase": "3.23"}, "device": "cpu", "same": 1}
    with pytest.raises(UsageError) as caught:
        refuse_difference(old, new, Path("p.parquet"))
    assert str(caught.value) == (
        'p.parquet holds predictions of other settings: batch_size was 16 and is 8; device was not set and is "cpu"; '
        'limit was 5 and is not set; versions.torch was "2.4.0" and is "2.13.0"; '
        "choose another output, or --no-resume to discard them"
    )  # fmt: skip


def test_null_is_another_value_than_none_at_all():
    with pytest.raises(UsageError, match="limit was null and is not set"):
        refuse_difference({"limit": None}, {}, Path("p"))


def test_many_and_long_differences_stay_readable():
    old = {f"k{i}": "x" * 1000 for i in range(9)}
    with pytest.raises(UsageError, match="and 4 more") as caught:
        refuse_difference(old, {}, Path("p"))
    assert len(str(caught.value)) < 700

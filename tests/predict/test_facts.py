from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from xferbench.errors import FormatError, StorageError, UsageError
from xferbench.functionals import Functional
from xferbench.models import ModelSpec
from xferbench.models.source import spec_sha256
from xferbench.predict.facts import ModelFacts, facts_of, refuse_difference, run_settings, with_facts

FACTS = ModelFacts(
    functional=Functional("r2SCAN"),
    supported_elements=("Li", "O"),
    references={"Li": -2.4, "O": 1 / 3},
    card="# A card\n",
    source_sha256="sha256:00",
    versions={"python": "3.11.0"},
)
BUILTIN = ModelSpec(kind="builtin", name="chgnet:0.3.0", model_id="chgnet-0.3.0")


def settings_of(given=None, **own):
    return run_settings(BUILTIN, given or {}, {"device": "cpu", "batch_atoms": 16, **own})


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


def test_the_source_hash_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("x = 1\n")
    spec = ModelSpec(kind="file", name="model.py", path=str(path), model_id="model")
    assert spec_sha256(spec) == f"sha256:{hashlib.sha256(b'x = 1' + bytes([10])).hexdigest()}"
    assert spec_sha256(BUILTIN) is None
    path.unlink()
    with pytest.raises(StorageError, match=r"cannot read .*model\.py"):
        spec_sha256(spec)


def test_the_settings_have_everything_that_decides_the_numbers():
    settings = settings_of({"task": "t@1", "limit": None}, device="cuda")
    assert sorted(settings) == ["batch_atoms", "device", "kind", "limit", "model", "source_sha256", "task"]
    assert settings["kind"] == "model"
    assert settings["model"] == "chgnet-0.3.0"
    assert settings["device"] == "cuda"
    assert json.loads(json.dumps(settings)) == settings


def test_the_head_that_is_asked_is_in_the_settings_and_comes_back_with_the_facts():
    spec = replace(BUILTIN, functional="r2SCAN")
    kept = with_facts(run_settings(spec, {}, {}), replace(FACTS, source_sha256=None))
    assert kept["functional"] == "r2SCAN"
    assert facts_of(kept, "here") == replace(FACTS, source_sha256=None)


def test_tuples_in_settings_are_lists_as_json_gives_them_back():
    assert settings_of({"properties": ("energy", "forces")})["properties"] == ["energy", "forces"]


@pytest.mark.parametrize("name", ["model", "facts", "device", "halved"])
def test_a_caller_may_not_set_what_the_run_sets(name):
    with pytest.raises(UsageError, match=f"settings {name} are set by the run"):
        settings_of({name: 1})


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

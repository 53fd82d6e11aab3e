"""Result files: what goes in comes out, and a file that is not a result is refused with every reason."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest

from xferbench import results
from xferbench.errors import FormatError, IntegrityError, ModelError, StorageError
from xferbench.functionals import Functional
from xferbench.results import (
    Alignment,
    Counts,
    DatasetEntry,
    ElementEntry,
    Environment,
    Identity,
    IdentityEntry,
    MetricEntry,
    ModelEntry,
    ModelFacts,
    PredictionsEntry,
    References,
    Result,
    SliceEntry,
    TaskEntry,
    from_json,
)


def entry(**changes) -> MetricEntry:
    values = {
        "name": "energy_mae",
        "version": 1,
        "reference": "aligned",
        "key": "energy_mae/aligned",
        "unit": "eV/atom",
        "better": "lower",
        "value": 0.1 + 0.2,
        "ci_low": 0.1,
        "ci_high": 0.5,
        "n_frames": 9,
        "n_materials": 3,
        "n_missing": 1,
        "main": True,
        "reason": None,
    }
    return MetricEntry(**(values | changes))


RESULT = Result(
    task=TaskEntry(id="t", version=2, key="t@2", digest="sha256:1"),
    dataset=DatasetEntry(name="d", version="1", fingerprint="sha256:2", labels="sha256:3"),
    model=ModelEntry(
        id="m",
        name="Model µ",
        kind="model",
        functional=Functional("PBE+U"),
        declared_match=False,
        source_sha256=None,
    ),
    predictions=PredictionsEntry(digest="sha256:4", settings={"batch_size": 16, "nested": {"list": [1, None, "x"]}}),
    counts=Counts(
        frames=10, predicted=9, failed=1, errors={"slow": 1}, materials=3, calibration_frames=20, ignored=2, limit=None
    ),
    coverage=0.9,
    alignment=Alignment(elements={"Li": -0.5}, rank=1, condition=1.0, n_frames=20, not_estimable=("f1",)),
    references=References(label={"Li": -1.9}, model=None),
    metrics=(
        entry(),
        entry(
            name="stress_mae",
            reference=None,
            key="stress_mae",
            unit="eV/Å³",
            value=None,
            ci_low=None,
            ci_high=None,
            n_frames=0,
            n_materials=0,
            main=False,
            reason="the model predicts no stress",
        ),
    ),
    per_element=(ElementEntry(element="Li", metric="force_mae", value=0.25, n_frames=4),),
    slices=(
        SliceEntry(name="distorted", n_frames=4, metrics=(entry(),)),
        SliceEntry(name="empty", n_frames=0, metrics=()),
    ),
    identity=Identity(
        verdict="PBE",
        declared_loses=False,
        entries=(
            IdentityEntry(
                quantity="stress",
                value=0.1,
                ci_low=-0.2,
                ci_high=0.4,
                softening=0.8,
                uncorrected=-0.3,
                n_frames=9,
                n_materials=3,
                verdict="PBE",
                reason=None,
            ),
        ),
    ),
    notes=("forces: predictions are 1e+03 times the labels",),
    parity={"energy": ((0.0, 1e-17), (1.0, 1.5)), "forces": ()},
    environment=Environment(python="3.11.2", platform="x86_64", packages={"numpy": "2.4.6"}),
)
DATA = json.loads(RESULT.to_json())


def changed(path: str, value: object) -> dict:
    """The parsed file with one value replaced; ``del`` removes it."""
    data = copy.deepcopy(DATA)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner = data
    for part in parents:
        inner = inner[part]
    if value is del_:
        del inner[last]
    else:
        inner[last] = value
    return data


del_ = object()


class TestRoundTrip:
    def test_a_result_equals_itself_after_a_file(self, tmp_path):
        path = tmp_path / "results" / "m.json"
        results.write(path, RESULT)
        assert results.read(path) == RESULT

    def test_the_bytes_are_the_same_every_time(self, tmp_path):
        results.write(tmp_path / "a.json", RESULT)
        results.write(tmp_path / "b.json", results.read(tmp_path / "a.json"))
        assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()

    def test_keys_are_sorted_and_letters_kept(self):
        assert list(DATA) == sorted(DATA)
        assert "Model µ" in RESULT.to_json()
        assert RESULT.to_json().endswith("}\n")

    def test_numbers_keep_full_precision(self):
        assert DATA["metrics"][0]["value"] == 0.30000000000000004
        assert DATA["parity"]["energy"][0][1] == 1e-17

    def test_the_layout_is_the_published_one(self):
        assert set(DATA) == {
            "schema", "task", "dataset", "model", "predictions", "counts", "coverage", "alignment", "references",
            "metrics", "per_element", "slices", "identity", "notes", "parity", "environment",
        }  # fmt: skip
        assert DATA["schema"] == 2
        assert DATA["metrics"][0]["version"] == 1
        assert DATA["model"]["functional"] == "PBE+U"
        assert DATA["metrics"][1]["reference"] is None
        assert DATA["alignment"]["not_estimable"] == ["f1"]

    def test_a_result_without_alignment_is_one(self):
        result = replace(RESULT, alignment=None)
        assert from_json(json.loads(result.to_json()), "x") == result


class TestAccess:
    def test_metrics_are_found_by_key(self):
        assert RESULT.metric("stress_mae") is RESULT.metrics[1]
        assert RESULT.metric("energy_mae") is None

    def test_the_main_metric_ranks(self):
        assert RESULT.main.key == "energy_mae/aligned"

    def test_facts_need_no_more_than_an_identity_and_a_functional(self):
        facts = ModelFacts(id="m", name="M", kind="model", functional=Functional("PBE"))
        assert (facts.references, facts.source_sha256) == (None, None)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_declared_reference_is_a_finite_number(self, value):
        with pytest.raises(ModelError, match="model m declares elemental references that are not finite for Yb"):
            ModelFacts(
                id="m", name="M", kind="model", functional=Functional("PBE"), references={"Li": -1.0, "Yb": value}
            )


class TestRefused:
    @pytest.mark.parametrize(
        ("path", "value", "message"),
        [
            ("coverage", del_, "missing key coverage"),
            ("task.digest", del_, "missing key task.digest"),
            ("metrics.0.ci_low", del_, r"missing key metrics\[0\].ci_low"),
            ("timing", 3.0, "unknown key timing"),
            ("model.colour", "red", "unknown key model.colour"),
            ("task.version", "2", "task.version must be an integer, not text"),
            ("coverage", None, "coverage must be a number, not nothing"),
            ("model.kind", "oracle", "model.kind must be one of model, floor, not 'oracle'"),
            ("model.functional", "r2scam", "model.functional: unknown functional 'r2scam'; did you mean 'r2SCAN'"),
            ("metrics.0.better", "bigger", r"metrics\[0\].better must be one of lower, higher"),
            ("metrics.0.reference", "none", r"metrics\[0\].reference must be one of raw, referenced, aligned"),
            ("metrics.0.main", 1, r"metrics\[0\].main must be true or false"),
            ("counts.errors", ["slow"], "counts.errors must be a table"),
            ("metrics.0.value", float("nan"), r"metrics\[0\].value is not a finite number"),
            ("alignment.elements.Li", float("inf"), "alignment.elements.Li is not a finite number"),
            ("task.key", "t@3", "task.key 't@3' is not t@2"),
            ("counts.failed", 2, "counts do not add up: 9 predicted and 2 failed of 10 frames, 1 errors"),
            ("counts.errors", {}, "counts do not add up: 9 predicted and 1 failed of 10 frames, 0 errors"),
            ("coverage", 1.0, "coverage 1.0 is not 9/10"),
            ("metrics.0.main", False, "exactly one metric must be the main one"),
            ("metrics.1.main", True, "exactly one metric must be the main one"),
            (
                "metrics.0.key",
                "energy_mae",
                "metric key 'energy_mae' does not fit name 'energy_mae' and reference 'aligned'",
            ),
            ("metrics.0.ci_low", None, "energy_mae/aligned has half an interval"),
            ("metrics.1.reason", None, "stress_mae lacks its value or interval without a reason"),
            ("identity.verdict", "PBX", "identity verdict 'PBX' is neither a functional nor undecided"),
            ("identity.entries.0.ci_low", None, "identity by stress lacks its interval without a reason"),
            ("identity.entries.0.reason", "few", "identity by stress lacks its interval without a reason"),
            ("slices.0.metrics.0.ci_low", None, "energy_mae/aligned has half an interval"),
            ("slices.1.n_frames", "few", r"slices\[1\].n_frames must be an integer"),
            ("notes", "none", "notes must be a list"),
            ("parity.energy", [[1.0, 2.0, 3.0]], "parity.energy holds points that are not"),
        ],
    )
    def test_a_file_that_breaks_the_schema_is_refused_with_the_reason(self, path, value, message):
        with pytest.raises(FormatError, match=f"^m.json: .*{message}"):
            from_json(changed(path, value), "m.json")

    def test_a_metric_listed_twice_is_refused(self):
        data = changed("metrics.1", DATA["metrics"][0] | {"main": False})
        with pytest.raises(FormatError, match="a metric is listed twice"):
            from_json(data, "m.json")

    def test_all_problems_are_told_at_once(self):
        data = changed("coverage", del_)
        data["model"]["colour"] = "red"
        with pytest.raises(FormatError, match=r"unknown key model\.colour.*missing key coverage"):
            from_json(data, "m.json")

    @pytest.mark.parametrize(
        "data", [changed("schema", 1), changed("schema", 3), changed("schema", del_), [], "text", None]
    )
    def test_another_schema_is_refused_first(self, data):
        with pytest.raises(
            FormatError,
            match=r"a result of schema 2 is wanted, not .*; bring the board up to date with `xferbench rescore`",
        ):
            from_json(data, "m.json")

    def test_a_truncated_file_is_called_damaged(self, tmp_path):
        (tmp_path / "m.json").write_text(RESULT.to_json()[:-40])
        with pytest.raises(IntegrityError, match=r"m\.json is not valid JSON"):
            results.read(tmp_path / "m.json")

    def test_a_missing_file_is_a_storage_error(self, tmp_path):
        with pytest.raises(StorageError, match="cannot read"):
            results.read(tmp_path / "m.json")

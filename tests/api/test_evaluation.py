from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import xferbench as xb
from xferbench import results
from xferbench.audit import KINDS, Audit, write_audit
from xferbench.dataset import Dataset, locate
from xferbench.errors import (
    CheckFailedError,
    FormatError,
    IntegrityError,
    PredictionsError,
    UnknownNameError,
    UsageError,
)
from xferbench.functionals import Functional
from xferbench.records import Prediction, Predictions
from xferbench.scoring import expected_frames, read_predictions
from xferbench.storage import sha256
from xferbench.tables import predictions_table, read_table, write_table
from xferbench.tasks import load_task

TASK = load_task("mini-static")
CARD = """
model_id = "lennard-jones"
model_name = "Lennard-Jones"
model_version = "1"
functional = "r2SCAN"
authors = ["J. Lennard-Jones"]
training_sets = ["none"]
outputs = ["energy", "forces", "stress"]
conservative = true
citation = "@article{lj, year = 1924}"
[license]
code = "MIT"
checkpoint = "none"
"""


def score(request):
    return xb.score(**request)


@pytest.fixture
def request_(cache, tmp_path, lennard_jones):
    def make(**changes):
        return {"model": str(lennard_jones), "out": tmp_path / "out", "cache_dir": cache} | changes

    return make


@pytest.fixture(scope="module")
def ase_predictions(cache, tmp_path_factory):
    """What an ASE user writes by hand: a table of total energies, forces and Voigt stresses."""
    from ase.calculators.lj import LennardJones

    rows = []
    for frame in expected_frames(TASK, Dataset.open(locate("mini", cache))).frames:
        atoms = frame.atoms()
        atoms.calc = LennardJones(sigma=1.8, epsilon=0.2, rc=6.0, smooth=True)
        rows.append(
            {
                "frame_id": frame.frame_id,
                "energy": float(atoms.get_potential_energy()),
                "forces": atoms.get_forces().tolist(),
                "stress": atoms.get_stress().tolist(),
            }
        )
    import pyarrow as pa

    path = tmp_path_factory.mktemp("ase") / "by-hand.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def values(result):
    return {entry.key: (entry.value, entry.ci_low, entry.ci_high) for entry in result.metrics}


def test_a_model_file_and_an_ase_users_predictions_give_identical_numbers(request_, ase_predictions):
    by_model = score(request_()).results[0]
    by_hand = score(request_(model=str(ase_predictions), functional="r2SCAN")).results[0]
    assert by_hand.model.id == "by-hand"
    assert values(by_model) == values(by_hand)
    assert by_model.predictions.digest == by_hand.predictions.digest
    assert values(by_model)["force_mae"][0] > 0


def test_results_predictions_and_floors_are_written_where_the_leaderboard_looks(request_, tmp_path):
    report = score(request_())
    out = tmp_path / "out"
    names = {path.relative_to(out).as_posix() for path in report.written}
    assert f"predictions/{TASK.key}/lennard-jones.parquet" in names
    for model in ["lennard-jones", "floor-references", "floor-copy-source", "floor-ridge", "floor-zero"]:
        assert results.read(out / "results" / TASK.key / f"{model}.json").model.id == model
    assert "Copy of the source label" in str(report)


def test_scoring_twice_gives_the_same_bytes(request_, tmp_path):
    path = tmp_path / "out" / "results" / TASK.key / "lennard-jones.json"
    score(request_())
    first = path.read_bytes()
    score(request_(resume=False))
    assert path.read_bytes() == first


def test_the_stored_predictions_score_like_the_run_that_made_them(request_, tmp_path):
    first = score(request_()).results[0]
    again = score(request_(model=str(tmp_path / "out/predictions" / TASK.key / "lennard-jones.parquet"))).results[0]
    assert dataclasses.asdict(again) == dataclasses.asdict(first)


def test_a_trial_writes_no_result(request_, tmp_path):
    report = score(request_(limit=3))
    assert report.results[0].counts.frames == 3
    assert report.results[0].counts.limit == 3
    assert not (tmp_path / "out/results").exists()


def test_a_trial_does_not_disturb_the_full_run(request_):
    score(request_(limit=3))
    assert score(request_()).results[0].counts.limit is None


def test_a_floor_can_be_scored_by_name(request_, tmp_path):
    report = score(request_(model="floor:copy-source"))
    assert [result.model.id for result in report.results].count("floor-copy-source") == 1
    assert report.results[0].metric("gap_explained/aligned").value == pytest.approx(0, abs=1e-9)
    assert (tmp_path / "out/predictions" / TASK.key / "floor-copy-source.parquet").exists()


@pytest.fixture
def audit_of(cache, tmp_path):
    """``audit_of(seen, **changes)``: the file of an audit that finds some test pairs of mini in a training set."""
    data = Dataset.open(locate("mini", cache))
    pairs = sorted(pair.pair_id for pair in data.pairs("test"))

    def make(n_seen, **changes):
        overlapping = dict.fromkeys(KINDS, ()) | {"structure": tuple(pairs[:n_seen])}
        audit = Audit(
            dataset="mini", version="1", fingerprint=data.fingerprint, split="test", tolerance=0.05,
            test_pairs=len(pairs), train_records=9, compared=dict.fromkeys(KINDS, 9), unread=0,
            counts={kind: len(names) for kind, names in overlapping.items()}, overlapping=overlapping,
            regimes={"seen-structure": n_seen, "new-material": 0, "new-chemsys": len(pairs) - n_seen},
        )  # fmt: skip
        write_audit(tmp_path / "audit.json", dataclasses.replace(audit, **changes))
        return tmp_path / "audit.json"

    return make


def test_an_audit_gives_clean_scores_and_is_kept_beside_the_result(request_, audit_of, tmp_path):
    path = audit_of(5)
    result = score(request_(model="floor:references", audit=path)).results[0]
    assert result.overlap.n_clean == result.counts.frames - 5
    assert result.overlap.audit_sha256 == sha256(path)
    assert (tmp_path / "out/audits" / TASK.key / "floor-references.json").read_bytes() == path.read_bytes()


def test_another_data_set_is_refused_before_anything_runs(request_, synthetic_dataset, tmp_path):
    with pytest.raises(IntegrityError, match="is about data with fingerprint"):
        score(request_(task="mini-static", dataset=str(synthetic_dataset.directory)))
    assert not (tmp_path / "out").exists()


def test_an_audit_of_other_data_is_refused_before_anything_runs(request_, audit_of, tmp_path):
    with pytest.raises(IntegrityError, match="audit the training set again"):
        score(request_(model="floor:references", audit=audit_of(5, fingerprint="sha256:" + "0" * 64)))
    assert not (tmp_path / "out").exists()


def test_a_floor_may_be_named_as_its_file(request_):
    assert score(request_(model="floor-ridge")).results[0] == score(request_(model="floor:ridge")).results[0]


def test_the_pbe_side_has_no_gga_label_to_copy(request_):
    report = score(request_(task="mini-static-pbe"))
    assert "floor-copy-source" not in {result.model.id for result in report.results}
    assert report.results[0].model.declared_match is False


def test_a_card_that_the_model_brings_is_placed_beside_the_result(request_, lennard_jones, tmp_path):
    (lennard_jones.parent / "card.toml").write_text(CARD)
    lennard_jones.write_text(lennard_jones.read_text() + '\nMODEL_CARD = "card.toml"\n')
    result = score(request_()).results[0]
    assert result.model.name == "Lennard-Jones"
    assert (tmp_path / "out/models/lennard-jones.toml").read_text() == CARD


def test_a_card_that_breaks_the_schema_is_refused_and_not_left_behind(request_, lennard_jones, tmp_path):
    (lennard_jones.parent / "card.toml").write_text(CARD.replace("model_name", "modl_name"))
    lennard_jones.write_text(lennard_jones.read_text() + '\nMODEL_CARD = "card.toml"\n')
    with pytest.raises(FormatError, match=r"unknown key modl_name \(did you mean model_name\?\)"):
        score(request_())
    assert not (tmp_path / "out/models/lennard-jones.toml").exists()


def test_a_card_that_is_there_already_is_kept(request_, tmp_path):
    card = tmp_path / "out/models/lennard-jones.toml"
    card.parent.mkdir(parents=True)
    card.write_text(CARD.replace('"Lennard-Jones"', '"My own words"'))
    assert score(request_()).results[0].model.name == "My own words"
    assert "My own words" in card.read_text()


def test_another_data_set_than_the_task_pins_is_refused(request_, synthetic_source, tmp_path):
    from xferbench.dataset import build

    build(synthetic_source, tmp_path / "other")
    with pytest.raises(IntegrityError, match=r"fingerprint"):
        score(request_(task="mini-static", dataset=str(tmp_path / "other")))


def test_missing_predictions_are_refused_or_counted(request_, ase_predictions, tmp_path):
    table = read_table(ase_predictions)
    test_ids = {
        frame.frame_id
        for frame in expected_frames(TASK, Dataset.open(locate("mini", request_()["cache_dir"]))).test_frames
    }
    gone = sorted(test_ids)[:2]
    rows = [row for row in table.to_pylist() if row["frame_id"] not in gone]
    records = [Prediction(frame_id=row["frame_id"], energy=row["energy"]) for row in rows]
    path = tmp_path / "some.parquet"
    write_table(path, predictions_table(Predictions(records=records, settings={})))
    with pytest.raises(PredictionsError, match=gone[0]):
        score(request_(model=str(path), functional="r2SCAN"))
    result = score(request_(model=str(path), functional="r2SCAN", allow_missing=True)).results[0]
    assert result.counts.failed == 2
    assert result.coverage == pytest.approx(1 - 2 / len(test_ids))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "chgnet:0.3"}, UnknownNameError, "did you mean 'chgnet:0.3.0'"),
        ({"model": "floor:copy"}, UnknownNameError, "unknown floor 'copy'"),
        ({"task": "mini-statik"}, UnknownNameError, "did you mean 'mini-static'"),
        ({"model_id": "x"}, UsageError, "--model-id is for predictions files"),
        ({"functional": "PBE"}, UsageError, "serves the one that its FUNCTIONAL names; leave the option out"),
        ({"model": "floor:zero", "functional": "PBE"}, UsageError, "--functional"),
        ({"model": "floor:zero", "model_id": "x"}, UsageError, "--model-id is for predictions files"),
        ({"model": "floor:zero", "engine": "chgnet"}, UsageError, "--engine chgnet is for built-in potentials"),
        ({"model": "x.parquet", "engine": "chgnet"}, UsageError, "x.parquet runs none"),
    ],
)
def test_wrong_names_are_said_before_any_work(request_, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        score(request_(**changes))
    assert not (tmp_path / "out/results").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"does not say which functional its model reproduces; add --functional"),
        ({"functional": "r2scam"}, r"unknown functional 'r2scam'"),
        ({"functional": "r2SCAN", "model_id": "My Model"}, r"model id 'My Model' must be"),
    ],
)
def test_a_predictions_file_needs_a_functional_and_a_usable_name(request_, ase_predictions, changes, message):
    with pytest.raises(UsageError, match=message):
        score(request_(model=str(ase_predictions), **changes))


def test_a_file_that_names_its_functional_is_not_contradicted(request_, tmp_path):
    kept = str(score(request_()).written[0])
    for agreed in (None, "r2SCAN"):
        assert score(request_(model=kept, functional=agreed)).results[0].model.functional == Functional("r2SCAN")
    with pytest.raises(UsageError, match=r"says that its model reproduces r2SCAN, not PBE; leave --functional out"):
        score(request_(model=kept, functional="PBE"))


def test_a_model_that_fails_on_everything_is_a_failed_check(request_, lennard_jones):
    lennard_jones.write_text(
        'FUNCTIONAL = "r2SCAN"\n\ndef predict(structures):\n    raise RuntimeError("no weights for this")\n'
    )
    with pytest.raises(CheckFailedError, match=r"none of the .* test frames has a prediction .*no weights for this"):
        score(request_())


def test_the_json_of_a_result_is_deterministic_and_finite(request_, tmp_path):
    score(request_())
    text = (tmp_path / "out/results" / TASK.key / "lennard-jones.json").read_text()
    assert json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False) + "\n" == text
    assert str(Path.home()) not in text
    assert str(tmp_path) not in text


def test_suspicions_are_said_while_scoring_and_kept_in_the_result(request_, cache, tmp_path):
    records = [
        Prediction(frame_id=frame.frame_id, energy=frame.energy, stress=-frame.stress)
        for frame in expected_frames(TASK, Dataset.open(locate("mini", cache))).frames
    ]
    write_table(tmp_path / "flipped.parquet", predictions_table(Predictions(records=records, settings={})))
    heard = []
    report = score(request_(model=str(tmp_path / "flipped.parquet"), functional="r2SCAN", say=heard.append))
    (note,) = report.results[0].notes
    assert (
        note
        == "stress: predictions are -1 times the labels; it looks as if the sign is flipped (compression positive?)"
    )
    assert f"flipped: {note}" in heard
    assert results.read(report.written[1]).notes == (note,)
    assert all(result.notes == () for result in report.results[1:])


def test_a_damaged_data_set_in_the_cache_is_made_again_and_said(tmp_path, lennard_jones):
    said = []
    request = {
        "model": "floor:copy-source",
        "out": tmp_path / "out",
        "cache_dir": tmp_path / "cache",
        "say": said.append,
    }
    first = score(request).results[0]
    shard = next((tmp_path / "cache").rglob("test-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-10])
    assert dataclasses.asdict(score(request).results[0]) == dataclasses.asdict(first)
    score(request)
    first, passed, again = said
    assert first == again == "preparing data set mini"
    assert passed.startswith("passed over: ")


def test_the_engine_of_a_model_is_part_of_the_settings(request_):
    pytest.importorskip("chgnet", reason="the engines run CHGNet, an extra")
    own = score(request_(model="chgnet:r2scan")).results[0]
    with pytest.raises(UsageError, match=r"engine was not set and is \"chgnet\".*--no-resume"):
        score(request_(model="chgnet:r2scan", engine="chgnet"))
    original = score(request_(model="chgnet:r2scan", engine="chgnet", resume=False)).results[0]
    assert original.predictions.settings["engine"] == "chgnet"
    for key in ("energy_mae/aligned", "force_mae", "stress_mae"):
        assert original.metric(key).value == pytest.approx(own.metric(key).value, abs=1e-5)


def labels(cache, task, **settings):
    """The labels themselves as predictions: a model without error."""
    frames = expected_frames(task, Dataset.open(locate("mini", cache))).frames
    records = [Prediction(frame_id=frame.frame_id, energy=frame.energy, forces=frame.forces) for frame in frames]
    return Predictions(records=records, settings=settings)


@pytest.fixture
def stored(cache, tmp_path):
    """``stored("name", task)`` -> the path of a file with the labels of that task."""

    def make(name, task=TASK, **settings):
        path = tmp_path / "given" / f"{name}.parquet"
        write_table(path, predictions_table(labels(cache, task, **settings)))
        return path

    return make


def test_predictions_of_another_task_are_refused_by_the_name_of_their_file(request_, stored, tmp_path):
    path = stored("other", load_task("mini-static-pbe"))
    with pytest.raises(PredictionsError, match=r"given/other\.parquet: .*missing"):
        score(request_(model=str(path), functional="PBE"))
    assert not (tmp_path / "out/results").exists()


def test_refused_predictions_do_not_replace_those_of_an_earlier_result(request_, stored, tmp_path):
    kept = tmp_path / "out/predictions" / TASK.key / "mine.parquet"
    score(request_(model=str(stored("mine")), functional="r2SCAN"))
    before = kept.read_bytes()
    with pytest.raises(PredictionsError):
        score(request_(model=str(stored("mine", load_task("mini-static-pbe"))), functional="r2SCAN"))
    assert kept.read_bytes() == before
    digest = results.read(tmp_path / "out/results" / TASK.key / "mine.json").predictions.digest
    assert read_predictions(kept).digest() == digest


def test_a_model_without_error_is_perfect_whatever_its_row_is_called(request_, stored, tmp_path):
    report = score(request_(model=str(stored("mine")), functional="r2SCAN", model_id="exact"))
    result = report.results[0]
    assert result.metric("energy_mae/raw").value == 0.0
    assert result.metric("force_mae").value == 0.0
    assert result.metric("gap_explained/aligned").value == pytest.approx(1.0)
    assert result.model.id == "exact"
    assert report.written[0] == tmp_path / "out/predictions" / TASK.key / "exact.parquet"


def test_a_trial_lies_beside_the_full_run_and_scores_its_first_frames(request_, stored, tmp_path):
    path = str(stored("mine"))
    full = score(request_(model=path, functional="r2SCAN"))
    trial = score(request_(model=path, functional="r2SCAN", limit=4))
    folder = tmp_path / "out/predictions" / TASK.key
    assert {item.name for item in folder.iterdir()} == {"mine.parquet", "mine.limit-4.parquet"}
    assert trial.written == [folder / "mine.limit-4.parquet"]
    assert trial.results[0].counts.frames == 4 < full.results[0].counts.frames
    assert all(result.counts.limit == 4 for result in trial.results)
    assert results.read(tmp_path / "out/results" / TASK.key / "mine.json").counts.limit is None


def test_a_limit_beyond_the_test_split_is_the_full_run(request_, stored):
    counts = score(request_(model=str(stored("mine")), functional="r2SCAN", limit=10_000)).results[0].counts
    assert counts.limit is None


def test_a_pbe_model_on_r2scan_labels_is_scored_and_marked(request_, stored):
    result = score(request_(model=str(stored("mine")), functional="PBE")).results[0]
    assert result.model.functional == "PBE"
    assert result.model.declared_match is False


def test_the_text_of_a_card_outlives_the_model_that_brought_it(request_, lennard_jones, tmp_path):
    card = lennard_jones.parent / "card.toml"
    card.write_text(CARD)
    lennard_jones.write_text(lennard_jones.read_text() + '\nMODEL_CARD = "card.toml"\n')
    first = score(request_()).results[0]
    card.unlink()
    lennard_jones.unlink()
    (tmp_path / "out/models/lennard-jones.toml").unlink()
    again = score(request_(model=str(tmp_path / "out/predictions" / TASK.key / "lennard-jones.parquet"))).results[0]
    assert (tmp_path / "out/models/lennard-jones.toml").read_text() == CARD
    assert again.model == first.model

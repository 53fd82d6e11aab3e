"""``xferbench gap`` on the embedded data: two models of known gap, the table, the JSON, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from xferbench import gap
from xferbench.cli import main
from xferbench.dataset import Dataset, locate
from xferbench.errors import PredictionsError, UsageError
from xferbench.measure import METRICS
from xferbench.records import Prediction, Predictions
from xferbench.scoring import read_predictions
from xferbench.tables import predictions_table, write_table


@pytest.fixture(scope="module")
def pairs(cache):
    data = Dataset.open(locate("mini", cache))
    return [*data.pairs("train"), *data.pairs("test")]


@pytest.fixture
def files(pairs, tmp_path):
    """``files(share)``: an target model that predicts this share of the gap, and a source model; both are wrong together."""

    def make(share=1.0, keep=len):
        sides = {"target": [], "source": []}
        for i, pair in enumerate(pairs):
            common = 0.1 * (i % 7)
            for side, part in (("target", share), ("source", 0.0)):
                mixed = {
                    name: (1 - part) * getattr(pair.source, name) + part * getattr(pair.target, name) + common
                    for name in ("energy", "forces", "stress")
                }
                sides[side].append(Prediction(frame_id=getattr(pair, side).frame_id, **mixed))
        for side, records in sides.items():
            kept = records[: keep(records)] if side == "source" else records
            write_table(tmp_path / f"{side}.parquet", predictions_table(Predictions(records=kept, settings={})))
        return tmp_path / "target.parquet", tmp_path / "source.parquet"

    return make


def values(report):
    return {entry.key: entry.value for entry in report.entries}


def test_the_whole_gap_is_exact_whatever_errors_the_models_share(files, cache):
    for key, value in values(gap(*files(1.0), cache_dir=cache)).items():
        best = 0.0 if METRICS[key.partition("/")[0]].better == "lower" else 1.0
        assert value == pytest.approx(best, abs=1e-6), key


def test_half_the_gap_has_half_the_slope_and_the_right_direction(files, cache):
    found = values(gap(*files(0.5), cache_dir=cache))
    assert found["gap_slope/aligned"] == pytest.approx(0.5)
    assert found["force_gap_ratio"] == pytest.approx(0.5)
    assert found["stress_gap_cosine"] == pytest.approx(1.0)
    assert found["gap_explained/aligned"] == pytest.approx(0.75)


def test_the_floor_predicts_no_gap(files, cache):
    report = gap(*files(0.5), cache_dir=cache)
    floor = {entry.key: entry.value for entry in report.floor}
    assert floor["gap_slope/aligned"] == pytest.approx(0.0, abs=1e-9)
    assert floor["stress_gap_ratio"] == 0.0
    assert [entry.key for entry in report.floor] == [entry.key for entry in report.entries]


def test_every_gap_metric_is_in_the_table(files, cache):
    report = gap(*files(0.5), cache_dir=cache)
    text = str(report)
    assert {metric.name for metric in METRICS.values() if "gap" in metric.quantity} == {
        entry.name for entry in report.entries
    }
    assert all(entry.key in text for entry in report.entries)
    assert "all predictions, or all labels, are zero" in text  # the direction of the floor
    assert max(map(len, text.splitlines())) < 120


def test_the_command_prints_a_table_or_json(files, cache):
    first, second = map(str, files(0.5))
    arguments = ["gap", first, second, "--cache-dir", str(cache)]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0
    assert "gap of two models on mini-static@1" in shown.stdout
    plain = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert plain["entries"][0]["key"] == "gap_mae/aligned"


def test_structures_that_only_one_model_has_are_refused(files, cache):
    with pytest.raises(PredictionsError, match=r"source\.parquet: 1 frame .* without prediction"):
        gap(*files(0.5, keep=lambda records: len(records) - 1), cache_dir=cache)


def test_a_gga_task_has_no_gap(files, cache):
    with pytest.raises(UsageError, match="mini-static-pbe@1 has PBE labels; name a target task"):
        gap(*files(), task="mini-static-pbe", cache_dir=cache)


def test_ids_of_either_functional_name_the_structures_of_the_gga_model(files, pairs, cache, tmp_path):
    first, second = files(0.5)
    renamed = {pair.source.frame_id: pair.target.frame_id for pair in pairs}
    records = [replace(record, frame_id=renamed[record.frame_id]) for record in read_predictions(second).records]
    write_table(tmp_path / "renamed.parquet", predictions_table(Predictions(records=records, settings={})))
    assert values(gap(first, tmp_path / "renamed.parquet", cache_dir=cache)) == values(
        gap(first, second, cache_dir=cache)
    )


def test_models_without_forces_have_an_energy_gap_and_say_why_there_is_no_other(files, cache, tmp_path):
    bare = []
    for path in files(0.5):
        records = [Prediction(frame_id=item.frame_id, energy=item.energy) for item in read_predictions(path).records]
        bare.append(tmp_path / f"bare-{path.name}")
        write_table(bare[-1], predictions_table(Predictions(records=records, settings={})))
    report = gap(*bare, cache_dir=cache)
    by_key = {entry.key: entry for entry in report.entries}
    assert by_key["gap_slope/aligned"].value == pytest.approx(0.5)
    assert by_key["force_gap_ratio"].value is None
    assert by_key["force_gap_ratio"].reason in str(report)


def test_a_structure_on_which_the_gga_model_failed_is_missing_from_the_gap(files, pairs, cache):
    first, second = files(0.5)
    whole = gap(first, second, cache_dir=cache).entries[0]
    failed = pairs[-1].source.frame_id  # of the test split
    records = [
        Prediction(frame_id=failed, error="gave up") if record.frame_id == failed else record
        for record in read_predictions(second).records
    ]
    write_table(second, predictions_table(Predictions(records=records, settings={})))
    entry = gap(first, second, cache_dir=cache).entries[0]
    assert (entry.n_frames, entry.n_missing) == (whole.n_frames - 1, whole.n_missing + 1)


def test_the_two_models_in_the_wrong_order_are_refused(files, cache):
    first, second = files(1.0)
    with pytest.raises(PredictionsError, match="missing"):
        gap(second, first, cache_dir=cache)

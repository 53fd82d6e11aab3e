from __future__ import annotations

import pytest

from xferbench.errors import UsageError
from xferbench.studies.plan import Cell
from xferbench.studies.running import Work
from xferbench.studies.training import (
    config_of,
    evaluation_of,
    log_of,
    method_options,
    parted,
    predictions_of,
    settings,
)
from xferbench.transfer import TrainConfig

CELL = Cell(method="scratch+fit", subset=1.0, seed=0)


def test_settings_are_those_of_training():
    values = settings(epochs=7, settings=("loss.energy=1",))
    assert (values["epochs"], values["loss"]["energy"]) == (7, 1.0)
    assert config_of(values) == TrainConfig(epochs=7, loss=TrainConfig().loss.__class__(energy=1.0))


def test_impossible_settings_are_refused_before_anything_runs():
    with pytest.raises(UsageError, match="lr = -1"):
        settings(settings=("lr=-1",))


def test_what_decides_the_result_is_parted_from_how_it_is_carried_out():
    recipe, runtime = parted(settings(device="cpu", settings=("threads=1",)))
    assert (runtime["device"], runtime["threads"]) == ("cpu", 1)
    assert {"subset", "seed", "epoch_limit", "device", "threads"}.isdisjoint(recipe)
    assert config_of(recipe | runtime) == TrainConfig(threads=1)


def test_what_a_run_left_is_read_through_its_cell(data, fake, tmp_path):
    out, config = str(tmp_path / CELL.name), {"subset": 1.0, "seed": 0}
    fake.train(Work(method="scratch+fit", dataset=str(data.directory), out=out, config=config))
    records = predictions_of(tmp_path)(CELL)
    assert records.keys() == {frame.frame_id for frame in data.frames("target", "test")}
    assert [row["step"] for row in log_of(tmp_path, CELL)] == [0, 2, 4, 6, 8]
    assert evaluation_of(tmp_path, CELL)["best_epoch"] == 3


def test_a_work_is_plain_values_that_travel():
    import pickle

    work = Work(method="scratch+fit", dataset="d", out="o", config={"epochs": 1})
    assert pickle.loads(pickle.dumps(work)) == work  # noqa: S301 - our own bytes


def test_options_of_methods_are_typed_with_their_name():
    found = method_options(["lora+fit:rank=4", "lora+fit:alpha=0.5", "paper-4:rank=1"])
    assert found == {"lora+fit": {"rank": 4, "alpha": 0.5}, "finetune+fit": {"rank": 1}}


@pytest.mark.parametrize(
    ("text", "message"), [("rank=4", "write METHOD:KEY=VALUE"), ("lora+fit:rank", "write METHOD:KEY=VALUE")]
)
def test_options_without_a_method_or_a_value_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        method_options([text])

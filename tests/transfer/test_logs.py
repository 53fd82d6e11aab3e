import math
import sys
from types import SimpleNamespace

import pytest

from xferbench.errors import MissingExtraError, StorageError
from xferbench.transfer.config import TrainConfig
from xferbench.transfer.logs import Table, loggers, mean_columns, read_rows


def test_a_table_grows_and_is_cut_back_to_a_position(tmp_path):
    path = tmp_path / "log.csv"
    table = Table(path, 0)
    table.add({"epoch": 0, "loss": ""})
    kept = table.position
    table.add({"epoch": 1, "loss": 0.1})
    whole = path.read_bytes()
    again = Table(path, kept)
    again.add({"epoch": 1, "loss": 0.1})
    assert path.read_bytes() == whole == b"epoch,loss\n0,\n1,0.1\n"
    Table(path).add({"epoch": 2, "loss": 0.05})
    assert path.read_bytes() == whole + b"2,0.05\n"


def test_rows_are_read_as_numbers(tmp_path):
    table = Table(tmp_path / "log.csv")
    table.add({"epoch": 0, "loss": ""})
    table.add({"epoch": 1, "loss": 1 / 3})
    first, second = read_rows(tmp_path / "log.csv")
    assert math.isnan(first["loss"])
    assert second == {"epoch": 1.0, "loss": 1 / 3}


def test_a_log_that_is_not_there_or_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(StorageError, match=r"cannot read .*log\.csv"):
        read_rows(tmp_path / "log.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        Table(tmp_path / "file" / "log.csv").add({"epoch": 0})


def test_what_is_no_number_is_an_empty_cell():
    assert mean_columns([0.5, math.nan], ["energy", "forces"], "val_") == {"val_energy": 0.5, "val_forces": ""}


def test_without_being_asked_there_is_no_logger(tmp_path):
    with loggers(TrainConfig(), tmp_path) as made:
        assert made == []


@pytest.fixture
def calls(monkeypatch):
    """What a stand-in for wandb is asked for."""
    made = []

    def finish(*, exit_code):
        made.append(exit_code)

    run = SimpleNamespace(log=lambda values, step: made.append((step, values)), finish=finish)

    def init(**settings):
        made.append(settings)
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    return made


WANDB = TrainConfig(loggers=("wandb",))


def test_weights_and_biases_gets_settings_numbers_and_an_end(calls, tmp_path):
    with loggers(WANDB, tmp_path) as (logger,):
        logger.log(5, {"loss": 0.1})
    settings, *others = calls
    assert settings["config"]["lr"] == 1e-3
    assert others == [(5, {"loss": 0.1}), 0]


def test_a_run_that_stops_ends_in_weights_and_biases_too_and_goes_on_there(calls, tmp_path):
    with pytest.raises(KeyboardInterrupt), loggers(WANDB, tmp_path):
        raise KeyboardInterrupt
    with loggers(WANDB, tmp_path):
        pass
    with loggers(WANDB, tmp_path / "another"):
        pass
    first, code, again, _, another, _ = calls
    assert code == 1
    assert again["id"] == first["id"] != another["id"]


def test_weights_and_biases_itself_takes_a_run_and_goes_on_with_it(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for step in (0, 2):
        with loggers(WANDB, tmp_path) as (logger,):
            logger.log(step, {"loss": 0.1})
    (name,) = {path.stem for path in tmp_path.glob("wandb/offline-run-*/run-*.wandb")}
    assert name == f"run-{(tmp_path / 'wandb' / 'run-id').read_text()}"


def test_tensorboard_has_every_epoch_at_once(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def read():
        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
        return [(event.step, event.value) for event in events.Scalars("loss")]

    with loggers(TrainConfig(loggers=("tensorboard",)), tmp_path) as (logger,):
        logger.log(5, {"loss": 0.5})
        assert read() == [(5, 0.5)]
        logger.log(7, {"loss": 0.25})
    with loggers(TrainConfig(loggers=("tensorboard",)), tmp_path) as (logger,):
        logger.log(9, {"loss": 0.125})
    assert read() == [(5, 0.5), (7, 0.25), (9, 0.125)]


@pytest.mark.parametrize(("name", "module"), [("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard")])
def test_a_logger_that_is_not_installed_is_named(name, module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(MissingExtraError, match=rf'pip install "\.\[{name}\]"'),
        loggers(TrainConfig(loggers=(name,)), tmp_path),
    ):
        pass

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
    assert loggers(TrainConfig(), tmp_path) == []


def test_weights_and_biases_gets_settings_numbers_and_an_end(tmp_path, monkeypatch):
    calls = []
    run = SimpleNamespace(
        log=lambda values, step: calls.append((step, values)), finish=lambda: calls.append("finished")
    )

    def init(**settings):
        calls.append(settings["config"]["lr"])
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    (logger,) = loggers(TrainConfig(loggers=("wandb",)), tmp_path)
    logger.log(5, {"loss": 0.1})
    logger.close()
    assert calls == [1e-3, (5, {"loss": 0.1}), "finished"]


def test_tensorboard_gets_scalars(tmp_path, monkeypatch):
    calls = []

    class SummaryWriter:
        def __init__(self, directory):
            calls.append(directory)

        def add_scalar(self, name, value, step):
            calls.append((name, value, step))

        def close(self):
            calls.append("closed")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=SummaryWriter))
    (logger,) = loggers(TrainConfig(loggers=("tensorboard",)), tmp_path)
    logger.log(5, {"loss": 0.1})
    logger.close()
    assert calls == [str(tmp_path / "tensorboard"), ("loss", 0.1, 5), "closed"]


@pytest.mark.parametrize(("name", "module"), [("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard")])
def test_a_logger_that_is_not_installed_is_named(name, module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "{name}"'):
        loggers(TrainConfig(loggers=(name,)), tmp_path)

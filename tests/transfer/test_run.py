import math

import pytest

from xferbench.errors import StorageError
from xferbench.storage import write_json
from xferbench.transfer.run import is_run, open_run


@pytest.fixture
def started(tmp_path, tiny):
    write_json(tmp_path / "run.json", {"method": "lora", "config": tiny(seed=4).recipe()})
    (tmp_path / "log.csv").write_text(
        "epoch,step,val_energy,val_forces,val_stress,val_magmoms\n0,0,3,2,1,\n1,5,1,1,1,\n"
    )
    return tmp_path


def test_a_started_run_knows_its_method_settings_and_log(started, tiny):
    run = open_run(started)
    assert run.method == "lora"
    assert run.config.recipe() == tiny(seed=4).recipe()
    assert [row["val_energy"] for row in run.log] == [3, 1]
    assert math.isnan(run.log[0]["val_magmoms"])
    assert not run.finished


@pytest.mark.parametrize("ask", ["evaluation", "best_epoch", "model", "weights"])
def test_what_only_a_finished_run_has_says_how_to_go_on(ask, started):
    with pytest.raises(StorageError, match="is not finished; continue it with --resume"):
        getattr(open_run(started), ask)


def test_a_finished_run_without_a_file_names_it(started):
    write_json(started / "evaluation.json", {"best_epoch": 3})
    run = open_run(started)
    assert (run.finished, run.best_epoch) == (True, 3)
    with pytest.raises(StorageError, match=r"model\.py is missing; train again"):
        _ = run.model
    with pytest.raises(StorageError, match=r"gga-test\.parquet is missing"):
        run.predictions("gga-test")


def test_a_directory_without_a_run_is_one_line(tmp_path):
    assert not is_run(tmp_path)
    with pytest.raises(StorageError, match=r"no run in .*: run\.json is missing; make one with `xferbench train`"):
        open_run(tmp_path)


def test_steps_to_reach_another_run(started):
    run = open_run(started)
    assert run.steps_to_reach(run) == {"energy": 5, "forces": 5, "stress": 0, "magmoms": None}

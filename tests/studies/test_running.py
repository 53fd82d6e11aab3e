from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from xferbench.errors import CheckFailedError, MissingExtraError, UsageError
from xferbench.studies import running
from xferbench.studies.plan import Plan
from xferbench.studies.running import FINISHED, Execution, attempt, carry_out, works
from xferbench.studies.training import method_settings
from xferbench.transfer import run

PLAN = Plan(
    kind="methods",
    dataset="synthetic",
    fingerprint="sha256:0",
    methods=("scratch+fit", "finetune+fit"),
    subsets=(1.0,),
    seeds=(0, 1),
    fit_from=1,
    config={"epochs": 1},
    options={"scratch+fit": {"rank": 4}},
)
CELLS = PLAN.cells()
PATIENCE = 120.0
"""Seconds; a busy machine is no failure."""


@pytest.fixture
def todo(data, tmp_path):
    return works(PLAN, data.directory, tmp_path / "study", {"threads": 2}, method_settings)


def test_a_run_is_finished_when_transfer_says_so():
    assert run.EVALUATION == FINISHED


def test_the_usual_trainer_can_be_imported_by_another_process():
    module, _, name = running.TRAINER.partition(":")
    assert callable(getattr(__import__(module, fromlist=[name]), name))


def test_a_run_knows_its_method_place_and_settings(todo, data, tmp_path):
    assert todo[3].method == "finetune+fit"
    assert todo[3].out == str(tmp_path / "study" / CELLS[3].name)
    assert todo[3].config == {
        "epochs": 1,
        "threads": 2,
        "strategy": "finetune",
        "references": "fit",
        "atoms": "",
        "subset": 1.0,
        "seed": 1,
        "options": {},
    }


def test_options_of_a_method_are_its_own(todo):
    assert [work.config["options"] for work in todo] == [{"rank": 4}, {}, {"rank": 4}, {}]


def test_finished_runs_are_not_repeated(todo, execution, calls, tmp_path):
    assert carry_out(todo[:2], execution(), tmp_path) == {}
    said = []
    assert carry_out(todo, execution(say=said.append), tmp_path) == {}
    assert [call[:3] for call in calls()] == [[cell.method, "1.0", str(cell.seed)] for cell in CELLS]
    assert said[0] == "2 of 4 runs are finished"
    assert said[-1] == f"[2/2] {todo[3].out}: finished"


def test_a_run_that_fails_does_not_stop_the_others(todo, execution, calls, tmp_path):
    bad = [replace(todo[0], method="finetune+atoms", out=f"{tmp_path}/bad")]
    failed = carry_out([*bad, *todo[:1]], execution(), tmp_path)
    assert failed == {bad[0].out: "DataError: finetune+atoms needs the energies of atoms"}
    assert len(calls()) == 2


def test_a_bug_is_not_swallowed(todo, execution):
    with pytest.raises(AttributeError):
        attempt("fake_trainer:nothing", todo[0])


def test_processes_share_the_work_and_the_cores(todo, execution, calls, data, tmp_path):
    assert carry_out(todo, execution("threads", jobs=2), tmp_path) == {}
    assert sorted(call[:3] for call in calls()) == sorted([cell.method, "1.0", str(cell.seed)] for cell in CELLS)
    assert str(os.getpid()) not in {call[3] for call in calls()}
    cores = len(os.sched_getaffinity(0))
    assert (data.directory.parent / "threads.txt").read_text() == str(max(1, cores // 2))


def test_a_killed_process_is_told_and_the_next_try_goes_on(todo, execution, calls, tmp_path):
    with pytest.raises(CheckFailedError, match="run the same command again with fewer --jobs than 2"):
        carry_out(todo, execution("train_or_die", jobs=2), tmp_path)
    before = len(calls())
    done = [work for work in todo if (Path(work.out) / FINISHED).exists()]
    assert carry_out(todo, execution(), tmp_path) == {}
    assert len(calls()) == before + len(todo) - len(done)


SCRIPT = """
import sys
from pathlib import Path
from xferbench.studies.training import method_settings
from xferbench.studies.running import Execution, Work, carry_out

def main(out):
    todo = [Work(method="scratch+fit", dataset="", out=f"{out}/{name}", config={}) for name in "ab"]
    carry_out(todo, Execution(jobs=2, trainer="fake_trainer:train_for_ever"), Path(out))

if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.usefixtures("fake")
def test_the_processes_of_a_study_end_with_it(number, tmp_path):
    (tmp_path / "study.py").write_text(SCRIPT)
    study = subprocess.Popen([sys.executable, tmp_path / "study.py", tmp_path], stdout=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE
    while not ((tmp_path / "a").exists() and (tmp_path / "b").exists()):
        assert study.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    study.send_signal(number)
    study.communicate(timeout=PATIENCE)  # the pipe ends with the last process that holds it
    assert study.returncode == -number


def test_a_cluster_does_what_one_process_does(todo, execution, calls, tmp_path):
    said = []
    bad = [replace(todo[0], method="lora+fit", out=f"{tmp_path}/lora")]
    how = execution(cluster="local", cluster_options=("timeout_min=2",), say=said.append)
    failed = carry_out([*todo[:1], *bad], how, tmp_path / "jobs")
    assert failed == {bad[0].out: "DataError: lora+fit needs the energies of atoms"}
    assert [call[:2] for call in sorted(calls())] == [["lora+fit", "1.0"], ["scratch+fit", "1.0"]]
    assert said[0] == f"2 jobs submitted to local; their logs are in {tmp_path / 'jobs'}"


def test_a_cluster_needs_its_package(todo, execution, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[cluster\]"'):
        carry_out(todo, execution(cluster="slurm"), tmp_path)


def test_an_option_of_the_cluster_is_a_key_and_a_value(todo, execution, tmp_path):
    with pytest.raises(UsageError, match="'timeout': write key=value"):
        carry_out(todo, execution(cluster="local", cluster_options=("timeout",)), tmp_path)


def test_numbers_of_the_cluster_are_numbers():
    assert running._options(["timeout_min=600", "slurm_partition=gpu"]) == {
        "timeout_min": 600,
        "slurm_partition": "gpu",
    }


def test_without_wishes_runs_follow_each_other_here():
    assert (Execution().jobs, Execution().cluster) == (1, None)

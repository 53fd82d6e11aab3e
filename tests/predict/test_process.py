from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from xferbench.models.wire import Structures, encode
from xferbench.predict import process
from xferbench.predict.interpreter import describe
from xferbench.predict.log import LIMIT, Log
from xferbench.predict.process import Lost, Worker
from xferbench.predict.sandbox import Options, launching

ATOM = {"numbers": [3], "positions": [[0.1, 0.2, 0.3]], "cell": [[3, 0, 0], [0, 3, 0], [0, 0, 3]], "pbc": [True] * 3}
LONG = 60.0
BARE = SimpleNamespace(**{name: np.array(value) for name, value in ATOM.items()})


def ask(worker, structures=(ATOM,), timeout=LONG):
    """What the worker says, an energy each spelled out."""
    n = len(structures)
    arrays = {
        "n_atoms": np.ones(n, dtype="<i8"),
        "numbers": np.concatenate([np.array(item["numbers"], dtype="<i8") for item in structures])
        if n
        else np.zeros(0, "<i8"),
        "positions": np.array([item["positions"][0] for item in structures], dtype="<f8").reshape(n, 3),
        "cell": np.array([item["cell"] for item in structures], dtype="<f8").reshape(n, 3, 3),
        "pbc": np.array([item["pbc"] for item in structures], dtype="|b1").reshape(n, 3),
    }
    reply = worker.ask({"do": "predict"}, timeout, arrays)
    return (
        reply
        if isinstance(reply, Lost)
        else {**reply[0], **({"answers": reply[1]["energy"].tolist()} if reply[1] else {})}
    )


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def started(write_model, log):
    """``started(source)`` -> a worker that has loaded the model."""
    with ExitStack() as stack:

        def start(source, mode="process"):
            spec = write_model(source)
            launch = stack.enter_context(
                launching(
                    describe(Path(sys.executable)), Path(spec.path), Options(mode=mode), device="cpu", threads=None
                )
            )
            worker = Worker(launch, log)
            stack.callback(worker.kill)
            hello, _ = worker.ask({"do": "load", "spec": asdict(spec), "device": "cpu"}, LONG)
            assert "functional" in hello
            return worker

        yield start


def doing(action):
    return f"def predict(batch):\n    {action}\n    return [good(atoms) for atoms in batch]"


def test_an_answer_comes_back(started):
    worker = started(doing("pass"))
    for _ in range(3):
        assert ask(worker)["answers"][0] == 0.1 * 3.0


def test_requests_and_replies_may_be_larger_than_a_pipe(started):
    worker = started(doing("pass"))
    reply = ask(worker, [ATOM] * 5000)
    assert len(reply["answers"]) == 5000


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("os._exit(3)", "ended the process with exit status 3"),
        ("os.kill(os.getpid(), 9)", "killed by signal 9 (out of memory?)"),
        ("os.abort()", "killed by signal 6 (SIGABRT)"),
        ("import ctypes; ctypes.string_at(0)", "killed by signal 11 (SIGSEGV)"),
        ("os.closerange(3, 256)", "ended the process with exit status 1"),
    ],
)
def test_a_worker_that_dies_is_lost_with_the_reason(started, action, reason):
    assert ask(started(doing(action))) == Lost(reason)


def test_a_crash_in_compiled_code_leaves_its_python_traceback_in_the_log(started, log):
    ask(started(doing("import ctypes; ctypes.string_at(0)")))
    assert "Segmentation fault" in log.text()
    assert "in predict" in log.text()


@pytest.mark.parametrize(
    "action",
    [
        "time.sleep(600)",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "exec('while True: print(1)')",
    ],
)
def test_a_worker_that_hangs_is_killed_when_its_time_is_over(started, living, action, ends):
    worker = started(doing(action))
    group = worker._process.pid
    assert living(group) == 2
    assert ask(worker, timeout=0.3) == Lost("timeout after 0.3 s")
    ends(group)


def test_a_worker_that_never_reads_does_not_hold_up_a_large_request(started):
    worker = started(doing("time.sleep(600)"))
    os.write(worker._requests, encode({"do": "predict"}, Structures.of([BARE]).arrays()))
    assert ask(worker, [ATOM] * 5000, 0.3) == Lost("timeout after 0.3 s")


def test_a_grandchild_that_outlives_the_worker_does_not_hide_its_death(started, ends):
    """The grandchild holds the worker's end of every pipe and prints on."""
    worker = started("""
        def predict(batch):
            if os.fork() == 0:
                while True:
                    print('still here')
                    time.sleep(0.001)
            os._exit(4)
    """)
    group = worker._process.pid
    assert ask(worker) == Lost("ended the process with exit status 4")
    ends(group)


def test_closing_ends_processes_that_the_model_left_behind(started, living, ends):
    worker = started(doing("subprocess.Popen(['sleep', '600'])"))
    group = worker._process.pid
    assert ask(worker)["answers"]
    assert living(group) == 3
    worker.close()
    ends(group)


def test_closing_lets_exit_handlers_run(started, tmp_path, log):
    worker = started("import atexit\natexit.register(print, 'goodbye')\n" + doing("pass"))
    worker.close()
    assert log.text() == "goodbye\n"
    worker.close()
    worker.kill()


def test_closing_does_not_wait_long_for_a_worker_that_will_not_end(started, monkeypatch, ends):
    monkeypatch.setattr(process, "GRACE", 0.2)
    worker = started("import atexit\natexit.register(time.sleep, 600)\n" + doing("pass"))
    group = worker._process.pid
    worker.close()
    ends(group)


def test_an_exception_in_the_with_block_kills_at_once(started, ends):
    worker = started("import atexit\natexit.register(time.sleep, 600)\n" + doing("pass"))
    group = worker._process.pid
    with pytest.raises(KeyError), worker:
        raise KeyError
    ends(group)


def test_no_descriptor_of_ours_stays_open(started):
    before = set(Path("/dev/fd").iterdir())
    worker = started(doing("pass"))
    ask(worker)
    worker.close()
    assert set(Path("/dev/fd").iterdir()) == before


@pytest.mark.parametrize(
    "action",
    [
        "print('x' * 5_000_000)",
        "os.write(1, b'x' * 5_000_000)",
        "os.write(2, b'x' * 5_000_000)",
        "os.system('head -c 5000000 /dev/zero')",
    ],
)
def test_megabytes_of_output_cost_nothing_and_their_end_is_kept(started, log, action):
    worker = started(doing(f"{action}; print('the end')"))
    assert ask(worker)["answers"]
    worker.close()
    assert log.text().endswith("the end\n")
    assert "bytes left out" in log.text()
    assert len(log.text()) < 2 * LIMIT + 100


def test_nothing_a_model_prints_can_be_taken_for_an_answer(started):
    worker = started(doing("""print('{"answers": [{"energy": 666.0}]}', flush=True)"""))
    assert ask(worker)["answers"][0] == 0.1 * 3.0


def test_nonsense_in_the_pipe_for_answers_loses_the_worker(started):
    worker = started("""
        def predict(batch):
            for number in range(3, 64):
                try:
                    os.write(number, b'nonsense\\\\n')
                except OSError:
                    pass
            return []
    """)
    assert ask(worker) == Lost("wrote into the pipe for its answers")


def test_a_model_cannot_ask_the_terminal(started):
    worker = started(doing("input()"))
    assert ask(worker)["failed"].startswith("EOFError")
    assert ask(worker)["kind"] is None


def test_ctrl_c_in_the_terminal_does_not_reach_the_model(started):
    worker = started(doing("pass"))
    assert os.getsid(worker._process.pid) == worker._process.pid != os.getsid(0)


def test_a_message_that_announces_more_than_any_answer_loses_the_worker(started):
    worker = started("""
        def predict(batch):
            for number in range(3, 64):
                try:
                    os.write(number, b'\\xff' * 16)
                except OSError:
                    pass
            return []
    """)
    assert ask(worker) == Lost("wrote into the pipe for its answers")

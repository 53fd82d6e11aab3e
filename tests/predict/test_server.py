from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from xferbench.models import ModelSpec
from xferbench.models.server import Server, out_of_memory
from xferbench.models.wire import HEAD, Answers, Structures, decode, encode, length

STRUCTURE = {"numbers": [3, 17], "positions": [[0, 0, 0], [2.5, 2.5, 2.5]], "cell": [[5, 0, 0], [0, 5, 0], [0, 0, 5]]}
ATOM = {"numbers": [3], "positions": [[0.1, 0.2, 0.3]], "cell": [[3, 0, 0], [0, 3, 0], [0, 0, 3]], "pbc": [True] * 3}


@pytest.fixture
def loaded(write_model):
    """``loaded(source)`` -> a worker in this very process, and its reply to ``load``."""

    def make(source):
        worker = Server()
        return worker, load(worker, write_model(source))

    return make


def load(worker, spec, device="cpu"):
    return worker.answer({"do": "load", "spec": asdict(spec), "device": device}, {})[0]


def arrays(structures):
    made = [
        SimpleNamespace(**{name: np.array(value) for name, value in {"pbc": [True] * 3, **item}.items()})
        for item in structures
    ]
    return Structures.of(made).arrays()


def spelled(message, values):
    """A reply with one answer per structure, without what it cost."""
    if not values:
        return message
    assert message["seconds"] >= 0
    assert message["memory"] > 0
    answers = Answers.read(message, values)
    each = [answers.between(index, index + 1) for index in range(len(answers))]
    return {
        "answers": [
            {"error": one.errors[0]}
            if one.errors
            else {"energy": one.energy[0]}
            | {name: rows.tolist() for name, rows in one.values.items() if one.given[name][0]}
            for one in each
        ]
    }


def predict(worker, *structures):
    return spelled(*worker.answer({"do": "predict"}, arrays(structures)))


GOOD = "def predict(batch): return [good(atoms) for atoms in batch]"


def test_loading_reports_what_the_model_declares(loaded, tmp_path):
    (tmp_path / "card.md").write_text("# Springs\n")
    source = f'SUPPORTED_ELEMENTS = ["O", 3]\nREFERENCES = {{"Li": -1.5}}\nMODEL_CARD = "card.md"\n{GOOD}'
    _, reply = loaded(source)
    assert reply.pop("source_sha256").startswith("sha256:")
    assert reply.pop("served_by").startswith("sha256:")
    assert reply == {
        "functional": "r2SCAN",
        "supported_elements": ["Li", "O"],
        "references": {"Li": -1.5},
        "card": "# Springs\n",
    }


def test_a_model_that_declares_little_reports_nulls(loaded):
    _, reply = loaded(GOOD)
    assert (reply["supported_elements"], reply["references"], reply["card"]) == (None, None, None)


def test_a_card_that_is_a_dictionary_is_reported_as_json(loaded):
    _, reply = loaded('MODEL_CARD = {"name": "springs"}\n' + GOOD)
    assert json.loads(reply["card"]) == {"name": "springs"}


def test_answers_are_plain_numbers_that_survive_json(loaded):
    worker, _ = loaded(GOOD)
    reply = predict(worker, ATOM, STRUCTURE)
    first, second = json.loads(json.dumps(reply))["answers"]
    assert first["energy"] == 0.1 * 3.0
    assert first["forces"] == (-0.3 * np.array(ATOM["positions"])).tolist()
    assert second["stress"] == [(np.eye(3) / 7).tolist()]


def test_numpy_and_torch_like_numbers_become_plain(loaded):
    worker, _ = loaded(
        "def predict(batch): return ({'energy': np.float32(0.1), 'magmoms': np.zeros(1, dtype='f4')} for _ in [1])"
    )
    assert "must return a list" in predict(worker, ATOM)["failed"]
    worker, _ = loaded(
        "def predict(batch): return [{'energy': np.float32(0.1), 'magmoms': np.zeros(len(a), 'f4')} for a in batch]"
    )
    assert predict(worker, ATOM) == {"answers": [{"energy": float(np.float32(0.1)), "magmoms": [0.0]}]}


def test_the_model_sees_the_structure_as_it_is(loaded):
    worker, _ = loaded(
        "def predict(batch):\n"
        "    a, = batch\n"
        "    assert a.pbc.tolist() == [True, False, True] and a.calc is None and not a.info\n"
        "    assert not a.get_initial_magnetic_moments().any() and sorted(a.arrays) == ['numbers', 'positions']\n"
        "    return [{'energy': a.cell[0, 1]}]\n"
    )
    structure = {**ATOM, "cell": [[3, 0.25, 0], [0, 3, 0], [0, 0, 3]], "pbc": [True, False, True]}
    assert predict(worker, structure) == {"answers": [{"energy": 0.25}]}


def test_a_model_that_moves_atoms_of_its_own_copy_changes_no_answer(loaded):
    worker, _ = loaded(
        "def predict(batch):\n    [a.pop() for a in batch if len(a) > 1]\n    return [{'energy': 1.0}] * len(batch)"
    )
    assert predict(worker, ATOM, STRUCTURE)["answers"] == [{"energy": 1.0}] * 2


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ("{'energy': float('nan')}", "NaN or infinite"),
        ("{'forces': np.zeros((1, 3))}", "no 'energy'"),
        ("{'energy': 1.0, 'forces': np.zeros((2, 3))}", "forces has shape (2, 3)"),
        ("{'error': 'too close'}", "too close"),
        ("None", "must be a dictionary"),
    ],
)
def test_a_bad_result_is_its_structures_failure_alone(loaded, result, reason):
    worker, _ = loaded(f"def predict(batch): return [{result} if len(a) == 1 else good(a) for a in batch]")
    good, bad = predict(worker, STRUCTURE, ATOM)["answers"]
    assert good["energy"] == 2.0
    assert reason in bad["error"]


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("[]", "predict returned 0 results for 2 structures"),
        ("[{'energy': 1.0}] * 3", "predict returned 3 results for 2 structures"),
        ("None", "predict returned a NoneType; it must return a list of dictionaries"),
        ("{'energy': 1.0, 'forces': 2}", "predict returned a dict; it must return a list of dictionaries"),
        ("'ab'", "predict returned a str"),
    ],
)
def test_a_batch_that_is_not_one_result_per_structure_fails_as_a_whole(loaded, returned, reason):
    worker, _ = loaded(f"def predict(batch): return {returned}")
    reply = predict(worker, ATOM, STRUCTURE)
    assert reply["kind"] == "ModelError"
    assert reason in reply["failed"]


@pytest.mark.parametrize(
    ("action", "failed"),
    [
        ("raise ValueError('too close')", "ValueError: too close (model.py:8)"),
        ("sys.exit(3)", "called sys.exit(3) (model.py:8)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt (model.py:8)"),
        ("raise GeneratorExit", "GeneratorExit (model.py:8)"),
    ],
)
def test_whatever_a_model_raises_is_a_reply_and_its_traceback_is_printed(loaded, capfd, action, failed):
    worker, _ = loaded(f"def predict(batch): {action}")
    assert predict(worker, ATOM) == {"failed": failed, "kind": None, "memory_full": False}
    assert "model.py" in capfd.readouterr().err


def test_an_error_of_our_tree_keeps_its_class(loaded):
    _, reply = loaded("raise ValueError('no weights')")
    assert reply["kind"] == "ModelError"
    assert "no weights" in reply["failed"]
    worker = Server()
    spec = ModelSpec(kind="builtin", name="nonsense:1", model_id="nonsense-1")
    assert load(worker, spec)["kind"] == "UnknownNameError"


def test_requests_out_of_turn_are_refused(loaded):
    assert predict(Server(), ATOM)["failed"] == "no model is loaded"
    worker, _ = loaded(GOOD)
    assert "'dance'" in worker.answer({"do": "dance"}, {})[0]["failed"]


class FakeTorch:
    """A GPU whose context is lost or not."""

    def __init__(self, *, lost):
        self.cuda = self
        self._lost = lost

    def max_memory_allocated(self, device):
        return 17 if device == "cuda:1" else 0

    def synchronize(self, device):
        assert device == "cuda:1"
        if self._lost:
            raise RuntimeError("CUDA error: device-side assert triggered")


@pytest.mark.parametrize(
    "body", ["raise RuntimeError('CUDA error')", "return [{'error': 'RuntimeError: CUDA error'} for a in batch]"]
)
def test_a_failure_that_cost_the_gpu_says_so(write_model, monkeypatch, body):
    source = f"def _predict(batch):\n    {body}\ndef load_model(device):\n    return _predict"
    worker = Server()
    load(worker, write_model(source), "cuda:1")
    monkeypatch.setitem(sys.modules, "torch", FakeTorch(lost=False))
    assert "broken" not in predict(worker, ATOM, STRUCTURE)
    monkeypatch.setitem(sys.modules, "torch", FakeTorch(lost=True))
    reply = predict(worker, ATOM, STRUCTURE)
    assert reply["failed"].startswith("RuntimeError: CUDA error")
    assert (reply["kind"], reply["broken"]) == (None, True)


def test_the_gpu_is_not_looked_at_without_need(loaded, write_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", FakeTorch(lost=True))
    worker, _ = loaded("def predict(batch): raise ValueError('on the CPU')")
    assert "broken" not in predict(worker, ATOM)
    worker = Server()
    spec = write_model("def load_model(device): return lambda batch: [good(a) for a in batch]")
    load(worker, spec, "cuda:1")
    monkeypatch.setitem(sys.modules, "torch", FakeTorch(lost=False))
    assert "answers" in predict(worker, ATOM)


class Child:
    """A worker process and the ends of its three pipes."""

    def __init__(self, spec):
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        lifeline, self._lifeline = os.pipe()
        theirs = (requests, replies, lifeline)
        start = "from xferbench.models.server import main; import sys; main(sys.argv[1:])"
        command = [sys.executable, "-c", start, *map(str, theirs), "{}"]
        self.process = subprocess.Popen(command, pass_fds=theirs, start_new_session=True, stderr=subprocess.DEVNULL)
        for descriptor in theirs:
            os.close(descriptor)
        self.tell({"do": "load", "spec": asdict(spec), "device": "cpu"})
        assert "functional" in self.hear()

    def tell(self, request):
        told = dict(request)
        values = arrays(told.pop("structures")) if "structures" in told else {}
        os.write(self._requests, encode(told, values))

    def hear(self):
        """A reply, or nothing if the other side is closed."""
        heard = b""
        while len(heard) < (length(heard) or HEAD.size):
            data = os.read(self._replies, 1 << 16)
            if not data:
                return None
            heard += data
        return spelled(*decode(heard))

    def ask(self, *structures):
        self.tell({"do": "predict", "structures": list(structures)})
        return self.hear()

    def end_requests(self):
        os.close(self._requests)
        self._requests = None

    def cut_lifeline(self):
        os.close(self._lifeline)
        self._lifeline = None

    def bury(self):
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for descriptor in (self._requests, self._replies, self._lifeline):
            if descriptor is not None:
                os.close(descriptor)


@pytest.fixture
def spawned(write_model):
    """``spawned(source)`` -> a ``Child`` that has loaded the model."""
    children = []

    def spawn(source):
        children.append(Child(write_model(source)))
        return children[-1]

    yield spawn
    for child in children:
        child.bury()


def test_the_process_ends_by_itself_when_its_requests_end(spawned):
    child = spawned(GOOD)
    child.ask(ATOM)
    child.end_requests()
    assert child.process.wait(30) == 0


def test_the_guard_kills_the_whole_group_when_the_parent_is_gone(spawned, living, wait_until, ends):
    """Also a model that hangs, ignores signals and has children."""
    child = spawned("""
        def predict(batch):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
            subprocess.Popen(['sleep', '600'])
            time.sleep(600)
    """)
    child.tell({"do": "predict", "structures": [ATOM]})
    group = child.process.pid
    wait_until(lambda: living(group) == 4)
    os.kill(group, signal.SIGTERM)
    child.cut_lifeline()
    assert child.process.wait(30) == -signal.SIGKILL
    ends(group)
    assert child.hear() is None


def test_the_guard_is_no_child_of_the_model(spawned):
    """A model that waits for all its children is not held up by the guard."""
    child = spawned("""
        def predict(batch):
            try:
                os.wait()
            except ChildProcessError:
                return [good(a) for a in batch]
    """)
    assert child.ask(ATOM)["answers"][0]["energy"] == 0.1 * 3.0


def test_a_forked_child_that_comes_back_does_not_answer(spawned):
    child = spawned("""
        def predict(batch):
            child = os.fork()
            if child:
                os.waitpid(child, 0)
            return [{'energy': 1.0 if child else 2.0}]
    """)
    assert child.ask(ATOM) == {"answers": [{"energy": 1.0}]}
    assert child.ask(ATOM) == {"answers": [{"energy": 1.0}]}


def test_programs_that_the_model_starts_do_not_hold_our_pipes(spawned, tmp_path):
    (tmp_path / "count.py").write_text(
        "import os, stat\n"
        "def is_pipe(number):\n"
        "    try:\n"
        "        return stat.S_ISFIFO(os.fstat(number).st_mode)\n"
        "    except OSError:\n"
        "        return False\n"
        "print(sum(map(is_pipe, range(3, 256))))\n"
    )
    child = spawned("""
        def predict(batch):
            count = os.path.join(os.path.dirname(__file__), 'count.py')
            out = subprocess.run([sys.executable, count], close_fds=False, capture_output=True, text=True, check=True)
            return [{'energy': float(out.stdout)}]
    """)
    assert child.ask(ATOM) == {"answers": [{"energy": 0.0}]}


def test_the_models_file_sees_no_command_line_of_ours(spawned):
    child = spawned("n = len(sys.argv)\ndef predict(batch): return [{'energy': n}]")
    assert child.ask(ATOM) == {"answers": [{"energy": 1.0}]}


def test_memory_that_runs_out_is_told_from_other_failures(loaded):
    worker, _ = loaded(
        "def predict(batch):\n    if len(batch) > 1: raise MemoryError('9 GiB')\n    return [good(a) for a in batch]"
    )
    reply = predict(worker, ATOM, STRUCTURE)
    assert (reply["failed"], reply["memory_full"]) == ("MemoryError: 9 GiB (model.py:9)", True)
    assert "answers" in predict(worker, ATOM)


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (MemoryError(), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("x"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: failed to allocate"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_memory_that_ran_out(error, full):
    assert out_of_memory(error) is full


def test_limits_hold_for_the_process_and_names_that_this_system_lacks_are_left_out():
    code = (
        "import resource; from xferbench.models.server import limit;"
        "limit({'RLIMIT_FSIZE': 1000, 'RLIMIT_NONSENSE': 1}); print(resource.getrlimit(resource.RLIMIT_FSIZE))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "(1000, 1000)"


def test_serving_needs_numpy_and_ase_and_nothing_else_that_is_installed():
    """The source of this package alone, in an interpreter that finds no other package."""
    code = """
import sys
allowed = {"numpy", "ase", "xferbench", *sys.stdlib_module_names}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed | {"scipy", "matplotlib"} or "site" in name and False:
            raise ImportError(f"{name} is not for a model's interpreter")
sys.meta_path.insert(0, Refuse())
import xferbench.models.server
print([name for name in ("ase", "torch", "pyarrow", "pandas", "scipy", "tqdm", "click") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"

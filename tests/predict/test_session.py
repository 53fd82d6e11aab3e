from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from xferbench.errors import MissingExtraError, ModelError
from xferbench.models import ModelSpec
from xferbench.models.wire import Answers, Structures, encode
from xferbench.predict import session as module
from xferbench.predict.log import Log
from xferbench.predict.process import Lost
from xferbench.predict.sandbox import Launch
from xferbench.predict.session import MAX_DEATHS, Limits, Session

SPEC = ModelSpec(kind="builtin", name="springs:1", model_id="springs-1")
HELLO = {"functional": "r2SCAN", "supported_elements": None, "references": None, "card": None, "source_sha256": None}
DEAD = Lost("killed by signal 9 (out of memory?)")


def spelled(arrays):
    """Structures one by one."""
    return [
        {
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.tolist(),
            "pbc": atoms.pbc.tolist(),
        }
        for atoms in Structures(**arrays).atoms()
    ]


class ScriptedWorker:
    """Answers like a worker, by a script; writes down what it is told and that it was killed."""

    hello = HELLO
    told: list
    killed: int

    def __init__(self, _launch, log):
        self._log = log
        type(self).started += 1

    def ask(self, request, timeout, arrays=None):
        """What a server says, the script's replies being spelled out structure by structure."""
        if arrays is not None:
            assert sorted(arrays) == ["cell", "n_atoms", "numbers", "pbc", "positions"]
            request = {**request, "structures": spelled(arrays)}
        type(self).told.append((request, timeout))
        if request["do"] == "load":
            hello = type(self).hello
            reply = hello() if callable(hello) else hello
        else:
            reply = type(self).answer(request)
        if isinstance(reply, Lost):
            return reply
        if "answers" not in reply:
            return {"served_by": "sha256:ours", **reply} if request[
                "do"
            ] == "load" and "failed" not in reply else reply, {}
        results = [item.get("error", item) for item in reply["answers"]]
        message, values = Answers.of(
            results, [len(item["numbers"]) for item in request["structures"]][: len(results)]
        ).message()
        return {**message, "seconds": 0.5, "memory": 7}, values

    def kill(self):
        type(self).killed += 1

    def close(self):
        self.kill()

    def __exit__(self, *_):
        self.kill()


def energies(request):
    return {"answers": [{"energy": float(sum(item["numbers"]))} for item in request["structures"]]}


@pytest.fixture
def script(monkeypatch):
    """``script(answer, hello=...)`` -> the class that stands in for ``Worker``."""

    def make(answer=energies, hello=HELLO):
        members = {"answer": staticmethod(answer), "told": [], "killed": 0, "started": 0}
        members["hello"] = staticmethod(hello) if callable(hello) else hello
        worker = type("Scripted", (ScriptedWorker,), members)
        monkeypatch.setattr(module, "Worker", worker)
        return worker

    return make


class Predicting(Session):
    """A session that gives its answers frame by frame."""

    def predict(self, batch):
        predicted = super().predict(batch)
        answers = predicted.answers
        return [
            SimpleNamespace(
                frame_id=frame.frame_id,
                energy=None if np.isnan(answers.energy[index]) else float(answers.energy[index]),
                error=answers.errors.get(index),
                halved=predicted.usage.halved,
                seconds=predicted.usage.seconds,
            )
            for index, frame in enumerate(batch)
        ]


def open_session():
    launch = Launch(
        command=(), environment={}, limits={}, isolation="process", versions={"python": "3.11"}, source="sha256:ours"
    )
    return Predicting(SPEC, "cpu", Limits(load=100.0, call=5.0), Log(), launch)


def sizes(worker):
    """How many structures each call had."""
    return [len(request["structures"]) for request, _ in worker.told if request["do"] == "predict"]


def dies_on(*lithium):
    """Fails in the given way whenever single-atom Li is among the structures."""

    def answer(request):
        if any(len(item["numbers"]) == 1 for item in request["structures"]):
            return lithium[0]
        return energies(request)

    return answer


def test_a_structure_is_told_without_id_and_labels(frames):
    """Everything a model hears of frames: no id, no label, nothing but these arrays."""
    labels = {"energy": 12345.678, "forces": np.full((1, 3), 12345.678), "magmoms": np.full(1, 12345.678)}
    ids = {"frame_id": "hidden-frame", "pair_id": "hidden-pair", "material_id": "hidden-material"}
    frame = replace(frames[2], **ids, **labels, provenance={"path": "hidden"}, correction=12345.678)
    told = Structures.of([frame]).arrays()
    assert sorted(told) == ["cell", "n_atoms", "numbers", "pbc", "positions"]
    data = encode({"do": "predict"}, told)
    assert b"hidden" not in data
    assert np.float64(12345.678).tobytes() not in data


def test_all_messages_of_a_session_hold_structures_only(script, frames):
    worker = script(dies_on(DEAD))
    with open_session() as session:
        session.predict(frames)
    assert len(worker.told) > 5
    for request, _ in worker.told:
        if request["do"] == "load":
            assert request == {
                "do": "load",
                "device": "cpu",
                "spec": {
                    "kind": "builtin",
                    "name": "springs:1",
                    "path": None,
                    "model_id": "springs-1",
                    "engine": None,
                    "functional": None,
                },
            }
        else:
            assert sorted(request) == ["do", "structures"]
            assert all(sorted(item) == ["cell", "numbers", "pbc", "positions"] for item in request["structures"])
    text = json.dumps([request for request, _ in worker.told])
    for frame in frames:
        assert frame.frame_id not in text
        assert repr(frame.energy) not in text


def test_loading_and_calls_have_their_own_limits(script, frames):
    worker = script()
    with open_session() as session:
        session.predict(frames)
    assert [timeout for _, timeout in worker.told] == [100.0, 5.0]


def test_a_good_batch_is_one_call(script, frames):
    worker = script()
    with open_session() as session:
        predictions = session.predict(frames)
    assert sizes(worker) == [5]
    assert [item.frame_id for item in predictions] == [frame.frame_id for frame in frames]
    assert [item.energy for item in predictions] == [float(frame.numbers.sum()) for frame in frames]
    assert worker.killed == 1


@pytest.mark.parametrize(
    ("failure", "error", "started"),
    [
        (DEAD, "killed by signal 9 (out of memory?)", 3),
        (Lost("timeout after 5 s"), "timeout after 5 s", 3),
        ({"failed": "ValueError: too close", "kind": None}, "ValueError: too close", 1),
        (
            {"failed": "predict returned 0 results for 1 structures", "kind": "ModelError"},
            "predict returned 0 results for 1 structures",
            1,
        ),
        ({"answers": []}, "wrote into the pipe for its answers", 3),
        ({}, "wrote into the pipe for its answers", 3),
    ],
)
def test_a_failed_batch_is_asked_again_one_by_one_and_only_the_culprit_fails(script, frames, failure, error, started):
    worker = script(dies_on(failure))
    with open_session() as session:
        predictions = session.predict(frames)
    assert sizes(worker) == [5, 1, 1, 1, 1, 1]
    assert [item.error for item in predictions] == [error if frame.n_atoms == 1 else None for frame in frames]
    assert worker.started == started


def test_a_worker_that_lost_its_gpu_is_replaced_before_the_next_structure(script, frames):
    """Otherwise one bad structure would fail all that come after it."""
    worker = script(dies_on({"failed": "RuntimeError: CUDA error", "kind": None, "broken": True}))
    with open_session() as session:
        predictions = session.predict(frames)
    assert [item.error for item in predictions] == [
        "RuntimeError: CUDA error" if frame.n_atoms == 1 else None for frame in frames
    ]
    assert (worker.started, worker.killed) == (3, 3)


def test_a_single_structure_that_fails_is_given_a_second_chance_in_a_fresh_worker(script, frames):
    """The first call may have died of what earlier batches left behind."""
    deaths = []

    def answer(request):
        if not deaths:
            deaths.append(request)
            return DEAD
        return energies(request)

    worker = script(answer)
    with open_session() as session:
        (prediction,) = session.predict(frames[:1])
    assert prediction.error is None
    assert worker.started == 2


def test_unsupported_elements_are_recorded_without_asking(script, frames):
    worker = script(hello={**HELLO, "supported_elements": ["Cl", "Li"]})
    with open_session() as session:
        predictions = session.predict(frames)
    errors = {"-".join(map(str, frame.numbers)): item.error for frame, item in zip(frames, predictions, strict=True)}
    assert errors == {
        "3-17": None,
        "3": None,
        "3-3-8": "unsupported element: O",
        "12-8": "unsupported elements: O, Mg",
        "12-17-17": "unsupported element: Mg",
    }
    assert sizes(worker) == [2]


def test_a_batch_of_unsupported_elements_only_is_not_asked(script, frames):
    worker = script(hello={**HELLO, "supported_elements": ["Pu"]})
    with open_session() as session:
        assert all("unsupported" in item.error for item in session.predict(frames))
    assert sizes(worker) == []


def test_reasons_are_made_the_same_in_every_run(script, frames):
    script(lambda request: {"answers": [{"error": "no 0x12ab in /a/b"}] * len(request["structures"])})
    with open_session() as session:
        assert [item.error for item in session.predict(frames)] == ["no 0x… in …/b"] * 5


def forged(change):
    """A worker whose answers are changed after they were made."""

    def ask(self, request, timeout, arrays=None):
        reply = ScriptedWorker.ask(self, request, timeout, arrays)
        return change(*reply) if request["do"] == "predict" else reply

    return ask


@pytest.mark.parametrize(
    "change",
    [
        lambda message, arrays: (message, {**arrays, "energy": arrays["energy"][:-1]}),
        lambda message, arrays: (message, {**arrays, "energy": arrays["energy"] * np.inf}),
        lambda message, arrays: (message, {**arrays, "energy": arrays["energy"] * np.nan}),
        lambda message, arrays: (message, {**arrays, "n_atoms": arrays["n_atoms"] + 1}),
        lambda message, arrays: (message, {**arrays, "forces": np.zeros((3, 3))}),
        lambda message, arrays: (message, {**arrays, "has_forces": ~arrays["has_forces"]}),
        lambda message, arrays: (message, {name: arrays[name] for name in ("n_atoms", "energy")}),
        lambda message, arrays: ({**message, "errors": [[0, "x"]]}, arrays),
        lambda message, arrays: ({**message, "errors": "none"}, arrays),
        lambda message, arrays: ({**message, "seconds": "long"}, arrays),
        lambda *_: ({}, {}),
    ],
)
def test_answers_are_checked_again_on_this_side(script, frames, monkeypatch, change):
    """The other side of the pipe is a foreign process: what no server of ours says costs it its life."""
    worker = script()
    monkeypatch.setattr(worker, "ask", forged(change))
    with open_session() as session:
        predictions = session.predict(frames[:2])
    assert [item.error for item in predictions] == ["wrote into the pipe for its answers"] * 2
    assert worker.started == 3


def test_a_server_of_another_source_is_refused(script):
    script(hello={**HELLO, "served_by": "sha256:other"})
    with pytest.raises(ModelError, match="was served by another xferbench than this one"):
        open_session()


def test_a_batch_that_fills_the_memory_is_halved_until_it_fits(script, frames):
    def answer(request):
        if len(request["structures"]) > 2:
            return {"failed": "OutOfMemoryError: 9 GiB", "kind": None, "memory_full": True}
        return energies(request)

    worker = script(answer)
    with open_session() as session:
        predictions = session.predict(frames)
    assert [item.error for item in predictions] == [None] * 5
    assert [item.energy for item in predictions] == [float(frame.numbers.sum()) for frame in frames]
    assert (predictions[0].halved, sizes(worker)) == (2, [5, 3, 1, 2, 2])
    assert worker.started == 1


def test_a_structure_that_alone_fills_the_memory_fails_with_that_reason(script, frames):
    script(lambda _: {"failed": "OutOfMemoryError: tried to allocate 9 GiB", "kind": None, "memory_full": True})
    with open_session() as session:
        predictions = session.predict(frames)
    assert {item.error for item in predictions} == {"OutOfMemoryError: the device's memory is full"}


def test_too_many_deaths_in_a_row_stop_the_run(script, make_pairs):
    frames = [pair.target for pair in make_pairs(10, 1)]
    worker = script(lambda _: DEAD)
    with open_session() as session, pytest.raises(ModelError) as caught:
        session.predict(frames)
    assert sizes(worker) == [10, *[1] * MAX_DEATHS]
    assert str(caught.value).startswith(
        "springs:1 failed on 5 structures without a success in between (the last time: killed by signal 9"
    )
    assert "what is done is kept" in str(caught.value)
    assert "its last output: it printed nothing" in str(caught.value)


def test_a_success_in_between_starts_the_count_anew(script, make_pairs):
    frames = [pair.target for pair in make_pairs(14, 1)]
    calls = []

    def answer(request):
        calls.append(request)
        return energies(request) if len(request["structures"]) == 1 and len(calls) % MAX_DEATHS == 0 else DEAD

    script(answer)
    with open_session() as session:
        predictions = session.predict(frames)
    assert sum(item.error is not None for item in predictions) > MAX_DEATHS


def test_failures_that_cost_no_worker_never_stop_the_run(script, make_pairs):
    script(lambda _: {"failed": "ValueError: no", "kind": None})
    with open_session() as session:
        assert all(
            item.error == "ValueError: no" for item in session.predict([pair.source for pair in make_pairs(14, 1)])
        )


def test_a_model_that_cannot_be_loaded_is_a_model_error(script):
    worker = script(hello={"failed": "RuntimeError: no weights", "kind": None})
    with pytest.raises(
        ModelError, match="springs:1 failed while it was loaded: RuntimeError: no weights; its last output"
    ):
        open_session()
    assert worker.killed == 1


def test_a_model_that_dies_while_it_is_loaded_is_a_model_error(script):
    worker = script(hello=DEAD)
    with pytest.raises(ModelError, match=r"failed while it was loaded: killed by signal 9 \(out of memory\?\)"):
        open_session()
    assert worker.killed == 1


def test_errors_of_our_tree_keep_their_class_and_words(script):
    script(hello={"failed": "pip install 'xferbench[chgnet]'", "kind": "MissingExtraError"})
    with pytest.raises(MissingExtraError) as caught:
        open_session()
    assert str(caught.value) == "pip install 'xferbench[chgnet]'"


@pytest.mark.parametrize("kind", ["SystemExit", "annotations", "__doc__", 5])
def test_a_worker_cannot_name_any_other_class(script, kind):
    script(hello={"failed": "x", "kind": kind})
    with pytest.raises(ModelError, match="failed while it was loaded: x"):
        open_session()


@pytest.mark.parametrize("hello", [{}, {**HELLO, "functional": "nonsense"}, {**HELLO, "references": {"Li": "a"}}])
def test_a_hello_that_makes_no_sense_is_a_model_error(script, hello):
    worker = script(hello=hello)
    with pytest.raises(ModelError, match="springs:1 does not declare itself properly"):
        open_session()
    assert worker.killed == 1


def test_a_model_that_declares_something_else_after_a_restart_is_refused(script, frames):
    hellos = iter([HELLO, {**HELLO, "source_sha256": "sha256:other"}])
    worker = script(lambda _: DEAD, hello=lambda: next(hellos))
    with open_session() as session, pytest.raises(ModelError, match="springs:1 changed while it was running"):
        session.predict(frames)
    assert worker.killed == 1


def test_a_model_that_cannot_be_loaded_again_stops_the_run_and_blames_no_structure(script, frames):
    hellos = iter([HELLO, {"failed": "RuntimeError: no CUDA device", "kind": None}])
    script(lambda _: DEAD, hello=lambda: next(hellos))
    with open_session() as session, pytest.raises(ModelError, match="no CUDA device"):
        session.predict(frames)


def test_check_results_come_back(script):
    script(lambda _: {"checks": [{"name": "shapes", "passed": True, "detail": "fine", "cause": None}]})
    with open_session() as session:
        assert session.check()["checks"] == [{"name": "shapes", "passed": True, "detail": "fine", "cause": None}]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (DEAD, "failed while it was checked: killed by signal 9"),
        ({"failed": "KeyError: 3", "kind": None}, "failed while it was checked: KeyError: 3"),
        ({"failed": "no energy at all", "kind": "ModelError"}, "no energy at all"),
    ],
)
def test_a_model_that_breaks_down_while_it_is_checked_is_a_model_error(script, answer, message):
    script(lambda _: answer)
    with open_session() as session, pytest.raises(ModelError, match=message):
        session.check()

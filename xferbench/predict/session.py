"""A model that can always be asked: a worker is started when there is none, and a structure's failure is told from a breakdown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Self

from xferbench import errors
from xferbench.errors import FormatError, ModelError, XferbenchError
from xferbench.models import normalise
from xferbench.models.contract import unsupported
from xferbench.predict.facts import ModelFacts, versions
from xferbench.predict.process import Lost, Worker
from xferbench.predict.reasons import stable
from xferbench.records import Prediction
from xferbench.schema import parse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from xferbench.models import ModelSpec
    from xferbench.predict.log import Log
    from xferbench.records import Frame

MAX_DEATHS = 5
"""Structures that may each cost a worker its life, with no success in between, before the run stops: then it is not they."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds that loading and one call of the model may take."""

    load: float
    call: float


class Session:
    """One model over its workers' lives.

    What a structure is told depends on its batch alone: first the batch is asked as a whole; if that fails, in whatever
    way, each of its structures is asked singly, a dead worker being replaced. So a resumed run meets the same calls.

    Attributes:
        facts: What the model declared; a replacement must declare the same.
    """

    def __init__(self, spec: ModelSpec, device: str, limits: Limits, log: Log) -> None:
        self._load = {"do": "load", "spec": asdict(spec), "device": device}
        self._name = spec.name
        self._limits = limits
        self._log = log
        self._deaths = 0
        self._worker: Worker | None
        self._worker, self.facts = self._start()

    def predict(self, batch: Sequence[Frame]) -> list[Prediction]:
        """Predictions for a batch, in its order.

        Raises:
            ModelError: The model cannot be loaded again, or died on ``MAX_DEATHS`` structures without a success.
        """
        foreign = {frame.frame_id: unsupported(frame.numbers, self.facts.supported_elements) for frame in batch}
        asked = [frame for frame in batch if not foreign[frame.frame_id]]
        answers = self._ask(asked) if asked else []
        if isinstance(answers, str):
            answers = [self._ask_single(frame) for frame in asked]
        predictions = {frame.frame_id: _prediction(frame, answer) for frame, answer in zip(asked, answers, strict=True)}
        for frame_id, symbols in foreign.items():
            if symbols:
                plural = "s" if len(symbols) > 1 else ""
                predictions[frame_id] = Prediction(
                    frame_id=frame_id, error=f"unsupported element{plural}: {', '.join(symbols)}"
                )
        return [predictions[frame.frame_id] for frame in batch]

    def check(self) -> list[dict[str, Any]]:
        """Results of ``check_model`` as dictionaries.

        Raises:
            ModelError: The model broke down during the checks.
        """
        reply = self._running().ask({"do": "check"}, self._limits.call)
        if isinstance(reply, Lost):
            self._worker = None
            self._stop(f"while it was checked: {reply.reason}")
        if "failed" in reply:
            self._raise(reply, "while it was checked")
        checks: list[dict[str, Any]] = reply["checks"]
        return checks

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._worker is not None:
            self._worker.__exit__(kind, error, at)

    def _ask(self, frames: Sequence[Frame]) -> list[Any] | str:
        """One answer per frame, or why there are none."""
        reply = self._running().ask({"do": "predict", "structures": list(map(structure, frames))}, self._limits.call)
        if isinstance(reply, Lost):
            self._worker = None
            return reply.reason
        if reply.get("broken"):
            self._running().kill()
            self._worker = None
        answers = reply.get("answers")
        if isinstance(answers, list) and len(answers) == len(frames):
            self._deaths = 0
            return answers
        return str(reply.get("failed", "gave no answer"))

    def _ask_single(self, frame: Frame) -> Any:  # noqa: ANN401 - foreign JSON, checked in ``_prediction``
        """The answer for one frame; its failure becomes an answer with an error."""
        answers = self._ask([frame])
        if isinstance(answers, list):
            return answers[0]
        if self._worker is None:
            self._deaths += 1
            if self._deaths >= MAX_DEATHS:
                self._stop(
                    f"on {self._deaths} structures without a success in between (the last time: {answers}); what is done is"
                    " kept and a rerun continues; look for the reason in the log, or try another device or time limit"
                )
        return {"error": answers}

    def _running(self) -> Worker:
        if self._worker is None:
            worker, facts = self._start()
            if facts != self.facts:
                worker.kill()
                raise ModelError(
                    f"{self._name} changed while it was running: what it declares or its source is not what it was; run again"
                )
            self._worker = worker
        return self._worker

    def _start(self) -> tuple[Worker, ModelFacts]:
        worker = Worker(self._log)
        try:
            reply = worker.ask(self._load, self._limits.load)
            if isinstance(reply, Lost):
                self._stop(f"while it was loaded: {reply.reason}")
            if "failed" in reply:
                self._raise(reply, "while it was loaded")
            return worker, self._facts(reply)
        except BaseException:
            worker.kill()
            raise

    def _facts(self, hello: dict[str, Any]) -> ModelFacts:
        try:
            return parse(ModelFacts, {**hello, "versions": versions()}, self._name)
        except FormatError as error:
            raise ModelError(f"{self._name} does not declare itself properly: {error}") from error

    def _raise(self, reply: dict[str, Any], when: str) -> NoReturn:
        """An error of our tree is raised again as it was; what foreign code raised is told with what it printed."""
        kind = getattr(errors, str(reply.get("kind")), None)
        if isinstance(kind, type) and issubclass(kind, XferbenchError):
            raise kind(reply["failed"])
        self._stop(f"{when}: {reply['failed']}")

    def _stop(self, what: str) -> NoReturn:
        raise ModelError(f"{self._name} failed {what}; its last output: {self._log.last_lines()}")


def structure(frame: Frame) -> dict[str, Any]:
    """All that a model is told of a frame: no id, no label, no provenance."""
    return {
        "numbers": frame.numbers.tolist(),
        "positions": frame.positions.tolist(),
        "cell": frame.cell.tolist(),
        "pbc": list(frame.pbc),
    }


def _prediction(frame: Frame, answer: object) -> Prediction:
    """Check an answer again on this side of the pipe: what comes out of a foreign process is foreign."""
    try:
        results = normalise(answer, frame.atoms())
    except ModelError as error:
        return Prediction(frame_id=frame.frame_id, error=stable(str(error)))
    return Prediction(frame_id=frame.frame_id, **results)

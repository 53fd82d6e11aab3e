"""A model that can always be asked: a worker is started when there is none, and a structure's failure is told from a breakdown."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from xferbench import errors
from xferbench.errors import FormatError, ModelError, XferbenchError
from xferbench.models.contract import unsupported
from xferbench.models.wire import Answers, Structures
from xferbench.predict.facts import ModelFacts
from xferbench.predict.process import Lost, Worker
from xferbench.predict.reasons import stable
from xferbench.schema import parse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from xferbench.models import ModelSpec
    from xferbench.predict.log import Log
    from xferbench.predict.process import Reply
    from xferbench.predict.sandbox import Launch
    from xferbench.records import Frame

MAX_DEATHS = 5
"""Structures that may each cost a worker its life, with no success in between, before the run stops: then it is not they."""

BEYOND = re.compile(
    r"FileNotFound|No such file|Permission|Read-only|Connection|URLError|HTTP|unreachable|resol", re.IGNORECASE
)
"""Messages of a model that wants what a sandbox does not show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds that loading and one call of the model may take."""

    load: float
    call: float


@dataclass(slots=True)
class Usage:
    """What the calls of a batch cost.

    Attributes:
        seconds: Of the model's own code.
        memory: Bytes at their highest; see ``server``.
        halved: How often the batch, or a part of it, was cut in two because memory ran out.
    """

    seconds: float = 0.0
    memory: int = 0
    halved: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predicted:
    """The answers for a batch, in its order, and what they cost."""

    answers: Answers
    usage: Usage = field(default_factory=Usage)


class Session:
    """One model over its workers' lives.

    What a structure is told depends on its batch alone: first the batch is asked as a whole. If memory runs out, its halves are
    asked; if it fails in another way, each of its structures is asked singly, a dead worker being replaced. So a resumed run, and
    a run on other machines, meets the same calls.

    Attributes:
        facts: What the model declared; a replacement must declare the same.
    """

    def __init__(self, spec: ModelSpec, device: str, limits: Limits, log: Log, launch: Launch) -> None:
        self._load = {"do": "load", "spec": asdict(spec), "device": device}
        self._name = spec.name
        self._limits = limits
        self._log = log
        self._launch = launch
        self._deaths = 0
        self._worker: Worker | None
        self._worker, self.facts = self._start()
        supported = self.facts.supported_elements
        self._foreign = np.array([bool(unsupported([z], supported)) for z in range(119)])

    def predict(self, batch: Sequence[Frame]) -> Predicted:
        """Predictions for a batch, in its order.

        Raises:
            ModelError: The model cannot be loaded again, or died on ``MAX_DEATHS`` structures without a success.
        """
        usage = Usage()
        refused = [bool(self._foreign[frame.numbers].any()) for frame in batch]
        asked = [frame for frame, is_refused in zip(batch, refused, strict=True) if not is_refused]
        answers = self._answers(asked, usage) if asked else None
        if not any(refused):
            assert answers is not None  # noqa: S101 - a batch has a structure
            return Predicted(answers=answers, usage=usage)
        parts, at = [], 0
        for frame, is_refused in zip(batch, refused, strict=True):
            if is_refused:
                symbols = unsupported(frame.numbers, self.facts.supported_elements)
                plural = "s" if len(symbols) > 1 else ""
                parts.append(_failed(frame, f"unsupported element{plural}: {', '.join(symbols)}"))
            else:
                assert answers is not None  # noqa: S101 - this frame was asked about
                parts.append(answers.between(at, at + 1))
                at += 1
        return Predicted(answers=Answers.joined(parts), usage=usage)

    def check(self) -> dict[str, Any]:
        """The server's reply to ``check``: results of ``check_model`` as dictionaries, energies of its crystals.

        Raises:
            ModelError: The model broke down during the checks.
        """
        reply = self._running().ask({"do": "check"}, self._limits.call)
        if isinstance(reply, Lost):
            self._worker = None
            self._stop(f"while it was checked: {reply.reason}")
        if "failed" in reply[0]:
            self._raise(reply[0], "while it was checked")
        return reply[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._worker is not None:
            self._worker.__exit__(kind, error, at)

    def close(self) -> None:
        """End the worker."""
        self.__exit__(None, None, None)

    def interrupt(self) -> None:
        """Kill the worker from another thread; whoever waits for its answer is told that it is lost."""
        if (worker := self._worker) is not None:
            worker.interrupt()

    def _answers(self, frames: Sequence[Frame], usage: Usage) -> Answers:
        """Ask for all; if memory runs out, for halves; if that is not it, for each."""
        answers, memory_full = self._ask(frames, usage)
        if isinstance(answers, Answers):
            return answers
        if memory_full and len(frames) > 1:
            usage.halved += 1
            middle = _middle(frames)
            return Answers.joined([self._answers(part, usage) for part in (frames[:middle], frames[middle:])])
        return Answers.joined([self._ask_single(frame, usage) for frame in frames])

    def _ask(self, frames: Sequence[Frame], usage: Usage) -> tuple[Answers | str, bool]:
        """The answers, or why there are none and whether that is because memory ran out."""
        structures = Structures.of(frames)
        reply = self._running().ask({"do": "predict"}, self._limits.call, structures.arrays())
        if isinstance(reply, Lost):
            self._worker = None
            return reply.reason, False
        message, _ = reply
        if message.get("broken"):
            self._kill()
        if "failed" in message:
            return str(message["failed"]), bool(message.get("memory_full"))
        try:
            answers = self._read(reply, structures, usage)
        except (ValueError, TypeError, OverflowError):
            self._kill()
            return "wrote into the pipe for its answers", False
        self._deaths = 0
        return answers, False

    def _read(self, reply: Reply, structures: Structures, usage: Usage) -> Answers:
        """Check an answer on this side of the pipe: what comes out of a foreign process is foreign."""
        answers = Answers.read(*reply)
        if not np.array_equal(answers.n_atoms, structures.n_atoms):
            raise ValueError("answers for other structures")
        usage.seconds += max(float(reply[0]["seconds"]), 0.0)
        usage.memory = max(usage.memory, int(reply[0]["memory"]))
        if not answers.errors:
            return answers
        errors_ = {index: stable(text) for index, text in answers.errors.items()}
        return Answers(
            n_atoms=answers.n_atoms, energy=answers.energy, given=answers.given, values=answers.values, errors=errors_
        )

    def _ask_single(self, frame: Frame, usage: Usage) -> Answers:
        """The answer for one frame; its failure becomes an answer with an error."""
        answers, _ = self._ask([frame], usage)
        if isinstance(answers, Answers):
            return answers
        if self._worker is None:
            self._deaths += 1
            if self._deaths >= MAX_DEATHS:
                self._stop(
                    f"on {self._deaths} structures without a success in between (the last time: {answers}); what is done is"
                    " kept and a rerun continues; look for the reason in the log, or try another device or time limit"
                )
        return _failed(frame, stable(answers))

    def _kill(self) -> None:
        self._running().kill()
        self._worker = None

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
        worker = Worker(self._launch, self._log)
        try:
            reply = worker.ask(self._load, self._limits.load)
            if isinstance(reply, Lost):
                self._stop(f"while it was loaded: {reply.reason}")
            hello, _ = reply
            if "failed" in hello:
                self._raise(hello, "while it was loaded")
            return worker, self._facts(hello)
        except BaseException:
            worker.kill()
            raise

    def _facts(self, hello: dict[str, Any]) -> ModelFacts:
        if hello.pop("served_by", None) != self._launch.source:
            raise ModelError(
                f"{self._name} was served by another xferbench than this one: its interpreter imports one at start-up; remove"
                " that, or choose another interpreter"
            )
        try:
            return parse(ModelFacts, {**hello, "versions": self._launch.versions}, self._name)
        except FormatError as error:
            raise ModelError(f"{self._name} does not declare itself properly: {error}") from error

    def _raise(self, reply: dict[str, Any], when: str) -> NoReturn:
        """An error of our tree is raised again as it was; what foreign code raised is told with what it printed."""
        kind = getattr(errors, str(reply.get("kind")), None)
        if isinstance(kind, type) and issubclass(kind, XferbenchError):
            raise kind(f"{reply['failed']}{self._hint(str(reply['failed']))}")
        self._stop(f"{when}: {reply['failed']}")

    def _stop(self, what: str) -> NoReturn:
        text = f"{self._name} failed {what}; its last output: {self._log.last_lines()}"
        raise ModelError(f"{text}{self._hint(text)}")

    def _hint(self, text: str) -> str:
        """What a model may lack in the sandbox, if that may be why it failed."""
        if self._launch.isolation != "bwrap" or not BEYOND.search(text):
            return ""
        return " (under bwrap it has no network and sees its own folder only: --read PATH shows it more, --sandbox process all)"


def _middle(frames: Sequence[Frame]) -> int:
    """Where to cut a batch so that both parts have about as many atoms."""
    atoms = np.cumsum([frame.n_atoms for frame in frames])
    return int(np.clip(np.searchsorted(atoms, atoms[-1] / 2) + 1, 1, len(frames) - 1))


def _failed(frame: Frame, reason: str) -> Answers:
    return Answers.of([reason], [frame.n_atoms])

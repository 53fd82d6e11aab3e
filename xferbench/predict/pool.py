"""Several copies of a model on this machine, each with a thread of its own that hands it batches."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, Queue
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Protocol, Self

from xferbench.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from xferbench.predict.facts import ModelFacts
    from xferbench.predict.session import Predicted, Session
    from xferbench.records import Frame


class Engine(Protocol):
    """What predicts batches.

    Attributes:
        facts: What the model declares.
    """

    facts: ModelFacts

    def map(self, numbers: Sequence[int], batch: Callable[[int], list[Frame]]) -> Iterator[tuple[int, Predicted]]:
        """Batches with their numbers, in the order in which they are finished."""


@dataclass(kw_only=True)
class _Work:
    """What the threads of a pool share.

    Attributes:
        waiting: Numbers of batches that nobody has taken.
        batch: Number -> frames.
        done: Takes what was predicted, errors, and ``None`` from each thread that ends.
        sessions: Those that are open.
        stopped: Set when nothing more is to be begun.
    """

    waiting: Iterator[int]
    batch: Callable[[int], list[Frame]]
    done: Queue[tuple[int, Predicted] | BaseException | None]
    sessions: list[Session] = field(default_factory=list)
    stopped: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    def take(self) -> tuple[int, list[Frame]] | None:
        """The next batch, if there is one."""
        with self.lock:
            number = None if self.stopped.is_set() else next(self.waiting, None)
            return None if number is None else (number, self.batch(number))

    def interrupt(self) -> None:
        """Kill what the threads wait for."""
        for session in self.sessions:
            session.interrupt()


class Pool:
    """Sessions of one model, each in its own thread.

    Args:
        opened: Number of a worker -> a new session. Called in the thread that uses it: the system ends a sandbox with the thread
            that started it.
        workers: How many there are.
    """

    def __init__(self, opened: Callable[[int], Session], workers: int) -> None:
        self._opened = opened
        self._workers = workers
        self._first = opened(0)
        self.facts = self._first.facts

    def map(self, numbers: Sequence[int], batch: Callable[[int], list[Frame]]) -> Iterator[tuple[int, Predicted]]:
        """Batches with their numbers, in the order in which they are finished."""
        if self._workers == 1 or len(numbers) < 2:
            for number in numbers:
                yield number, self._first.predict(batch(number))
            return
        yield from self._shared(numbers, batch)

    def _shared(self, numbers: Sequence[int], batch: Callable[[int], list[Frame]]) -> Iterator[tuple[int, Predicted]]:
        """A thread for each worker; this one waits for what they put into the queue, ``None`` being a worker's end."""
        work = _Work(waiting=iter(numbers), batch=batch, done=Queue(2 * self._workers))
        threads = [
            Thread(target=self._serve, args=(worker, work), daemon=True)
            for worker in range(min(self._workers, len(numbers)))
        ]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                item = work.done.get()
                if item is None:
                    running -= 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield item
        finally:
            work.stopped.set()
            while any(thread.is_alive() for thread in threads):
                if running:
                    work.interrupt()
                with suppress(Empty):
                    work.done.get(timeout=0.05)

    def _serve(self, worker: int, work: _Work) -> None:
        try:
            session = self._first if worker == 0 else self._open(worker)
            work.sessions.append(session)
            while (taken := work.take()) is not None:
                number, frames = taken
                work.done.put((number, session.predict(frames)))
            if worker:
                session.close()
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            work.done.put(error)
        work.done.put(None)

    def _open(self, worker: int) -> Session:
        session = self._opened(worker)
        if session.facts != self.facts:
            session.close()
            raise ModelError("the model declares something else when it is loaded again; run again")
        return session

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._first.__exit__(kind, error, at)

"""Sessions on a Ray cluster: an actor per core or GPU, each with the model's process beside it.

Actors are handed the same batches as processes of this machine are, so the bytes are the same. An actor that is lost, with its
node or by itself, is replaced, and its batches are handed out again. The model's file and interpreter must be found under the same
paths on every node.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from xferbench.errors import MissingExtraError, ModelError, XferbenchError
from xferbench.predict.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from xferbench.models import ModelSpec
    from xferbench.predict.facts import ModelFacts
    from xferbench.predict.runner import Options
    from xferbench.predict.session import Predicted
    from xferbench.records import Frame

LOGGER = logging.getLogger("xferbench.predict")

AHEAD = 2
"""Batches that an actor has at once: the next one is there when the last is done."""

MAX_LOST = 10
"""Actors that may be lost for each that there is, before the run stops."""


class RayEngine:
    """Actors of a cluster; see ``pool.Engine``.

    Args:
        spec: The model.
        options: How it is run; ``ray`` is the address of a cluster, or ``local``.
        log: Takes what the model printed.
    """

    def __init__(self, spec: ModelSpec, options: Options, log: Log) -> None:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingExtraError('--ray needs Ray; pip install ".[ray]"') from error
        self._ray = ray
        self._log = log
        self._ours = not ray.is_initialized()
        local = options.ray == "local"
        if self._ours:
            address = {"num_cpus": max(options.workers, 1), "address": "local"} if local else {"address": options.ray}
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **address)
        gpu = options.devices[0] != "cpu"
        self._remote = ray.remote(
            num_cpus=0 if gpu else options.threads_each or 1, num_gpus=1 if gpu else 0, max_concurrency=1
        )(_Actor)
        # Ray shows an actor the one device that is its own
        self._start = (
            spec,
            replace(options, ray=None, workers=1, threads=options.threads_each, device=options.devices[0]),
        )
        self._workers = self._count(ray, options, gpu=gpu)
        try:
            self._actors = [self._remote.remote(*self._start)]
            self.facts: ModelFacts = self._result(self._actors[0].facts.remote())
            self._actors += [self._remote.remote(*self._start) for _ in range(self._workers - 1)]
        except BaseException:
            self._leave()
            raise

    def map(self, numbers: Sequence[int], batch: Callable[[int], list[Frame]]) -> Iterator[tuple[int, Predicted]]:
        """Batches with their numbers, in the order in which they are finished."""
        again: list[int] = []
        waiting, lost = iter(numbers), 0
        asked: dict[Any, tuple[int, int]] = {}  # what was asked -> which actor, which batch

        def hand_out(actor: int) -> None:
            number = again.pop() if again else next(waiting, None)
            if number is not None:
                asked[self._actors[actor].predict.remote(batch(number))] = (actor, number)

        for _ in range(AHEAD):
            for actor in range(len(self._actors)):
                hand_out(actor)
        while asked:
            (done, *_), _ = self._ray.wait(list(asked), num_returns=1)
            actor, number = asked.pop(done)
            try:
                facts, predicted = self._result(done)
            except self._ray.exceptions.RayActorError:
                lost += 1
                if lost > MAX_LOST * self._workers:
                    raise ModelError(
                        f"{lost} actors of the Ray cluster were lost; what is done is kept and a rerun continues"
                    ) from None
                LOGGER.warning("an actor of the Ray cluster was lost; its batches are handed out again")
                mine = [item for item, (other, _) in asked.items() if other == actor]
                again += [number, *(asked.pop(item)[1] for item in mine)]
                self._actors[actor] = self._remote.remote(*self._start)
                for _ in range(AHEAD):
                    hand_out(actor)
                continue
            if facts != self.facts:
                raise ModelError("the model declares something else on another node; give all nodes the same files")
            hand_out(actor)
            yield number, predicted

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for actor in self._actors:
            with suppress(self._ray.exceptions.RayError):  # a lost actor has no log
                self._log.feed(self._ray.get(actor.close.remote(), timeout=10).encode())
        self._leave()

    def _result(self, asked: Any) -> Any:  # noqa: ANN401 - what Ray returns
        try:
            return self._ray.get(asked)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, XferbenchError):
                raise error.cause from None
            raise

    def _count(self, ray: Any, options: Options, *, gpu: bool) -> int:  # noqa: ANN401 - a module that may not be installed
        """As many actors as the cluster has GPUs or cores for; as many as asked for on a cluster of our own."""
        if options.ray == "local":
            return options.workers
        resources = ray.cluster_resources()
        return max(int(resources.get("GPU", 0) if gpu else resources.get("CPU", 1) // (options.threads_each or 1)), 1)

    def _leave(self) -> None:
        for actor in getattr(self, "_actors", ()):
            self._ray.kill(actor)
        if self._ours:
            self._ray.shutdown()


class _Actor:
    """A session on a node."""

    def __init__(self, spec: ModelSpec, options: Options) -> None:
        from contextlib import ExitStack

        from xferbench.predict.runner import opened

        self._stack = ExitStack()
        self._log = Log()
        self._session = self._stack.enter_context(opened(spec, options, self._log))

    def facts(self) -> ModelFacts:
        """What the model declares."""
        return self._session.facts

    def predict(self, batch: list[Frame]) -> tuple[ModelFacts, Predicted]:
        """Predictions of a batch."""
        return self._session.facts, self._session.predict(batch)

    def close(self) -> str:
        """End the session; what the model printed."""
        self._stack.close()
        return self._log.text()

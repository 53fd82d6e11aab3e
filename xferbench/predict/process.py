"""The run's end of a model's process: start it, ask it, bound its time and its output, and leave nothing of it behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from xferbench.models.wire import decode, encode, length
from xferbench.predict.reasons import ended, timed_out

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from numpy.typing import NDArray

    from xferbench.predict.log import Log
    from xferbench.predict.sandbox import Launch

HEARTBEAT = 0.1
"""Seconds between two looks whether the worker still lives, when it says nothing."""

GRACE = 5.0
"""Seconds that a worker has to end by itself after its last request, for its exit handlers."""

CHUNK = 1 << 16

Reply = tuple[dict[str, Any], "dict[str, NDArray[Any]]"]


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker is gone, and why, in words fit to be recorded."""

    reason: str


class Worker:
    """One process that serves the model, alone in its session and process group.

    Leaving the ``with`` block, or ``kill``, ends the whole group. If this process dies first, the worker's guard does it.
    """

    def __init__(self, launch: Launch, log: Log) -> None:
        self._log = log
        self._wrapped = launch.isolation == "bwrap"
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        lifeline, self._lifeline = os.pipe()
        theirs = (requests, replies, lifeline)
        try:
            self._process = subprocess.Popen(
                launch.arguments(*theirs),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=theirs,
                start_new_session=True,
                env=dict(launch.environment),
            )
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._output = self._process.stdout.fileno()  # type: ignore[union-attr] # it is a pipe
        for descriptor in (self._requests, self._replies, self._output):
            os.set_blocking(descriptor, False)
        self._alive = True

    def ask(
        self, request: Mapping[str, Any], timeout: float, arrays: Mapping[str, NDArray[Any]] | None = None
    ) -> Reply | Lost:
        """Send a request and wait for its reply. A worker that is lost is dead when this returns.

        Args:
            request: Plain values; see ``server``.
            timeout: Seconds until the worker is killed.
            arrays: What goes with it.
        """
        data = self._converse(encode(request, arrays), timeout)
        if isinstance(data, Lost):
            self.kill()
            return data
        try:
            return decode(data)
        except ValueError:
            self.kill()
            return Lost("wrote into the pipe for its answers")

    def close(self) -> None:
        """Tell the worker that there is nothing more to do, give it a moment, and end what is left of its group."""
        if self._alive:
            os.close(self._requests)
            self._requests = -1
            self._converse(b"", GRACE)
            self.kill()

    def interrupt(self) -> None:
        """Kill the process group and leave the rest to the thread that waits for an answer."""
        if self._alive:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the whole process group at once. SIGTERM is not tried: a model may ignore it."""
        if not self._alive:
            return
        self._alive = False
        # PermissionError: macOS says so of a group of zombies
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._read_output()
        self._process.stdout.close()  # type: ignore[union-attr] # it is a pipe
        for descriptor in (self._requests, self._replies, self._lifeline):
            if descriptor >= 0:
                os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.kill()

    def _converse(self, message: bytes, timeout: float) -> bytearray | Lost:
        """Write ``message`` and read one, while whatever the model prints goes to the log.

        All three pipes are served at once, so that none can fill up and stop the other side.
        """
        deadline = time.monotonic() + timeout
        outgoing, incoming = memoryview(message), bytearray()
        size: int | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            selector.register(self._output, selectors.EVENT_READ)
            if outgoing:
                selector.register(self._requests, selectors.EVENT_WRITE)
            while size is None or len(incoming) < size:
                # looked at before the pipes, so that what a worker says before it ends is still heard
                status = self._process.poll()
                left = deadline - time.monotonic()
                if left <= 0:
                    return Lost(timed_out(timeout))
                wait = 0 if status is not None else min(left, HEARTBEAT)
                ready = {key.fd for key, _ in selector.select(wait)}
                if self._output in ready and not self._read_output():
                    selector.unregister(self._output)
                if self._requests in ready:
                    outgoing = self._write(outgoing)
                    if not outgoing:
                        selector.unregister(self._requests)
                if self._replies in ready:
                    data = os.read(self._replies, CHUNK)
                    incoming += data
                    size = length(incoming)
                    if data:
                        continue
                    selector.unregister(self._replies)
                if status is not None:
                    return Lost(ended(self._own(status)))
        return incoming

    def _own(self, status: int) -> int:
        """The status of the model's process: bubblewrap passes a signal on as 128 and its number, as shells do."""
        return 128 - status if self._wrapped and status > 128 else status

    def _write(self, data: memoryview) -> memoryview:
        """Write what the pipe takes; what is left, which is nothing if nobody reads any more."""
        try:
            return data[os.write(self._requests, data[:CHUNK]) :]
        except BlockingIOError:
            return data
        except BrokenPipeError:
            return data[:0]

    def _read_output(self) -> bool:
        """Move printed output to the log; whether more can follow.

        At most one buffer per look, so that a model that prints without end cannot hold up its own time limit.
        """
        try:
            data = os.read(self._output, CHUNK)
        except BlockingIOError:
            return True
        self._log.feed(data)
        return bool(data)

"""The parent's end of a worker: start it, ask it, bound its time and its output, and leave nothing of it behind."""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from xferbench.predict.reasons import ended, timed_out

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from xferbench.predict.log import Log

SECRET = re.compile(r"TOKEN|SECRET|PASSW|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIAL", re.IGNORECASE)
"""Environment variables whose names match are not handed to a model."""

HEARTBEAT = 0.1
"""Seconds between two looks whether the worker still lives, when it says nothing."""

GRACE = 5.0
"""Seconds that a worker has to end by itself after its last request, for its exit handlers."""

CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker is gone, and why, in words fit to be recorded."""

    reason: str


class Worker:
    """One worker process, alone in its session and process group.

    Leaving the ``with`` block, or ``kill``, ends the whole group. If this process dies first, the worker's guard does it.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        lifeline, self._lifeline = os.pipe()
        theirs = (requests, replies, lifeline)
        command = [
            sys.executable,
            "-u",
            "-P",
            "-X",
            "faulthandler",
            "-m",
            "xferbench.predict.worker",
            *map(str, theirs),
        ]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=theirs,
                start_new_session=True,
                env=environment(os.environ),
            )
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._output = self._process.stdout.fileno()  # type: ignore[union-attr] # it is a pipe
        for descriptor in (self._requests, self._replies, self._output):
            os.set_blocking(descriptor, False)
        self._alive = True

    def ask(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any] | Lost:
        """Send a request and wait for its reply. A worker that is lost is dead when this returns.

        Args:
            request: Plain values; see ``worker``.
            timeout: Seconds until the worker is killed.
        """
        line = self._converse(json.dumps(request, allow_nan=False).encode() + b"\n", timeout)
        if isinstance(line, Lost):
            self.kill()
            return line
        try:
            reply = json.loads(line)
        except ValueError:
            reply = None
        if isinstance(reply, dict):
            return reply
        self.kill()
        return Lost("wrote into the pipe for its answers")

    def close(self) -> None:
        """Tell the worker that there is nothing more to do, give it a moment, and end what is left of its group."""
        if self._alive:
            os.close(self._requests)
            self._requests = -1
            self._converse(b"", GRACE)
            self.kill()

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

    def _converse(self, message: bytes, timeout: float) -> bytes | Lost:
        """Write ``message`` and read one line, while whatever the model prints goes to the log.

        All three pipes are served at once, so that none can fill up and stop the other side.
        """
        deadline = time.monotonic() + timeout
        outgoing, incoming = memoryview(message), bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            selector.register(self._output, selectors.EVENT_READ)
            if outgoing:
                selector.register(self._requests, selectors.EVENT_WRITE)
            while not incoming.endswith(b"\n"):
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
                    if data:
                        continue
                    selector.unregister(self._replies)
                if status is not None:
                    return Lost(ended(status))
        return bytes(incoming)

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


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """What of the environment a worker gets: no secrets, and one order of sets and dictionaries in every process."""
    kept = {name: value for name, value in variables.items() if not SECRET.search(name)}
    return {"PYTHONHASHSEED": "0", **kept}

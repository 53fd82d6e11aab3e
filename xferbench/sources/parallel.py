"""Large files read by two processes at a time.

Turning text into arrays keeps Python busy, and one process has one Python. The processes are new ones that run nothing but
the reader: they share no state with the caller, whose scripts need no guard, and send what they read through a pipe. The
caller takes turns, so the same files give the same sequence.

A reader that fails in a way that a user can act on fails here, too. One that is killed is one clear line. Readers end when
the caller stops asking, and when it is killed: at their next write.
"""

from __future__ import annotations

import gc
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from xferbench.errors import DataError, XferbenchError
from xferbench.storage import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

PROCESSES = 2
WORTHWHILE = 1 << 25
"""Bytes of files below which starting processes takes longer than they save."""

COMMAND = "from xferbench.sources.parallel import main; main()"
END = None
"""Follows the last item of a reader; whoever ends without it did not finish."""

AHEAD = 4
"""Items of a reader that wait for the caller: a pipe holds less than one, and a full pipe stops the reader."""


def read_all(paths: Sequence[Path], read: Callable[[Path], Iterable[Any]]) -> Iterator[Any]:
    """What ``read`` yields of each file.

    Args:
        paths: Files.
        read: A function at the top level of a module. What it yields is never ``None``.

    Raises:
        StorageError: A file cannot be looked at.
        DataError: A process that read a file was killed.
        XferbenchError: As ``read`` raises it.
    """
    with disk_errors("read", paths[0]):
        size = sum(path.stat().st_size for path in paths)
    if len(paths) < PROCESSES or size < WORTHWHILE or not sys.executable:
        return (item for path in paths for item in read(path))
    return _read_apart(paths, read)


def _read_apart(paths: Sequence[Path], read: Callable[[Path], Iterable[Any]]) -> Iterator[Any]:
    with ExitStack() as stack:
        readers = [stack.enter_context(_Reader(paths[i::PROCESSES], read)) for i in range(PROCESSES)]
        while readers:
            for reader in list(readers):
                item = reader.next()
                if item is END:
                    readers.remove(reader)
                else:
                    yield item


class _Reader:
    """A process that reads files. A context: leaving it ends the process."""

    def __init__(self, paths: Sequence[Path], read: Callable[[Path], Iterable[Any]]) -> None:
        self._paths = paths
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", COMMAND, read.__module__, read.__qualname__, *map(str, paths)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
        )
        self._items: queue.Queue[Any] = queue.Queue(AHEAD)
        self._collector = threading.Thread(target=self._collect, daemon=True)

    def __enter__(self) -> Self:
        self._collector.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        while self._collector.is_alive():
            with suppress(queue.Empty):  # it may wait for a place
                self._items.get(timeout=0.01)
        self._process.communicate()

    def next(self) -> Any:  # noqa: ANN401 - whatever the reader yields
        """The next item, or ``END``.

        Raises:
            DataError: The process ended before it was done.
            XferbenchError: As the reader raised it.
        """
        item = self._items.get()
        if isinstance(item, (EOFError, pickle.UnpicklingError)):
            raise DataError(
                f"the process that read {', '.join(map(str, self._paths))} ended with code {self._process.wait()} before "
                "it was done: it was killed, perhaps for lack of memory, or says above what went wrong; try again"
            ) from item
        if isinstance(item, XferbenchError):
            raise item
        return item

    def _collect(self) -> None:
        """Take items from the pipe until the last one, which is ``END`` or an exception."""
        stream = cast("IO[bytes]", self._process.stdout)  # it was asked for
        item: Any = self
        while item is not END and not isinstance(item, Exception):
            try:
                item = pickle.load(stream)  # noqa: S301 - written by a process of our own
            except (EOFError, pickle.UnpicklingError) as error:
                item = error
            self._items.put(item)


def main() -> None:
    """What a reading process does: its arguments name a module, a function and files."""
    gc.set_threshold(100_000)  # documents hold no cycles, and looking for them takes a tenth of the time
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the caller as well, who ends this process
    module, name, *paths = sys.argv[1:]
    with os.fdopen(os.dup(1), "wb") as stream, suppress(BrokenPipeError):  # the caller is gone
        os.dup2(2, 1)  # what a library prints is no item
        _send(stream, module, name, [Path(path) for path in paths])


def _send(stream: IO[bytes], module: str, name: str, paths: Iterable[Path]) -> None:
    from importlib import import_module

    read = getattr(import_module(module), name)
    try:
        for path in paths:
            for item in read(path):
                pickle.dump(item, stream, protocol=5)
    except XferbenchError as error:
        pickle.dump(error, stream)
    else:
        pickle.dump(END, stream)
    stream.flush()

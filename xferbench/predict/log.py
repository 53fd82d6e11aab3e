"""What a model prints: the first and the last 64 kB of it, however much it is."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from xferbench.storage import write_text

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 1 << 16


class Log:
    """Output of all workers of a run, bounded in memory and on disk."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0
        self._lock = Lock()

    def feed(self, data: bytes) -> None:
        """Append output; several workers may do so at once."""
        with self._lock:
            room = LIMIT - len(self._head)
            self._head += data[:room]
            self._tail += data[room:]
            excess = len(self._tail) - LIMIT
            if excess > 0:
                del self._tail[:excess]
                self._dropped += excess

    def text(self) -> str:
        """What is kept; a line in the middle says how much is not."""
        middle = f"\n[… {self._dropped} bytes left out …]\n".encode() if self._dropped else b""
        return (self._head + middle + self._tail).decode(errors="replace")

    def last_lines(self, count: int = 3) -> str:
        """The last lines that are not empty, on one line, for an error message."""
        lines = [line.strip() for line in self.text().splitlines() if line.strip()]
        return " | ".join(lines[-count:])[-300:] or "it printed nothing"

    def save(self, path: Path) -> None:
        """Write the log if there was any output.

        Raises:
            StorageError: The disk refuses.
        """
        text = self.text()
        if text:
            write_text(path, text)

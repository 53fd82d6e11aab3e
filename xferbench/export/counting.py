"""Frames on their way to a file, counted: written, without some label, left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench.records import PROPERTIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from xferbench.records import Frame


class Counted:
    """An iterable of frames that remembers what became of them.

    Attributes:
        written: Frames handed out and not left out.
        missing: Label -> written frames without it.
        left_out: Reason -> frames.
    """

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames = frames
        self.written = 0
        self.missing: dict[str, int] = {}
        self.left_out: dict[str, int] = {}

    def __iter__(self) -> Iterator[Frame]:
        """Hand out each frame once; ``leave_out`` takes the last one back."""
        for frame in self._frames:
            left_out = sum(self.left_out.values())
            yield frame
            if sum(self.left_out.values()) == left_out:
                self._count(frame)

    def leave_out(self, reason: str) -> None:
        """The frame at hand cannot be written."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def _count(self, frame: Frame) -> None:
        self.written += 1
        for name in PROPERTIES:
            if getattr(frame, name) is None:
                self.missing[name] = self.missing.get(name, 0) + 1

"""Why a structure failed, in words that are the same in every run: they are part of the predictions' digest."""

from __future__ import annotations

import re
import signal

from xferbench.models.contract import one_line

VOLATILE = (
    (re.compile(r"(?<![\w.)\]])(?:/[^\s/'\"<>:,;()]+)+/"), "…/"),  # folders: only the file's own name stays
    (re.compile(r"\btmp[a-z0-9_]{8}(?![a-z0-9_])"), "tmp…"),
    (re.compile(r"\b0x[0-9a-fA-F]+"), "0x…"),
    (re.compile(r"\b(pid|process|thread)([ =:#]+)\d+", re.IGNORECASE), r"\1\2…"),
    (re.compile(r"(OutOfMemoryError): .*"), r"\1: the device's memory is full"),  # the rest is how full it was
)
"""What differs from run to run in error messages, and what stands in for it."""


def stable(text: str) -> str:
    """A model's message without folders, addresses and process numbers, printable and on one line.

    Numbers that a message computes from the clock or from the state of the machine cannot be recognised; they stay.
    """
    line = "".join(character if character.isprintable() else " " for character in text)
    for pattern, replacement in VOLATILE:
        line = pattern.sub(replacement, line)
    return one_line(line) or "failed without a message"


def timed_out(seconds: float) -> str:
    """The model had not answered in time."""
    return f"timeout after {seconds:g} s"


def ended(status: int) -> str:
    """The model's process ended while it was being asked.

    Args:
        status: As ``Popen.returncode``: an exit status, or minus the number of the signal that ended it.
    """
    if status >= 0:
        return f"ended the process with exit status {status}"
    if status == -signal.SIGKILL:
        return f"killed by signal {-status} (out of memory?)"
    names = {member.value: member.name for member in signal.Signals}
    return f"killed by signal {-status} ({names.get(-status, 'unknown')})"

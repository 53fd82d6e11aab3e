from __future__ import annotations

import pytest

from xferbench.models.server import raised
from xferbench.predict.reasons import ended, stable, timed_out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ValueError: too close", "ValueError: too close"),
        ("FileNotFoundError: no '/tmp/run-17/weights.pt'", "FileNotFoundError: no '…/weights.pt'"),
        ("cannot open /home/a/b.pt, /c/d.pt", "cannot open …/b.pt, …/d.pt"),
        ("forces in eV/Å/x, not eV/Å", "forces in eV/Å/x, not eV/Å"),
        ("ratio a/b/c is 3/4", "ratio a/b/c is 3/4"),
        ("relative models/a.pt and ./b/c.pt stay", "relative models/a.pt and ./b/c.pt stay"),
        ("<Thing object at 0x7f3a2c1e>", "<Thing object at 0x…>"),
        ("worker (pid 4711) died", "worker (pid …) died"),
        ("Process 12 of thread=9", "Process … of thread=…"),
        ("in /tmp/tmpab12cd_4", "in …/tmp…"),
        ("two\nlines\tand \x1b[31mred\x07", "two lines and [31mred"),
        ("OutOfMemoryError: CUDA out of memory. 3.1 GiB is free", "OutOfMemoryError: the device's memory is full"),
        ("", "failed without a message"),
        (" \n ", "failed without a message"),
    ],
)
def test_a_message_loses_what_differs_from_run_to_run(text, expected):
    assert stable(text) == expected


def test_a_message_that_is_stable_stays_as_it_is():
    once = stable("at 0x12, pid 7, /a/b/c.py, tmpabcdefgh")
    assert stable(once) == once


def test_a_long_message_is_cut_to_one_short_line():
    assert len(stable("x " * 10_000)) == 300


def test_half_a_surrogate_pair_can_be_written_to_a_file():
    assert stable("bad \udcff byte").encode() == b"bad byte"


def test_an_exit_of_the_model_is_told_with_its_code():
    assert raised(SystemExit(3)) == "called sys.exit(3)"
    assert raised(SystemExit("bye")) == "called sys.exit('bye')"


def test_an_exception_is_told_with_its_type():
    assert raised(ValueError("too close")) == "ValueError: too close"
    assert raised(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_an_exception_that_cannot_be_shown_is_told_by_its_type():
    class ShyError(Exception):
        def __str__(self):
            raise RuntimeError("no")

    assert raised(ShyError()) == "ShyError, whose message cannot be shown"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, "ended the process with exit status 0"),
        (3, "ended the process with exit status 3"),
        (-9, "killed by signal 9 (out of memory?)"),
        (-11, "killed by signal 11 (SIGSEGV)"),
        (-63, "killed by signal 63 (unknown)"),
    ],
)
def test_the_end_of_a_process_is_told_in_words(status, expected):
    assert ended(status) == expected


def test_a_time_limit_is_told_as_it_was_given():
    assert timed_out(30.0) == "timeout after 30 s"
    assert timed_out(0.5) == "timeout after 0.5 s"

from __future__ import annotations

import pytest

from xferbench.errors import StorageError
from xferbench.predict.log import LIMIT, Log


def test_short_output_is_kept_whole():
    log = Log()
    log.feed(b"one\n")
    log.feed("zwölf\n".encode())
    assert log.text() == "one\nzwölf\n"


@pytest.mark.parametrize("piece", [1, 1000, LIMIT, 3 * LIMIT])
def test_long_output_keeps_its_two_ends_and_says_how_much_is_lost(piece):
    data = bytes(i % 251 for i in range(5 * LIMIT))
    log = Log()
    for start in range(0, len(data), piece if piece > 1 else 777):
        log.feed(data[start : start + (piece if piece > 1 else 777)])
    kept = data[:LIMIT] + b"|" + data[-LIMIT:]
    text = f"\n[… {3 * LIMIT} bytes left out …]\n"
    assert log.text() == kept.replace(b"|" + data[-LIMIT:], text.encode() + data[-LIMIT:]).decode(errors="replace")


def test_output_of_exactly_the_limits_is_kept_whole():
    log = Log()
    log.feed(b"a" * LIMIT + b"b" * LIMIT)
    assert log.text() == "a" * LIMIT + "b" * LIMIT


def test_bytes_that_are_no_text_are_shown_as_such():
    log = Log()
    log.feed(b"\xff ok")
    assert log.text() == "\ufffd ok"


def test_the_last_lines_fit_into_a_message():
    log = Log()
    assert log.last_lines() == "it printed nothing"
    log.feed(b"first\nsecond\n\n   third\n \nfourth\n")
    assert log.last_lines() == "second | third | fourth"
    log.feed(b"x" * 1000 + b"end\n")
    assert len(log.last_lines()) == 300
    assert log.last_lines().endswith("xend")


def test_saving_writes_what_is_kept(tmp_path):
    log = Log()
    log.feed(b"hello\n")
    log.save(tmp_path / "new" / "a.log")
    assert (tmp_path / "new" / "a.log").read_text() == "hello\n"


def test_saving_nothing_writes_nothing(tmp_path):
    Log().save(tmp_path / "a.log")
    assert not list(tmp_path.iterdir())


def test_a_log_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    log = Log()
    log.feed(b"hello")
    with pytest.raises(StorageError, match=r"cannot write .*a\.log"):
        log.save(tmp_path / "file" / "a.log")

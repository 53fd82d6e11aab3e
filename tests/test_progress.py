from __future__ import annotations

import io
import sys

from xferbench import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_file_gets_whole_lines_and_few_of_them(capsys):
    with progress.bar("springs", 100, 0, unit="structures", show=True) as meter:
        for _ in range(100):
            meter.update(1)
    lines = [line.strip() for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 2
    assert lines[0].startswith("springs: 0/100 structures")
    assert lines[1].startswith("springs: 100/100 structures")


def test_a_line_names_its_unit_and_leaves_stdout_to_results(capsys):
    with progress.bar("training", 10, 4, unit="frames", show=True) as meter:
        meter.set_postfix(loss="0.5", refresh=False)
        meter.update(6)
    out, err = capsys.readouterr()
    assert out == ""
    assert "training: 10/10 frames" in err
    assert "left, loss=0.5" in err


def test_a_line_has_rate_time_left_and_failures(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINES_EVERY", 0.0)
    with progress.bar("springs", 10, 0, unit="structures", show=True) as meter:
        meter.set_postfix_str("2 failed", refresh=False)
        meter.update(5)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "structures/s" in last
    assert "left" in last
    assert last.endswith("2 failed")


def test_what_an_earlier_run_did_is_shown_as_done_and_does_not_make_the_rate_look_better(capsys):
    with progress.bar("springs", 1_000_000, 999_990, unit="structures", show=True) as meter:
        assert meter.n == 999_990
        meter.update(10)
        seconds = meter.format_dict["elapsed"]
        assert meter.format_dict["initial"] == 999_990
    assert "999990/1000000" in capsys.readouterr().err
    assert seconds >= 0


def test_a_terminal_gets_one_line_that_is_redrawn(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.bar("springs", 3, 0, unit="structures", show=True) as meter:
        meter.update(3)
    assert stream.getvalue().count("\r") >= 2
    assert stream.getvalue().count("\n") == 1
    assert "100%" in stream.getvalue()


def test_nothing_is_drawn_unless_asked_for(capsys):
    with progress.bar("springs", 3, 0, unit="structures", show=False) as meter:
        meter.update(3)
    assert capsys.readouterr().err == ""

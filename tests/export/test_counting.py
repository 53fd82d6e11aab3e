"""Every frame is written or left out, and counted once."""

from __future__ import annotations

from xferbench.export.counting import Counted


def test_frames_are_counted_with_what_they_lack(make_frame):
    frames = Counted([make_frame(), make_frame(stress=None), make_frame(stress=None, magmoms=None)])
    assert len(list(frames)) == 3
    assert (frames.written, frames.missing, frames.left_out) == (3, {"stress": 2, "magmoms": 1}, {})


def test_a_frame_left_out_is_not_written_and_lacks_nothing(make_frame):
    frames = Counted([make_frame(energy=None), make_frame()])
    for frame in frames:
        if frame.energy is None:
            frames.leave_out("no energy")
    assert (frames.written, frames.missing, frames.left_out) == (1, {}, {"no energy": 1})

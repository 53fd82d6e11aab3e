from argparse import Namespace
from itertools import pairwise

import pytest

pytest.importorskip("chgnet")

from xferbench.models.chgnet.trainable import TrainableCHGNet
from xferbench.transfer.data import samples


@pytest.fixture(scope="module")
def train_speed(script):
    return script("train_speed")


def test_labels_are_invented_for_every_quantity(train_speed):
    frames = train_speed.labelled(train_speed.small(3))
    assert [sample.counts for sample in samples(frames, TrainableCHGNet.load("0.3.0"))] == [(1, 24, 9, 8)] * 3
    assert len({frame.frame_id for frame in frames}) == 3


def test_the_table_has_rates_ratio_waiting_and_fixed_cost(train_speed):
    text = train_speed.table(
        {"8 atoms": train_speed.Speed(trainer=4.0, xferbench=10.0, waiting=0.012)},
        {"data set prepared": 3.21},
        Namespace(structures=48, batch_size=16, threads=1),
    )
    assert "| 8 atoms | 4.00 | 10.00 | 2.50 | 1.2 % |" in text
    assert "48 structures, batches of 16, 1 thread(s)" in text
    assert "From the command to the first step on `mini`: 3.2 s (data set prepared).\n" in text


def test_every_epoch_of_ours_learns_from_every_structure(train_speed, monkeypatch, tmp_path):
    seen, marks = [], []
    step = train_speed.Runner._step

    def counted(self, labelled, value):
        seen.append(labelled.part.counts[0])
        step(self, labelled, value)

    monkeypatch.setattr(train_speed.Runner, "_step", counted)
    frames = train_speed.labelled(train_speed.small(3, elements=[8]))
    train_speed.ours(frames, 2, 2, tmp_path, lambda: marks.append(sum(seen)))
    assert [after - before for before, after in pairwise(marks)] == [3, 3]


def test_a_rate_is_that_of_the_best_epoch_after_the_first(train_speed, monkeypatch):
    now = [0.0]

    def lasting(seconds):
        left = iter(seconds)

        def last():
            now[0] += next(left)

        return last

    def ours(frames, batch_size, epochs, directory, between):  # as the loop does: before, between and after epochs
        (directory / "timing.csv").write_text("epoch,waiting_for_data\n1,0.0\n2,0.5\n3,0.25\n")
        between()
        for seconds in (1.0, 8.0, 4.0)[:epochs]:
            now[0] += seconds
            between()

    monkeypatch.setattr(train_speed.time, "process_time", lambda: now[0])
    monkeypatch.setattr(train_speed, "theirs", lambda *_: lasting([3.0, 20.0, 16.0, 40.0]))
    monkeypatch.setattr(train_speed, "ours", ours)
    found = train_speed.speed([None] * 8, 2, repeats=2)
    assert (found.trainer, found.xferbench, found.waiting) == (8 / 16, 8 / 4, 0.25)


def test_a_command_that_fails_is_told(train_speed, monkeypatch, tmp_path):
    monkeypatch.setattr(train_speed, "COMMAND", ("train", "mini", "--strategy", "no-such"))
    with pytest.raises(SystemExit, match="xferbench train mini --strategy no-such ended with exit code 2"):
        train_speed._until_first_step(tmp_path, "run")

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from xferbench.transfer.samples import samples


@pytest.fixture
def train_speed(script, monkeypatch):
    """The benchmark, beside which its crystals lie."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return script("train_speed")


def test_labels_are_invented_for_every_quantity(train_speed):
    frames = train_speed.labelled(train_speed.small(3))
    assert [sample.counts for sample in samples(frames)] == [(1, 24, 9, 8)] * 3
    assert len({frame.frame_id for frame in frames}) == 3


def test_the_table_has_both_rates_and_their_ratio(train_speed):
    text = train_speed.table(
        {"8 atoms": {"Trainer": 4.0, "xferbench": 10.0}}, Namespace(structures=48, batch_size=16, threads=1)
    )
    assert "| 8 atoms | 4.00 | 10.00 | 2.50 |" in text
    assert "48 structures, batches of 16, 1 thread(s)" in text


def test_the_table_is_put_between_the_markers_of_a_page(train_speed, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{train_speed.MARKERS[0]}old\n{train_speed.MARKERS[1]}\nafter\n")
    train_speed.write(page, "new\n")
    assert page.read_text() == f"before\n{train_speed.MARKERS[0]}new\n{train_speed.MARKERS[1]}\nafter\n"
    page.write_text("nothing")
    with pytest.raises(SystemExit, match="has no markers"):
        train_speed.write(page, "new\n")


def test_an_epoch_of_ours_learns_from_every_structure(train_speed, monkeypatch):
    seen = []
    step = train_speed.Loop._step

    def counted(self, labelled, value):
        seen.append(labelled.part.counts[0])
        step(self, labelled, value)

    monkeypatch.setattr(train_speed.Loop, "_step", counted)
    train_speed.ours(train_speed.labelled(train_speed.small(3, elements=[8])), 2)()
    assert np.sum(seen) == 3

"""The streamed fingerprint is ``records.fingerprint``, bit for bit."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.dataset import spill
from xferbench.dataset.digesting import WAITING, SortedFingerprint, encoded
from xferbench.errors import StorageError
from xferbench.functionals import Functional
from xferbench.records import Frame, fingerprint
from xferbench.splits import assign
from xferbench.tables import frames_table

numbers = st.floats(allow_nan=False, width=64)


@st.composite
def frames(draw):
    n = draw(st.integers(0, 3))

    def array(*shape):
        values = draw(st.lists(numbers, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        return np.array(values, dtype=float).reshape(shape)

    def maybe(*shape):
        return array(*shape) if draw(st.booleans()) else None

    name = draw(st.text(max_size=4))
    return Frame(
        frame_id=name,
        pair_id=draw(st.text(max_size=3)),
        material_id=draw(st.sampled_from(["a", "b", "é"])),
        functional=draw(st.sampled_from([Functional(name) for name in ("PBE", "PBE+U", "r2SCAN")])),
        numbers=np.array(draw(st.lists(st.integers(1, 118), min_size=n, max_size=n)), dtype=np.int64),
        positions=array(n, 3),
        cell=array(3, 3),
        pbc=tuple(draw(st.lists(st.booleans(), min_size=3, max_size=3))),
        energy=draw(st.none() | numbers),
        forces=maybe(n, 3),
        stress=maybe(3, 3),
        magmoms=maybe(n),
        correction=draw(st.none() | numbers),
    )


PLACE = {"a": "train", "b": "val", "é": "test"}


def streamed(batches, place):
    digest = SortedFingerprint()
    for batch in batches:
        digest.add(frames_table(batch), [place[frame.material_id] for frame in batch])
    value = digest.hexdigest()
    digest.close()
    return value


@given(st.lists(frames(), max_size=6, unique_by=lambda frame: frame.frame_id))
def test_it_is_the_fingerprint_of_the_records(items):
    assert streamed([items], PLACE) == fingerprint(items, PLACE)


@given(frames())
def test_one_row_is_encoded_as_the_definition_says(frame):
    (row,) = encoded(frames_table([frame]), [PLACE[frame.material_id]])
    assert f"sha256:{hashlib.sha256(row).hexdigest()}" == fingerprint([frame], PLACE)


def test_order_and_batches_do_not_matter(make_pairs, synthetic_source, synthetic_dataset, monkeypatch):
    monkeypatch.setattr(spill, "RUN", 2000)
    monkeypatch.setattr(spill, "BLOCK", 500)
    items = list(synthetic_source.frames)
    random.Random(1).shuffle(items)
    place = assign({frame.material_id for frame in items}, synthetic_source.split)
    batches = [items[start : start + 5] for start in range(0, len(items), 5)]
    assert streamed(batches, place) == fingerprint(items, place) == synthetic_dataset.fingerprint


def test_a_part_of_a_table_is_encoded_as_that_part(synthetic_source):
    items = list(synthetic_source.frames)[:9]
    whole = encoded(frames_table(items), ["train"] * 9)
    assert encoded(frames_table(items).slice(4, 3), ["train"] * 3) == whole[4:7]


@pytest.mark.parametrize("change", [{"energy": -1.0}, {"magmoms": None}, {"pbc": (True, True, False)}])
def test_any_change_moves_it(synthetic_source, change):
    items = [frame for frame in synthetic_source.frames if frame.magmoms is not None][:4]
    place = dict.fromkeys((frame.material_id for frame in items), "train")
    assert streamed([[replace(items[0], **change), *items[1:]]], place) != streamed([items], place)


@pytest.mark.parametrize("tables", [1, 2, 3, 9])
def test_what_goes_wrong_while_encoding_is_raised_before_there_is_a_fingerprint(make_pairs, monkeypatch, tables):
    def full(*_):
        raise StorageError("the disk is full")

    monkeypatch.setattr(spill.SortedSpill, "append", full)
    table = frames_table([make_pairs(1, 1)[0].source])
    digest = SortedFingerprint()

    def fingerprinted():
        for _ in range(tables):
            digest.add(table, ["train"])
        return digest.hexdigest()

    with pytest.raises(StorageError, match="the disk is full"):
        fingerprinted()
    digest.close()


def test_tables_are_added_in_their_order_and_few_wait(make_pairs, monkeypatch):
    waiting, added = [], []
    digest = SortedFingerprint()
    original = SortedFingerprint._add

    def add(self, table, splits):
        added.append(table["frame_id"][0].as_py())
        original(self, table, splits)

    monkeypatch.setattr(SortedFingerprint, "_add", add)
    frames = [pair.source for pair in make_pairs(6, 1)]
    for frame in frames:
        digest.add(frames_table([frame]), ["train"])
        waiting.append(len(digest._unfinished))
    digest.hexdigest()
    digest.close()
    assert added == [frame.frame_id for frame in frames]
    assert max(waiting) == WAITING

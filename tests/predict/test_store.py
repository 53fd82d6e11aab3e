from __future__ import annotations

import errno
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xferbench import tables
from xferbench.errors import IntegrityError, StorageError, UsageError
from xferbench.models.wire import Answers
from xferbench.predict import plan, store
from xferbench.predict.store import MARK, Journal, discard, finish, finished, journal_path, log_path, tidy
from xferbench.records import Predictions
from xferbench.storage import TEMPORARY

SETTINGS = {"task": "t@1", "batch_atoms": 6}
FACTS = {**SETTINGS, "facts": {"functional": "r2SCAN"}}
IDS = "abcde"


def frame(frame_id):
    return SimpleNamespace(
        frame_id=frame_id,
        n_atoms=3,
        numbers=np.array([1, 2, 3]),
        positions=np.zeros((3, 3)),
        cell=np.eye(3),
        pbc=(True, True, True),
    )


PLAN = plan.make([frame(frame_id) for frame_id in IDS], 6)
"""Batches ab, cd, e."""


def result(frame_id, **changes):
    rng = np.random.default_rng(ord(frame_id))
    values = {
        "energy": float(rng.normal()) * 1e-7,
        "forces": rng.normal(size=(3, 3)),
        "stress": rng.normal(size=(3, 3)),
        "magmoms": rng.normal(size=3),
        **changes,
    }
    return {name: value for name, value in values.items() if value is not None}


def batch(number):
    return Answers.of([result(item.frame_id) for item in PLAN.batch(number)], [3] * PLAN.size(number))


def same(found, expected):
    assert np.array_equal(found.energy, expected.energy, equal_nan=True)
    assert found.errors == expected.errors
    for name in found.given:
        assert np.array_equal(found.given[name], expected.given[name])
        assert np.array_equal(found.values[name], expected.values[name])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "p.parquet.partial"


def opened(path, settings=FACTS, planned=PLAN):
    return Journal(path, settings, planned, range(len(planned)))


def done(journal):
    return [number for number in range(3) if number in journal]


def full_journal(path):
    journal = opened(path)
    for number in range(3):
        journal.add(number, batch(number))
    return journal


def test_a_new_journal_is_empty_and_on_disk(path):
    assert done(opened(path)) == []
    assert path.read_bytes().count(MARK) == 1


def test_batches_come_back_bit_for_bit_in_order(path):
    full_journal(path)
    again = opened(path)
    assert done(again) == [0, 1, 2]
    for number, answers in enumerate(again.answers()):
        same(answers, batch(number))


def test_batches_may_be_added_in_any_order_and_in_several_runs(path):
    opened(path).add(2, batch(2))
    opened(path).add(0, batch(0))
    assert done(opened(path)) == [0, 2]


def test_a_failed_structure_and_missing_properties_come_back_as_they_are(path):
    answers = Answers.of(["ValueError: zu nah: 1 Å", result("b", stress=None, magmoms=None)], [3, 3])
    journal = full_journal(path)
    journal.add(0, answers)
    same(next(journal.answers()), answers)


def test_halved_batches_are_counted_over_runs(path):
    opened(path).add(0, batch(0), halved=3)
    journal = opened(path)
    journal.add(1, batch(1))
    journal.add(2, batch(2), halved=1)
    assert journal.halved == 2
    assert opened(path).halved == 2


def test_reading_a_sound_journal_leaves_its_bytes_alone(path, caplog):
    full_journal(path)
    before = path.read_bytes()
    opened(path)
    assert path.read_bytes() == before
    assert not caplog.records


def test_other_settings_are_refused_with_their_names(path):
    full_journal(path)
    with pytest.raises(UsageError, match=r"partial holds .*batch_atoms was 6 and is 3.*--no-resume"):
        opened(path, {**FACTS, "batch_atoms": 3})


def entry_ends(data):
    """Where each entry of a journal ends."""
    ends, at = [], 0
    while at < len(data):
        at += store.ENTRY.size + store.ENTRY.unpack_from(data, at)[2]
        ends.append(at)
    return ends


@pytest.mark.parametrize("seed", range(10))
def test_a_journal_cut_anywhere_loses_only_the_cut_entry(path, caplog, seed):
    """The state a process leaves that is killed while it writes."""
    full_journal(path)
    whole = path.read_bytes()
    ends = entry_ends(whole)
    cut = random.Random(seed).randrange(ends[0], len(whole))
    path.write_bytes(whole[:cut])
    complete = sum(end <= cut for end in ends) - 1
    journal = opened(path)
    assert done(journal) == list(range(complete))
    assert ("1 damaged entries are computed again" in caplog.text) == (cut not in ends)
    for number in range(complete, 3):
        journal.add(number, batch(number))
    assert path.read_bytes() == whole


@pytest.mark.parametrize("seed", range(20))
def test_one_altered_byte_costs_one_entry_or_all_if_it_hits_the_settings(path, caplog, seed):
    full_journal(path)
    data = bytearray(path.read_bytes())
    rng = random.Random(seed)
    place = rng.randrange(len(data))
    data[place] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    journal = opened(path)
    found = done(journal)
    assert len(found) == 2 if place >= entry_ends(path.read_bytes())[0] and found else found == []
    assert "damaged" in caplog.text
    for number in range(3):
        if number not in journal:
            journal.add(number, batch(number))
    for number, answers in enumerate(journal.answers()):
        same(answers, batch(number))
    caplog.clear()
    assert done(opened(path)) == [0, 1, 2]
    assert not caplog.records, "the journal was repaired"


def test_a_batch_of_another_size_is_not_taken_over(path, caplog):
    journal = full_journal(path)
    journal.add(2, batch(0))
    assert done(opened(path)) == [0, 1, 2]
    assert "1 damaged" in caplog.text


def test_an_entry_that_changes_during_the_run_is_noticed(path):
    journal = full_journal(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="was altered while the run was going on"):
        list(journal.answers())


def test_an_empty_journal_is_begun_anew(path):
    path.write_bytes(b"")
    assert done(opened(path)) == []
    assert done(full_journal(path)) == [0, 1, 2]


def test_a_full_disk_is_one_clear_line(path, monkeypatch):
    journal = opened(path)

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "open", refuse)
        with pytest.raises(StorageError, match=r"cannot write .*partial: No space left on device; free some space"):
            journal.add(0, batch(0))
    assert done(opened(path)) == []


FILL = """
import resource, signal, sys
sys.path.insert(0, {here!r})
from pathlib import Path
import test_store as t
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = t.opened(Path({path!r}))
journal.add(0, t.batch(0))
size = Path({path!r}).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
try:
    journal.add(1, t.batch(1))
except t.StorageError as error:
    print("refused:", error)
"""


def test_a_disk_that_fills_up_in_the_middle_of_a_batch_costs_that_batch(path, caplog):
    """A real short write: the system takes 100 bytes of the second batch and no more."""
    code = FILL.format(here=str(Path(__file__).parent), path=str(path))
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.startswith("refused: cannot write")
    assert done(opened(path)) == [0]
    assert "1 damaged" in caplog.text


def write_finished(out, **changes):
    settings = {**FACTS, **changes}
    journal = Journal(journal_path(out), settings, PLAN, range(3))
    for number in range(3):
        journal.add(number, batch(number))
    finish(out, journal, PLAN.ids, settings)


def test_a_finished_file_replaces_its_journal_and_comes_back(tmp_path):
    out = tmp_path / "p.parquet"
    write_finished(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.parquet"]
    assert finished(out, SETTINGS, list(IDS)) == FACTS
    records = tables.table_predictions(tables.read_table(out)).records
    assert [record.frame_id for record in records] == list(IDS)
    for record in records:
        expected = result(record.frame_id)
        assert record.energy == expected["energy"]
        assert all(np.array_equal(getattr(record, name), expected[name]) for name in ("forces", "stress", "magmoms"))


def test_a_finished_file_has_the_bytes_that_records_would_have(tmp_path):
    """One meaning, one file: whether written from arrays or from records."""
    out, other = tmp_path / "p.parquet", tmp_path / "q.parquet"
    write_finished(out)
    predictions = tables.table_predictions(tables.read_table(out))
    tables.write_table(other, tables.predictions_table(Predictions(records=predictions.records, settings=FACTS)))
    assert tables.read_table(out).equals(tables.read_table(other))


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 6])
def test_the_bytes_do_not_depend_on_the_batches(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(store, "ROWS", rows)
    files = []
    for budget in (1, 6, 9, 99):
        planned = plan.make([frame(frame_id) for frame_id in IDS], budget)
        out = tmp_path / f"{budget}.parquet"
        journal = Journal(journal_path(out), FACTS, planned, range(len(planned)))
        for number in reversed(range(len(planned))):
            items = planned.batch(number)
            journal.add(number, Answers.of([result(item.frame_id) for item in items], [3] * len(items)))
        finish(out, journal, planned.ids, FACTS)
        files.append(out.read_bytes())
        assert pq.ParquetFile(out).num_row_groups == -(-5 // rows)
    assert len(set(files)) == 1


def test_a_finished_file_says_how_many_batches_were_halved(tmp_path):
    out = tmp_path / "p.parquet"
    journal = opened(journal_path(out))
    for number in range(3):
        journal.add(number, batch(number), halved=number)
    finish(out, journal, PLAN.ids, FACTS)
    assert finished(out, SETTINGS, list(IDS)) == {**FACTS, "halved": 2}


def test_a_journal_left_by_a_run_killed_after_its_last_write_is_dropped(tmp_path):
    out = tmp_path / "p.parquet"
    write_finished(out)
    full_journal(journal_path(out))
    finished(out, SETTINGS, list(IDS))
    assert not journal_path(out).exists()


def test_a_finished_file_of_other_settings_is_refused(tmp_path):
    out = tmp_path / "p.parquet"
    write_finished(out, task="other@1")
    with pytest.raises(UsageError, match=r'task was "other@1" and is "t@1"'):
        finished(out, SETTINGS, list(IDS))


def test_a_finished_file_that_lacks_a_frame_is_damaged(tmp_path):
    out = tmp_path / "p.parquet"
    write_finished(out)
    with pytest.raises(IntegrityError, match="lacks predictions that its settings promise; --no-resume"):
        finished(out, SETTINGS, list("abcdef"))


def test_a_parquet_file_of_something_else_is_never_overwritten(tmp_path):
    out = tmp_path / "p.parquet"
    pq.write_table(pa.table({"x": [1]}), out)
    with pytest.raises(UsageError, match="exists and holds no predictions; choose another output"):
        finished(out, SETTINGS, [])


def test_somebody_elses_predictions_are_never_overwritten(tmp_path):
    out = tmp_path / "p.parquet"
    tables.write_table(out, tables.predictions_table(Predictions(records=[], settings={})))
    with pytest.raises(UsageError, match=r'task was not set and is "t@1"'):
        finished(out, SETTINGS, [])


def test_a_truncated_finished_file_is_an_integrity_error(tmp_path):
    out = tmp_path / "p.parquet"
    write_finished(out)
    whole = out.read_bytes()
    for cut in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        out.write_bytes(whole[:cut])
        with pytest.raises(IntegrityError, match="truncated or was altered: make it again"):
            finished(out, SETTINGS, list(IDS))


def test_an_altered_finished_file_is_refused_or_gives_the_same_numbers(tmp_path):
    """Some bytes of Parquet decide nothing; all the others are covered by a checksum or by the settings' comparison."""
    out = tmp_path / "p.parquet"
    write_finished(out)
    whole = out.read_bytes()
    expected = tables.table_predictions(tables.read_table(out)).digest()
    refused = 0
    for place in range(4, len(whole) - 8, 29):
        data = bytearray(whole)
        data[place] ^= 0xFF
        out.write_bytes(data)
        try:
            finished(out, SETTINGS, list(IDS))
            assert tables.table_predictions(tables.read_table(out)).digest() == expected
        except (IntegrityError, UsageError):
            refused += 1
    assert refused > 50


def test_discarding_removes_the_file_its_journal_and_its_log_and_nothing_else(tmp_path):
    out = tmp_path / "p.parquet"
    other = tmp_path / "q.parquet"
    for path in (out, journal_path(out), log_path(out), other):
        path.write_text("x")
    discard(out)
    assert list(tmp_path.iterdir()) == [other]
    discard(out)


def test_tidying_removes_temporary_files_of_this_output_only(tmp_path):
    out = tmp_path / "p.parquet"
    mine = [f"{TEMPORARY}{name}-0123456789abcdef" for name in ("p.parquet", "p.parquet.partial")]
    others = [f"{TEMPORARY}p.parquet-2.parquet-0123456789abcdef", f"{TEMPORARY}q.parquet-0123456789abcdef", "p.parquet"]
    for name in mine + others:
        (tmp_path / name).write_text("x")
    tidy(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_tidying_removes_what_a_write_that_is_killed_leaves(tmp_path):
    out = tmp_path / "p.parquet"
    code = (
        f"import os, sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_store as t;"
        f"t.Path.replace = lambda *_: os._exit(9); t.write_finished(t.Path({str(out)!r}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert len(list(tmp_path.iterdir())) == 1
    tidy(out)
    assert not list(tmp_path.iterdir())


def test_tidying_takes_brackets_in_a_name_for_brackets(tmp_path):
    (tmp_path / f"{TEMPORARY}[a].parquet-0123456789abcdef").write_text("x")
    tidy(tmp_path / "[a].parquet")
    assert not list(tmp_path.iterdir())

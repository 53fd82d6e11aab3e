from __future__ import annotations

import errno
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xferbench import tables
from xferbench.errors import IntegrityError, StorageError, UsageError
from xferbench.predict.store import Journal, discard, finish, finished, journal_path, log_path, tidy
from xferbench.records import Prediction, Predictions
from xferbench.storage import TEMPORARY

SETTINGS = {"task": "t@1", "batch_size": 2}
BATCHES = [["a", "b"], ["c", "d"], ["e"]]


def prediction(frame_id, **changes):
    rng = np.random.default_rng(ord(frame_id))
    values = {
        "energy": float(rng.normal()) * 1e-7,
        "forces": rng.normal(size=(3, 3)),
        "stress": rng.normal(size=(3, 3)),
        "magmoms": rng.normal(size=3),
        **changes,
    }
    return Prediction(frame_id=frame_id, **values)


def batch(number):
    return [prediction(frame_id) for frame_id in BATCHES[number]]


def digest(records):
    return Predictions(records=records, settings={}).digest()


def failed(frame_id):
    return Prediction(frame_id=frame_id, error="ValueError: zu nah: 1 Å")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "p.parquet.partial"


def full_journal(path):
    journal = Journal(path, SETTINGS, BATCHES)
    for number in range(3):
        journal.add(number, batch(number))
    return journal


def test_a_new_journal_is_empty_and_on_disk(path):
    assert Journal(path, SETTINGS, BATCHES).done == {}
    assert path.read_bytes().count(b"\n") == 1


def test_batches_come_back_bit_for_bit(path):
    full_journal(path)
    again = Journal(path, SETTINGS, BATCHES).done
    assert sorted(again) == [0, 1, 2]
    for number, records in again.items():
        assert digest(records) == digest(batch(number))


def test_batches_may_be_added_in_any_order_and_in_several_runs(path):
    Journal(path, SETTINGS, BATCHES).add(2, batch(2))
    Journal(path, SETTINGS, BATCHES).add(0, batch(0))
    assert sorted(Journal(path, SETTINGS, BATCHES).done) == [0, 2]


def test_a_failed_structure_and_missing_properties_come_back_as_they_are(path):
    records = [failed("a"), prediction("b", stress=None, magmoms=None)]
    Journal(path, SETTINGS, BATCHES).add(0, records)
    first, second = Journal(path, SETTINGS, BATCHES).done[0]
    assert (first.energy, first.forces, first.error) == (None, None, "ValueError: zu nah: 1 Å")
    assert second.stress is None
    assert second.magmoms is None
    assert digest([second]) == digest(records[1:])


def test_reading_a_sound_journal_leaves_its_bytes_alone(path, caplog):
    full_journal(path)
    before = path.read_bytes()
    Journal(path, SETTINGS, BATCHES)
    assert path.read_bytes() == before
    assert not caplog.records


def test_other_settings_are_refused_with_their_names(path):
    full_journal(path)
    with pytest.raises(UsageError, match=r"partial holds .*batch_size was 2 and is 3.*--no-resume"):
        Journal(path, {**SETTINGS, "batch_size": 3}, BATCHES)


@pytest.mark.parametrize("seed", range(10))
def test_a_journal_cut_anywhere_loses_only_the_cut_entry(path, caplog, seed):
    """The state a process leaves that is killed while it writes."""
    full_journal(path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    cut = random.Random(seed).randrange(len(lines[0]), len(whole))
    path.write_bytes(whole[:cut])
    complete = whole[:cut].count(b"\n") - 1
    journal = Journal(path, SETTINGS, BATCHES)
    assert sorted(journal.done) == list(range(complete))
    torn = not whole[:cut].endswith(b"\n")
    assert ("1 damaged entries are computed again" in caplog.text) == torn
    for number in range(complete, 3):
        journal.add(number, batch(number))
    assert path.read_bytes() == whole


@pytest.mark.parametrize("seed", range(10))
def test_one_altered_byte_costs_one_entry_or_all_if_it_hits_the_settings(path, caplog, seed):
    full_journal(path)
    data = bytearray(path.read_bytes())
    header = data.index(b"\n")
    rng = random.Random(seed)
    place = rng.randrange(len(data) - 1)
    data[place] ^= 1 << rng.randrange(7)
    path.write_bytes(data)
    done = Journal(path, SETTINGS, BATCHES).done
    assert len(done) <= 2 if place > header else done == {}
    assert "damaged" in caplog.text
    for number, records in done.items():
        assert digest(records) == digest(batch(number))
    caplog.clear()
    assert sorted(Journal(path, SETTINGS, BATCHES).done) == sorted(done)
    assert not caplog.records, "the journal was repaired"


def test_a_batch_of_other_frames_is_not_taken_over(path, caplog):
    full_journal(path)
    done = Journal(path, SETTINGS, [["a", "b"], ["c", "x"], ["e"]]).done
    assert sorted(done) == [0, 2]
    assert "1 damaged" in caplog.text


def test_an_empty_journal_is_begun_anew(path):
    path.write_bytes(b"")
    assert Journal(path, SETTINGS, BATCHES).done == {}
    assert sorted(full_journal(path).done) == [0, 1, 2]


def test_a_full_disk_is_one_clear_line(path, monkeypatch):
    journal = Journal(path, SETTINGS, BATCHES)

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "open", refuse)
        with pytest.raises(StorageError, match=r"cannot write .*partial: No space left on device; free some space"):
            journal.add(0, batch(0))
    assert Journal(path, SETTINGS, BATCHES).done == {}


FILL = """
import resource, signal, sys
sys.path.insert(0, {here!r})
from pathlib import Path
import test_store as t
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = t.Journal(Path({path!r}), t.SETTINGS, t.BATCHES)
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
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("refused: cannot write")
    assert sorted(Journal(path, SETTINGS, BATCHES).done) == [0]
    assert "1 damaged" in caplog.text


def write_finished(out, **changes):
    records = [record for number in range(3) for record in batch(number)]
    settings = {**SETTINGS, "facts": {"functional": "r2SCAN"}, **changes}
    finish(out, Predictions(records=records, settings=settings))


def test_a_finished_file_replaces_its_journal_and_comes_back(tmp_path):
    out = tmp_path / "p.parquet"
    full_journal(journal_path(out))
    write_finished(out)
    assert not journal_path(out).exists()
    predictions = finished(out, SETTINGS, list("abcde"))
    assert digest(predictions.records) == digest([prediction(frame_id) for frame_id in "abcde"])


def test_a_journal_left_by_a_run_killed_after_its_last_write_is_dropped(tmp_path):
    out = tmp_path / "p.parquet"
    write_finished(out)
    full_journal(journal_path(out))
    finished(out, SETTINGS, list("abcde"))
    assert not journal_path(out).exists()


def test_a_finished_file_of_other_settings_is_refused(tmp_path):
    out = tmp_path / "p.parquet"
    write_finished(out, task="other@1")
    with pytest.raises(UsageError, match=r'task was "other@1" and is "t@1"'):
        finished(out, SETTINGS, list("abcde"))


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
    tables.write_table(out, tables.predictions_table(Predictions(records=batch(0), settings={})))
    with pytest.raises(UsageError, match=r'task was not set and is "t@1"'):
        finished(out, SETTINGS, list("ab"))


def test_a_truncated_finished_file_is_an_integrity_error(tmp_path):
    out = tmp_path / "p.parquet"
    write_finished(out)
    whole = out.read_bytes()
    for cut in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        out.write_bytes(whole[:cut])
        with pytest.raises(IntegrityError, match="truncated or was altered: make it again"):
            finished(out, SETTINGS, list("abcde"))


def test_an_altered_finished_file_is_refused_or_gives_the_same_numbers(tmp_path):
    """Some bytes of Parquet decide nothing; all the others are covered by a checksum or by the settings' comparison."""
    out = tmp_path / "p.parquet"
    write_finished(out)
    whole = out.read_bytes()
    expected = digest([prediction(frame_id) for frame_id in "abcde"])
    refused = 0
    for place in range(4, len(whole) - 8, 29):
        data = bytearray(whole)
        data[place] ^= 0xFF
        out.write_bytes(data)
        try:
            assert digest(finished(out, SETTINGS, list("abcde")).records) == expected
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
    mine = [f"{TEMPORARY}{name}-0123456789abcdef" for name in ("p.parquet", "p.parquet.partial", "p.parquet.log")]
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

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from xferbench import predict, storage, tables
from xferbench.errors import DataError, IntegrityError, ModelError, StorageError, UsageError
from xferbench.functionals import Functional
from xferbench.models import CheckResult
from xferbench.predict.sandbox import Options as Sandbox
from xferbench.predict.store import MARK, journal_path, log_path

GOOD = "def predict(batch): return [good(atoms) for atoms in batch]"


def bad_on_lithium(action):
    """A model that does something bad when it meets the one-atom cell."""
    return dedent("""
        def predict(batch):
            for atoms in batch:
                if len(atoms) == 1:
                    ACTION
            return [good(atoms) for atoms in batch]
    """).replace("ACTION", action)


def test_every_frame_gets_its_numbers_bit_for_bit(run, frames, out, assert_good):
    records, facts = run(frames=frames[::-1])
    assert list(records) == sorted(frame.frame_id for frame in frames)
    for frame in frames:
        assert_good(records[frame.frame_id], frame)
    assert facts.functional == Functional("r2SCAN")
    assert facts.source_sha256 == storage.sha256(out.parent.parent / "model.py")
    stored = tables.table_predictions(tables.read_table(out))
    for record in stored.records:
        assert record.energy == records[record.frame_id].energy
        assert np.array_equal(record.forces, records[record.frame_id].forces)


def test_the_file_says_how_it_was_made(run, out):
    run('SUPPORTED_ELEMENTS = ["Li", "O", "Mg", "Cl"]\nREFERENCES = {"Li": -1.5}\nMODEL_ID = "springs-2"\n' + GOOD)
    settings = tables.table_predictions(tables.read_table(out)).settings
    assert settings["task"] == "springs@1"
    assert settings["model"] == "springs-2"
    assert settings["batch_atoms"] == 5
    assert settings["facts"]["references"] == {"Li": -1.5}
    assert settings["facts"]["supported_elements"] == ["Cl", "Li", "Mg", "O"]


def test_nothing_but_the_file_is_left_behind(run, out):
    run()
    assert sorted(path.name for path in out.parent.iterdir()) == ["predictions.parquet"]


def test_the_order_of_the_frames_changes_no_byte(run, frames, out, tmp_path):
    run()
    run(frames=frames[::-1], out=tmp_path / "again.parquet")
    assert out.read_bytes() == (tmp_path / "again.parquet").read_bytes()


def test_a_finished_run_is_kept_without_loading_the_model(run, out, monkeypatch):
    first = run()
    before = out.read_bytes()
    monkeypatch.setattr("xferbench.predict.runner.Session", None)
    second = run()
    assert second[1] == first[1]
    assert {key: record.energy for key, record in second[0].items()} == {
        key: record.energy for key, record in first[0].items()
    }
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (
            "raise ValueError('too close, see /tmp/tmpab12cd34/a.txt and 0x7f12')",
            "ValueError: too close, see …/a.txt and 0x… (model.py:12)",
        ),
        (
            "return [good(batch[0])] * 3",
            "predict returned 3 results for 1 structures; return one dictionary per structure, in their order",
        ),
        (
            "return [{'energy': float('nan')} if len(a) == 1 else good(a) for a in batch]",
            "energy has 1 of 1 values that are NaN or infinite",
        ),
        ("sys.exit(3)", "called sys.exit(3) (model.py:12)"),
        ("os._exit(3)", "ended the process with exit status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9 (out of memory?)"),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)", "timeout after 1 s"),
        ("print('x' * 3_000_000); raise ValueError('after megabytes')", "ValueError: after megabytes (model.py:12)"),
    ],
)
def test_one_bad_structure_fails_alone_and_is_told_why(run, frames, assert_good, action, error):
    records, _ = run(bad_on_lithium(action), timeout=1.0)
    for frame in frames:
        if frame.n_atoms == 1:
            assert records[frame.frame_id].error == error
            assert records[frame.frame_id].energy is None
        else:
            assert_good(records[frame.frame_id], frame)


@pytest.mark.parametrize(
    "action",
    [
        "os.fork()",
        "os.fork() or time.sleep(600)",
        "os.fork() or os.execvp('sleep', ['sleep', '600'])",
        "subprocess.Popen(['sleep', '600'])",
    ],
)
def test_forking_neither_doubles_answers_nor_leaves_processes(run, frames, tmp_path, action, ends):
    note = tmp_path / "group"
    records, _ = run(f"open({str(note)!r}, 'w').write(str(os.getpid()))\n" + bad_on_lithium(action))
    assert [record.error for record in records.values()] == [None] * 5
    assert [record.energy for record in records.values()] == [0.1 * float(frame.numbers.sum()) for frame in frames]
    ends(int(note.read_text()))


def test_a_model_that_fails_on_everything_still_leaves_a_file_that_says_so(run, frames, out):
    """What to make of it is the caller's decision."""
    records, facts = run("def predict(batch): raise ValueError('never')")
    assert [record.error for record in records.values()] == ["ValueError: never (model.py:8)"] * len(frames)
    assert facts.functional == Functional("r2SCAN")
    assert len(tables.read_table(out)) == len(frames)


def test_a_model_that_dies_on_everything_stops_the_run_and_shows_its_last_words(run, out, monkeypatch):
    monkeypatch.setattr("xferbench.predict.session.MAX_DEATHS", 2)
    with pytest.raises(ModelError) as caught:
        run("def predict(batch):\n    print('allocating 900 GB')\n    os.kill(os.getpid(), 9)")
    assert "model.py failed on 2 structures without a success in between" in str(caught.value)
    assert "killed by signal 9 (out of memory?)" in str(caught.value)
    assert "allocating 900 GB" in str(caught.value)
    assert not out.exists()
    assert "allocating 900 GB" in log_path(out).read_text()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('no weights')", "RuntimeError: no weights, on import"),
        ("sys.exit(3)", r"sys\.exit\(3\) on import"),
        ("os._exit(3)", "model.py failed while it was loaded: ended the process with exit status 3"),
        (
            "print('loading'); os.kill(os.getpid(), 9)",
            r"killed by signal 9 \(out of memory\?\); its last output: loading",
        ),
        ("def load_model(device): raise OSError('no such file')", r"OSError: no such file, in load_model"),
        ("import no_such_package", "No module named 'no_such_package'"),
        ("FUNCTIONAL = 'nonsense'\n" + GOOD, "unknown functional 'nonsense'"),
        ("x = 1", "must offer exactly one of"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_one_clear_line(run, out, source, message):
    with pytest.raises(ModelError, match=message) as caught:
        run(source)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    assert not journal_path(out).exists()


def test_a_model_that_hangs_while_it_is_imported_is_one_clear_line(run):
    with pytest.raises(ModelError, match=r"failed while it was loaded: timeout after 0\.5 s"):
        run("time.sleep(600)", load_timeout=0.5)


def test_a_syntax_error_is_told_with_its_line(run):
    with pytest.raises(ModelError, match=r"model\.py:\d+: syntax error"):
        run("def predict(batch:\n")


def test_a_syntax_error_that_comes_after_the_start_is_a_model_error_too(write_model, frames, out):
    spec = write_model(GOOD)
    (out.parent.parent / "model.py").write_text("def predict(batch:\n")
    with pytest.raises(ModelError, match="syntax error"):
        predict.run(spec, frames, out, settings={}, options=predict.Options(sandbox=Sandbox(mode="process")))


def test_unsupported_elements_are_recorded_and_the_model_is_not_asked(run, frames):
    records, _ = run(
        "SUPPORTED_ELEMENTS = ['Li', 'Cl']\n"
        "def predict(batch):\n"
        "    assert all(set(a.numbers) <= {3, 17} for a in batch)\n"
        "    return [good(a) for a in batch]\n"
    )
    errors = {tuple(frame.numbers): records[frame.frame_id].error for frame in frames}
    assert errors[3,] is None
    assert errors[3, 17] is None
    assert errors[12, 8] == "unsupported elements: O, Mg"


def test_megabytes_of_output_end_in_a_small_log(run, out):
    run("def predict(batch):\n    os.write(1, b'x' * 4_000_000)\n    return [good(a) for a in batch]")
    assert 130_000 < log_path(out).stat().st_size < 132_000
    assert "bytes left out" in log_path(out).read_text()


def test_tracebacks_of_failed_structures_are_in_the_log(run, out):
    run(bad_on_lithium("raise ValueError('too close')"))
    assert "line" in log_path(out).read_text()
    assert "ValueError: too close" in log_path(out).read_text()


def test_other_settings_do_not_mix_with_a_finished_run(run, out):
    run()
    before = out.read_bytes()
    with pytest.raises(UsageError, match=r"predictions\.parquet holds .*batch_atoms was 5 and is 6; .*--no-resume"):
        run(batch_atoms=6)
    with pytest.raises(UsageError, match='task was "springs@1" and is "springs@2"'):
        run(settings={"task": "springs@2"})
    with pytest.raises(UsageError, match='source_sha256 was "sha256:'):
        run(GOOD + "  # changed")
    assert out.read_bytes() == before


def test_other_structures_do_not_mix_with_a_finished_run(run, frames):
    run()
    with pytest.raises(UsageError, match="structures was 5 and is 4; structures_sha256"):
        run(frames=frames[:4])
    moved = [replace(frames[0], positions=frames[0].positions + 0.1), *frames[1:]]
    with pytest.raises(UsageError, match="structures_sha256 was"):
        run(frames=moved)


def test_no_resume_discards_what_is_there(run, out):
    run()
    records, _ = run("def predict(batch): return [{'energy': 1.0} for a in batch]", resume=False)
    assert {record.energy for record in records.values()} == {1.0}
    assert not journal_path(out).exists()


def test_no_resume_keeps_what_is_there_if_the_model_cannot_even_be_loaded(run, out):
    run()
    before = out.read_bytes()
    with pytest.raises(ModelError):
        run("raise ValueError", resume=False)
    assert out.read_bytes() == before


def counting(note, body="return [good(a) for a in batch]"):
    """A model that writes down how many structures each call had."""
    return f"def predict(batch):\n    open({str(note)!r}, 'a').write(f'{{len(batch)}} ')\n    {body}\n"


def full_disk(patch, after):
    """From now on ``after`` files can be written whole; appending to a file that is there still works."""
    written = []

    def fsync(descriptor):
        written.append(descriptor)
        if len(written) > after:
            raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(storage.os, "fsync", fsync)


@pytest.fixture
def interrupted(run, tmp_path, out):
    """The counts of an undisturbed run, its bytes, and a journal that lacks the last two of three batches."""
    note = tmp_path / "calls"
    source = counting(note)
    run(source, out=tmp_path / "undisturbed.parquet")
    whole = (tmp_path / "undisturbed.parquet").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        full_disk(patch, after=1)
        with pytest.raises(StorageError, match="No space left on device"):
            run(source)
    journal = journal_path(out)
    journal.write_bytes(MARK + MARK.join(journal.read_bytes().split(MARK)[1:3]))
    note.write_text("")
    return source, note, whole


def test_a_rerun_computes_what_is_missing_and_nothing_else(run, interrupted, out):
    source, note, whole = interrupted
    run(source)
    assert note.read_text().split() == ["2", "1"]
    assert out.read_bytes() == whole
    assert not journal_path(out).exists()


def test_a_damaged_batch_is_computed_again_after_saying_so(run, interrupted, out, caplog):
    source, note, whole = interrupted
    data = bytearray(journal_path(out).read_bytes())
    data[-20] ^= 1
    journal_path(out).write_bytes(data)
    run(source)
    assert "1 damaged entries are computed again" in caplog.text
    assert note.read_text().split() == ["2", "2", "1"]
    assert out.read_bytes() == whole


def test_other_settings_do_not_mix_with_an_unfinished_run(run, interrupted, out):
    source, _, _ = interrupted
    with pytest.raises(UsageError, match=r"\.partial holds .*batch_atoms was 5 and is 7"):
        run(source, batch_atoms=7)
    assert journal_path(out).read_bytes().count(MARK) == 2


def test_other_declarations_of_the_same_file_do_not_mix_with_an_unfinished_run(run, tmp_path, monkeypatch):
    """What a model reads from elsewhere is not in the hash of its file, but shows in what it declares."""
    monkeypatch.setattr("xferbench.predict.session.MAX_DEATHS", 1)
    weights = tmp_path / "weights"
    weights.write_text("-1.5")
    source = f"REFERENCES = {{'Li': float(open({str(weights)!r}).read())}}\ndef predict(batch): os._exit(1)"
    with pytest.raises(ModelError, match="without a success in between"):
        run(source)
    weights.write_text("-2.5")
    with pytest.raises(UsageError, match=r"facts\.references\.Li was -1\.5 and is -2\.5"):
        run(source)


def test_a_damaged_finished_file_is_an_integrity_error(run, out):
    run()
    data = out.read_bytes()
    out.write_bytes(data[: len(data) // 2])
    with pytest.raises(IntegrityError, match="truncated or was altered"):
        run()


def test_two_runs_do_not_write_the_same_output(run, out):
    with storage.lock(out), pytest.raises(StorageError, match="is being written by another run"):
        run()


def test_a_directory_that_cannot_be_made_is_one_clear_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot lock .*check the path"):
        run(out=tmp_path / "file" / "predictions.parquet")


def test_a_disk_that_is_full_from_the_start_is_one_clear_line_and_leaves_no_process(
    run, out, monkeypatch, tmp_path, ends
):
    note = tmp_path / "group"
    full_disk(monkeypatch, after=0)
    with pytest.raises(StorageError, match=r"cannot write .*partial: No space left on device; free some space"):
        run(f"open({str(note)!r}, 'w').write(str(os.getpid()))\n" + GOOD)
    ends(int(note.read_text()))
    assert not out.exists()


def test_a_disk_that_is_full_at_the_very_end_keeps_the_work(run, out, monkeypatch, tmp_path):
    note = tmp_path / "calls"
    with monkeypatch.context() as patch:
        full_disk(patch, after=1)
        with pytest.raises(StorageError, match=r"cannot write .*predictions\.parquet-\w+: No space left on device"):
            run(counting(note))
    assert sorted(path.name for path in out.parent.iterdir()) == ["predictions.parquet.partial"]
    note.write_text("")
    run(counting(note))
    assert note.read_text() == ""
    assert out.exists()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"batch_atoms": 0}, UsageError, "a budget of 0 atoms is impossible"),
        ({"timeout": 0.0}, UsageError, "a timeout of 0 s is impossible"),
        ({"timeout": float("nan")}, UsageError, "a timeout of nan s"),
        ({"load_timeout": -1.0}, UsageError, "a load timeout of -1 s"),
        ({"frames": []}, DataError, "no structures to predict"),
        ({"settings": {"model": "x"}}, UsageError, "settings model are set by the run itself"),
    ],
)
def test_impossible_requests_are_refused_before_anything_starts(run, out, wrong, error, message):
    with pytest.raises(error, match=message):
        run(**wrong)
    assert not out.parent.exists()


def test_frames_of_one_id_are_refused(run, frames):
    with pytest.raises(DataError, match=f"frame id '{frames[0].frame_id}' occurs more than once"):
        run(frames=[*frames, frames[0]])


def test_progress_goes_to_stderr_with_failures_and_earlier_work(run, interrupted, capfd):
    source, _, _ = interrupted
    run(source, progress=True)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "model: 2/5 structures" in captured.err
    assert "model: 5/5 structures" in captured.err


def test_check_runs_the_contract_checks_in_a_process_of_their_own(write_model, tmp_path, options):
    note = "open(os.path.join(os.path.dirname(__file__), 'pid'), 'w').write(str(os.getpid()))\n"
    spec = write_model(
        note + "def predict(batch): return [{'energy': -1.0 * len(a), 'forces': np.zeros((len(a), 3))} for a in batch]"
    )
    results, energies = predict.check(spec, options=options(timeout=120.0))
    assert results
    assert energies == [-4.0] * 3
    assert all(isinstance(result, CheckResult) for result in results)
    assert int((tmp_path / "pid").read_text()) != os.getpid()


def test_check_tells_why_a_model_broke_down(write_model, options):
    with pytest.raises(
        ModelError, match=r"model\.py failed while it was checked: ended the process with exit status 7"
    ):
        predict.check(write_model("def predict(batch): os._exit(7)"), options=options())
    with pytest.raises(ModelError, match="no weights"):
        predict.check(write_model("raise ValueError('no weights')"), options=options())


SLOW = """
open(os.path.join(os.path.dirname(__file__), f'{os.getpid()}.pid'), 'w').close()
def predict(batch):
    time.sleep(0.01)
    if any(len(a) == 1 for a in batch):
        raise ValueError('too close')
    return [good(a) for a in batch]
"""
# it leaves by os._exit: Arrow's threads now and then abort an interpreter that is shutting down, which is not tested here
RUN = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from conftest import FORMULAS, synthetic_frame
from xferbench import predict
from xferbench.models import parse_spec
from xferbench.functionals import Functional
from xferbench.predict import sandbox
frames = [synthetic_frame(formula, copy, Functional("r2SCAN")) for formula in FORMULAS for copy in range(4)]
predict.run(parse_spec({model!r}), frames, Path(sys.argv[1]), settings={{"task": "springs@1"}},
    options=predict.Options(batch_atoms=5, sandbox=sandbox.Options(mode="process")))
os._exit(0)
"""


def test_killed_at_twenty_random_moments_a_run_ends_with_the_same_bytes_and_leaves_no_process(
    write_model, tmp_path, living, wait_until
):
    """Each life of the parent ends by SIGKILL: half of them anywhere, half of them soon after some progress."""
    spec = write_model(SLOW)
    tests = str(Path(__file__).parent.parent)
    command = [sys.executable, "-c", RUN.format(tests=tests, model=spec.path)]
    undisturbed, out = tmp_path / "a" / "p.parquet", tmp_path / "b" / "p.parquet"
    subprocess.run([*command, str(undisturbed)], check=True)
    expected = undisturbed.read_bytes()
    rng = random.Random(20)
    kills = 0
    while kills < 20:
        if out.exists():
            assert out.read_bytes() == expected
            out.unlink()
        before = entries(out)
        with subprocess.Popen([*command, str(out)]) as parent:
            if kills % 2:
                wait_until(lambda p=parent, n=before: p.poll() is not None or entries(out) > n)
                time.sleep(rng.uniform(0, 0.03))
            else:
                time.sleep(rng.uniform(0, 0.6))
            parent.kill()
            kills += parent.wait() == -signal.SIGKILL
    subprocess.run([*command, str(out)], check=True)
    assert out.read_bytes() == expected
    log_path(out).unlink(missing_ok=True)  # written by a life that ends well and met the structure that fails, if any
    assert sorted(path.name for path in out.parent.iterdir()) == ["p.parquet"]
    groups = [int(path.stem) for path in tmp_path.glob("*.pid")]
    assert groups
    wait_until(lambda: not any(map(living, groups)))


def entries(out):
    """Finished batches, or more than any number if the run has ended."""
    journal = journal_path(out)
    try:
        return journal.read_bytes().count(MARK)
    except FileNotFoundError:
        return 10**6 if out.exists() else 0

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xferbench import predict
from xferbench.errors import ModelError, UsageError
from xferbench.predict import sandbox
from xferbench.predict.interpreter import describe
from xferbench.predict.sandbox import Options, environment, isolation, launching

GOOD = "def predict(batch): return [good(atoms) for atoms in batch]"
bwrap = pytest.mark.skipif(bool(sandbox.bubblewrap_fails()), reason=f"no bubblewrap: {sandbox.bubblewrap_fails()}")


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN", "GITHUB_TOKEN", "MP_API_KEY", "OPENAI_APIKEY", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "GH_PAT", "DATABASE_URL",
        "WANDB_KEY", "SSH_AUTH_SOCK", "TORCH_TOKEN", "http_proxy", "SOMETHING",
    ],
)  # fmt: skip
def test_variables_that_are_not_on_the_list_are_not_handed_over(name):
    assert environment({name: "x", "PATH": "/bin"}) == {"PATH": "/bin", "PYTHONHASHSEED": "0"}
    assert environment({name: "x"}, [name]) == {name: "x", "PYTHONHASHSEED": "0"}


def test_what_finds_programs_weights_threads_and_devices_is_handed_over():
    kept = {
        "PATH": "/bin", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "0", "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "7", "LC_ALL": "C",
    }  # fmt: skip
    assert environment(kept) == kept


def test_the_number_of_threads_reaches_every_library():
    assert environment({}, threads=3) == {"PYTHONHASHSEED": "0", **dict.fromkeys(sandbox.THREADS, "3")}


def test_auto_is_bubblewrap_where_it_works(monkeypatch):
    monkeypatch.setattr(sandbox, "bubblewrap_fails", lambda: None)
    assert isolation("auto") == isolation("bwrap") == "bwrap"
    monkeypatch.setattr(sandbox, "bubblewrap_fails", lambda: "there is no program bwrap")
    assert isolation("auto") == "process"
    with pytest.raises(UsageError, match="--sandbox bwrap: there is no program bwrap; install bubblewrap"):
        isolation("bwrap")
    with pytest.raises(UsageError, match="unknown sandbox 'jail'"):
        isolation("jail")


@bwrap
def test_predictions_under_bubblewrap_are_the_same_and_say_so(run, out, frames, assert_good):
    from xferbench import tables

    records, _ = run(GOOD, sandbox="bwrap")
    for frame in frames:
        assert_good(records[frame.frame_id], frame)
    assert tables.read_settings(out)["isolation"] == "bwrap"


@bwrap
@pytest.mark.parametrize(
    ("action", "error"),
    [
        ("os._exit(3)", "ended the process with exit status 3"),
        ("os.kill(os.getpid(), 9)", "killed by signal 9 (out of memory?)"),
        ("time.sleep(600)", "timeout after 2 s"),
        ("os.kill(os.getpid(), signal.SIGSTOP)", "timeout after 2 s"),
    ],
)
def test_what_ends_a_process_is_told_alike_under_bubblewrap(run, frames, action, error):
    records, _ = run(
        f"def predict(batch):\n    if any(len(a) == 1 for a in batch): {action}\n    return [good(a) for a in batch]",
        sandbox="bwrap",
        timeout=2.0,
    )
    assert {record.error for record in records.values()} == {None, error}


@bwrap
def test_files_outside_are_shown_only_when_asked_for(run, tmp_path_factory):
    weights = tmp_path_factory.mktemp("elsewhere") / "weights"
    weights.write_text("7.0")
    source = (
        f"scale = float(open({str(weights)!r}).read())\ndef predict(batch): return [{{'energy': scale}} for a in batch]"
    )
    with pytest.raises(ModelError, match=r"FileNotFoundError.*\(under bwrap .* --read PATH shows it more"):
        run(source, sandbox="bwrap")
    records, _ = run(source, sandbox=Options(mode="bwrap", read=[weights]))
    assert {record.energy for record in records.values()} == {7.0}


@bwrap
def test_results_and_data_beside_the_model_are_hidden(run, tmp_path):
    for name in ("results", "data"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text("x")
    source = "import glob\nfolder = os.path.dirname(__file__)\ndef predict(batch): return [{'energy': float(len(glob.glob(folder + '/*/secret')))} for a in batch]"
    hidden = [tmp_path / "results", tmp_path / "data"]
    records, _ = run(source, sandbox=Options(mode="bwrap", hidden=hidden))
    assert {record.energy for record in records.values()} == {0.0}


@bwrap
def test_a_model_in_the_home_directory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    python = describe(Path(sys.executable))
    for folder in (tmp_path / "home", tmp_path):
        with (
            pytest.raises(UsageError, match="put it into a folder of its own, or choose --sandbox process"),
            launching(python, folder / "model.py", Options(mode="bwrap"), device="cpu", threads=None),
        ):
            pass


def test_a_directory_for_temporary_files_is_gone_afterwards(run, tmp_path):
    note = tmp_path / "note"
    run(
        f"open({str(note)!r}, 'w').write(os.environ['TMPDIR'])\nopen(os.environ['TMPDIR'] + '/x', 'w').close()\n" + GOOD
    )
    assert not Path(note.read_text()).exists()


def test_memory_is_limited(run):
    records, _ = run(
        "def predict(batch): return [{'energy': float(len(bytearray(2 << 30)))} for a in batch]",
        sandbox=Options(mode="process", memory=1 << 30),
    )
    assert {record.error for record in records.values()} == {"MemoryError (model.py:8)"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_an_ordinary_users_model_cannot_read_the_runs_environment(tmp_path):
    code = (
        "import subprocess, sys; from xferbench.predict.sandbox import undumpable\n"
        "def read(): return subprocess.run([sys.executable, '-c', 'import os; open(f\"/proc/{os.getppid()}/environ\").read()'],"
        " capture_output=True).returncode\n"
        "before = read()\n"
        "with undumpable(): during = read()\n"
        "print(before, during, read())\n"
    )
    root = Path(predict.__file__).parents[2]
    variables = {"PATH": "/bin", "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(
            command, user=65534, group=65534, cwd="/", env=variables, capture_output=True, text=True, check=True
        )
    except (PermissionError, subprocess.CalledProcessError) as error:
        pytest.skip(f"nobody cannot run this Python: {error}")
    assert done.stdout.split() == ["0", "1", "0"]

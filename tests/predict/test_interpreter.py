from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import ase
import numpy as np
import pytest

from xferbench.errors import FormatError, ModelError, UsageError
from xferbench.predict import interpreter
from xferbench.predict.interpreter import describe, find, make
from xferbench.predict.sandbox import bubblewrap_fails

GOOD = "def predict(batch): return [good(atoms) for atoms in batch]"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment with numpy, ASE and what that needs, and nothing of ours; it is found by no other name."""
    root = tmp_path_factory.mktemp("env")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root / "venv")], check=True)
    shown = root / "packages"
    shown.mkdir()
    site = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs", "scipy", "scipy.libs", "ase", "matplotlib"):
        if (site / name).exists():
            (shown / name).symlink_to(site / name)
    for metadata in ("numpy", "ase", "scipy"):
        for path in site.glob(f"{metadata}-*.dist-info"):
            (shown / path.name).symlink_to(path)
    library = Path(sysconfig.get_path("purelib", vars={"base": str(root / "venv")}))
    (library / "shown.pth").write_text(f"{shown}\n")
    assert Path(ase.__file__).parents[1] == site
    return root / "venv"


@pytest.mark.parametrize("mode", ["process", "bwrap"])
def test_a_model_runs_in_an_environment_that_has_nothing_of_ours(run, environment, frames, assert_good, mode):
    """Neither this package nor what it needs is installed there; the model sees that environment and no other."""
    if mode == "bwrap" and (why := bubblewrap_fails()):
        pytest.skip(f"no bubblewrap: {why}")
    source = f"""
import importlib.util
assert sys.prefix == {str(environment)!r}
assert not [name for name in ("pyarrow", "msgspec", "click", "pymatgen") if importlib.util.find_spec(name)]
{GOOD}
"""
    # its packages are links, whose targets a sandbox has to be shown
    records, facts = run(source, env=environment, sandbox=shown(mode))
    for frame in frames:
        assert_good(records[frame.frame_id], frame)
    assert facts.versions["numpy"] == np.__version__
    assert "pyarrow" not in facts.versions
    assert facts.versions["xferbench"]


def shown(mode):
    from xferbench.predict.sandbox import Options

    return Options(mode=mode, read=[Path(np.__file__).parents[1]])


def test_an_environment_changes_what_may_be_joined(run, environment):
    run(GOOD)
    with pytest.raises(UsageError, match=r"holds predictions of other settings: versions\."):
        run(GOOD, env=environment)


def test_this_interpreter_is_the_default(tmp_path):
    found = find(tmp_path / "model.py", tmp_path)
    assert Path(found.executable) == Path(sys.executable)
    assert found.versions["numpy"] == np.__version__


def test_wrong_interpreters_are_one_clear_line(tmp_path):
    script = tmp_path / "python"
    old = """#!/bin/sh
echo '{"executable": "x", "prefix": "x", "base_prefix": "x", "path": [], "version": [3, 9, 1], "versions": {}, "missing": []}'
"""
    for text, message in (
        (old, "is Python 3.9.1; a model needs 3.11 or newer"),
        (
            old.replace("3, 9", "3, 12").replace('"missing": []', '"missing": ["ase"]'),
            "lacks ase; install it there: .*pip install ase",
        ),
        ("#!/bin/sh\necho no >&2; exit 3\n", "cannot be used: no"),
        ("#!/bin/sh\necho nonsense\n", "is not a Python that runs"),
    ):
        script.write_text(text)
        script.chmod(0o755)
        describe.cache_clear()
        with pytest.raises(UsageError, match=message):
            describe(script)
    with pytest.raises(UsageError, match="does not exist"):
        describe(tmp_path / "nothing")
    with pytest.raises(UsageError, match="give the directory of a virtual environment"):
        find(None, tmp_path, env=tmp_path)
    with pytest.raises(UsageError, match="give one of them"):
        find(None, tmp_path, env=tmp_path, python=script)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[env]\n", "missing key env.requirements"),
        ("[env]\nrequirements = []\n", "at least one"),
        ("[env]\nrequirements = [3]\n", "at least one"),
        ("[env]\nrequirements = ['--index-url x']\n", "is an option, not a requirement"),
        ("[env]\nrequirement = ['a']\n", r"unknown key env.requirement \(did you mean requirements"),
    ],
)
def test_a_wrong_env_file_is_one_clear_line(tmp_path, text, message):
    (tmp_path / "env.toml").write_text(text)
    with pytest.raises(FormatError, match=message):
        make(tmp_path / "env.toml", tmp_path)


@pytest.fixture
def installer(tmp_path, monkeypatch):
    """What would be installed, instead of installing it: an environment that is this one."""
    commands = []

    def run(command, _file):
        commands.append(command)
        if "venv" in command:
            directory = Path(command[-1])
            (directory / "bin").mkdir(parents=True)
            (directory / "bin" / "python").symlink_to(sys.executable)

    monkeypatch.setattr(interpreter, "_run", run)
    return commands


@pytest.mark.parametrize("uv", [None, "/bin/uv"])
def test_an_environment_is_made_once_for_what_it_asks_for(tmp_path, monkeypatch, installer, uv):
    monkeypatch.setattr(interpreter.shutil, "which", lambda name: uv if name == "uv" else name)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "requirements.txt").write_text("# weights\nsevenn==0.13.0  # 43 MB\n\n./own.whl\n")
    (tmp_path / "model" / "env.toml").write_text('[env]\nrequirements = "requirements.txt"\n')
    first = make(tmp_path / "model" / "env.toml", tmp_path / "cache")
    assert make(tmp_path / "model" / "env.toml", tmp_path / "cache") == first
    assert len(installer) == 2
    assert installer[1][-4:] == ["sevenn==0.13.0", str(tmp_path / "model" / "own.whl"), "numpy", "ase"]
    assert installer[1][0] == (uv or str(first))
    (tmp_path / "model" / "requirements.txt").write_text("sevenn==0.12.0\n")
    assert make(tmp_path / "model" / "env.toml", tmp_path / "cache") != first


def test_an_environment_that_cannot_be_made_is_one_clear_line_and_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreter.shutil, "which", lambda name: None if name == "uv" else name)
    (tmp_path / "env.toml").write_text('[env]\nrequirements = ["./no-such.whl"]\n')
    for _ in range(2):
        with pytest.raises(ModelError, match=r"env\.toml: its environment cannot be made: .*no-such\.whl"):
            make(tmp_path / "env.toml", tmp_path / "cache")


def test_another_python_needs_uv(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreter.shutil, "which", lambda _: None)
    (tmp_path / "env.toml").write_text('[env]\nrequirements = ["a"]\npython = "3.12"\n')
    with pytest.raises(ModelError, match="needs uv"):
        make(tmp_path / "env.toml", tmp_path)

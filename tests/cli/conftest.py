"""Commands run in an empty folder; what they say when they refuse."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from xferbench.cli import main
from xferbench.dataset.names import INDEX


@pytest.fixture
def run(cache, tmp_path, monkeypatch):
    """Run a command in an empty folder with the shared cache, whose index is afterwards as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XFERBENCH_CACHE", str(cache))
    index = cache / INDEX
    before = index.read_bytes()

    def run(*arguments):
        return CliRunner().invoke(main, [str(item) for item in arguments])

    yield run
    index.write_bytes(before)


@pytest.fixture(scope="session")
def line_of():
    """The one error line of a result."""

    def line_of(result):
        lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1, result.stderr
        assert result.stdout == ""
        return lines[0]

    return line_of


@pytest.fixture
def refused(run, line_of, bad_files, tmp_path):
    """``refused(arguments, code, message)``: the command ends with this code, this in its one line, and no output; the line."""

    def refused(arguments, code, message):
        result = run(*arguments)
        line = line_of(result)
        assert message in line
        assert result.exit_code == code
        assert not (tmp_path / "out").exists()
        return line

    return refused


@pytest.fixture
def bad_files(tmp_path):
    """Files and folders that no command can use."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.xyz").write_text("not a structure\n")
    (tmp_path / "one.csv").write_text("n,a\n5,3\n5,2\n5,1\n")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "none.jsonl").write_text("")
    (tmp_path / "words.json").write_text('{"PBE": {"Li": "x"}, "r2SCAN": 3}')


@pytest.fixture
def salts(tmp_path):
    """An extended XYZ file of a user: alkali halides in both functionals, energies only."""
    from ase import Atoms
    from ase.io import write

    frames = []
    for metal in ("Li", "Na", "K", "Rb"):
        for halogen in ("F", "Cl", "Br", "I"):
            for functional, energy in (("PBE", -5.0), ("r2SCAN", -8.0)):
                made = Atoms(metal + halogen, positions=[[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True)
                made.info.update(REF_energy=energy, functional=functional)
                frames.append(made)
    write(tmp_path / "salts.extxyz", frames, format="extxyz")
    return tmp_path / "salts.extxyz"

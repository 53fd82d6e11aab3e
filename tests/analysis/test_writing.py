"""The files of an analysis: all there, readable, the same bytes from another process."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from xferbench.analysis.writing import files, pictures, write
from xferbench.errors import MissingExtraError, StorageError


def test_every_file_is_written_and_reads_back(found, tmp_path):
    paths = write(found, tmp_path / "out")
    assert [str(path.relative_to(tmp_path / "out")) for path in paths] == [
        "analysis.json", "statistics.csv", "elements.csv", "pairs.csv",
        "figures/parity-raw.svg", "figures/parity-in-sample.svg", "figures/parity-out-of-sample.svg",
        "figures/occurrences.svg", "figures/elements.svg", "figures/importance.svg", "README.md", "index.html",
    ]  # fmt: skip
    assert json.loads(paths[0].read_text())["schema"] == 1
    for path in paths:
        if path.suffix == ".svg":
            assert ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own markup


def test_figures_are_written_as_pictures_too_where_that_is_wanted(found, tmp_path):
    pytest.importorskip("resvg_py", reason='PNG needs pip install ".[png]"')
    paths = write(found, tmp_path / "out", png=True)
    drawn = {path.stem for path in paths if path.suffix == ".svg"}
    images = [path for path in paths if path.suffix == ".png"]
    assert {path.stem for path in images} == drawn
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in images)
    assert pictures(found) == {f"figures/{path.name}": path.read_bytes() for path in images}


def test_without_the_packages_nothing_is_written(found, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(MissingExtraError, match=r"pip install \"\.\[png\]\""):
        write(found, tmp_path / "out", png=True)
    assert not (tmp_path / "out").exists()


def test_other_files_of_the_directory_stay(found, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write(found, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_directory_that_cannot_be_written_is_a_storage_error(found, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageError, match="cannot write"):
        write(found, tmp_path / "out")


def test_another_process_with_another_hash_seed_writes_the_same_bytes(found, synthetic_dataset):
    code = (
        "import hashlib, pathlib, sys; from xferbench import analysis, dataset; from xferbench.analysis.writing import files;"
        "data = dataset.Dataset.open(pathlib.Path(sys.argv[1]));"
        "made = files(analysis.analyze(data, analysis.Settings(n_resamples=60)));"
        "print(hashlib.sha256(''.join(made.values()).encode()).hexdigest())"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(synthetic_dataset.directory)],
        check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": "7", "PYTHONPATH": ".", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert out.stdout.strip() == hashlib.sha256("".join(files(found).values()).encode()).hexdigest()


def test_figures_that_are_not_drawn_are_not_written(odd, tmp_path):
    paths = write(odd["no energies"], tmp_path)
    assert not (tmp_path / "figures").exists()
    assert paths[-1].name == "index.html"
    assert len(paths) == 6


def test_writing_again_changes_no_byte(found, tmp_path):
    before = [path.read_bytes() for path in write(found, tmp_path)]
    assert [path.read_bytes() for path in write(found, tmp_path)] == before
    assert [text.encode() for text in files(found).values()] == before

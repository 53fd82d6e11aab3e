from __future__ import annotations

import dataclasses

import pytest
from click.testing import CliRunner

import xferbench as xb
from xferbench import dataset, tasks
from xferbench.dataset.layout import read_manifest
from xferbench.errors import DataError, FormatError
from xferbench.factory import synthetic
from xferbench.factory.cli import main
from xferbench.factory.synthetic import labelling
from xferbench.factory.synthetic.structures import SETS
from xferbench.records import Geometry
from xferbench.registry import SOURCES
from xferbench.tables import frames_table, write_table


@pytest.fixture
def chunk(make_pairs, tmp_path):
    """Frames as another machine has labelled them."""
    frames = [frame for pair in make_pairs() for frame in (pair.source, pair.target)]
    path = tmp_path / "chunks" / "0.parquet"
    write_table(path, frames_table(frames))
    labelling.Chunk(fillings=(), path=path).drops.write_text(
        '[{"record_id": "x", "reason": "beyond_the_teachers", "detail": ""}]'
    )
    return path


@pytest.mark.parametrize("name", SETS)
def test_naming_it_labels_nothing(monkeypatch, tmp_path, name):
    monkeypatch.setattr(labelling, "_teachers", lambda: pytest.fail("a teacher was loaded"))
    source = synthetic.load(name, cache_dir=tmp_path)
    assert (source.name, source.version, source.synthetic) == (name, "1", True)
    assert source.title.startswith(f"{name}: small crystals")
    assert source.geometry is Geometry.SAME_GEOMETRY
    assert not list(tmp_path.iterdir())


def test_each_set_is_made_of_its_own_compositions_and_kept_apart(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(
        synthetic, "labelled", lambda directory, *, kinds: asked.setdefault(directory.name, kinds) and []
    )
    for name in SETS:
        list(synthetic.load(name, cache_dir=tmp_path).frames)
    assert asked == SETS


def test_labels_of_another_machine_are_taken_as_they_are(chunk, tmp_path):
    source = synthetic.load("synthetic-teacher", paths=[chunk.parent], cache_dir=tmp_path)
    assert source.version.startswith("local-")
    assert len(list(source.frames)) == 2 * 42
    assert [drop.reason for drop in source.drops] == ["beyond_the_teachers"]


def test_a_directory_without_chunks_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no \*\.parquet chunks"):
        synthetic.load("synthetic-teacher", paths=[tmp_path], cache_dir=tmp_path)


def test_the_manifest_and_the_card_say_what_it_is(chunk, tmp_path):
    made = dataset.build(synthetic.load("synthetic-teacher", paths=[chunk], cache_dir=tmp_path), tmp_path / "data")
    assert made.manifest["synthetic"] is True
    assert read_manifest(tmp_path / "data")[0].synthetic
    assert "No density functional was evaluated" in (tmp_path / "data" / "README.md").read_text()
    assert dataset.Dataset.open(tmp_path / "data").fingerprint == made.fingerprint


def test_other_data_sets_do_not_mention_it(synthetic_dataset):
    assert "synthetic" not in synthetic_dataset.manifest
    assert not read_manifest(synthetic_dataset.directory)[0].synthetic


def test_users_are_not_offered_it_and_every_command_knows_it_once_it_is_prepared(chunk, tmp_path):
    assert not {*SETS} & {*SOURCES}
    words = ["synthetic", "synthetic-teacher", "--from", str(chunk), "--cache-dir", str(tmp_path / "cache")]
    made = CliRunner().invoke(main, words)
    assert made.exit_code == 0, made.output
    opened = xb.open_dataset("synthetic-teacher", cache_dir=tmp_path / "cache", offline=True)
    assert opened.manifest["synthetic"] is True
    (entry,) = dataset.prepared(tmp_path / "cache")
    assert entry.recipe == f"python -m xferbench.factory synthetic synthetic-teacher --from {chunk}"


def test_an_unknown_set_is_one_line():
    result = CliRunner().invoke(main, ["synthetic", "synthetic-tacher"])
    assert result.exit_code == 2
    assert "did you mean 'synthetic-teacher'" in result.stderr


def test_no_task_can_be_made_of_it(tmp_path):
    text = (tasks.tasks_directory() / "mini-static.toml").read_text()
    path = tmp_path / "mini-static.toml"
    path.write_text(text.replace('dataset = "mini"', 'dataset = "synthetic-teacher"'))
    with pytest.raises(FormatError, match="unknown dataset 'synthetic-teacher'"):
        tasks.read_task(path)


def test_a_source_is_no_synthetic_one_unless_it_says_so(synthetic_source):
    assert not synthetic_source.synthetic
    assert dataclasses.replace(synthetic_source, synthetic=True).synthetic

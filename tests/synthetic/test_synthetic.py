from __future__ import annotations

import dataclasses

import pytest

from xferbench import dataset, synthetic, tasks, workflow
from xferbench.dataset.layout import read_manifest
from xferbench.errors import DataError, FormatError
from xferbench.records import Geometry
from xferbench.registry import SOURCES, SYNTHETIC, resolve
from xferbench.synthetic import labelling
from xferbench.synthetic.structures import SETS
from xferbench.tables import frames_table, write_table


@pytest.fixture
def chunk(make_pairs, tmp_path):
    """Frames as another machine has labelled them."""
    frames = [frame for pair in make_pairs() for frame in (pair.gga, pair.r2scan)]
    path = tmp_path / "chunks" / "0.parquet"
    write_table(path, frames_table(frames))
    labelling.Chunk(fillings=(), path=path).drops.write_text(
        '[{"record_id": "x", "reason": "beyond_the_teachers", "detail": ""}]'
    )
    return path


@pytest.mark.parametrize("name", SYNTHETIC)
def test_naming_it_labels_nothing(monkeypatch, tmp_path, name):
    monkeypatch.setattr(labelling, "_teachers", lambda: pytest.fail("a teacher was loaded"))
    source = resolve("data set", name, SOURCES)(cache_dir=tmp_path)
    assert (source.name, source.version, source.synthetic) == (name, "1", True)
    assert source.title.startswith(f"{name}: small crystals")
    assert source.geometry is Geometry.SAME_GEOMETRY
    assert not list(tmp_path.iterdir())


def test_it_can_be_described_without_being_made(monkeypatch):
    monkeypatch.setattr(labelling, "_teachers", lambda: pytest.fail("a teacher was loaded"))
    assert workflow.info("synthetic-teacher")["frames"] == "counted when it is prepared"


def test_each_set_is_made_of_its_own_compositions_and_kept_apart(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(
        synthetic, "labelled", lambda directory, *, kinds: asked.setdefault(directory.name, kinds) and []
    )
    for load in (synthetic.load, synthetic.load_dense):
        list(load(cache_dir=tmp_path).frames)
    assert asked == SETS


def test_labels_of_another_machine_are_taken_as_they_are(chunk, tmp_path):
    source = synthetic.load(paths=[chunk.parent], cache_dir=tmp_path)
    assert source.version.startswith("local-")
    assert len(list(source.frames)) == 2 * 42
    assert [drop.reason for drop in source.drops] == ["beyond_the_teachers"]


def test_a_directory_without_chunks_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no \*\.parquet chunks"):
        synthetic.load(paths=[tmp_path], cache_dir=tmp_path)


def test_the_manifest_and_the_card_say_what_it_is(chunk, tmp_path):
    made = dataset.build(synthetic.load(paths=[chunk], cache_dir=tmp_path), tmp_path / "data")
    assert made.manifest["synthetic"] is True
    assert read_manifest(tmp_path / "data")[0].synthetic
    assert "No density functional was evaluated" in (tmp_path / "data" / "README.md").read_text()
    assert dataset.Dataset.open(tmp_path / "data").fingerprint == made.fingerprint


def test_other_data_sets_do_not_mention_it(synthetic_dataset):
    assert "synthetic" not in synthetic_dataset.manifest
    assert not read_manifest(synthetic_dataset.directory)[0].synthetic


def test_the_table_of_synthetic_sources_is_right(tmp_path):
    marked = {name for name in SOURCES if dataset.cache.load_source(name, cache_dir=tmp_path).synthetic}
    assert marked == set(SYNTHETIC)
    assert {*SYNTHETIC} == {*SETS}


def test_no_task_can_be_made_of_it(tmp_path):
    text = (tasks.tasks_directory() / "mini-static.toml").read_text()
    path = tmp_path / "mini-static.toml"
    path.write_text(text.replace('dataset = "mini"', 'dataset = "synthetic-teacher"'))
    with pytest.raises(FormatError, match="labels of synthetic-teacher are a model's, no model is ranked on them"):
        tasks.read_task(path)


def test_a_source_is_no_synthetic_one_unless_it_says_so(synthetic_source):
    assert not synthetic_source.synthetic
    assert dataclasses.replace(synthetic_source, synthetic=True).synthetic

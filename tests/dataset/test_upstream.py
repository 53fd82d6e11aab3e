"""A data set is known again by the files that it was made from, and by nothing less."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest

from xferbench.dataset import build
from xferbench.dataset import upstream as module
from xferbench.dataset.layout import MANIFEST, SCHEMA, read_manifest, seal
from xferbench.dataset.opened import Dataset
from xferbench.dataset.upstream import made_from, stated_facts
from xferbench.errors import DataError, StorageError
from xferbench.functionals import Functional
from xferbench.storage import sha256


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "upstream.json"
    path.write_text("[1, 2, 3]")
    return path


@pytest.fixture
def source(synthetic_source, file):
    return replace(synthetic_source, upstream=lambda: [file])


@pytest.fixture
def made(source, tmp_path):
    return build(source, tmp_path / "d").directory


def restated(directory, **changes):
    path = directory / MANIFEST
    path.write_text(json.dumps(seal({**json.loads(path.read_text()), **changes}), indent=1, sort_keys=True) + "\n")


def test_the_manifest_states_name_size_and_hash_of_the_files(made, file):
    manifest, values = read_manifest(made)
    assert values["upstream"] == [{"name": "upstream.json", "bytes": 9, "sha256": sha256(file)}]
    assert manifest.upstream[0].sha256 == sha256(file)


def test_without_files_nothing_is_stated_of_them(synthetic_source):
    facts = stated_facts(synthetic_source)
    assert "upstream" not in facts
    assert (facts["schema"], facts["dataset"]) == (SCHEMA, "synthetic")


def test_isolated_atoms_are_stated_if_there_are_any_and_do_not_move_the_fingerprint(synthetic_source, made, tmp_path):
    assert "atom_energies" not in stated_facts(synthetic_source)
    assert Dataset.open(made).atom_energies == {}
    tables = {Functional("PBE"): {"Li": -0.25}, Functional("r2SCAN"): {"Li": -0.75}}
    dataset = build(replace(synthetic_source, atom_energies=tables), tmp_path / "with-atoms")
    assert dataset.manifest["atom_energies"] == {"PBE": {"Li": -0.25}, "r2SCAN": {"Li": -0.75}}
    assert dataset.atom_energies == Dataset.open(dataset.directory).atom_energies == tables
    assert dataset.fingerprint == Dataset.open(made).fingerprint
    card = (dataset.directory / "README.md").read_text()
    assert "| Li | -0.2500 | -0.7500 |" in card
    assert "Isolated atoms" not in (made / "README.md").read_text()


def test_the_fingerprint_does_not_know_the_files(made, synthetic_source, tmp_path):
    other = build(synthetic_source, tmp_path / "other")
    assert read_manifest(made)[0].fingerprint == other.fingerprint


def test_a_directory_made_from_the_same_files_is_taken_as_it_is(made, source):
    dataset = made_from(made, stated_facts(source))
    assert dataset is not None
    assert dataset.directory == made


def test_prepare_does_not_read_what_it_has_read_before(made, source, file, monkeypatch, caplog):
    from xferbench import dataset
    from xferbench.dataset import names
    from xferbench.registry import SOURCES

    class Unread:
        def __iter__(self):
            raise AssertionError("the files were read again")

    monkeypatch.setitem(SOURCES, "synthetic", "nowhere:load")
    monkeypatch.setattr(names, "load_source", lambda *_, **__: replace(source, frames=Unread()))
    caplog.set_level(logging.INFO)
    assert dataset.prepare("synthetic", made).directory == made
    assert caplog.messages == [f"{made} was made from the same files and is up to date"]
    file.write_text("[1, 2, 4]")
    with pytest.raises(AssertionError, match="read again"):
        dataset.prepare("synthetic", made)


@pytest.mark.parametrize(
    "change",
    [
        {"version": "2"},
        {"title": "Other springs"},
        {"licence": "other"},
        {"upstream": [{"name": "upstream.json", "bytes": 9, "sha256": "sha256:0"}]},
        {"upstream": []},
        {"libraries": {"xferbench": "0.0.1"}},
        {"libraries": {}},
    ],
)
def test_a_directory_that_states_anything_else_is_another_one(made, source, change):
    restated(made, **change)
    assert made_from(made, stated_facts(source)) is None


def test_another_rule_is_another_data_set(made, source):
    other = replace(source, split=replace(source.split, salt="pepper"))
    assert made_from(made, stated_facts(other)) is None


def test_a_damaged_directory_is_not_taken(made, source):
    path = made / "data/source/train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    assert made_from(made, stated_facts(source)) is None


def test_an_altered_manifest_is_not_taken(made, source):
    path = made / MANIFEST
    path.write_text(path.read_text()[:-20])
    assert made_from(made, stated_facts(source)) is None


def test_no_directory_is_none(source, tmp_path):
    assert made_from(tmp_path / "nothing", stated_facts(source)) is None


def test_frames_that_come_from_no_file_are_always_read(synthetic_source, tmp_path):
    directory = build(synthetic_source, tmp_path / "plain").directory
    assert made_from(directory, stated_facts(synthetic_source)) is None


def test_a_package_that_is_not_installed_has_no_version(made, source, monkeypatch):
    monkeypatch.setattr(module, "version", lambda _: (_ for _ in ()).throw(module.PackageNotFoundError))
    assert made_from(made, stated_facts(source)) is None
    restated(made, libraries={"xferbench": None})
    assert made_from(made, stated_facts(source)) is not None


def test_a_file_that_cannot_be_read_is_said_so(source, file):
    file.unlink()
    with pytest.raises(StorageError, match="cannot read"):
        stated_facts(source)


def test_a_file_out_of_reach_is_the_sources_error(source):
    def upstream():
        raise DataError("the network is forbidden")

    with pytest.raises(DataError, match="the network is forbidden"):
        stated_facts(replace(source, upstream=upstream))

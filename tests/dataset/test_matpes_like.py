"""Generated files of the shape of MatPES go all the way to a verified data set."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xferbench.dataset import Dataset, build, prepare, verify
from xferbench.records import Frame
from xferbench.sources import matpes, matpes_documents, parallel
from xferbench.sources.documents import documents


@pytest.fixture(scope="module")
def matpes_like(script):
    return script("matpes_like")


@pytest.fixture(scope="module")
def generated(matpes_like, tmp_path_factory):
    return matpes_like.write(tmp_path_factory.mktemp("generated"), 600)


def by_id(path):
    return {document.value["matpes_id"]: document.value for document in documents(path)}


def test_what_is_alone_or_moved_is_dropped_and_the_rest_is_paired(generated, tmp_path):
    pbe, target = (by_id(path) for path in generated)
    both = pbe.keys() & target.keys()
    moved = {
        name
        for name in both
        if pbe[name]["structure"]["sites"][0]["abc"] != target[name]["structure"]["sites"][0]["abc"]
    }
    prepared = prepare("matpes", tmp_path / "d", paths=generated)
    verify(prepared.directory)
    assert {pair.pair_id for pair in prepared.iter_pairs()} == both - moved
    alone = len(pbe.keys() ^ target.keys())
    assert prepared.manifest["drops"] == {"coordinates_differ": len(moved), "no_partner": alone}
    assert moved
    assert alone


def test_energies_are_those_of_the_documents(generated, tmp_path):
    prepared = prepare("matpes", tmp_path / "d", paths=generated)
    pbe, target = (by_id(path) for path in generated)
    for pair in prepared.iter_pairs("test"):
        assert pair.source.energy == pbe[pair.pair_id]["energy"]
        assert pair.target.energy == target[pair.pair_id]["energy"]
        assert pair.material_id == pbe[pair.pair_id]["provenance"]["original_mp_id"]


@pytest.mark.parametrize("way", ["two processes", "document by document"])
def test_however_documents_are_read_the_data_set_has_the_same_bytes(generated, tmp_path, monkeypatch, way):
    usual = prepare("matpes", tmp_path / "usual", paths=generated)
    if way == "two processes":
        monkeypatch.setattr(parallel, "WORTHWHILE", 0)
        prepare("matpes", tmp_path / "other", paths=generated)
    else:
        judged = [matpes_documents.judged(document, path) for path in generated for document in documents(path)]
        assert all(isinstance(frame, Frame) for frame in judged)
        build(replace(matpes.load(paths=generated), frames=judged), tmp_path / "other")
    assert usual.fingerprint == Dataset.open(tmp_path / "other").fingerprint
    for path in usual.directory.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "other" / path.relative_to(usual.directory)).read_bytes()


def test_what_was_made_from_these_files_is_not_made_again(generated, tmp_path, monkeypatch):
    first = prepare("matpes", tmp_path / "d", paths=generated)
    stated = [(facts["name"], facts["bytes"]) for facts in first.manifest["upstream"]]
    assert stated == [(path.name, path.stat().st_size) for path in generated]
    monkeypatch.setattr(parallel, "read_all", None)
    monkeypatch.setattr(matpes, "read_all", None)
    assert prepare("matpes", tmp_path / "d", paths=generated).manifest == first.manifest


def test_the_same_seed_gives_the_same_files(matpes_like, generated, tmp_path):
    again = matpes_like.write(tmp_path, 600)
    assert [by_id(path) for path in again] == [by_id(path) for path in generated]


def test_the_two_files_list_their_structures_in_different_orders(generated):
    pbe, target = (list(by_id(path)) for path in generated)
    both = set(pbe) & set(target)
    assert [name for name in pbe if name in both] != [name for name in target if name in both]

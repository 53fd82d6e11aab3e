"""MP-r2SCAN and MPtrj meet by Materials Project id, each with its own geometry."""

from __future__ import annotations

import json

import pytest

from xferbench import dataset, download, pairing
from xferbench.errors import DataError, UsageError
from xferbench.functionals import Functional, Pair
from xferbench.records import Geometry
from xferbench.sources import mp_r2scan, mptrj

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))


@pytest.fixture
def directory(tmp_path, document):
    """Two materials with both functionals, at different volumes, and one with r2SCAN only."""

    def record(length, energy):
        structure = document()["structure"]
        structure["lattice"]["matrix"][2][2] = length
        return {
            "structure": structure,
            "uncorrected_total_energy": energy,
            "force": [[0.01, 0.0, 0.0], [-0.01, 0.0, 0.0]],
        }

    target = {f"mp-{i}": {f"r{i}-0-0": record(4.9, -30.0), f"r{i}-0-1": record(4.95, -30.1)} for i in (1, 2, 3)}
    source = {f"mp-{i}": {f"g{i}-0-0": {**record(5.0, -14.5), "corrected_total_energy": -17.0}} for i in (1, 2)}
    (tmp_path / "MPr2SCAN.json").write_text(json.dumps(target))
    (tmp_path / "MPtrj_2022.9_full.json").write_text(json.dumps(source))
    return tmp_path


def test_one_id_with_two_relaxed_geometries_is_a_pair(directory):
    source = mp_r2scan.load(paths=[directory])
    pairs, drops = pairing.pair(source.frames, PAIR, source.geometry)
    assert source.geometry is Geometry.SAME_MATERIAL
    assert [pair.pair_id for pair in pairs] == ["mp-1", "mp-2"]
    first = pairs[0]
    assert (first.source.functional, first.target.functional) == (Functional("PBE+U"), Functional("r2SCAN"))
    assert (first.source.energy, first.source.correction) == (-14.5, -2.5)
    assert (first.target.energy, first.target.correction) == (-30.1, None)
    assert (first.source.cell[2, 2], first.target.cell[2, 2]) == (5.0, 4.95)
    assert [(drop.record_id, drop.reason) for drop in drops] == [("mp-3", pairing.NO_PARTNER)]
    assert [drop.reason for drop in source.drops] == []


def test_the_structures_of_a_pair_are_compared(directory):
    pairs, _ = pairing.pair(mp_r2scan.load(paths=[directory]).frames, PAIR, Geometry.SAME_MATERIAL)
    match = pairs[0].target.provenance["same_material"]
    assert match["volume_change"] == pytest.approx(4.95 / 5.0 - 1)
    assert 0 <= match["rms"] < 0.01


def test_every_r2scan_frame_is_there_for_training_and_no_gga_frame(directory):
    alone = [frame for frame in mp_r2scan.load(paths=[directory]).frames if not frame.pair_id]
    assert [frame.frame_id for frame in alone] == [f"r{i}-0-{k}-r2SCAN" for i in (1, 2, 3) for k in (0, 1)]
    assert {frame.energy for frame in alone} == {-30.0, -30.1}


def test_a_bad_frame_for_training_costs_itself(directory):
    path = directory / "MPr2SCAN.json"
    value = json.loads(path.read_text())
    value["mp-1"]["r1-0-0"]["force"] = [[0.0] * 3]
    path.write_text(json.dumps(value))
    source = mp_r2scan.load(paths=[directory])
    alone = [frame for frame in source.frames if not frame.pair_id]
    assert len(alone) == 5
    assert [(drop.record_id, drop.reason) for drop in source.drops] == [
        ("mp-1/r1-0-0@MPr2SCAN.json", pairing.WRONG_SHAPE)
    ]


def test_a_data_set_holds_pairs_and_training_frames_in_one_split(directory, tmp_path):
    value = {}
    for name in ("MPr2SCAN.json", "MPtrj_2022.9_full.json"):
        template = json.loads((directory / name).read_text())["mp-1"]
        letter = "r" if "r2SCAN" in name else "g"
        value = {
            f"mp-{i}": {key.replace(f"{letter}1", f"{letter}{i}"): row for key, row in template.items()}
            for i in range(40)
        }
        (directory / name).write_text(json.dumps(value))
    made = dataset.prepare("mp-r2scan", tmp_path / "out", paths=[directory / "MPr2SCAN.json", directory / mptrj.FILE])
    assert made.configs == ("source", "target", "target-frames")
    assert len(made.pairs()) == 40
    assert len(made.frames("target-frames")) == 80
    assert all(made.splits[frame.material_id] == "test" for frame in made.frames("target-frames", "test"))
    assert {pair.source.correction for pair in made.pairs()} == {-2.5}
    assert {pair.source.energy for pair in made.pairs()} == {-14.5}


def test_the_split_is_that_of_the_paper():
    assert mp_r2scan.load().split.fractions == (0.8, 0.1, 0.1)
    assert mp_r2scan.load().split.group == "Materials Project id"


@pytest.mark.parametrize("name", ["data.json", "MPtrj-r2scan.json"])
def test_a_file_whose_name_does_not_tell_its_functional_is_refused(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(DataError, match="its records do not say which functional they are of"):
        mp_r2scan.load(paths=[tmp_path / name])


def test_an_unknown_release_is_refused():
    with pytest.raises(UsageError, match="mp-r2scan has no release '9'; known: 2"):
        mp_r2scan.load(version="9")


def test_offline_without_a_copy_is_one_clear_error(tmp_path):
    with pytest.raises(DataError, match=r"figshare article 28245650 is not in .* and the network is forbidden"):
        list(mp_r2scan.load(cache_dir=tmp_path, offline=True).frames)


def test_both_articles_are_fetched(directory, tmp_path, monkeypatch):
    asked = []

    def fetch_article(article, folder, accept, cache_dir, *, offline):
        names = ["MPr2SCAN.json", "README.txt"] if article == mp_r2scan.ARTICLE else [mptrj.FILE, "MPtrj.extxyz"]
        asked.append((article, folder, [name for name in names if accept(name)], cache_dir, offline))
        return [directory / asked[-1][2][0]]

    monkeypatch.setattr(download, "fetch_article", fetch_article)
    frames = list(mp_r2scan.load(cache_dir=tmp_path).frames)
    assert asked == [
        (28245650, "mp-r2scan", ["MPr2SCAN.json"], tmp_path, False),
        (23713842, "mptrj", ["MPtrj_2022.9_full.json"], tmp_path, False),
    ]
    assert len([frame for frame in frames if frame.pair_id]) == 5
    assert len(frames) == 11

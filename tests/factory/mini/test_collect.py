from __future__ import annotations

import json

import pytest

from xferbench.errors import FormatError
from xferbench.factory.mini.collect import RECORDS, SCANS, collect, collect_first_edition
from xferbench.factory.mini.structures import seeds
from xferbench.factory.mini.work import keeps, read_scans, work
from xferbench.sources.mini import build
from xferbench.sources.mini.recordfile import read_records


def test_the_committed_records_are_sound_and_sorted():
    records = read_records(RECORDS)
    assert [record["id"] for record in records] == [json.loads(line)["id"] for line in RECORDS.read_text().splitlines()]
    assert {record["seed_structure"] for record in records} <= set(seeds())


def test_every_committed_record_was_made_with_the_libxc_that_is_asked_for():
    assert {record["versions"]["libxc_fhc_disabled"] for record in read_records(RECORDS)} == {"yes"}


def test_records_of_the_first_edition_are_there_whole_pair_by_pair_if_their_mesh_passes(tmp_path):
    home, scans = tmp_path / "home.jsonl", read_scans(SCANS)
    assert collect_first_edition([build.RECORDS], home) > 0
    kept = {record["id"]: record for record in read_records(home)}
    for record in read_records(build.RECORDS):
        passes = record["status"] == "ok" and keeps(record, scans.get(record["seed_structure"], []))
        partner = f"{record['pair_id']}-{'PBE' if record['functional'] == 'r2SCAN' else 'r2SCAN'}"
        assert (record["id"] in kept) == (passes and partner in kept)
    committed = {record["id"]: record for record in read_records(RECORDS)}
    assert kept.items() <= committed.items()


def test_finished_records_are_added_once_and_sorted(out, tmp_path, engine):
    home = tmp_path / "home.jsonl"
    work(out, names=["KCl_rocksalt"], engine=engine)
    number = len(read_records(out))
    assert collect([out], home) == number
    assert collect([out], home) == 0
    lines = home.read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == sorted(json.loads(line)["id"] for line in lines)


def test_a_file_that_grows_is_read_to_its_last_whole_line(out, tmp_path, engine):
    work(out, names=["KCl_rocksalt"], engine=engine)
    number = len(read_records(out))
    out.write_bytes(out.read_bytes() + b'{"id": "half')
    assert collect([out], tmp_path / "home.jsonl") == number


def test_a_different_record_of_one_id_is_refused(out, tmp_path, make_engine):
    home, other = tmp_path / "home.jsonl", tmp_path / "other.jsonl"
    work(out, names=["KCl_rocksalt"], engine=make_engine())
    work(other, names=["KCl_rocksalt"], engine=make_engine(shift=0.1))
    collect([out], home)
    before = home.read_bytes()
    with pytest.raises(FormatError, match="differs from its record in"):
        collect([other], home)
    assert home.read_bytes() == before

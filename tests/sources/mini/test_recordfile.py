from __future__ import annotations

import json
import random

import pytest

from xferbench.errors import FormatError, StorageError
from xferbench.sources.mini.build import RECORDS
from xferbench.sources.mini.recordfile import Resumed, append_records, material_id, read_records, resume


def test_the_committed_records_are_sound_and_sorted():
    ids = [record["id"] for record in read_records(RECORDS)]
    assert ids == sorted(ids)
    assert len(ids) == len(RECORDS.read_text().splitlines()) > 0


def test_records_come_back_in_the_order_of_their_ids_whatever_the_lines_order(records, tmp_path):
    lines = records.read_text().splitlines()
    random.Random(0).shuffle(lines)
    shuffled = tmp_path / "shuffled.jsonl"
    shuffled.write_text("\n".join(lines))
    assert read_records(shuffled) == read_records(records)


def test_what_is_appended_is_read_back_exactly(records, tmp_path):
    expected = read_records(records)
    path = tmp_path / "new" / "records.jsonl"
    append_records(path, expected[:3])
    append_records(path, expected[3:])
    assert read_records(path) == expected


def test_not_a_number_is_never_written(tmp_path):
    path = tmp_path / "records.jsonl"
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_records(path, [{"energy_eV": float("nan")}])
    assert not path.exists()


def test_all_problems_of_a_file_are_in_one_message_with_their_lines(records):
    lines = records.read_text().splitlines()
    lines[1] = lines[1][:-20]
    lines[3] = lines[3].replace('"status": "ok"', '"status": "well"')
    lines.insert(5, lines[0])
    lines.append("[1, 2]")
    lines.append('{"energy_eV": NaN}')
    records.write_text("\n".join(lines))
    with pytest.raises(FormatError) as caught:
        read_records(records)
    message = str(caught.value)
    assert f"{records}: 5 problems" in message
    assert "line 2: not JSON" in message
    assert "unknown status 'well'" in message
    assert "id already used in line 1" in message
    assert f"line {len(lines) - 1}: not a JSON object" in message
    assert f"line {len(lines)}: not JSON (NaN is not a number)" in message
    assert message.index("line 2:") < message.index("line 4:") < message.index("line 6:")


def test_bytes_that_are_no_text_are_a_format_error(records):
    records.write_bytes(b"\xff\xfe\n" + records.read_bytes())
    with pytest.raises(FormatError, match="line 1: not JSON"):
        read_records(records)


def test_a_missing_file_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match=r"cannot read .*none\.jsonl"):
        read_records(tmp_path / "none.jsonl")


def test_an_unwritable_place_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        append_records(tmp_path / "file" / "records.jsonl", [])


def test_a_file_that_does_not_exist_is_ready(tmp_path):
    assert resume(tmp_path / "none.jsonl") == Resumed()
    assert not (tmp_path / "none.jsonl").exists()


def test_a_whole_file_is_left_as_it_is(records):
    before = records.read_bytes()
    resumed = resume(records)
    assert resumed.dropped == ()
    assert resumed.finished == {json.loads(line)["pair_id"] for line in before.splitlines()}
    assert records.read_bytes() == before


def test_whatever_end_a_killed_write_leaves_only_the_last_pair_is_lost(records):
    whole = records.read_bytes()
    lines = whole.splitlines(keepends=True)
    before = b"".join(lines[:-2])
    everything = resume(records).finished
    last = json.loads(lines[-1])["pair_id"]
    middle = len(before) + len(lines[-2])
    sizes = {*range(len(before) + 1, len(whole) - 1, 101), *range(middle - 3, middle + 4), len(whole) - 2}
    for size in sizes:
        records.write_bytes(whole[:size])
        resumed = resume(records)
        assert resumed.finished == everything - {last}
        assert resumed.dropped
        assert records.read_bytes() == before


def test_a_last_line_that_lacks_only_its_line_end_is_kept(records):
    whole = records.read_bytes()
    records.write_bytes(whole[:-1])
    assert resume(records).dropped == ()
    assert records.read_bytes() == whole


def test_a_pair_with_one_record_is_dropped_wherever_it_is_and_said(records):
    lines = records.read_bytes().splitlines(keepends=True)
    lone = json.loads(lines[2])
    records.write_bytes(b"".join(lines[:3] + lines[4:]))
    resumed = resume(records)
    assert resumed.dropped == (
        f"line 3 ({lone['id']}) lacks the other record of its pair; removed it to calculate both",
    )
    assert lone["pair_id"] not in resumed.finished
    assert records.read_bytes() == b"".join(lines[:2] + lines[4:])


def test_a_torn_line_in_the_middle_was_not_left_by_a_killed_run_and_is_refused(records):
    lines = records.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1][:50] + b"\n"
    broken = b"".join(lines)
    records.write_bytes(broken)
    with pytest.raises(FormatError, match="1 problem: line 2: not JSON"):
        resume(records)
    assert records.read_bytes() == broken


def test_a_doubled_pair_is_refused_and_nothing_is_removed(records):
    doubled = records.read_bytes() + b"".join(records.read_bytes().splitlines(keepends=True)[:2])
    records.write_bytes(doubled)
    with pytest.raises(FormatError, match=r"2 problems: .* id already used in line 1.* id already used in line 2"):
        resume(records)
    assert records.read_bytes() == doubled


def test_a_file_of_zeros_after_a_power_cut_is_a_torn_line(records):
    whole = records.read_bytes()
    records.write_bytes(whole + b"\0" * 100)
    assert "was torn off" in resume(records).dropped[0]
    assert records.read_bytes() == whole


def test_a_calculation_of_pbe_alone_is_whole_where_no_partner_is_meant_to_be(records):
    first = json.loads(records.read_text().splitlines()[0])
    alone = first | {"perturbation": "mesh-4x4x4", "pair_id": f"{first['seed_structure']}-mesh-4x4x4"}
    append_records(records, [alone | {"id": f"{alone['pair_id']}-PBE"}])
    resumed = resume(records)
    assert resumed.dropped == ()
    assert alone["pair_id"] in resumed.finished


def test_the_unfinished_line_of_a_growing_file_is_not_read(records):
    whole = read_records(records)
    text = records.read_bytes()
    records.write_bytes(text + b'{"id": "torn')
    assert read_records(records, growing=True) == whole
    with pytest.raises(FormatError, match="not JSON"):
        read_records(records)


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [(["Na", "Cl"], "NaCl"), (["Cl", "Na", "Cl", "Na"], "NaCl"), (["Si", "Mg", "Mg"], "Mg2Si"), (["Si", "Si"], "Si")],
)
def test_a_material_is_a_reduced_composition(symbols, expected):
    assert material_id(symbols) == expected

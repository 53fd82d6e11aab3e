from __future__ import annotations

import json
import random

import numpy as np
import pyarrow.parquet as pq
import pytest

from xferbench import tables
from xferbench.errors import FormatError, StorageError
from xferbench.sources.mini.build import PARQUET, RECORDS, SCHEMA, build
from xferbench.storage import sha256


@pytest.fixture
def out(tmp_path):
    return tmp_path / "mini.parquet"


def rows(path):
    return {row["record_id"]: row for row in tables.read_table(path).to_pylist()}


def test_the_committed_table_is_what_the_committed_records_build_to(out):
    build(RECORDS, out)
    assert tables.read_table(PARQUET).equals(tables.read_table(out)), "build mini.parquet again and commit it"


def test_a_file_without_records_leaves_the_old_table_alone(tmp_path, out):
    out.write_bytes(b"old")
    (tmp_path / "none.jsonl").write_text("\n")
    with pytest.raises(FormatError, match=r"none.jsonl has no records, so nothing was built"):
        build(tmp_path / "none.jsonl", out)
    assert out.read_bytes() == b"old"


def test_the_same_records_in_any_order_and_spelling_give_the_same_bytes(records, tmp_path, out):
    build(records, out)
    lines = records.read_text().splitlines()
    random.Random(1).shuffle(lines)
    other = tmp_path / "other.jsonl"
    other.write_text("\n\n".join(json.dumps(dict(reversed(json.loads(line).items()))) for line in lines))
    build(other, tmp_path / "other.parquet")
    assert (tmp_path / "other.parquet").read_bytes() == out.read_bytes()


def test_more_records_need_no_code_and_leave_the_old_rows_alone(records, out, make_pair, append):
    build(records, out)
    before = rows(out)
    append(records, make_pair("GaAs_zincblende-v2", "strain3"))
    build(records, out)
    after = rows(out)
    assert len(after) > len(before)
    assert {record_id: after[record_id] for record_id in before} == before


def test_a_row_by_hand(records, out, voigt_matrix):
    build(records, out)
    row = rows(out)["SiC_zincblende-v2-r2SCAN"]
    (record,) = [r for r in map(json.loads, records.read_text().splitlines()) if r["id"] == row["record_id"]]
    assert (row["pair_id"], row["material_id"], row["prototype"]) == ("SiC_zincblende-v2", "SiC", "zincblende")
    assert (row["functional"], row["perturbation"], row["status"], row["error"]) == ("r2SCAN", "v2", "ok", None)
    assert row["numbers"] == [14, 6]
    assert row["positions"] == record["structure"]["cart_coords_A"]
    assert row["cell"] == record["structure"]["lattice_A"]
    assert row["energy"] == record["energy_eV"]
    assert row["free_energy"] == record["free_energy_eV"]
    assert row["forces"] == record["forces_eV_per_A"]
    assert row["net_force"] == pytest.approx(0.04)
    np.testing.assert_array_equal(row["stress"], voigt_matrix)
    assert row["magmoms"] is None
    assert row["kpts"] == record["kpts"]["size"]
    assert json.loads(row["settings"]) == record["settings"]
    assert json.loads(row["versions"]) == record["versions"]


def test_spin_polarised_rows_have_moments(records, out):
    build(records, out)
    magnetic = [row for row in rows(out).values() if row["spin_polarised"]]
    assert magnetic
    assert all(
        row["magmoms"] == row["initial_magmoms"] == [0.7] * len(row["numbers"])
        for row in magnetic
        if row["material_id"] == "Ni"
    )


def test_failed_calculations_are_rows_with_a_reason_and_null_labels(records, out, make_pair, fail, append):
    append(records, [fail(make_pair("C_diamond-v2", "v0")[0])])
    built = build(records, out)
    row = rows(out)["C_diamond-v0-PBE"]
    assert (row["status"], row["error"]) == ("failed", "RuntimeError: no")
    assert [row[key] for key in ("energy", "forces", "stress", "magmoms", "net_force", "kpts", "free_energy")] == [
        None
    ] * 7
    assert built.failed == 1


def test_the_summary_counts(records, out):
    built = build(records, out)
    n_lines = len(records.read_text().splitlines())
    assert (built.records, built.pairs, built.failed) == (n_lines, n_lines // 2, 0)
    assert built.elements == ("C", "Si", "Ni")
    assert (built.materials, built.versions) == (4, 1)
    assert built.sha256 == sha256(out)
    assert str(built).startswith(
        f"{out}: {n_lines} calculations (0 failed), {n_lines // 2} pairs of 4 compositions of 3 elements"
    )


def test_the_table_has_the_schema_and_sorted_unique_ids():
    table = tables.read_table(PARQUET)
    assert table.schema.equals(SCHEMA)
    ids = table["record_id"].to_pylist()
    assert ids == sorted(set(ids))


def test_the_file_is_parquet_for_everybody():
    assert pq.ParquetFile(PARQUET).metadata.num_rows == len(RECORDS.read_text().splitlines())


def test_committed_energies_and_forces_pass_through_unchanged():
    stored = rows(PARQUET)
    for record in map(json.loads, RECORDS.read_text().splitlines()):
        if record["status"] == "ok":
            row = stored[record["id"]]
            assert (row["energy"], row["forces"]) == (record["energy_eV"], record["forces_eV_per_A"])


def test_broken_records_leave_the_old_table(records, out):
    build(records, out)
    before = out.read_bytes()
    records.write_text(records.read_text() + "{\n" + records.read_text().splitlines()[0])
    with pytest.raises(FormatError, match=r"2 problems: line \d+: not JSON.*id already used in line 1"):
        build(records, out)
    assert out.read_bytes() == before


def test_missing_records_are_a_storage_error(tmp_path, out):
    with pytest.raises(StorageError, match="cannot read"):
        build(tmp_path / "none.jsonl", out)

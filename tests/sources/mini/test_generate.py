from __future__ import annotations

import json

import numpy as np
import pytest

from xferbench.errors import UnknownNameError, UsageError
from xferbench.sources.mini.build import RECORDS
from xferbench.sources.mini.generate import generate
from xferbench.sources.mini.recordfile import read_records
from xferbench.sources.mini.structures import KINDS, hash_order, seeds


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "records.jsonl"


def test_each_pair_is_two_lines_pbe_first_and_r2scan_starts_from_its_state(out, engine):
    generated = generate(out, kinds=["v2"], elements=["Si"], engine=engine)
    assert (generated.planned, generated.calculated, generated.failed, generated.left) == (2, 2, 0, 0)
    records = read(out)
    assert [r["functional"] for r in records] == ["PBE", "r2SCAN"] * 2
    assert {r["pair_id"] for r in records} == {"Si_diamond-v2", "Si_fcc-v2"}
    for (_, _, first), (_, _, second) in zip(engine.calls[::2], engine.calls[1::2], strict=True):
        assert first is None
        assert second.endswith("in PBE")


def test_records_have_the_keys_and_everything_but_the_labels_of_the_committed_ones(out, engine):
    committed = {record["id"]: record for record in read_records(RECORDS)}
    generate(out, kinds=["v2"], elements=["Si", "C"], engine=engine)
    for record in read(out):
        other = committed[record["id"]]
        assert set(record) == set(other)
        for key in (
            "id",
            "pair_id",
            "seed",
            "settings",
            "kpts",
            "spin_polarised",
            "metal_kmesh",
            "structure",
            "status",
        ):
            assert record[key] == other[key], key


def test_a_rerun_calculates_nothing_again(records, make_engine):
    before, idle = records.read_bytes(), make_engine()
    generated = generate(records, kinds=["v2"], elements=["Si", "C"], engine=idle)
    assert (generated.planned, generated.present, generated.calculated) == (5, 5, 0)
    assert str(generated) == "5 pairs: 5 present before, 0 calculated, 0 failed, 0 left"
    assert idle.calls == []
    assert records.read_bytes() == before


def test_one_kind_follows_another_and_structures_come_in_hash_order(out, engine):
    generate(out, kinds=["v4", "rattle0"], elements=["Si", "C"], engine=engine)
    pairs = list(dict.fromkeys(record["pair_id"] for record in read(out)))
    names = hash_order({"C_diamond", "Si_diamond", "Si_fcc", "SiC_zincblende", "SiC_rocksalt"})
    several_atoms = [name for name in names if name != "Si_fcc"]
    assert pairs == [f"{name}-v4" for name in names] + [f"{name}-rattle0" for name in several_atoms]


def test_the_default_is_every_kind_of_every_structure_without_spin(out, engine):
    generated = generate(out, budget_minutes=0, engine=engine)
    without_spin = [seed for seed in seeds().values() if not seed.spin_polarised]
    one_atom = sum(len(seed.atoms) == 1 for seed in without_spin)
    moving = sum(not kind.startswith("v") for kind in KINDS)
    assert generated.planned == len(without_spin) * len(KINDS) - one_atom * moving


def test_parts_share_the_work_without_overlap(tmp_path, make_engine):
    for i in range(3):
        generate(tmp_path / f"{i}.jsonl", kinds=["v2"], elements=["Li", "Na", "F"], part=(i, 3), engine=make_engine())
    generate(tmp_path / "all.jsonl", kinds=["v2"], elements=["Li", "Na", "F"], engine=make_engine())
    joined = tmp_path / "joined.jsonl"
    joined.write_bytes(
        b"".join((tmp_path / f"{i}.jsonl").read_bytes() for i in range(3) if (tmp_path / f"{i}.jsonl").exists())
    )
    assert read_records(joined) == read_records(tmp_path / "all.jsonl")


def test_spin_selects_the_magnetic_structures_with_their_starting_moments(out, engine):
    generate(out, kinds=["v2"], elements=["Fe", "Al"], spin=True, engine=engine)
    records = read(out)
    assert {record["seed_structure"] for record in records} == {"Fe_bcc", "Fe_fcc", "FeAl_cesiumchloride"}
    assert all(record["spin_polarised"] and "magmoms_muB" in record for record in records)
    moments = {r["seed_structure"]: r["structure"]["initial_magmoms_muB"] for r in records}
    assert moments["FeAl_cesiumchloride"] == [2.3, 0.0]


def test_an_empty_budget_leaves_everything_and_the_counts_say_so(out, engine):
    generated = generate(out, kinds=["v2"], elements=["Si", "C"], budget_minutes=0, engine=engine)
    assert (generated.planned, generated.calculated, generated.left) == (5, 0, 5)
    assert not out.exists()


@pytest.mark.parametrize("part", [(1, 1), (-1, 2), (0, 0), (3, 2)])
def test_a_part_that_does_not_exist_is_a_usage_error(out, engine, part):
    with pytest.raises(UsageError, match=r"part .* does not exist"):
        generate(out, part=part, engine=engine)


def test_an_unknown_kind_or_element_is_a_usage_error(out, engine):
    with pytest.raises(UsageError, match="unknown kind of copy 'v9'"):
        generate(out, kinds=["v9"], engine=engine)
    with pytest.raises(UnknownNameError, match="unknown element 'Sj'"):
        generate(out, elements=["Sj"], engine=engine)


def test_magnetic_elements_without_spin_are_a_usage_error_not_an_empty_run(out, engine):
    with pytest.raises(UsageError, match=r"no seed structure matches.*--spin"):
        generate(out, elements=["Fe"], engine=engine)


def test_gpaw_gives_records_of_the_committed_format(out):
    pytest.importorskip("gpaw", reason="GPAW is not installed: pip install xferbench[dft]")
    generate(out, kinds=["v2"], elements=["Li"], part=(0, 1))
    stored = {record["id"]: record for record in read_records(RECORDS)}
    for record in read_records(out):
        assert set(record) == set(stored[record["id"]])
        np.testing.assert_allclose(record["energy_eV"], stored[record["id"]]["energy_eV"], atol=1e-4)

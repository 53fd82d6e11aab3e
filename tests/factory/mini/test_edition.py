"""The second edition's table and card: what belongs to them, and that text and table agree."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from xferbench import tables
from xferbench.errors import FormatError
from xferbench.factory.mini.collect import RECORDS, SCANS, collect_first_edition
from xferbench.factory.mini.edition import CARD, build, card_text, edition, facts
from xferbench.factory.mini.plan import plan
from xferbench.factory.mini.structures import seeds
from xferbench.factory.mini.work import Archive, follow, work
from xferbench.sources import mini
from xferbench.sources.mini import build as first
from xferbench.sources.mini.checks import PBE, R2SCAN
from xferbench.sources.mini.recordfile import read_records


@pytest.fixture
def finished(out, make_engine):
    """A test crystal, a training crystal and one that failed."""
    work(out, names=["KCl_rocksalt", "LiCl_rocksalt"], engine=make_engine())
    failing = make_engine()
    failing.errors["PBE"] = RuntimeError("did not converge")
    work(out, names=["NaF_rocksalt"], engine=failing)
    return out


def test_copies_are_rows_and_steps_on_the_way_are_not(finished):
    made = edition([finished], None)
    found = {row["perturbation"] for row in made.rows if row["seed_structure"] == "KCl_rocksalt"}
    assert found == {"v0", "v1", "v3", "v4", "c0", "s0", "r0", "r1", "w0"}
    assert {row["perturbation"] for row in made.rows if row["seed_structure"] == "LiCl_rocksalt"} == {
        "v1",
        "v3",
        "c0",
        "r0",
    }
    assert [row["record_id"] for row in made.rows] == sorted(row["record_id"] for row in made.rows)
    assert made.stopped == {"NaF_rocksalt": "settle-0: RuntimeError: did not converge"}


def test_rows_say_what_is_left_of_their_errors(finished):
    for row in edition([finished], None).rows:
        volume = abs(np.linalg.det(row["cell"]))
        assert row["pulay_stress"] == pytest.approx(2 / 3 * -0.02 * len(row["numbers"]) / volume, rel=1e-6)
        assert row["kmesh_confirmed"] is True
        assert row["kmesh_energy_error"] == pytest.approx(0.0, abs=1e-9)
        assert row["free_shape"] is False


def test_a_crystal_without_its_core_has_no_rows(finished):
    lines = finished.read_text().splitlines(keepends=True)
    finished.write_text("".join(line for line in lines if '"KCl_rocksalt-c0"' not in line))
    assert {row["seed_structure"] for row in edition([finished], None).rows} == {"LiCl_rocksalt"}


def test_a_failed_copy_is_a_row_with_its_reason(finished):
    lines = [json.loads(line) for line in finished.read_text().splitlines()]
    labels = ("_eV", "_A", "_voigt", "_s")
    for number, line in enumerate(lines):
        if line["id"] == "KCl_rocksalt-w0-r2SCAN":
            kept = {
                k: v
                for k, v in line.items()
                if not k.endswith(labels) and k not in {"kpts", "n_kpts_irreducible", "scf_iterations"}
            }
            lines[number] = kept | {"status": "failed", "error": "no"}
    finished.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = edition([finished], None)
    (row,) = [row for row in made.rows if row["status"] == "failed"]
    assert (row["record_id"], row["error"]) == ("KCl_rocksalt-w0-r2SCAN", "no")
    assert facts(made)["failed"] == "1"


def test_copies_at_the_volume_of_a_model_are_never_in_test(tmp_path, make_engine):
    """NaCl is a test composition and KBr one for training; both have v1, v2 and more that pass the rule."""
    home = tmp_path / "home.jsonl"
    collect_first_edition([first.RECORDS], home)
    work(home, scans=SCANS, names=["NaCl_rocksalt", "KBr_rocksalt"], engine=make_engine())
    copies = {}
    for row in edition([home], SCANS).rows:
        copies.setdefault(row["seed_structure"], set()).add(row["perturbation"])
    assert "v2" in copies["KBr_rocksalt"]
    assert not {"v2", "rattle0"} & copies["NaCl_rocksalt"]
    assert {"v2", "rattle0"} <= {
        r["perturbation"] for r in read_records(home) if r["seed_structure"] == "NaCl_rocksalt"
    }


def test_the_table_is_one_that_the_source_loads(finished, tmp_path, monkeypatch):
    out = tmp_path / "mini.parquet"
    built = build([finished], None, out, tmp_path / "card.md")
    assert (built.pairs, built.materials) == (13, 2)
    monkeypatch.setattr(first, "PARQUET", out)
    dataset = mini.load()
    assert len(dataset.frames) == 26
    assert {"pulay_stress", "kmesh_energy_error", "kmesh_confirmed"} <= set(dataset.frames[0].provenance)


def test_no_finished_crystal_builds_nothing(tmp_path, out):
    out.write_text("")
    with pytest.raises(FormatError, match="no crystal of these records is finished"):
        build([out], None, tmp_path / "mini.parquet")
    assert not (tmp_path / "mini.parquet").exists()


@pytest.mark.parametrize("records", ["finished", "committed"])
def test_the_card_counts_what_the_table_has(records, request, tmp_path):
    path = RECORDS if records == "committed" else request.getfixturevalue("finished")
    out = tmp_path / "mini.parquet"
    build([path], SCANS, out, tmp_path / "card.md")
    text = re.sub(r"\s+", " ", (tmp_path / "card.md").read_text())
    rows = tables.read_table(out).to_pylist()
    sound = [row["pair_id"] for row in rows if row["status"] == "ok"]
    pairs = {name for name in sound if sound.count(name) == 2}
    assert f"{len(pairs)} pairs of" in text
    materials = {row["material_id"] for row in rows if row["pair_id"] in pairs}
    assert f"{len(materials)} compositions of" in text
    for copy in {row["perturbation"] for row in rows}:
        number = sum(
            row["perturbation"] == copy and row["functional"] == "PBE" and row["pair_id"] in pairs for row in rows
        )
        assert re.search(rf"\| `{copy}` \| [^|]* \| {number} \|", text), copy
    assert "$" not in text


def test_every_figure_of_the_template_is_counted(finished):
    made = edition([finished], None)
    names = set(re.findall(r"\$(\w+)", CARD.read_text()))
    assert names == set(facts(made))
    assert card_text(made)


def test_more_records_need_no_code(finished, make_engine):
    before = {row["record_id"]: row for row in edition([finished], None).rows}
    work(finished, names=["Mg_hcp"], engine=make_engine())
    after = {row["record_id"]: row for row in edition([finished], None).rows}
    assert before.items() <= after.items()
    assert any(row["free_shape"] for row in after.values())


@pytest.mark.parametrize(
    ("name", "pbe"), [("MgO_rocksalt", 4.26), ("NaCl_rocksalt", 5.70), ("Al_fcc", 4.04), ("KCl_rocksalt", 6.38)]
)
def test_lattice_constants_are_the_published_ones(name, pbe):
    """All-electron PBE lattice constants in Å to two digits (Haas, Tran, Blaha, PRB 79, 085104; Tran et al., JCP 144, 204120)."""
    seed, archive = seeds()[name], Archive([RECORDS], SCANS)

    def missing(step):
        raise AssertionError(f"{step.pair_id} is not among the committed records")

    outcome = follow(plan(seed, archive.known(seed), everything=False), archive, missing)
    found = {functional: (4 * volume) ** (1 / 3) for functional, volume in outcome.volumes.items()}
    assert found[PBE] == pytest.approx(pbe, rel=2.5e-3)
    assert 0.98 < found[R2SCAN] / found[PBE] < 0.995

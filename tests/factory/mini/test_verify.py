from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from xferbench.errors import CheckFailedError, MissingExtraError, UnknownNameError, UsageError
from xferbench.factory.mini.collect import RECORDS
from xferbench.factory.mini.verify import TOLERANCES, UNITS, Comparison, drawn, verify
from xferbench.factory.mini.work import work
from xferbench.sources.mini.recordfile import read_records


@pytest.fixture
def path(tmp_path, make_engine):
    """Two crystals, and one that failed."""
    path = tmp_path / "records.jsonl"
    work(path, names=["KCl_rocksalt", "KMnF3_perovskite"], engine=make_engine())
    failing = make_engine()
    failing.errors["PBE"] = RuntimeError("no")
    work(path, names=["NaF_rocksalt"], engine=failing)
    return path


def test_the_same_engine_agrees_exactly(path, engine):
    (pbe, r2scan) = verify(path, ["KCl_rocksalt-c0"], engine=engine)
    assert (pbe.record_id, r2scan.record_id) == ("KCl_rocksalt-c0-PBE", "KCl_rocksalt-c0-r2SCAN")
    assert pbe.agrees
    assert r2scan.deviations == {"energy": 0.0, "forces": 0.0, "stress": 0.0}


def test_an_r2scan_record_starts_from_its_pbe_calculation(path, engine):
    comparisons = verify(path, ["KCl_rocksalt-v1-r2SCAN"], engine=engine)
    assert [comparison.record_id for comparison in comparisons] == ["KCl_rocksalt-v1-r2SCAN"]
    assert [xc for _, xc, _ in engine.calls] == ["PBE", "MGGA_X_R2SCAN+MGGA_C_R2SCAN"]
    assert engine.starts == [None, "state of KCl in PBE"]


def test_a_pbe_record_needs_no_r2scan_calculation(path, engine):
    verify(path, ["KCl_rocksalt-v1-PBE"], engine=engine)
    assert [xc for _, xc, _ in engine.calls] == ["PBE"]


def test_the_calculation_is_that_of_the_record(path, engine):
    seen = []

    class Watching(type(engine)):
        def calculate(self, calculation, start):
            seen.append(calculation)
            return super().calculate(calculation, start)

    verify(path, ["KMnF3_perovskite-c0-r2SCAN"], engine=Watching())
    found = {record["id"]: record for record in map(json.loads, path.read_text().splitlines())}
    for calculation, name in zip(seen, ["KMnF3_perovskite-c0-PBE", "KMnF3_perovskite-c0-r2SCAN"], strict=True):
        record = found[name]
        assert calculation.settings == record["settings"]
        assert list(calculation.kpts) == record["kpts"]["size"]
        assert calculation.spin_polarised is True
        assert calculation.atoms.get_initial_magnetic_moments().tolist() == record["structure"]["initial_magmoms_muB"]
        assert calculation.atoms.positions.tolist() == record["structure"]["cart_coords_A"]
        assert calculation.atoms.cell.array.tolist() == record["structure"]["lattice_A"]


def test_deviations_are_per_atom_and_signless(path, make_engine):
    shifted = make_engine(shift=-5e-5)
    for comparison in verify(path, ["KCl_rocksalt-c0"], engine=shifted):
        assert comparison.deviations["energy"] == pytest.approx(5e-5)
        assert comparison.agrees


def test_a_number_beyond_its_tolerance_is_a_failed_check_that_lists_it(path, make_engine):
    said = []
    with pytest.raises(CheckFailedError) as caught:
        verify(
            path,
            ["KCl_rocksalt-c0", "KCl_rocksalt-v1-PBE"],
            engine=make_engine(shift=2e-4),
            progress=said.append,
        )
    assert "3 of 3 recomputed records disagree" in str(caught.value)
    assert "KCl_rocksalt-c0-PBE: energy beyond tolerance (energy 2.0e-04 eV/atom" in str(caught.value)
    assert len(said) == 3


@pytest.mark.parametrize(
    ("label", "change", "quantity"),
    [
        ("forces_eV_per_A", [[0.0, 0.0, 0.0], [0.0, 0.0, -0.002]], "forces"),
        ("stress_eV_per_A3_voigt", [0.02] * 6, "stress"),
        ("energy_eV", float("nan"), "energy"),
    ],
)
def test_each_quantity_has_its_own_tolerance(path, make_engine, label, change, quantity):
    odd = make_engine()
    odd.changes = {label: change}
    with pytest.raises(CheckFailedError, match=rf"KCl_rocksalt-c0-PBE: {quantity} beyond tolerance"):
        verify(path, ["KCl_rocksalt-c0-PBE"], engine=odd)
    loose = TOLERANCES | {quantity: 1.0}
    if quantity != "energy":
        assert verify(path, ["KCl_rocksalt-c0-PBE"], engine=odd, tolerances=loose)[0].agrees


def test_moments_are_compared_where_there_are_any(path, make_engine):
    odd = make_engine()
    odd.changes = {"magmoms_muB": [0.0, 3.502, 0.0, 0.0, 0.0]}
    with pytest.raises(CheckFailedError, match="KMnF3_perovskite-c0-PBE: magmoms beyond tolerance"):
        verify(path, ["KMnF3_perovskite-c0-PBE"], engine=odd)


def test_a_calculation_that_fails_now_is_a_disagreement_of_every_record_that_needs_it(path, make_engine):
    failing = make_engine()
    failing.errors["PBE"] = RuntimeError("did not converge")
    with pytest.raises(
        CheckFailedError,
        match=r"2 of 2 .*v1-PBE: failed in PBE: RuntimeError: did not converge.*v1-r2SCAN: failed in PBE",
    ):
        verify(path, ["KCl_rocksalt-v1"], engine=failing)
    assert len(failing.calls) == 1


def test_an_r2scan_failure_leaves_the_pbe_comparison(path, make_engine):
    failing, said = make_engine(), []
    failing.errors["MGGA_X_R2SCAN+MGGA_C_R2SCAN"] = AssertionError()
    with pytest.raises(CheckFailedError, match=r"1 of 2 .*failed in r2SCAN: AssertionError$"):
        verify(path, ["KCl_rocksalt-v1"], engine=failing, progress=said.append)
    assert said[0].startswith("KCl_rocksalt-v1-PBE: agrees")


def test_other_versions_are_named(path, make_engine):
    newer = make_engine(versions={"gpaw": "99", "libxc_fhc_disabled": "yes"})
    (comparison,) = verify(path, ["KCl_rocksalt-v1-PBE"], engine=newer)
    assert comparison.versions == {"gpaw": ("fake", "99")}
    assert str(comparison).endswith("[gpaw fake -> 99]")


def test_without_names_a_fraction_is_drawn_reproducibly_from_all_that_succeeded(path, make_engine):
    one = verify(path, fraction=0.2, engine=make_engine())
    again = verify(path, fraction=0.2, engine=make_engine())
    assert [c.record_id for c in one] == [c.record_id for c in again]
    records = {record["id"]: record for record in read_records(path)}
    sound = {name for name, record in records.items() if record["status"] == "ok"}
    assert len(one) == round(0.2 * len(sound))
    picks = {record["id"] for seed in range(60) for record in drawn(records, 0.2, seed)}
    assert picks == sound


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.5, float("nan")])
def test_a_fraction_is_a_fraction(path, engine, fraction):
    with pytest.raises(UsageError, match="cannot draw a fraction"):
        verify(path, fraction=fraction, engine=engine)


def test_a_record_named_twice_is_recomputed_once(path, engine):
    assert len(verify(path, ["KCl_rocksalt-v1-PBE", "KCl_rocksalt-v1-PBE", "KCl_rocksalt-v1"], engine=engine)) == 2
    assert len(engine.calls) == 2


def test_an_unknown_record_is_named_with_the_near_one(path, engine):
    with pytest.raises(
        UnknownNameError, match=r"no record or pair 'KCl_rocksal-v1-PBE' .* did you mean 'KCl_rocksalt-v1-PBE'\?"
    ):
        verify(path, ["KCl_rocksal-v1-PBE"], engine=engine)
    with pytest.raises(UnknownNameError, match="ids look like LiF_rocksalt-c0-PBE"):
        verify(path, ["123456789"], engine=engine)


def test_a_failed_record_has_nothing_to_compare_with(path, engine):
    with pytest.raises(UsageError, match="NaF_rocksalt-settle-0-PBE: a failed calculation has no numbers"):
        verify(path, ["NaF_rocksalt-settle-0-PBE"], engine=engine)


def test_without_gpaw_the_error_names_the_extra(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpaw", None)
    with pytest.raises(MissingExtraError, match=r"\.\[dft\]"):
        verify(path, ["KCl_rocksalt-v1-PBE"])


def test_every_quantity_has_a_unit_and_a_tolerance():
    assert set(TOLERANCES) == set(UNITS)
    assert all(np.array(list(TOLERANCES.values())) > 0)


def test_a_comparison_reads_as_one_line():
    comparison = Comparison(record_id="x", deviations={"energy": 1e-5, "forces": 0.5}, exceeded=("forces",))
    assert str(comparison) == "x: forces beyond tolerance (energy 1.0e-05 eV/atom, forces 5.0e-01 eV/Å)"


def test_gpaw_reproduces_a_committed_record_of_both_functionals():
    pytest.importorskip("gpaw", reason="GPAW is not installed: pip install .[dft]")
    records = [record for record in read_records(RECORDS) if record["status"] == "ok"]
    cost = {record["pair_id"]: record["cpu_s"] for record in records if record["functional"] == "r2SCAN"}
    assert all(comparison.agrees for comparison in verify(RECORDS, [min(cost, key=cost.__getitem__)]))


def test_the_guide_quotes_the_tolerances():
    guide = (Path(__file__).parents[3] / "docs" / "mini.md").read_text()
    for name, value in TOLERANCES.items():
        mantissa, exponent = f"{value:.0e}".split("e")
        assert f"{mantissa}e-{abs(int(exponent))} {UNITS[name]}" in guide

from __future__ import annotations

import json

import numpy as np
import pytest

from xferbench import tables
from xferbench.errors import CheckFailedError, MissingExtraError, UnknownNameError, UsageError
from xferbench.sources.mini.build import PARQUET, build
from xferbench.sources.mini.generate import generate
from xferbench.sources.mini.verify import TOLERANCES, UNITS, Comparison, verify


@pytest.fixture
def parquet(records, tmp_path, make_engine):
    failing = make_engine()
    failing.errors["PBE"] = RuntimeError("no")
    generate(records, kinds=["v0"], elements=["C"], engine=failing)
    path = tmp_path / "mini.parquet"
    build(records, path)
    return path


def test_the_same_engine_agrees_exactly(parquet, engine):
    (pbe, r2scan) = verify(["SiC_zincblende-v2"], parquet=parquet, engine=engine)
    assert (pbe.record_id, r2scan.record_id) == ("SiC_zincblende-v2-PBE", "SiC_zincblende-v2-r2SCAN")
    assert pbe.agrees
    assert r2scan.deviations == {"energy": 0.0, "forces": 0.0, "stress": 0.0}


def test_an_r2scan_record_starts_from_its_pbe_calculation(parquet, engine):
    comparisons = verify(["Si_fcc-v2-r2SCAN"], parquet=parquet, engine=engine)
    assert [comparison.record_id for comparison in comparisons] == ["Si_fcc-v2-r2SCAN"]
    assert [(xc, start) for _, xc, start in engine.calls] == [
        ("PBE", None),
        ("MGGA_X_R2SCAN+MGGA_C_R2SCAN", "state of Si in PBE"),
    ]


def test_a_pbe_record_needs_no_r2scan_calculation(parquet, engine):
    verify(["Si_fcc-v2-PBE"], parquet=parquet, engine=engine)
    assert [xc for _, xc, _ in engine.calls] == ["PBE"]


def test_the_calculation_is_that_of_the_record(parquet, records, engine):
    seen = []

    class Watching(type(engine)):
        def calculate(self, calculation, start):
            seen.append(calculation)
            return super().calculate(calculation, start)

    verify(["Ni_fcc-v2-r2SCAN"], parquet=parquet, engine=Watching())
    found = {record["id"]: record for record in map(json.loads, records.read_text().splitlines())}
    for calculation, name in zip(seen, ["Ni_fcc-v2-PBE", "Ni_fcc-v2-r2SCAN"], strict=True):
        record = found[name]
        assert calculation.settings == record["settings"]
        assert list(calculation.kpts) == record["kpts"]["size"]
        assert calculation.spin_polarised is True
        assert calculation.atoms.get_initial_magnetic_moments().tolist() == record["structure"]["initial_magmoms_muB"]
        assert calculation.atoms.positions.tolist() == record["structure"]["cart_coords_A"]
        assert calculation.atoms.cell.array.tolist() == record["structure"]["lattice_A"]


def test_deviations_are_per_atom_and_signless(parquet, make_engine):
    shifted = make_engine(shift=-5e-5)
    for comparison in verify(["SiC_zincblende-v2"], parquet=parquet, engine=shifted):
        assert comparison.deviations["energy"] == pytest.approx(5e-5)
        assert comparison.agrees


def test_a_number_beyond_its_tolerance_is_a_failed_check_that_lists_it(parquet, make_engine):
    said = []
    with pytest.raises(CheckFailedError) as caught:
        verify(
            ["SiC_zincblende-v2", "Si_fcc-v2-PBE"],
            parquet=parquet,
            engine=make_engine(shift=2e-4),
            progress=said.append,
        )
    assert "3 of 3 recomputed records disagree" in str(caught.value)
    assert "SiC_zincblende-v2-PBE: energy beyond tolerance (energy 2.0e-04 eV/atom" in str(caught.value)
    assert len(said) == 3


@pytest.mark.parametrize(
    ("label", "change", "quantity"),
    [
        ("forces_eV_per_A", [[0.1, 0.2, -0.3], [-0.1, -0.2, 0.3381]], "forces"),
        ("stress_eV_per_A3_voigt", [1.0, 2.0, 3.0, 4.0, 5.0, 6.00003], "stress"),
        ("energy_eV", float("nan"), "energy"),
    ],
)
def test_each_quantity_has_its_own_tolerance(parquet, make_engine, label, change, quantity):
    odd = make_engine()
    odd.changes = {label: change}
    with pytest.raises(CheckFailedError, match=rf"SiC_zincblende-v2-PBE: {quantity} beyond tolerance"):
        verify(["SiC_zincblende-v2-PBE"], parquet=parquet, engine=odd)
    loose = TOLERANCES | {quantity: 1.0}
    if quantity != "energy":
        assert verify(["SiC_zincblende-v2-PBE"], parquet=parquet, engine=odd, tolerances=loose)[0].agrees


def test_moments_are_compared_where_there_are_any(parquet, make_engine):
    odd = make_engine()
    odd.changes = {"magmoms_muB": [0.702]}
    with pytest.raises(CheckFailedError, match="Ni_fcc-v2-PBE: magmoms beyond tolerance"):
        verify(["Ni_fcc-v2-PBE"], parquet=parquet, engine=odd)


def test_a_calculation_that_fails_now_is_a_disagreement_of_every_record_that_needs_it(parquet, make_engine):
    failing = make_engine()
    failing.errors["PBE"] = RuntimeError("did not converge")
    with pytest.raises(
        CheckFailedError,
        match=r"2 of 2 .*v2-PBE: failed in PBE: RuntimeError: did not converge.*v2-r2SCAN: failed in PBE",
    ):
        verify(["Si_fcc-v2"], parquet=parquet, engine=failing)
    assert len(failing.calls) == 1


def test_an_r2scan_failure_leaves_the_pbe_comparison(parquet, make_engine):
    failing, said = make_engine(), []
    failing.errors["MGGA_X_R2SCAN+MGGA_C_R2SCAN"] = AssertionError()
    with pytest.raises(CheckFailedError, match=r"1 of 2 .*failed in r2SCAN: AssertionError$"):
        verify(["Si_fcc-v2"], parquet=parquet, engine=failing, progress=said.append)
    assert said[0].startswith("Si_fcc-v2-PBE: agrees")


def test_other_versions_are_named(parquet, make_engine):
    newer = make_engine(versions={"gpaw": "99", "libxc_fhc_disabled": "yes"})
    (comparison,) = verify(["Si_fcc-v2-PBE"], parquet=parquet, engine=newer)
    assert comparison.versions == {"gpaw": ("fake", "99")}
    assert str(comparison).endswith("[gpaw fake -> 99]")


def test_without_names_n_pairs_are_picked_reproducibly(parquet, make_engine):
    one = verify(n=2, parquet=parquet, engine=make_engine())
    again = verify(n=2, parquet=parquet, engine=make_engine())
    assert [c.record_id for c in one] == [c.record_id for c in again]
    assert len({c.record_id for c in one}) == 4
    picks = {verify(n=1, seed=seed, parquet=parquet, engine=make_engine())[0].record_id for seed in range(20)}
    assert len(picks) > 3


def test_only_cheap_complete_pairs_are_picked(parquet, make_engine, tmp_path):
    table = tables.read_table(parquet)
    rows = [row | {"cpu_seconds": 1.0 if row["pair_id"] == "Si_fcc-v2" else 31.0} for row in table.to_pylist()]
    other = tmp_path / "other.parquet"
    tables.write_table(other, table.from_pylist(rows, schema=table.schema))
    picked = [c.record_id for c in verify(n=1, parquet=other, engine=make_engine())]
    assert picked == ["Si_fcc-v2-PBE", "Si_fcc-v2-r2SCAN"]
    with pytest.raises(UsageError, match="cannot pick 2 pairs: 1 of 7 took up to 60 s; name records"):
        verify(n=2, parquet=other, engine=make_engine())


def test_a_record_named_twice_is_recomputed_once(parquet, engine):
    assert len(verify(["Si_fcc-v2-PBE", "Si_fcc-v2-PBE", "Si_fcc-v2"], parquet=parquet, engine=engine)) == 2
    assert len(engine.calls) == 2


def test_an_unknown_record_is_named_with_the_near_one(parquet, engine):
    with pytest.raises(UnknownNameError, match=r"no record or pair 'Si_fc-v2-PBE' .* did you mean 'Si_fcc-v2-PBE'\?"):
        verify(["Si_fc-v2-PBE"], parquet=parquet, engine=engine)
    with pytest.raises(UnknownNameError, match="ids look like LiF_rocksalt-v2-PBE"):
        verify(["123456789"], parquet=parquet, engine=engine)


def test_a_failed_record_has_nothing_to_compare_with(parquet, engine):
    with pytest.raises(UsageError, match="C_diamond-v0-PBE: a failed calculation has no numbers"):
        verify(["C_diamond-v0-PBE"], parquet=parquet, engine=engine)


def test_without_gpaw_the_error_names_the_extra(parquet, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "gpaw", None)
    with pytest.raises(MissingExtraError, match=r"xferbench\[dft\]"):
        verify(["Si_fcc-v2-PBE"], parquet=parquet)


def test_every_quantity_has_a_unit_and_a_tolerance():
    assert set(TOLERANCES) == set(UNITS)
    assert all(np.array(list(TOLERANCES.values())) > 0)


def test_a_comparison_reads_as_one_line():
    comparison = Comparison(record_id="x", deviations={"energy": 1e-5, "forces": 0.5}, exceeded=("forces",))
    assert str(comparison) == "x: forces beyond tolerance (energy 1.0e-05 eV/atom, forces 5.0e-01 eV/Å)"


def test_gpaw_reproduces_a_committed_record_of_both_functionals():
    pytest.importorskip("gpaw", reason="GPAW is not installed: pip install xferbench[dft]")
    rows = tables.read_table(PARQUET).to_pylist()
    pairs = {row["pair_id"] for row in rows if row["status"] == "ok" and row["functional"] == "r2SCAN"}
    cost = {pair: sum(row["cpu_seconds"] for row in rows if row["pair_id"] == pair) for pair in sorted(pairs)}
    assert all(comparison.agrees for comparison in verify([min(cost, key=cost.__getitem__)]))

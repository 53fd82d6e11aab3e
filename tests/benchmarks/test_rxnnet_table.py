"""Real Materials Project numbers: published errors come back, and elemental references explain what they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parents[3] / "shared" / "data" / "rxnnet-mp-thermo" / "main.csv"
HEADER = "composition,e_gga_gga_u,e_r2scan,hf_ref,e_chgnet,hf_gga_gga_u,hf_r2scan,hf_gga_gga_u_r2scan"


@pytest.fixture(scope="module")
def module(script):
    return script("rxnnet_table")


@pytest.fixture(scope="module")
def report(module):
    if not DATA.exists():
        pytest.skip(f"needs RxnNet's {DATA.name}, which is not part of the package")
    return module.report(DATA)


class TestRealData:
    @pytest.mark.parametrize(
        ("column", "mae"), [("hf_gga_gga_u", 0.157), ("hf_r2scan", 0.079), ("hf_gga_gga_u_r2scan", 0.117)]
    )
    def test_formation_enthalpies_have_the_known_errors(self, report, column, mae):
        assert report.n_paired == report.enthalpies[column].n == 974
        assert report.enthalpies[column].mae == pytest.approx(mae, abs=5e-4)

    def test_energy_minus_enthalpy_is_elemental_to_rounding(self, report):
        assert report.explained["r2SCAN"].largest < 1e-9

    def test_chgnet_reproduces_the_functional_it_learned(self, report):
        assert 0.02 < report.chgnet_gga.mae < 0.03
        assert report.chgnet_gga.n_missing == 4

    def test_against_the_other_functional_it_is_off_by_many_ev_until_aligned(self, report):
        assert report.chgnet_raw.mae > 5
        assert 0.05 < report.chgnet_aligned.mae < 0.1

    def test_what_remains_is_the_difference_of_the_functionals_more_than_the_error_of_the_model(self, report):
        assert report.chgnet_gga_aligned.mae < 0.5 * report.functionals_aligned.mae
        assert report.chgnet_aligned.mae == pytest.approx(report.functionals_aligned.mae, rel=0.25)

    def test_fitting_on_what_is_scored_flatters(self, report):
        assert report.chgnet_in_sample.mae < report.chgnet_aligned.mae

    def test_the_committed_report_has_the_table(self, module, report):
        page = Path(__file__).parents[2] / "docs" / "reports" / "rxnnet.md"
        rounding = "after elemental references"  # its last digits depend on the BLAS
        wanted = [line for line in module.table(report).splitlines() if rounding not in line]
        text = page.read_text()
        assert not [line for line in wanted if line not in text]


class TestParts:
    def test_compositions_are_read(self, module):
        assert module.atoms_of("Fe4 P1").tolist() == [26, 26, 26, 26, 15]

    @pytest.mark.parametrize("text", ["", "Fe", "FeO2", "Fe1.5"])
    def test_what_is_no_composition_is_refused(self, module, text):
        with pytest.raises(ValueError, match="no composition"):
            module.atoms_of(text)

    def test_a_chemical_system_lies_in_one_fold(self, module):
        numbers = [np.array(item) for item in ([3, 8], [3, 3, 8], [8, 3], [11, 17], [11], [17], [12, 8])]
        fold = module.folds(numbers)
        assert fold[0] == fold[1] == fold[2]
        assert len(set(fold.tolist())) == 5

    def test_rows_without_both_functionals_are_left_out(self, module, tmp_path):
        path = tmp_path / "main.csv"
        path.write_text(f"{HEADER}\nLi1 O1,-1,-2,0,-1,0,0,0\nLi2 O1,-1,,0,-1,0,,0\nNa1 O1,-1,-2,0,,0,0,0\n")
        rows = module.read(path)
        assert (rows.n_read, len(rows.numbers)) == (3, 2)
        assert np.isnan(rows.values["e_chgnet"]).tolist() == [False, True]

    def test_an_elemental_difference_is_taken_out_of_sample_where_it_can_be(self, module):
        stream = np.random.default_rng(0)
        offsets = {3: 1.0, 8: -2.0, 11: 0.5, 12: 4.0, 17: 3.0, 19: -1.0}
        numbers = [stream.choice(list(offsets), stream.integers(1, 4), replace=False) for _ in range(80)]
        numbers.append(np.array([92, 92, 3]))
        difference = np.array([np.mean([offsets.get(int(z), 9.0) for z in item]) for item in numbers])
        rest = module.out_of_sample(module.Rows(values={}, numbers=numbers, n_read=81), difference)
        assert np.isnan(rest).tolist() == [False] * 80 + [True]
        assert np.abs(rest[:80]).max() < 1e-9

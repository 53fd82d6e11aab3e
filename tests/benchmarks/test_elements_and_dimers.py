"""The script behind docs/reports/elements-and-dimers.md: numbers by hand on three elements, and the page as committed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
PAGE = ROOT / "docs" / "reports" / "elements-and-dimers.md"


@pytest.fixture(scope="module")
def module(script):
    return script("elements_and_dimers")


@pytest.fixture
def data(tmp_path):
    """Three elements whose shift is -Z/2 per atom, with dimers bound by 1 eV that end at 6 Å; PBE failed at 5 Å."""
    distances = [1.0, 2.0, 5.0, 6.0]
    curves = {"PBE": {}, "r2SCAN": {}}
    for k, (symbol, z) in enumerate([("He", 2), ("Be", 4), ("C", 6)]):
        well = np.array([3.0, -1.0, 0.0]) - k - 0.5
        curves["PBE"][f"{symbol}-{symbol}"] = {"distances": distances, "energies": [*well[:2].tolist(), 0.0, well[2]]}
        curves["r2SCAN"][f"{symbol}-{symbol}"] = {
            "distances": [*distances[:2], 4.0, *distances[2:]],
            "energies": [*(well[:2] - z).tolist(), -7.0, -7.0, well[2] - z],
        }
    (tmp_path / "matbench-discovery").mkdir()
    with gzip.open(tmp_path / "matbench-discovery" / "diatomics-dft.json.gz", "wt") as stream:
        json.dump(curves, stream)
    head = "element,same_structure,energy_per_atom_pbe,energy_per_atom_r2scan,energy_atomic_pbe,energy_atomic_r2scan"
    rows = ["He,True,-0.1,-1.1,0.0,-1.0", "Be,False,-3.0,-5.1,0.0,-2.0", "C,True,-9.0,-12.2,-1.0,-4.0"]
    (tmp_path / "matcalc-element-refs").mkdir()
    (tmp_path / "matcalc-element-refs" / "derived-paired-elements.csv").write_text("\n".join([head, *rows]))
    tables = {"MPtrj": [-3.0, -2.0, -9.0, -4.0], "MP-r2SCAN": [-4.0, -4.0, -12.0, 1e-15]}
    (tmp_path / "chgnet-matgl-atomrefs").mkdir()
    path = tmp_path / "chgnet-matgl-atomrefs" / "chgnet-atomref.json"
    path.write_text(json.dumps({"order": ["He", "Be", "C", "Yb"], "tables": tables}))
    return tmp_path


def test_dimers_are_compared_at_equal_distances_per_atom_without_calculations_that_failed(module, data):
    points, n_failed = module.dimers(data / "matbench-discovery" / "diatomics-dft.json.gz")
    assert n_failed == 3
    assert points.elements == ["He"] * 3 + ["Be"] * 3 + ["C"] * 3
    np.testing.assert_allclose(points.target - points.pbe, np.repeat([-1.0, -2.0, -3.0], 3))


def test_the_shift_is_that_of_the_far_dimers(module, data):
    far = module.far_dimers(data / "matbench-discovery" / "diatomics-dft.json.gz")
    assert {symbol: target - pbe for symbol, (pbe, target) in far.items()} == {"He": -1.0, "Be": -2.0, "C": -3.0}


def test_after_referencing_nothing_is_left_of_a_pure_shift(module, data):
    path = data / "matbench-discovery" / "diatomics-dft.json.gz"
    for after in (
        module.centred(module.dimers(path)[0]),
        module.referenced(module.dimers(path)[0], module.far_dimers(path)),
    ):
        np.testing.assert_allclose(after.target, after.pbe, atol=1e-12)


def test_zeros_are_left_out_by_name(module, data):
    shift, wrong = module.atom_references(data / "chgnet-matgl-atomrefs" / "chgnet-atomref.json")
    assert shift == {"He": -1.0, "Be": -2.0, "C": -3.0}
    assert list(wrong) == ["Yb"]


def test_the_page_has_the_numbers(module, data):
    page = module.report(data)
    assert "| dimers at 6 Å | 3 | -3.00 to -1.00 | -1.000 | -1.000 | 1.0000 | 1.000 | 0.00 eV/atom |" in page
    assert "In 1 of 3 elements" in page
    assert "- Yb is 1e-15 eV/atom" in page
    assert "| C | 6 | -3.00 | -3.00 | -3.20 | -3.00 |" in page


def test_the_committed_page_is_what_the_data_give(module):
    if not DATA.is_dir():
        pytest.skip("the public data that the page is made of are not here: they are no part of the repository")
    assert module.report(DATA) == PAGE.read_text()

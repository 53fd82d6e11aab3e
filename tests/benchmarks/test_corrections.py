"""The simulation behind the table of corrections in docs/identity.md."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench.references import mp2020
from xferbench.scoring.corrections import judge


@pytest.fixture(scope="module")
def module(script):
    return script("corrections")


@pytest.fixture(scope="module")
def pool(module):
    return module.compounds()


def test_compounds_are_elements_oxides_peroxides_and_others(pool):
    kinds = {frame.numbers.tobytes(): mp2020(frame) for frame in pool}
    assert 0.0 in kinds.values()
    per_oxygen = {round(mp2020(frame) / 2, 3) for frame in pool if frame.numbers.tolist() in ([3, 3, 8, 8], [3, 8, 8])}
    assert per_oxygen == {-0.465, -0.687}
    assert any(frame.functional == "PBE+U" for frame in pool)


@pytest.mark.parametrize(("beta", "verdict"), [(0.0, "uncorrected"), (1.0, "corrected")])
def test_a_good_model_of_many_materials_is_told(module, pool, beta, verdict):
    evidence = module.data_set(np.random.default_rng(1), pool, 80, beta=beta, error=0.03, systematic=None)
    assert judge(evidence, plan=module.PLAN).verdict == verdict


def test_a_small_run_comes_out_as_reported(module, pool):
    cells = [cell.strip() for cell in module.row(pool, 20, (80, 0.1, "none")).split("|")[1:-1]]
    assert cells[:4] == ["80", "100", "none", "0%"]
    assert cells[5:] == ["0%", "100%", "100%", "0%"]
    assert float(cells[4].rstrip("%")) >= 80


def test_errors_of_the_elements_are_common_to_all_of_them(module, pool):
    plain, off = (
        module.data_set(np.random.default_rng(2), pool, 60, beta=0.0, error=1e-9, systematic=kind)
        for kind in (None, "element")
    )
    assert np.abs(plain.residual).max() < 1e-6
    assert np.abs(off.residual).max() > 1e-3

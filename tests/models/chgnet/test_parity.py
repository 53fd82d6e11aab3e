"""The engine against chgnet's own code, on a sample; ``benchmarks/chgnet_parity.py`` does it on a thousand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xferbench.models.chgnet.checkpoint import load_engine
from xferbench.units import EV_PER_A3_IN_GPA

pytest.importorskip("chgnet")
pytestmark = [
    pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True"),
    # pymatgen's, about noble gases
    pytest.mark.filterwarnings("ignore:No Pauling electronegativity"),
]


@pytest.fixture(scope="module")
def parity(script):
    """The module ``benchmarks/chgnet_parity.py``."""
    return script("chgnet_parity")


@pytest.mark.parametrize("variant", ["0.3.0", "0.2.0", "r2scan"])
def test_double_precision_agrees_to_what_chgnet_rounds_inside(parity, crystals, variant):
    structures = [
        *crystals.awkward(4, seed=3, elements=crystals.R2SCAN_ELEMENTS),
        *crystals.small(2, elements=[3, 8, 25]),
    ]
    engine = load_engine(variant, precision="float64", isolated="allow")
    reference = parity.Reference(variant, torch.float64)
    for atoms, found in zip(structures, engine.predict(structures), strict=True):
        expected = reference.predict(atoms)
        # chgnet keeps composition fractions and 1/sqrt(2) in single precision
        assert found["energy"] / len(atoms) == pytest.approx(expected["energy"], abs=3e-6)
        np.testing.assert_allclose(found["forces"], expected["forces"], atol=2e-7, rtol=1e-6)
        np.testing.assert_allclose(found["stress"] * EV_PER_A3_IN_GPA, expected["stress"], atol=2e-6, rtol=1e-6)
        np.testing.assert_allclose(found["magmoms"], expected["magmoms"], atol=1e-8, rtol=1e-6)


def test_single_precision_agrees_on_a_relaxed_crystal(parity):
    from ase.build import bulk

    structures = [bulk("NaCl", "rocksalt", a=5.69), bulk("Si", a=5.47), bulk("Fe", a=2.85).repeat(2)]
    engine, reference = load_engine("0.3.0"), parity.Reference("0.3.0", torch.float32)
    for atoms, found in zip(structures, engine.predict(structures), strict=True):
        ours = parity.in_reference_units(found, len(atoms))
        deviation = parity.deviations(ours, reference.predict(atoms))
        assert all(deviation[name] <= limit for name, limit in parity.LIMITS.items())


def found_deviations(parity, variant, structures):
    """Engine from chgnet, engine from double, chgnet from double, each a list over structures."""
    single, double = (load_engine(variant, precision=precision) for precision in ("float32", "float64"))
    reference = parity.Reference(variant, torch.float32)
    rows = []
    for atoms, a, b in zip(structures, single.predict(structures), double.predict(structures), strict=True):
        ours, exact = (parity.in_reference_units(result, len(atoms)) for result in (a, b))
        theirs = reference.predict(atoms)
        rows.append([parity.deviations(*pair) for pair in ((ours, theirs), (ours, exact), (theirs, exact))])
    return zip(*rows, strict=True)


def beyond(parity, deviations):
    """How many structures exceed the limit, by quantity."""
    return {name: sum(row[name] > limit for row in deviations) for name, limit in parity.LIMITS.items()}


@pytest.mark.parametrize("variant", ["0.3.0", "0.2.0", "r2scan"])
def test_near_contact_the_engine_is_well_within_all_limits_of_double_precision(parity, crystals, variant):
    structures = [
        atoms for atoms in crystals.sensible(24, seed=5, elements=crystals.R2SCAN_ELEMENTS) if len(atoms) < 20
    ]
    chgnet, engine, _ = found_deviations(parity, variant, structures)
    for name, limit in parity.LIMITS.items():
        assert max(row[name] for row in engine) <= limit / 2
        # chgnet's own rounding exceeds the limits for one structure in fifteen, so that the largest deviation from it
        # says nothing about the engine; another function would show in the median
        assert np.median([row[name] for row in chgnet]) <= limit / 5


def test_far_from_equilibrium_the_engine_is_still_within_all_limits(parity, crystals):
    structures = [*crystals.mptrj_like(6, seed=9), *crystals.small(12, seed=9)]
    single, double = (load_engine("0.3.0", precision=precision) for precision in ("float32", "float64"))
    engine = [
        parity.deviations(parity.in_reference_units(a, len(atoms)), parity.in_reference_units(b, len(atoms)))
        for atoms, a, b in zip(structures, single.predict(structures), double.predict(structures), strict=True)
    ]
    assert set(beyond(parity, engine).values()) == {0}


def test_embedded_structures_are_within_all_limits_of_chgnet(parity):
    structures = parity.structures(24, range(1, 95))["embedded"]
    chgnet, engine, _ = found_deviations(parity, "0.3.0", structures)
    assert set(beyond(parity, chgnet).values()) == set(beyond(parity, engine).values()) == {0}


@pytest.fixture(scope="module")
def gradients(script):
    """The module ``benchmarks/chgnet_gradients.py``."""
    return script("chgnet_gradients")


def test_gradients_in_single_precision_are_those_in_double(gradients, crystals):
    structures = [atoms for atoms in crystals.sensible(40, seed=6) if 1 < len(atoms) < 12]
    for seed in range(3):
        batch = structures[4 * seed : 4 * seed + 4]
        target = gradients.labels(batch, seed)
        single, double = (gradients.of_engine(batch, target, dtype) for dtype in (torch.float32, torch.float64))
        found = gradients.deviation(single, double)
        assert found["parameters"] > 100
        assert found["worst"] < 1e-4
        theirs = gradients.of_chgnet(batch, target, torch.float32)
        assert gradients.deviation(single, theirs)["whole"] < 1e-4


def test_gradients_in_double_precision_are_those_of_chgnet(gradients, crystals):
    batch = [atoms for atoms in crystals.sensible(40, seed=7) if 1 < len(atoms) < 8][:4]
    target = gradients.labels(batch, 0)
    ours, theirs = (make(batch, target, torch.float64) for make in (gradients.of_engine, gradients.of_chgnet))
    found = gradients.deviation(ours, theirs)
    assert found["worst"] < 5e-6
    assert found["whole"] < 2e-7

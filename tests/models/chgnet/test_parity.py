"""The engine against chgnet's own code, on a sample; ``benchmarks/chgnet_parity.py`` does it on a thousand."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch

from xferbench.models.chgnet.checkpoint import load_engine
from xferbench.units import EV_PER_A3_IN_GPA

pytest.importorskip("chgnet")
pytestmark = pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True")


@pytest.fixture(scope="module")
def parity(crystals, request):
    """The module ``benchmarks/chgnet_parity.py``."""
    sys.modules["chgnet_crystals"] = crystals
    path = request.config.rootpath / "benchmarks" / "chgnet_parity.py"
    spec = importlib.util.spec_from_file_location("chgnet_parity", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("variant", ["0.3.0", "0.2.0", "r2scan"])
def test_double_precision_agrees_to_what_chgnet_rounds_inside(parity, crystals, variant):
    structures = [
        *crystals.awkward(4, seed=3, elements=crystals.R2SCAN_ELEMENTS),
        *crystals.small(2, elements=[3, 8, 25]),
    ]
    engine = load_engine(variant, dtype="float64", isolated="allow")
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
        ours = parity._in_reference_units(found, len(atoms))
        deviation = parity.deviations(ours, reference.predict(atoms))
        assert all(deviation[name] <= limit for name, limit in parity.LIMITS.items())


def test_single_precision_is_no_further_from_double_than_chgnet_is(parity, crystals):
    structures = crystals.small(6, seed=9, elements=[1, 6, 8, 14, 26])
    single, double = (load_engine("0.3.0", dtype=dtype) for dtype in ("float32", "float64"))
    reference = parity.Reference("0.3.0", torch.float32)
    ours, theirs = [], []
    for atoms, a, b in zip(structures, single.predict(structures), double.predict(structures), strict=True):
        exact = parity._in_reference_units(b, len(atoms))
        ours.append(parity.deviations(parity._in_reference_units(a, len(atoms)), exact)["forces"])
        theirs.append(parity.deviations(reference.predict(atoms), exact)["forces"])
    assert np.median(ours) < 1.5 * np.median(theirs)
    assert sum(ours) < 2 * sum(theirs)


def test_gradients_of_a_training_loss_agree(parity, crystals):
    from xferbench.models.chgnet.batch import Batch
    from xferbench.models.chgnet.graph import build

    structures = crystals.small(2, seed=8, elements=[3, 8, 25])
    network = load_engine("0.3.0", dtype="float64").network.network.requires_grad_().train()
    graphs = build(structures, atom_cutoff=6, bond_cutoff=3)
    found = network(Batch.from_graphs(graphs, dtype=torch.float64, device=torch.device("cpu")), create_graph=True)
    sign = torch.tensor([np.sign(np.linalg.det(atoms.cell.array)) for atoms in structures])[:, None, None]
    gpa = parity.CHGNET_GPA
    loss_of(found.energy / 8, found.forces, found.stress * sign * gpa, found.magmoms).backward()

    reference = parity.Reference("0.3.0", torch.float64)
    theirs = reference.model.train()
    with reference.precision():
        wanted = theirs([reference.graph(atoms) for atoms in structures], task="efsm")
    loss_of(wanted["e"], torch.cat(wanted["f"]), torch.stack(wanted["s"]), torch.cat(wanted["m"])).backward()
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters() if parameter.grad is not None}
    mine = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    mine = {name: gradient for name, gradient in mine.items() if name in expected}
    assert len(mine) > 100
    for name, gradient in mine.items():
        scale = expected[name].abs().max().clamp(min=1e-9)
        assert (gradient - expected[name]).abs().max() / scale < 1e-5, name


def loss_of(energy, forces, stress, magmoms):
    return (energy**2).mean() + (forces**2).mean() + 0.1 * (stress**2).mean() + 0.1 * (magmoms**2).mean()

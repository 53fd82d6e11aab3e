from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from xferbench.functionals import Functional
from xferbench.models import check_model, normalise
from xferbench.models.ase import CalculatorModel
from xferbench.models.chgnet.reference import FUNCTIONALS, atom_references, load
from xferbench.models.crystals import RATTLE, STRAIN, candidates, strained
from xferbench.registry import MODEL_VARIANTS
from xferbench.units import stress_from_vasp_kbar

pytest.importorskip("chgnet")


@pytest.fixture(scope="module")
def models():
    return {variant: load(variant) for variant in MODEL_VARIANTS["chgnet"]}


@pytest.fixture(scope="module")
def crystals():
    return list(candidates({"Mg", "O", "Si", "Fe"}))


def test_every_variant_has_a_functional_and_no_more():
    assert set(FUNCTIONALS) == set(MODEL_VARIANTS["chgnet"])


def test_variants_declare_the_functional_of_their_labels(models):
    assert {variant: model.functional for variant, model in models.items()} == {
        "0.3.0": Functional("PBE+U"),
        "0.2.0": Functional("PBE+U"),
        "r2scan": Functional("r2SCAN"),
    }


def test_elements_without_training_data_are_not_supported(models):
    assert len(models["0.3.0"].supported_elements) == len(models["0.2.0"].supported_elements) == 89
    missing = models["0.3.0"].supported_elements - models["r2scan"].supported_elements
    assert missing == {"Yb"}
    assert not {"Po", "At", "Rn", "Fr", "Ra"} & models["0.3.0"].supported_elements


def test_the_declared_references_are_the_shipped_ones(models):
    # chgnet.model.composition_model: first and eighth entry of the MPtrj and of the MP-r2SCAN table
    assert models["0.3.0"].references["H"] == pytest.approx(-3.4431, abs=1e-3)
    assert models["r2scan"].references["H"] == pytest.approx(-3.469, abs=1e-3)
    assert models["r2scan"].references["Pu"] == pytest.approx(-87.538, abs=1e-3)
    assert set(models["r2scan"].references) == models["r2scan"].supported_elements


def test_an_entry_of_the_atomref_that_was_never_fitted_is_caught_by_its_size(models):
    network = models["r2scan"].network
    weights = network.composition_model.fc.weight.detach().numpy().ravel()
    assert abs(weights[69]) < 1e-9
    assert "Yb" not in atom_references(network)


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
def test_predictions_equal_those_of_chgnets_own_calculator(models, crystals):
    from chgnet.model.dynamics import CHGNetCalculator

    with contextlib.redirect_stdout(io.StringIO()):
        calculator = CHGNetCalculator(models["r2scan"].network, use_device="cpu", on_isolated_atoms="error")
    theirs = CalculatorModel(calculator=calculator, functional=Functional("r2SCAN")).predict(crystals)
    for atoms, raw, other in zip(crystals, models["r2scan"].predict(crystals), theirs, strict=True):
        results, expected = normalise(raw, len(atoms)), normalise(other, len(atoms))
        assert results["energy"] == pytest.approx(expected["energy"], abs=1e-5 * len(atoms))
        np.testing.assert_allclose(results["forces"], expected["forces"], atol=1e-4)
        np.testing.assert_allclose(results["stress"], expected["stress"], atol=1e-5)
        np.testing.assert_allclose(results["magmoms"], expected["magmoms"], atol=1e-4)


def test_a_compressed_crystal_has_a_negative_stress(models):
    stress = models["0.3.0"].predict([bulk("MgO", "rocksalt", a=3.9)])[0]["stress"]
    assert np.diag(stress).max() < 0.0
    # 4 % shorter than in equilibrium with a bulk modulus of about 160 GPa: tens of GPa, hundreds of kBar
    assert stress_from_vasp_kbar(100.0) > stress[0, 0] > stress_from_vasp_kbar(1000.0)


def test_structures_that_cannot_become_a_graph_do_not_spoil_the_batch(models, crystals):
    isolated = Atoms("Cu", cell=np.eye(3) * 20, pbc=True)
    molecule = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.2]])
    batch = [isolated, crystals[0], bulk("Po", "sc", a=3.3), molecule, crystals[1]]
    results = models["0.3.0"].predict(batch)
    assert "isolated atom" in results[0]["error"]
    assert results[2]["error"] == "ValueError: no training data for Po"
    assert "three lattice vectors" in results[3]["error"]
    alone = models["0.3.0"].predict(crystals[:1])[0]
    assert results[1]["energy"] == pytest.approx(alone["energy"], abs=1e-4)
    assert results[4]["forces"].shape == (4, 3)


def test_a_batch_of_failures_and_an_empty_batch_work(models):
    assert models["0.3.0"].predict([]) == []
    assert [set(result) for result in models["0.3.0"].predict([bulk("Po", "sc", a=3.3)])] == [{"error"}]


def test_an_element_beyond_the_table_is_an_error_and_not_a_crash(models):
    assert "no training data for Am" in models["0.3.0"].predict([bulk("Am", "fcc", a=4.6)])[0]["error"]


@pytest.mark.parametrize("variant", ["0.3.0", "r2scan"])
def test_every_check_passes(models, variant):
    crystal = strained(bulk("MgO", "rocksalt", a=4.21), STRAIN)
    crystal.positions += np.random.default_rng(0).normal(0.0, RATTLE, (2, 3))
    results = check_model(models[variant], structures=[crystal])
    assert [(result.name, result.detail) for result in results if result.passed is not True] == []

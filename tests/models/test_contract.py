from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from xferbench.errors import ModelError
from xferbench.models.contract import describe, normalise, one_line, unsupported
from xferbench.records import LARGEST

ATOMS = Atoms("NaCl", positions=[[0, 0, 0], [2.8, 0, 0]], cell=np.eye(3) * 5.6, pbc=True)
FORCES = [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]]


def test_everything_becomes_float64():
    raw = {
        "energy": np.float32(-3.5),
        "forces": np.array(FORCES, dtype=np.float32),
        "stress": np.eye(3, dtype=int).tolist(),
        "magmoms": (0, 1),
    }
    results = normalise(raw, len(ATOMS))
    assert results["energy"] == -3.5
    assert type(results["energy"]) is float
    for name, shape in {"forces": (2, 3), "stress": (3, 3), "magmoms": (2,)}.items():
        assert results[name].dtype == np.float64
        assert results[name].shape == shape


@pytest.mark.parametrize("energy", [-3.5, np.array(-3.5), np.array([-3.5]), [[-3.5]], np.float64(-3.5)])
def test_an_energy_of_one_element_is_a_number(energy):
    assert normalise({"energy": energy}, len(ATOMS)) == {"energy": -3.5}


def test_what_is_not_given_stays_absent():
    raw = {"energy": 1, "forces": None, "stress": None, "magmoms": None, "error": None, "features": object()}
    assert normalise(raw, len(ATOMS)) == {"energy": 1.0}


def test_a_voigt_stress_is_read_in_the_order_of_ase():
    stress = normalise({"energy": 0.0, "stress": [1, 2, 3, 4, 5, 6]}, len(ATOMS))["stress"]
    np.testing.assert_array_equal(stress, [[1, 6, 5], [6, 2, 4], [5, 4, 3]])


def test_torch_tensors_are_taken_as_they_come():
    torch = pytest.importorskip("torch")
    raw = {
        "energy": torch.tensor([-3.5], requires_grad=True),
        "forces": torch.tensor(FORCES, dtype=torch.bfloat16),
        "magmoms": torch.tensor([1, 2]),
    }
    results = normalise(raw, len(ATOMS))
    assert results["energy"] == -3.5
    np.testing.assert_allclose(results["forces"], FORCES, rtol=1e-2)
    np.testing.assert_array_equal(results["magmoms"], [1.0, 2.0])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "predict gave a NoneType for this structure; it must be a dictionary"),
        ([1.0], "predict gave a list"),
        ({}, "no 'energy' among the results (there is: nothing)"),
        ({"forces": FORCES, "e": 1.0}, "no 'energy' among the results (there is: e, forces)"),
        ({"energy": None}, "no 'energy'"),
        ({"energy": [1.0, 2.0]}, "energy has shape (2,); it must be one number, the total energy of the cell in eV"),
        ({"energy": []}, "energy has shape (0,)"),
        ({"energy": float("nan")}, "energy has 1 of 1 values that are NaN or infinite"),
        ({"energy": np.inf}, "NaN or infinite"),
        ({"energy": 1 + 0j}, "energy has kind complex128; it must be real numbers"),
        ({"energy": "-3.5"}, "energy has kind <U4"),
        ({"energy": True}, "energy has kind bool"),
        ({"energy": 1.0, "forces": np.transpose(FORCES)}, "forces has shape (3, 2); it must be (2, 3)"),
        ({"energy": 1.0, "forces": np.ravel(FORCES)}, "forces has shape (6,)"),
        ({"energy": 1.0, "forces": [[1.0, 2.0, 3.0], [1.0, 2.0]]}, "forces cannot be read as an array"),
        ({"energy": 1.0, "forces": [[np.nan] * 3, [0.0] * 3]}, "forces has 3 of 6 values that are NaN or infinite"),
        (
            {"energy": 1.0, "stress": np.zeros(9)},
            "stress has shape (9,); it must be (3, 3), or (6,) in the order xx yy",
        ),
        ({"energy": 1.0, "stress": np.full(6, np.nan)}, "stress has 6 of 6 values"),
        ({"energy": 1.0, "magmoms": np.zeros((2, 3))}, "magmoms has shape (2, 3); it must be (2,)"),
        ({"energy": 1.0, "magmoms": [None, 1.0]}, "magmoms has kind object"),
        ({"error": "ValueError: no\nneighbours"}, "ValueError: no neighbours"),
        ({"error": "", "energy": 1.0}, "the model gave an error without a message"),
    ],
)
def test_bad_results_are_one_line_that_says_what_is_wrong(raw, message):
    with pytest.raises(ModelError) as caught:
        normalise(raw, len(ATOMS))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.floats(-LARGEST, LARGEST), st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=6))
def test_finite_numbers_come_back_unchanged(energy, components):
    results = normalise({"energy": energy, "forces": np.reshape(components, (2, 3))}, len(ATOMS))
    assert results["energy"] == energy
    np.testing.assert_array_equal(results["forces"].ravel(), components)


def test_the_results_do_not_share_memory_with_the_model():
    forces = np.zeros((2, 3))
    results = normalise({"energy": 0.0, "forces": forces}, len(ATOMS))
    forces += 1.0
    assert not results["forces"].any()


def test_unsupported_elements_are_named_once_and_by_number():
    assert unsupported(np.array([70, 8, 70, 26]), {"O"}) == ["Fe", "Yb"]
    assert unsupported([8], {"O"}) == []
    assert unsupported([8, 118], None) == []


def test_messages_are_cut_to_one_line():
    assert one_line("a\n  b\tc") == "a b c"
    assert one_line("x" * 400) == "x" * 299 + "…"


def test_an_exception_is_described_with_its_type():
    assert describe(ValueError("no\nneighbours")) == "ValueError: no neighbours"
    assert describe(KeyError()) == "KeyError"

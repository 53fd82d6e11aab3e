"""Labels under the names of other programs."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench.sources.labels import SPELLINGS, Heard, labels, spelling
from xferbench.sources.reading import Unusable

CELL = np.diag([2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    ("name", "value", "quantity", "wanted"),
    [
        ("energy", -3.0, "energy", -3.0),
        ("REF_energy", -3.0, "energy", -3.0),
        ("dft_energy", -3.0, "energy", -3.0),
        ("Energy", -3.0, "energy", -3.0),
        ("energy_per_atom", -1.5, "energy", -3.0),
        ("total-energy", -3.0, "energy", -3.0),
        ("energy_hartree", -1.0, "energy", -27.211386245988),
        ("REF_forces", [[1.0, 0, 0]] * 2, "forces", [[1.0, 0, 0]] * 2),
        ("gradients", [[1.0, 0, 0]] * 2, "forces", [[-1.0, 0, 0]] * 2),
        ("stress", np.eye(3), "stress", np.eye(3)),
        ("virial", -24 * np.eye(3), "stress", np.eye(3)),
        ("REF_virials", -24 * np.eye(3), "stress", np.eye(3)),
        ("dft_virial", [-24.0, -24, -24, 0, 0, 0], "stress", [1.0, 1, 1, 0, 0, 0]),
        ("magnetic_moments", [1.0, -1.0], "magmoms", [1.0, -1.0]),
    ],
)
def test_names_units_and_signs(name, value, quantity, wanted):
    found = labels({name: value}, 2, CELL)
    assert set(found) == {quantity}
    np.testing.assert_allclose(found[quantity], wanted, rtol=1e-9)


def test_every_spelling_is_in_small_letters_and_of_a_known_quantity():
    for name, what in SPELLINGS.items():
        assert name == name.lower()
        assert what.quantity in {"energy", "forces", "stress", "magmoms"}
        assert spelling(f"REF_{name.upper()}") == what


def test_the_reference_wins_and_that_is_told():
    heard = Heard()
    assert labels({"energy": -3.0, "REF_energy": -4.0}, 2, CELL, heard) == {"energy": -4.0}
    assert heard.lines() == ["REF_energy instead of energy: they differ in 1 frames, by up to 1; the reference is read"]


def test_what_agrees_needs_no_word():
    heard = Heard()
    record = {"stress": [1.0, 1, 1, 0, 0, 0], "virial": -24 * np.eye(3), "REF_energy": -4.0, "energy": -4.0000000001}
    assert labels(record, 2, CELL, heard)["energy"] == -4.0
    assert heard.lines() == []


def test_two_names_of_one_rank_must_agree():
    with pytest.raises(Unusable, match="energy and total_energy disagree by 1; keep the one that is meant"):
        labels({"energy": -3.0, "total_energy": -4.0}, 2, CELL)
    with pytest.raises(Unusable, match="stress and virial disagree"):
        labels({"stress": np.eye(3), "virial": 24 * np.eye(3)}, 2, CELL)


def test_what_looks_like_a_label_and_is_not_read_is_named():
    heard = Heard()
    found = labels(
        {"energy": -1.0, "stress_GPa": np.eye(3), "my_forces": [[0.0] * 3] * 2, "free_energy": -1.1, "name": "x"},
        2,
        CELL,
        heard,
    )
    assert set(found) == {"energy"}
    assert sorted(heard.unread) == ["my_forces", "stress_GPa"]
    heard.clear()
    labels({"free_energy": -1.1}, 2, CELL, heard)
    assert list(heard.unread) == ["free_energy"]  # where there is no energy, it is told


def test_a_virial_needs_a_volume():
    with pytest.raises(Unusable, match="virial in a cell without volume"):
        labels({"virial": np.eye(3)}, 2, np.zeros((3, 3)))

"""The same atoms in another order are put right; what else differs is told in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xferbench.functionals import Functional
from xferbench.pairing.ordering import REORDERED, difference, reordered
from xferbench.records import Frame

TOLERANCE = 1e-6
PERIODIC = [(True, True, True), (True, True, False), (False, False, False)]


def crystal(seed, n=8, pbc=(True, True, True)):
    random = np.random.default_rng(seed)
    return Frame(
        frame_id="a", pair_id="p", material_id="m", functional=Functional("PBE"), numbers=np.arange(n) % 3 + 6,
        positions=random.uniform(0, 8, (n, 3)), cell=np.eye(3) * 8 + random.uniform(-0.5, 0.5, (3, 3)), pbc=pbc, energy=-1.0,
        forces=random.normal(size=(n, 3)), magmoms=random.normal(size=n),
    )  # fmt: skip


def shuffled(frame, order):
    return replace(
        frame, numbers=frame.numbers[order], positions=frame.positions[order], forces=frame.forces[order], magmoms=frame.magmoms[order]
    )  # fmt: skip


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from(PERIODIC))
def test_any_order_in_any_images_comes_back_with_its_labels(seed, n, pbc):
    first = crystal(seed, n, pbc)
    random = np.random.default_rng(seed)
    second = shuffled(first, random.permutation(n))
    steps = random.integers(-2, 3, (n, 3)) * np.array(pbc)
    found = reordered(first, replace(second, positions=second.positions + steps @ first.cell), TOLERANCE)
    np.testing.assert_array_equal(found.numbers, first.numbers)
    np.testing.assert_array_equal(found.forces, first.forces)
    np.testing.assert_array_equal(found.magmoms, first.magmoms)
    assert found.provenance == {REORDERED: True}


@pytest.mark.parametrize(
    "change",
    [
        {"positions": lambda f: f.positions + np.array([[1e-3, 0, 0]] + [[0, 0, 0]] * 7)},
        {"numbers": lambda f: np.array([8, *f.numbers[1:]])},
        {"cell": lambda f: f.cell * 1.001},
        {"pbc": lambda _: (True, True, False)},
    ],
)
def test_nothing_is_matched_by_likeness(change):
    first = crystal(1)
    second = replace(first, **{name: make(first) for name, make in change.items()})
    assert reordered(first, second, TOLERANCE) is None


TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: replace(f, positions=np.round(f.positions, 4)), "coordinates up to .*rounded to 4 decimals; write both files with at least 7"),
        (lambda f: replace(f, positions=f.positions @ TURN.T, cell=f.cell @ TURN.T), "the same lattice in rotated axes"),
        (lambda f: replace(f, cell=f.cell * 1.05), "another lattice, by up to 0.4"),
        (lambda f: replace(f, pbc=(False, True, True)), "other periodic directions, TTT and FTT"),
        (lambda f: replace(f, positions=f.positions + np.array([0.5, 0.2, 0.1])), "all atoms shifted by the same vector"),
        (lambda f: shuffled(replace(f, positions=f.positions + 1e-3), np.arange(8)[::-1]), "another order of atoms; coordinates up to"),
        (lambda f: replace(f, positions=f.positions * [[1.0]] * 4 + np.eye(8, 3)), "atoms in other places"),
    ],
)  # fmt: skip
def test_what_differs_is_told(change, words):
    import re

    first = crystal(3)
    _, found = difference(first, change(first), TOLERANCE)
    assert re.search(words, found), found


def test_the_nearer_candidate_has_the_smaller_number():
    first = crystal(3)
    near = replace(first, positions=first.positions + 1e-5)
    assert difference(first, near, TOLERANCE)[0] < difference(first, crystal(4), TOLERANCE)[0]

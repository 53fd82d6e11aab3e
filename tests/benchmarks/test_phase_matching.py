"""The structures that are timed are those that pairs have: the same crystal, larger, relaxed, shuffled."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench.pairing import Match, compare


@pytest.fixture(scope="module")
def module(script):
    return script("phase_matching")


def test_supercells_are_the_same_crystal(module, make_pairs):
    frame = make_pairs(1, 1)[0].source
    large = module.supercell(frame, 16)
    assert large.n_atoms == 8 * frame.n_atoms
    match = compare(frame, large)
    assert match.volume_change == pytest.approx(0)
    assert match.rms == pytest.approx(0, abs=1e-6)


def test_a_shuffled_structure_matches_as_the_one_in_order(module, make_pairs):
    random = np.random.default_rng(1)
    frame = module.supercell(make_pairs(1, 1)[0].source, 16)
    other = module.relaxed(frame, random)
    first, second = compare(frame, other), compare(frame, module.shuffled(other, random))
    assert isinstance(second, Match)
    assert first.volume_change == pytest.approx(second.volume_change)


def test_the_table_has_a_row_for_each_size(module):
    lines = module.table([module.measure(atoms, 2) for atoms in (2, 8)]).splitlines()
    assert len(lines) == 4
    assert all(line.count("|") == 7 for line in lines)

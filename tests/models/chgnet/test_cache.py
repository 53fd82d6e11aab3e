"""Graphs on disk are the graphs that would be built, or are built again."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from ase import Atoms

from xferbench.errors import ModelError, StorageError
from xferbench.models.chgnet import cache as cache_module
from xferbench.models.chgnet.cache import GraphCache
from xferbench.models.chgnet.graph import build

CUTOFFS = {"atom_cutoff": 6.0, "bond_cutoff": 3.0}
ARRAYS = ("center", "neighbor", "image", "vector", "vertex", "first", "second")


@pytest.fixture
def cache(tmp_path):
    return GraphCache(folder=tmp_path / "graphs")


def assert_same(found, expected):
    assert found.n_short == expected.n_short
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    np.testing.assert_array_equal(found.crystals.positions, expected.crystals.positions)


def files(cache):
    return sorted(cache.folder.iterdir())


def test_what_is_read_is_to_the_last_bit_what_was_built(cache, crystals, monkeypatch):
    structures = [*crystals.mptrj_like(3), *crystals.awkward(5)]
    expected = build(structures, **CUTOFFS)
    assert_same(cache.build(structures, **CUTOFFS), expected)
    monkeypatch.setattr(cache_module, "build", lambda *_, **__: pytest.fail("built again"))
    assert_same(cache.build(structures, **CUTOFFS), expected)
    assert len(files(cache)) == 1


@pytest.mark.parametrize("change", ["positions", "numbers", "cell", "pbc"])
def test_a_changed_structure_is_another_file(cache, crystals, change):
    (atoms,) = crystals.small(1)
    cache.build([atoms], **CUTOFFS)
    other = atoms.copy()
    if change == "positions":
        other.positions[3, 1] += 1e-9
    elif change == "numbers":
        other.numbers[0] += 1
    elif change == "cell":
        other.set_cell(atoms.cell.array * 1.001)
    else:
        other.pbc = [True, True, False]
    assert_same(cache.build([other], **CUTOFFS), build([other], **CUTOFFS))
    assert len(files(cache)) == 2


def test_other_cutoffs_another_order_or_another_grouping_are_other_files(cache, crystals):
    first, second = crystals.small(2)
    cache.build([first, second], **CUTOFFS)
    cache.build([second, first], **CUTOFFS)
    cache.build([first], **CUTOFFS)
    cache.build([first], atom_cutoff=5.0, bond_cutoff=3.0)
    cache.build([first], atom_cutoff=5.0, bond_cutoff=2.5)
    assert len(files(cache)) == 5


def test_structures_that_fail_leave_no_file(cache):
    alone = Atoms("He", cell=[9, 9, 9], pbc=True)
    for _ in range(2):
        with pytest.raises(ModelError, match="isolated atom"):
            cache.build([alone], **CUTOFFS)
    assert not cache.folder.exists()
    assert cache.build([alone], **CUTOFFS, isolated="allow").size == 0


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "replaced"])
def test_a_damaged_file_is_named_built_again_and_replaced(cache, crystals, caplog, damage):
    structures = crystals.small(2)
    cache.build(structures, **CUTOFFS)
    (path,) = files(cache)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "cut": whole[:middle],
            "emptied": b"",
            "replaced": b"something else",
        }[damage]
    )
    with caplog.at_level(logging.WARNING):
        assert_same(cache.build(structures, **CUTOFFS), build(structures, **CUTOFFS))
    assert f"{path} is damaged" in caplog.text
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, crystals):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot (read|write) .*file"):
        GraphCache(folder=tmp_path / "file").build(crystals.small(1), **CUTOFFS)

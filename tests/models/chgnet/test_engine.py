"""The engine: order, batches, structures that fail, and memory that runs out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from xferbench.functionals import Functional
from xferbench.models.chgnet import engine as engine_module
from xferbench.models.chgnet.cache import GraphCache
from xferbench.models.chgnet.engine import CHGNetEngine, guess_rows
from xferbench.models.chgnet.graph import build
from xferbench.models.contract import normalise


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-10, rtol=1e-9)


def test_results_follow_the_contract(make_engine, crystals):
    atoms = crystals.small(1)[0]
    (result,) = make_engine().predict([atoms])
    assert normalise(result, len(atoms)).keys() == {"energy", "forces", "stress", "magmoms"}
    assert result["energies"].sum() == pytest.approx(result["energy"])


@pytest.mark.parametrize("max_rows", [1, 1000, 10**9])
def test_batches_change_neither_order_nor_numbers(make_engine, crystals, max_rows):
    structures = [*crystals.small(3), *crystals.mptrj_like(3)]
    engine = make_engine(max_rows=max_rows)
    expected = [make_engine().predict([atoms])[0] for atoms in structures]
    for found, single in zip(engine.predict(structures), expected, strict=True):
        assert_same(found, single)


def test_batches_stay_within_the_budget_unless_one_structure_exceeds_it(make_engine, crystals):
    structures = [*crystals.small(6), *crystals.mptrj_like(2)]
    rows = [guess_rows(atoms, 6, 3) for atoms in structures]
    packs = list(make_engine(max_rows=3000)._packs(structures, range(8)))
    assert sorted(index for pack in packs for index in pack) == list(range(8))
    assert all(sum(rows[i] for i in pack) <= 3000 or len(pack) == 1 for pack in packs)
    assert len(packs) < 8


def test_the_guess_of_rows_is_about_right(crystals):
    for atoms in crystals.mptrj_like(20):
        if len(atoms) > 10:
            actual = build([atoms], atom_cutoff=6, bond_cutoff=3).size
            assert 0.5 < guess_rows(atoms, 6, 3) / actual < 2


def test_vacuum_does_not_hide_the_cost_of_a_structure():
    slab = bulk("Cu", cubic=True)
    slab.cell[2] *= 50
    thin = len(slab) / slab.get_volume() * 4 / 3 * np.pi * 6**3 * len(slab)
    assert guess_rows(slab, 6, 3) > 10 * thin


def test_nothing_in_nothing_out(make_engine):
    assert make_engine().predict([]) == []


def test_only_the_structure_that_fails_fails(make_engine, crystals):
    good = crystals.small(2)
    bad = Atoms("He", cell=[9, 9, 9], pbc=True)
    first, failed, second = make_engine().predict([good[0], bad, good[1]])
    assert failed.keys() == {"error"}
    # its place in the list is the caller's to know: a batch of one has no other
    assert failed["error"] == (
        "ModelError: the structure cannot be predicted: it has an isolated atom: no neighbour within 6 Å; "
        'predicted if loaded with isolated="allow"'
    )
    assert_same(first, make_engine().predict([good[0]])[0])
    assert_same(second, make_engine().predict([good[1]])[0])


def test_isolated_atoms_may_be_allowed(make_engine):
    (result,) = make_engine(isolated="allow").predict([Atoms("He", cell=[9, 9, 9], pbc=True)])
    assert np.isfinite(result["energy"])
    assert not result["forces"].any()


def test_an_element_without_training_data_is_named(make_engine):
    (result,) = make_engine(supported_elements=frozenset({"Na"})).predict([bulk("NaCl", "rocksalt", a=5.6)])
    assert result == {"error": "ModelError: no training data for Cl"}


def test_a_batch_that_is_too_large_after_all_is_halved(make_engine, crystals, monkeypatch):
    sizes = []
    monkeypatch.setattr(engine_module, "guess_rows", lambda *_: 0.0)
    engine = make_engine(max_rows=1000)
    batch = CHGNetEngine._batch
    monkeypatch.setattr(CHGNetEngine, "_batch", lambda self, s, **k: (sizes.append(len(s)), batch(self, s, **k))[1])
    assert len(engine.predict(crystals.small(8))) == 8
    assert sizes[0] == 8
    assert min(sizes) < 8


class Hungry:
    """A network that runs out of memory on more than a few atoms."""

    def __init__(self, network, error, limit):
        self.inner, self.network = network, network.network
        self.error, self.limit = error, limit

    def __call__(self, batch, **settings):
        if len(batch.numbers) > self.limit:
            raise self.error
        return self.inner(batch, **settings)


OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_running_out_of_memory_halves_the_batch(make_engine, crystals, error):
    engine = make_engine()
    structures = crystals.small(5)
    hungry = CHGNetEngine(functional=Functional("PBE"), network=Hungry(engine.network, error, 16))
    for found, expected in zip(hungry.predict(structures), engine.predict(structures), strict=True):
        assert_same(found, expected)


def test_a_structure_too_large_for_the_memory_is_reported(make_engine, crystals):
    network = Hungry(make_engine().network, MemoryError("full"), 4)
    results = CHGNetEngine(functional=Functional("PBE"), network=network).predict(crystals.small(2))
    assert results == [{"error": "MemoryError: full"}] * 2


def test_other_errors_are_not_swallowed(make_engine, crystals):
    network = Hungry(make_engine().network, RuntimeError("a bug"), 4)
    with pytest.raises(RuntimeError, match="a bug"):
        CHGNetEngine(functional=Functional("PBE"), network=network).predict(crystals.small(2))


def test_energies_alone(make_engine, crystals):
    (result,) = make_engine().predict(crystals.small(1), forces=False, stress=False)
    assert result.keys() == {"energy", "magmoms", "energies"}


@pytest.mark.parametrize("ahead", [1, 3])
def test_graphs_built_ahead_change_neither_order_nor_numbers_nor_errors(make_engine, crystals, ahead):
    bad = Atoms("He", cell=[9, 9, 9], pbc=True)
    structures = [*crystals.small(5), bad, *crystals.mptrj_like(3)]
    expected = make_engine(max_rows=2000).predict(structures)
    found = make_engine(max_rows=2000, ahead=ahead).predict(structures)
    assert [result.get("error") for result in found] == [result.get("error") for result in expected]
    for result, wanted in zip(found, expected, strict=True):
        if "error" not in wanted:
            assert_same(result, wanted)


def test_no_more_is_built_ahead_than_asked_for(make_engine, crystals):
    built = []

    def count(structures, **options):
        built.append(len(structures))
        return build(structures, **options)

    engine = make_engine(max_rows=1, ahead=2, build=count)
    structures = crystals.small(6)
    batches = engine._prepared(structures, ([index] for index in range(6)))
    next(batches)
    batches.close()
    assert len(built) <= 3
    assert len(list(engine._prepared(structures, ([index] for index in range(6))))) == 6


def test_a_batch_built_ahead_that_is_too_large_is_halved(make_engine, crystals, monkeypatch):
    monkeypatch.setattr(engine_module, "guess_rows", lambda *_: 0.0)
    structures = crystals.small(4)
    found = make_engine(max_rows=600, ahead=1).predict(structures)
    for result, expected in zip(found, make_engine().predict(structures), strict=True):
        assert_same(result, expected)


def test_running_out_of_memory_ahead_halves_the_batch(make_engine, crystals):
    def hungry(structures, **options):
        if len(structures) > 1:
            raise MemoryError
        return build(structures, **options)

    structures = crystals.small(3)
    found = make_engine(ahead=1, build=hungry).predict(structures)
    for result, expected in zip(found, make_engine().predict(structures), strict=True):
        assert_same(result, expected)


def test_graphs_may_be_kept_on_disk(make_engine, crystals, tmp_path):
    structures = crystals.small(3)
    engine = make_engine(build=GraphCache(folder=tmp_path).build)
    first, second = engine.predict(structures), engine.predict(structures)
    assert len(list(tmp_path.iterdir())) == 1
    for found, expected in zip(first, second, strict=True):
        assert all(np.array_equal(found[name], expected[name]) for name in expected)

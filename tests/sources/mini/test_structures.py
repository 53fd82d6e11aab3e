from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk

from xferbench.errors import UsageError
from xferbench.sources.mini.build import RECORDS
from xferbench.sources.mini.structures import (
    KINDS,
    LATTICE,
    MOMENTS,
    check_kind,
    has_free_coordinates,
    hash_order,
    material_id,
    perturb,
    perturbed,
    random_seed,
    seeds,
)


@pytest.fixture(scope="module")
def committed():
    return [json.loads(line) for line in RECORDS.read_text().splitlines()]


def test_every_committed_structure_is_reproduced(committed):
    assert committed
    for record in committed:
        structure, seed = record["structure"], seeds()[record["seed_structure"]]
        atoms = perturbed(record["seed_structure"], record["perturbation"])
        assert atoms.get_chemical_symbols() == structure["species"]
        np.testing.assert_allclose(atoms.cell.array, structure["lattice_A"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(atoms.positions, structure["cart_coords_A"], rtol=0, atol=1e-12)
        np.testing.assert_array_equal(atoms.get_initial_magnetic_moments(), structure["initial_magmoms_muB"])
        assert record["seed"] == random_seed(record["seed_structure"], record["perturbation"])
        assert (record["metal_kmesh"], record["spin_polarised"]) == (seed.metal, seed.spin_polarised)


def test_there_is_a_starting_lattice_for_every_seed_and_no_other():
    assert set(json.loads(LATTICE.read_text())) == set(seeds())
    assert len(seeds()) == 136


def test_starting_volumes_are_those_of_the_lattice_file():
    for name, entry in json.loads(LATTICE.read_text()).items():
        atoms = seeds()[name].atoms
        assert atoms.get_volume() / len(atoms) == pytest.approx(
            entry["volume_per_atom"], rel=5e-4
        )  # the factor has four digits


@pytest.mark.parametrize(
    ("name", "symbols", "spacing"),
    [
        ("NaCl_rocksalt", ["Na", "Cl"], 0.5),
        ("NaCl_cesiumchloride", ["Na", "Cl"], np.sqrt(3) / 2),
        ("Si_diamond", ["Si", "Si"], np.sqrt(3) / 4),
        ("Li2O_antifluorite", ["O", "Li", "Li"], np.sqrt(3) / 4),
        ("CaF2_fluorite", ["Ca", "F", "F"], np.sqrt(3) / 4),
    ],
)
def test_a_prototype_has_its_sites_and_nearest_neighbours(name, symbols, spacing):
    atoms = seeds()[name].atoms
    cubic = atoms.get_volume() * (1 if name.endswith("cesiumchloride") else 4)
    assert atoms.get_chemical_symbols() == symbols
    assert atoms.get_distance(0, 1, mic=True) == pytest.approx(spacing * cubic ** (1 / 3), rel=1e-6)


def test_only_cells_with_magnetic_elements_have_moments_and_spin():
    for seed in seeds().values():
        magnetic = any(symbol in MOMENTS for symbol in seed.atoms.get_chemical_symbols())
        assert seed.spin_polarised == magnetic == bool(seed.atoms.get_initial_magnetic_moments().any())


@pytest.mark.parametrize(("kind", "ratio"), [("v0", 0.88), ("v1", 0.94), ("v2", 1.0), ("v3", 1.06), ("v4", 1.13)])
def test_a_volume_copy_has_its_volume_and_the_same_fractional_coordinates(kind, ratio):
    before, after = seeds()["NaCl_rocksalt"].atoms, perturbed("NaCl_rocksalt", kind)
    assert after.get_volume() == pytest.approx(ratio * before.get_volume())
    np.testing.assert_allclose(after.get_scaled_positions(), before.get_scaled_positions(), atol=1e-12)


def test_a_strained_copy_keeps_fractional_coordinates_and_strains_symmetrically_up_to_5_percent():
    before, after = seeds()["NaCl_rocksalt"].atoms, perturbed("NaCl_rocksalt", "strain0")
    strain = np.linalg.inv(before.cell.array) @ after.cell.array - np.eye(3)
    np.testing.assert_allclose(strain, strain.T, atol=1e-12)
    assert 0 < np.abs(strain).max() <= 0.05
    np.testing.assert_allclose(after.get_scaled_positions(), before.get_scaled_positions(), atol=1e-12)


def test_a_rattled_copy_moves_atoms_by_the_stated_displacement_and_strains_up_to_2_percent():
    atoms = bulk("Si", cubic=True).repeat(5)
    after = perturb(atoms, "rattle0", np.random.default_rng(0))
    strain = np.linalg.inv(atoms.cell.array) @ after.cell.array - np.eye(3)
    moved = after.positions - atoms.positions @ (np.eye(3) + strain)
    assert 0 < np.abs(strain).max() <= 0.02
    assert moved.std() == pytest.approx(0.12, rel=0.05)


def test_perturbing_leaves_the_seed_alone_and_keeps_its_moments():
    before = seeds()["FeAl_cesiumchloride"].atoms.copy()
    after = perturbed("FeAl_cesiumchloride", "rattle0")
    assert before == seeds()["FeAl_cesiumchloride"].atoms
    assert after.get_initial_magnetic_moments().tolist() == [2.3, 0.0]


def test_copies_differ_from_each_other_and_repeat_exactly():
    one, other = perturbed("NaCl_rocksalt", "rattle0"), perturbed("NaCl_rocksalt", "rattle1")
    assert not np.allclose(one.positions, other.positions)
    np.testing.assert_array_equal(one.positions, perturbed("NaCl_rocksalt", "rattle0").positions)


def test_the_random_seed_is_the_published_one():
    assert random_seed("AlN_rocksalt", "v2") == 3252580077


@pytest.mark.parametrize("kind", [*KINDS, "rattle7", "strain12"])
def test_known_kinds_pass(kind):
    assert check_kind(kind) == kind


@pytest.mark.parametrize("kind", ["v5", "rattle", "strain-1", "", "RATTLE0", "rattle0 "])
def test_an_unknown_kind_is_a_usage_error_that_lists_the_known_ones(kind):
    with pytest.raises(UsageError, match=r"unknown kind of copy .* known: v0, v1"):
        perturbed("NaCl_rocksalt", kind)


def test_one_atom_has_no_free_coordinate():
    assert not has_free_coordinates(seeds()["Al_fcc"])
    assert has_free_coordinates(seeds()["Si_diamond"])


def test_hash_order_is_independent_of_the_order_given():
    names = ["a", "b", "c", "d"]
    assert hash_order(names) == hash_order(reversed(names))
    assert sorted(hash_order(names)) == names


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [(["Na", "Cl"], "NaCl"), (["Cl", "Na", "Cl", "Na"], "NaCl"), (["Si", "Mg", "Mg"], "Mg2Si"), (["Si", "Si"], "Si")],
)
def test_a_material_is_a_reduced_composition(symbols, expected):
    assert material_id(symbols) == expected


def test_polymorphs_of_one_composition_are_one_material():
    ids = {material_id(seeds()[f"NaCl_{p}"].atoms.get_chemical_symbols()) for p in ("rocksalt", "zincblende")}
    assert ids == {"NaCl"}

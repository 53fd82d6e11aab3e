from __future__ import annotations

import tomllib
from collections import Counter

import numpy as np
import pytest
import spglib
from pymatgen.core.composition import Composition

from xferbench.factory.mini.structures import LIST, MOMENTS, PROTOTYPES, crystal, seeds
from xferbench.sources.mini import SPLIT
from xferbench.splits import assign

SPACE_GROUPS = {
    "fcc": 225, "bcc": 229, "bccafm": 229, "diamond": 227, "hcp": 194, "arsenic": 166, "selenium": 152, "rocksalt": 225,
    "rocksaltafm": 225, "zincblende": 216, "cesiumchloride": 221, "fluorite": 225, "antifluorite": 225, "alb2": 191,
    "wurtzite": 186, "nias": 194, "rutile": 136, "rutileafm": 136, "cadmiumiodide": 164, "nafeo2": 166, "perovskite": 221,
    "halfheusler": 216, "heusler": 225, "d03": 225, "l12": 221, "chloroplatinate": 225, "elpasolite": 225, "corundum": 167,
    "calcite": 167, "quartz": 152,
}  # fmt: skip
"""International Tables; moments do not count."""


def test_every_prototype_is_used_and_has_a_known_space_group():
    assert {seed.prototype for seed in seeds().values()} == set(PROTOTYPES) == set(SPACE_GROUPS)


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
def test_every_crystal_has_the_space_group_of_its_prototype():
    for seed in seeds().values():
        cell = (seed.atoms.cell.array, seed.atoms.get_scaled_positions(), seed.atoms.numbers)
        assert spglib.get_symmetry_dataset(cell, 1e-4).number == SPACE_GROUPS[seed.prototype], seed.name


def test_every_crystal_has_the_atoms_of_its_formula():
    for seed in seeds().values():
        counts = Composition(seed.name.rpartition("_")[0])
        ratio = len(seed.atoms) / counts.num_atoms
        found = Counter(seed.atoms.get_chemical_symbols())
        assert found == {symbol: ratio * number for symbol, number in counts.as_dict().items()}, seed.name
        assert seed.material == counts.reduced_formula


def test_no_start_is_absurd():
    """Atoms at least 1.15 Å apart (C-O bonds are the shortest), volumes of 5 to 120 Å³ an atom."""
    for seed in seeds().values():
        distances = seed.atoms.repeat(2).get_all_distances(mic=True)
        np.fill_diagonal(distances, np.inf)
        assert distances.min() > 1.15, seed.name
        assert 5 < seed.atoms.get_volume() / len(seed.atoms) < 120, seed.name


@pytest.mark.parametrize(
    ("name", "spacing"),
    [
        ("NaCl_rocksalt", 0.5),
        ("NaCl_cesiumchloride", np.sqrt(3) / 2),
        ("Si_diamond", np.sqrt(3) / 4),
        ("Li2O_antifluorite", np.sqrt(3) / 4),
        ("CaF2_fluorite", np.sqrt(3) / 4),
    ],
)
def test_nearest_neighbours_by_hand(name, spacing):
    atoms = seeds()[name].atoms
    cubic = atoms.get_volume() * (1 if name.endswith("cesiumchloride") else 4)
    assert atoms.get_distance(0, 1, mic=True) == pytest.approx(spacing * cubic ** (1 / 3), rel=1e-6)


def test_a_composition_has_one_main_crystal():
    main = Counter(seed.material for seed in seeds().values() if seed.main)
    assert set(main.values()) == {1}
    assert set(main) == {seed.material for seed in seeds().values()}


def test_splits_are_those_of_the_data_set():
    expected = assign([seed.material for seed in seeds().values()], SPLIT)
    assert {seed.material: seed.split for seed in seeds().values()} == expected


def test_only_cells_with_magnetic_elements_have_moments_and_spin():
    for seed in seeds().values():
        magnetic = any(symbol in MOMENTS for symbol in seed.atoms.get_chemical_symbols())
        assert seed.spin_polarised == magnetic == bool(seed.atoms.get_initial_magnetic_moments().any())


@pytest.mark.parametrize("name", ["Cr_bccafm", "MnO_rocksaltafm", "MnF2_rutileafm"])
def test_antiferromagnets_begin_without_a_total_moment(name):
    moments = seeds()[name].atoms.get_initial_magnetic_moments()
    assert moments.sum() == 0
    assert np.abs(moments).max() > 1


def test_an_antiferromagnetic_oxide_has_cubic_symmetry_without_its_moments_and_planes_of_one_sign():
    atoms = seeds()["MnO_rocksaltafm"].atoms
    assert atoms.get_distance(0, 1) == pytest.approx(np.sqrt(3) * 2 * atoms.get_distance(0, 2) / np.sqrt(3), rel=0.01)


def test_chemistry_is_what_the_second_edition_is_for():
    prototypes = {seed.prototype for seed in seeds().values()}
    assert {"hcp", "wurtzite", "nias", "rutile", "perovskite", "halfheusler", "heusler", "cadmiumiodide"} <= prototypes
    assert sum(len(set(seed.atoms.get_chemical_symbols())) >= 3 for seed in seeds().values()) >= 30
    assert {"Mg_hcp", "Ti_hcp", "Zn_hcp", "Co_hcp", "Zr_hcp"} <= {name for name, seed in seeds().items() if seed.main}


def test_the_list_says_what_its_numbers_are():
    assert LIST.read_text().startswith("# The crystals of `mini`")
    assert set(tomllib.loads(LIST.read_text())) == {"main", "polymorph"}


def test_elements_fill_the_sites_in_the_order_of_the_formula():
    atoms = crystal("KMgF3", "perovskite", 4.0)
    assert atoms.get_chemical_symbols() == ["K", "Mg", "F", "F", "F"]
    np.testing.assert_allclose(atoms.positions[0], 2.0)
    assert crystal("Mg", "hcp", (3.2, 1.6)).cell.lengths()[2] == pytest.approx(5.12)

"""Corrections are those of pymatgen, or none at all."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from xferbench.functionals import Functional
from xferbench.records import Frame
from xferbench.references.corrections import (
    ANIONS,
    ELECTROPOSITIVE,
    METALS_WITH_U,
    OXIDES,
    OXYGEN,
    WEAK,
    mp2020,
    oxide_type,
)


def frame(formula, functional=Functional("PBE"), *, o_o=2.6):
    """A structure of a formula in a large cell, its O in pairs ``o_o`` Å apart."""
    from ase import Atoms

    numbers = Atoms(formula).numbers
    positions = np.array([[0, 0, 4.0 * i] for i in range(len(numbers))])
    sites = np.flatnonzero(numbers == OXYGEN)
    for first, second in zip(sites[::2], sites[1::2], strict=False):
        positions[second] = positions[first] + [o_o, 0, 0]
    return Frame(
        frame_id="f",
        pair_id="p",
        material_id="m",
        functional=functional,
        numbers=numbers,
        positions=positions,
        cell=np.eye(3) * 4.0 * (len(numbers) + 3),
    )


class TestByHand:
    @pytest.mark.parametrize(
        ("formula", "energy"),
        [
            ("MgO", -0.687),
            ("NaCl", -0.614),
            ("O2", 0.0),
            ("Cl2", 0.0),
            ("CuAu", 0.0),
            ("CaF2", -0.924),
            ("LiH", -0.179),
            ("ZnS", -0.503),
            ("Si3N4", -4 * 0.361),
            ("Mg2Si", 0.071),
            ("NaOH", -0.687),  # H beside O is a cation
            ("SiO2", -2 * 0.687),
            ("YOF", -0.687 - 0.462),
        ],
    )
    def test_compounds(self, formula, energy):
        assert mp2020(frame(formula)) == pytest.approx(energy)

    @pytest.mark.parametrize(
        ("o_o", "kind"),
        [(1.28, "superoxide"), (1.41, "superoxide"), (1.45, "peroxide"), (1.56, "peroxide"), (1.6, "oxide")],
    )
    def test_oxygen_goes_by_its_distances(self, o_o, kind):
        assert oxide_type(frame("Na2O2", o_o=o_o)) == kind
        assert mp2020(frame("Na2O2", o_o=o_o)) == pytest.approx(2 * OXIDES[kind])

    def test_distances_reach_into_the_next_cell(self):
        peroxide = frame("Na2O2")
        length = peroxide.cell[0, 0]
        first, second = np.flatnonzero(peroxide.numbers == OXYGEN)
        peroxide.positions[second] = peroxide.positions[first] + [length - 1.45, 0, 0]
        assert oxide_type(peroxide) == "peroxide"

    def test_metals_with_u_count_in_oxides_and_fluorides(self):
        assert mp2020(frame("FeO", Functional("PBE+U"))) == pytest.approx(-2.256 - 0.687)
        assert mp2020(frame("FeF2", Functional("PBE+U"))) == pytest.approx(-2.256 - 2 * 0.462)
        assert mp2020(frame("FeS", Functional("PBE"))) == pytest.approx(-0.503)

    @pytest.mark.parametrize("formula", ["FeO", "NaClO", "BaSO4", "BiOCl", "NiSi", "CdSeS", "AuTe2"])
    def test_what_the_rules_do_not_decide_has_no_correction(self, formula):
        assert mp2020(frame(formula)) is None

    def test_without_a_structure_no_oxide_has_a_type(self):
        bare = Frame(
            frame_id="f", pair_id="p", material_id="m", functional=Functional("PBE"),
            numbers=np.array([12, 8]), positions=np.zeros((0, 3)), cell=np.zeros((3, 3)),
        )  # fmt: skip
        assert mp2020(bare) is None


class TestPymatgen:
    @pytest.fixture
    def table(self):
        import yaml
        from pymatgen.entries import compatibility

        paths = Path(compatibility.__file__).parents[1].rglob("MP2020Compatibility.yaml")
        return yaml.safe_load(next(paths).read_text())["Corrections"]

    def test_the_table_is_pymatgens(self, table):
        from ase.data import chemical_symbols

        ours = {chemical_symbols[number]: energy for number, energy in ANIONS.items()} | OXIDES
        assert ours == {name: energy for name, energy in table["CompositionCorrections"].items() if name != "ozonide"}
        metals = {chemical_symbols[number]: energy for number, energy in METALS_WITH_U.items()}
        assert metals == table["GGAUMixingCorrections"]["O"] == table["GGAUMixingCorrections"]["F"]

    def test_anions_stand_by_electronegativity(self):
        from pymatgen.core import Element

        scale = [Element.from_Z(number).X for number in ANIONS]
        assert scale == sorted(scale, reverse=True)
        assert all(Element.from_Z(number).X < 1.7 for number in ELECTROPOSITIVE)
        assert max(Element.from_Z(number).X for number in WEAK) < min(
            Element.from_Z(number).X for number in ANIONS.keys() - WEAK
        )

    @pytest.mark.parametrize("plus_u", [False, True])
    @pytest.mark.parametrize(
        "formula",
        [
            "MgO", "NaCl", "ZnS", "CaF2", "KBr", "CsI", "LiH", "Li3N", "GaN", "Mg2Si", "SiO2", "NaOH", "LiFePO4", "FeO",
            "Fe2O3", "NiF2", "CoO", "MnO2", "V2O5", "WO3", "MoS2", "FeS2", "Na2O2", "Al2O3", "SrTiO3", "YOF", "K2Se",
            "ZnTe", "Mg3Sb2", "CuAu", "CaC2", "TiN", "Li3PS4",
        ],
    )  # fmt: skip
    def test_corrections_are_those_of_pymatgen(self, formula, plus_u):
        from pymatgen.entries.compatibility import MaterialsProject2020Compatibility
        from pymatgen.entries.computed_entries import ComputedStructureEntry
        from pymatgen.io.ase import AseAtomsAdaptor

        made = frame(
            formula, Functional("PBE+U") if plus_u else Functional("PBE"), o_o=1.48 if formula == "Na2O2" else 2.6
        )
        ours = mp2020(made)
        if ours is None:
            assert not plus_u  # a metal with U without it
            return
        structure = AseAtomsAdaptor.get_structure(made.atoms())
        metals = {"V": 3.25, "Cr": 3.7, "Mn": 3.9, "Fe": 5.3, "Co": 3.32, "Ni": 6.2, "Mo": 4.38, "W": 6.2}
        symbols = {site.specie.symbol for site in structure}
        needs = bool(symbols & metals.keys()) and bool(symbols & {"O", "F"})
        hubbards = {name: metals.get(name, 0.0) for name in symbols} if needs else {}
        entry = ComputedStructureEntry(
            structure,
            -1.0,
            parameters={"run_type": "GGA+U" if needs else "GGA", "hubbards": hubbards, "software": "other"},
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adjustments = MaterialsProject2020Compatibility(check_potcar=False).get_adjustments(entry)
        assert ours == pytest.approx(sum(item.value for item in adjustments))

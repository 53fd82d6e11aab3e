"""Values of records become arrays, or a reason."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench import pairing
from xferbench.records import LARGEST
from xferbench.sources import reading
from xferbench.sources.reading import Unusable, array, atomic_numbers, energy, field, mapping, number, structure, text

RECORD = {
    "lattice": {"matrix": [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 5.0]]},
    "sites": [
        {"species": [{"element": "Fe", "occu": 1}], "abc": [0.0, 0.0, 0.0], "properties": {"magmom": 2.5}},
        {"species": [{"element": "O", "occu": 1}], "abc": [0.5, 0.5, 0.25], "properties": {"magmom": -0.1}},
    ],
}


def reason(action, *arguments):
    with pytest.raises(Unusable) as caught:
        action(*arguments)
    return caught.value.reason


class TestValues:
    def test_what_is_there_is_returned(self):
        record = {"a": "x", "b": {}, "c": 1, "d": [[1, 2], [3, 4]]}
        assert text(record, "a") == "x"
        assert mapping(record, "b") == {}
        assert number(record, "c") == 1.0
        assert energy(record, "c") == 1.0
        np.testing.assert_array_equal(array(record, "d", (2, 2)), [[1.0, 2.0], [3.0, 4.0]])

    @pytest.mark.parametrize("record", [{}, {"a": None}])
    def test_what_is_optional_may_be_missing_or_null(self, record):
        assert number(record, "a") is None
        assert array(record, "a", (3,)) is None

    @pytest.mark.parametrize("record", [{}, {"a": None}])
    def test_what_is_needed_may_not(self, record):
        for action in (field, text, mapping):
            assert reason(action, record, "a") == reading.MISSING_FIELD
        assert reason(energy, record, "a") == pairing.MISSING_ENERGY

    @pytest.mark.parametrize("value", ["", 3, [], {}])
    def test_a_text_is_a_text(self, value):
        assert reason(text, {"a": value}, "a") == reading.MISSING_FIELD

    @pytest.mark.parametrize("value", ["1.5", True, {}, [None, 1.0], ["1", "2"], 10**400])
    def test_only_numbers_are_numbers(self, value):
        shape = (2,) if isinstance(value, list) else ()
        with pytest.raises(Unusable) as caught:
            array({"a": value}, "a", shape)
        assert caught.value.reason == reading.NOT_A_NUMBER

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_not_a_number_is_not_finite(self, value):
        assert reason(number, {"a": value}, "a") == pairing.NOT_FINITE
        assert reason(array, {"a": [1.0, value]}, "a", (2,)) == pairing.NOT_FINITE

    def test_huge_numbers_are_finite(self):
        assert array({"a": [LARGEST] * 5000}, "a", (5000,)).sum() == pytest.approx(5000 * LARGEST)
        assert number({"a": -LARGEST}, "a") == -LARGEST

    def test_numbers_beyond_the_largest_are_not(self):
        beyond = np.nextafter(LARGEST, np.inf)
        assert reason(array, {"a": [1.0, -beyond]}, "a", (2,)) == pairing.NOT_FINITE
        assert reason(number, {"a": beyond}, "a") == pairing.NOT_FINITE

    @pytest.mark.parametrize("value", [[1.0], [1.0, 2.0, 3.0], [[1.0], [2.0]], 1.0, [[1.0], [2.0, 3.0]]])
    def test_a_shape_is_a_shape(self, value):
        assert reason(array, {"a": value}, "a", (2,)) == pairing.WRONG_SHAPE

    def test_every_reason_has_a_meaning(self):
        names = {
            getattr(reading, name)
            for name in dir(reading)
            if name.isupper() and isinstance(getattr(reading, name), str)
        }
        assert names - set(pairing.REASONS) == set(reading.REASONS)

    def test_an_unusable_record_is_a_drop(self):
        drop = Unusable("not_finite", "energy").drop("mp-1-PBE")
        assert (drop.record_id, drop.reason, drop.detail) == ("mp-1-PBE", "not_finite", "energy")


class TestAtomicNumbers:
    def test_symbols_are_known(self):
        assert atomic_numbers(["H", "Fe", "Og"]).tolist() == [1, 26, 118]

    @pytest.mark.parametrize("symbol", ["Xx", "X", "D", "fe", "", None, "Fe2+"])
    def test_and_nothing_else(self, symbol):
        assert reason(atomic_numbers, ["H", symbol]) == pairing.UNKNOWN_ELEMENT


class TestStructure:
    def test_a_structure_is_read_as_pymatgen_reads_it(self, document):
        from pymatgen.core import Structure

        record = document()["structure"]
        made, theirs = structure(record), Structure.from_dict(record)
        np.testing.assert_allclose(made["positions"], theirs.cart_coords, atol=1e-12)
        np.testing.assert_array_equal(made["positions"], [[0, 0, 0], [2, 2, 1.25]])
        np.testing.assert_array_equal(made["cell"], theirs.lattice.matrix)
        assert made["numbers"].tolist() == [26, 8] == list(theirs.atomic_numbers)
        assert made["magmoms"].tolist() == [2.5, -0.1] == theirs.site_properties["magmom"]
        assert made["pbc"] == (True, True, True)

    def test_real_structures_are_read_as_pymatgen_reads_them(self, real_documents):
        from pymatgen.core import Structure

        for record in real_documents["r2SCAN"].values():
            made, theirs = structure(record["structure"]), Structure.from_dict(record["structure"])
            np.testing.assert_allclose(made["positions"], theirs.cart_coords, atol=1e-9)
            assert made["numbers"].tolist() == list(theirs.atomic_numbers)

    def test_moments_may_be_missing_from_all_sites(self, document):
        record = document()["structure"]
        for site in record["sites"]:
            site["properties"] = {} if site is record["sites"][0] else None
        assert structure(record)["magmoms"] is None

    def test_periodicity_may_be_partial(self, document):
        record = document()["structure"]
        record["lattice"]["pbc"] = [True, True, False]
        assert structure(record)["pbc"] == (True, True, False)
        del record["lattice"]["pbc"]
        assert structure(record)["pbc"] == (True, True, True)

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda s: s.pop("sites"), reading.MISSING_FIELD),
            (lambda s: s.update(sites=[]), reading.MISSING_FIELD),
            (lambda s: s.update(sites="many"), reading.MISSING_FIELD),
            (lambda s: s.update(sites=[1, 2]), reading.MISSING_FIELD),
            (lambda s: s.update(lattice=None), reading.MISSING_FIELD),
            (lambda s: s.update(lattice=[1]), reading.MISSING_FIELD),
            (lambda s: s["lattice"].pop("matrix"), reading.MISSING_FIELD),
            (lambda s: s["lattice"].update(matrix=[[1, 0], [0, 1]]), pairing.WRONG_SHAPE),
            (lambda s: s["lattice"].update(matrix=[[1, 0, 0], [0, "1", 0], [0, 0, 1]]), reading.NOT_A_NUMBER),
            (lambda s: s["lattice"].update(pbc=[1, 1, 1]), pairing.WRONG_SHAPE),
            (lambda s: s["lattice"].update(pbc=True), pairing.WRONG_SHAPE),
            (lambda s: s["sites"][0].pop("abc"), pairing.WRONG_SHAPE),
            (lambda s: s["sites"][0].update(abc=[0.0, 0.0]), pairing.WRONG_SHAPE),
            (lambda s: s["sites"][0].update(abc=[0.0, 0.0, float("nan")]), pairing.NOT_FINITE),
            (lambda s: s["sites"][0].update(species=[]), reading.MISSING_FIELD),
            (lambda s: s["sites"][0].update(species=["Fe"]), reading.MISSING_FIELD),
            (lambda s: s["sites"][0]["species"][0].update(occu=0.5), reading.DISORDERED),
            (lambda s: s["sites"][0]["species"].append({"element": "Co", "occu": 0.5}), reading.DISORDERED),
            (lambda s: s["sites"][0]["species"][0].update(element="Zz"), pairing.UNKNOWN_ELEMENT),
            (lambda s: s["sites"][0]["properties"].pop("magmom"), pairing.WRONG_SHAPE),
            (lambda s: s["sites"][0]["properties"].update(magmom=[0, 0, 1]), pairing.WRONG_SHAPE),
            (lambda s: s.update(sites=s["sites"] * 1500), reading.TOO_LARGE),
        ],
    )
    def test_anything_wrong_has_its_reason(self, document, change, expected):
        record = document()["structure"]
        change(record)
        assert reason(structure, record) == expected

    def test_two_kinds_of_coordinates_must_agree(self, document):
        record = document()["structure"]
        for site, place in zip(record["sites"], [[0, 0, 0], [2.0, 2.0, 1.25]], strict=True):
            site["xyz"] = place
        assert len(structure(record)["numbers"]) == 2
        record["sites"][1]["xyz"] = [2.0, 2.0, 1.35]
        with pytest.raises(Unusable, match=r"xyz and abc are 0.1 Å apart"):
            structure(record)

    @given(
        path=st.sampled_from(
            [
                ("lattice",),
                ("sites",),
                ("sites", 0),
                ("sites", 1, "abc"),
                ("sites", 0, "species"),
                ("lattice", "matrix", 1),
            ]
        ),
        value=st.none() | st.booleans() | st.text(max_size=3) | st.lists(st.integers(0, 3), max_size=3) | st.floats(),
    )
    def test_any_value_in_any_place_costs_that_record_only(self, path, value):

        record = copy.deepcopy(RECORD)
        target = record
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value
        try:
            made = structure(record)
        except Unusable as problem:
            made = problem
        if isinstance(made, Unusable):
            assert made.reason in {**reading.REASONS, **pairing.REASONS}
        else:
            assert np.isfinite(made["positions"]).all()
            assert made["positions"].shape == (len(made["numbers"]), 3)

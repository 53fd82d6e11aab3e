"""What references can do, what they cannot know, and that they say so."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.errors import DataError, FormatError
from xferbench.functionals import Functional
from xferbench.references import (
    ElementalReferences,
    add,
    composition_energies,
    composition_matrix,
    estimable,
    fit,
    subtract,
)
from xferbench.references.elemental import Offsets, beyond_rounding

H, LI, O, NA, CL, FE = 1, 3, 8, 11, 17, 26  # noqa: E741 - oxygen
TRUE = {H: -3.0, LI: -1.9, O: -4.9, NA: -1.3, CL: -1.8}


def compositions(*formulas):
    return [np.array(formula) for formula in formulas]


def exact(numbers):
    """Energies per atom that are exactly linear in composition."""
    return np.array([np.mean([TRUE[z] for z in item]) for item in numbers])


OXIDES = compositions((LI, LI, O), (LI, O), (H, H, O), (H,), (LI, O, H))
SALT = compositions((NA, CL), (NA, NA, CL, CL), (LI,))


class TestWhatDataCannotTell:
    def test_an_asked_element_without_data_is_an_error(self):
        with pytest.raises(DataError, match="no structure contains Cl, Fe: a reference cannot be fitted"):
            fit(OXIDES, exact(OXIDES), elements=[LI, FE, CL])

    def test_or_an_explicit_flag_and_never_zero(self):
        references = fit(OXIDES, exact(OXIDES), elements=[LI, FE], allow_missing=True)
        assert references.missing == ("Fe",)
        assert "Fe" not in references.energies
        assert "Fe" not in references.n_structures

    def test_the_energy_of_an_element_without_data_is_refused_by_name(self):
        references = fit(OXIDES, exact(OXIDES))
        with pytest.raises(DataError, match="no reference energy for Cl, Fe: no fitted structure contains it"):
            references.energy(np.array([FE, CL, LI]))

    def test_two_elements_that_only_occur_together_are_undetermined(self):
        references = fit(SALT, exact(SALT))
        assert references.undetermined == ("Na", "Cl")
        assert references.rank == 2
        (direction,) = references.null_space
        assert direction["Na"] == pytest.approx(-direction["Cl"])
        assert abs(direction["Na"]) == pytest.approx(2**-0.5)

    def test_their_sum_is_estimable_and_each_alone_is_not(self):
        references = fit(SALT, exact(SALT))
        asked = compositions((NA, CL), (NA, CL, NA, CL, LI), (LI,), (NA,), (NA, CL, CL), (FE,), (LI, FE))
        assert estimable(references, asked).tolist() == [True, True, True, False, False, False, False]

    def test_estimable_energies_are_right_although_single_values_are_open(self):
        references = fit(SALT, exact(SALT))
        asked = compositions((NA, CL), (NA, CL, LI, LI))
        np.testing.assert_allclose(references.per_atom(asked), exact(asked))

    def test_the_energy_of_an_undetermined_composition_is_refused(self):
        references = fit(SALT, exact(SALT))
        with pytest.raises(DataError, match=r"1 of 2 compositions are not determined .* leave Na, Cl open"):
            references.per_atom(compositions((NA, CL), (NA, CL, CL)))

    def test_one_more_composition_determines_them(self):
        numbers = [*SALT, np.array([NA, CL, CL])]
        references = fit(numbers, exact(numbers))
        assert references.undetermined == ()
        assert references.energies == pytest.approx({"Li": -1.9, "Na": -1.3, "Cl": -1.8})

    @given(st.integers(0, 10**6))
    def test_estimable_is_membership_in_the_row_space(self, seed):
        rng = np.random.default_rng(seed)
        numbers = [rng.integers(1, 7, rng.integers(1, 5)) for _ in range(rng.integers(1, 6))]
        asked = [rng.integers(1, 7, rng.integers(1, 5)) for _ in range(8)]
        references = fit(numbers, rng.normal(size=len(numbers)))
        matrix = composition_matrix(numbers, range(1, 7))
        rank = np.linalg.matrix_rank(matrix)
        grown = [np.linalg.matrix_rank(np.vstack([matrix, row])) for row in composition_matrix(asked, range(1, 7))]
        assert estimable(references, asked).tolist() == [new == rank for new in grown]

    def test_every_fitted_composition_is_estimable(self):
        assert estimable(fit(SALT, exact(SALT)), SALT).all()

    def test_nothing_asked_gives_nothing(self):
        references = fit(SALT, exact(SALT))
        assert estimable(references, []).shape == references.per_atom([]).shape == (0,)


class TestUse:
    def test_energy_is_the_total_of_the_cell(self):
        references = fit(OXIDES, exact(OXIDES))
        assert references.energy(np.array([LI, LI, O])) == pytest.approx(2 * -1.9 - 4.9)
        assert references.energy(np.array([LI, LI, O] * 4)) == pytest.approx(4 * (2 * -1.9 - 4.9))

    def test_subtracting_leaves_the_rest_and_adding_gives_it_back(self):
        energies = exact(OXIDES) + np.array([0.1, -0.1, 0.05, 0, 0])
        references = fit(OXIDES, energies)
        rest = subtract(references, OXIDES, energies)
        assert np.abs(rest).mean() == pytest.approx(references.mae)
        np.testing.assert_allclose(add(references, OXIDES, rest), energies)

    def test_the_rest_does_not_depend_on_an_elemental_shift(self):
        energies = exact(OXIDES) + np.array([0.1, -0.1, 0.05, 0, 0])
        shifted = energies + composition_matrix(OXIDES, [H, LI, O]) @ [3.0, -7.0, 40.0]
        rest, same = (subtract(fit(OXIDES, values), OXIDES, values) for values in (energies, shifted))
        np.testing.assert_allclose(rest, same, atol=1e-12)

    @pytest.mark.parametrize("function", [subtract, add])
    def test_as_many_energies_as_structures_are_needed(self, function):
        with pytest.raises(DataError, match=r"5 structures and energies of shape \(4,\)"):
            function(fit(OXIDES, exact(OXIDES)), OXIDES, np.zeros(4))


class TestJson:
    @pytest.mark.parametrize("functional", [None, Functional("PBE+U")])
    def test_a_round_trip_keeps_every_bit(self, functional):
        references = fit(SALT, exact(SALT), functional=functional, elements=[FE], allow_missing=True)
        text = json.dumps(references.to_json(), sort_keys=True)
        again = ElementalReferences.from_json(json.loads(text), "refs.json")
        assert again.to_json() == references.to_json()
        assert again.functional is functional
        assert list(again.energies) == list(references.energies)
        np.testing.assert_array_equal(again.per_atom(SALT), references.per_atom(SALT))
        assert estimable(again, compositions((NA,))).tolist() == [False]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"energy": 1}, r"refs.json: unknown key energy \(did you mean energies\?\)"),
            ({"energies": {"Xx": 1.0}}, "refs.json: energies.Xx is no chemical symbol"),
            ({"energies": {"Li": "low"}}, "refs.json: energies.Li must be a number"),
            ({"functional": "SCANX"}, "refs.json: functional: unknown functional 'SCANX'; did you mean 'SCAN'"),
            ({"null_space": 3}, "refs.json: null_space must be"),
        ],
    )
    def test_a_file_that_is_wrong_is_refused_with_the_key(self, change, message):
        value = {**fit(SALT, exact(SALT)).to_json(), **change}
        with pytest.raises(FormatError, match=message):
            ElementalReferences.from_json(json.loads(json.dumps(value)), "refs.json")

    def test_a_file_that_is_something_else_lists_what_is_missing(self):
        with pytest.raises(FormatError, match="missing key energies; missing key n_structures"):
            ElementalReferences.from_json({}, "refs.json")
        with pytest.raises(FormatError, match="must be a table"):
            ElementalReferences.from_json([], "refs.json")


class TestCompositionEnergies:
    def test_they_are_those_of_the_structures(self):
        references = fit(OXIDES, exact(OXIDES))
        found = composition_energies(references, composition_matrix(OXIDES, [H, LI, O]), [H, LI, O])
        np.testing.assert_array_equal(found, references.per_atom(OXIDES))

    def test_what_is_not_determined_is_nan(self):
        asked = compositions((NA, CL), (NA,), (LI,), (FE, LI))
        elements = [LI, NA, CL, FE]
        found = composition_energies(fit(SALT, exact(SALT)), composition_matrix(asked, elements), elements)
        assert np.isfinite(found).tolist() == [True, False, True, False]

    def test_offsets_need_no_fit(self):
        offsets = Offsets(energies={"Li": 1.0, "O": -2.0})
        assert composition_energies(offsets, np.array([[0.5, 0.5], [1, 0]]), [LI, O]).tolist() == [-0.5, 1.0]
        assert offsets.undetermined == set()
        assert Offsets(energies={}, null_space=({"Na": 0.7, "Cl": -0.7},)).undetermined == {"Na", "Cl"}


CELLS = st.lists(st.sampled_from([H, LI, O]), min_size=1, max_size=12).map(np.array)


class TestLaws:
    REFERENCES = fit(OXIDES, exact(OXIDES) + np.array([0.1, -0.1, 0.05, 0, 0.2]))

    @given(CELLS, CELLS)
    def test_the_energy_of_two_cells_is_the_sum_of_theirs(self, first, second):
        whole = self.REFERENCES.energy(np.concatenate([first, second]))
        assert whole == pytest.approx(self.REFERENCES.energy(first) + self.REFERENCES.energy(second), rel=1e-12)

    @given(CELLS)
    def test_energies_are_the_references_of_the_atoms_added_up(self, cell):
        names = {H: "H", LI: "Li", O: "O"}
        assert self.REFERENCES.energy(cell) == pytest.approx(sum(self.REFERENCES.energies[names[z]] for z in cell))

    @given(st.lists(CELLS, min_size=1, max_size=6), st.integers(0, 10**6))
    def test_adding_gives_back_what_was_subtracted(self, cells, seed):
        energies = np.random.default_rng(seed).normal(-5, 3, len(cells))
        again = add(self.REFERENCES, cells, subtract(self.REFERENCES, cells, energies))
        np.testing.assert_allclose(again, energies, rtol=1e-12)

    def test_a_single_compound_determines_itself_and_its_multiples_only(self):
        references = fit(compositions((LI, LI, O)), [-2.0])
        asked = compositions((LI, LI, O), (O, LI, LI) * 3, (LI, O), (LI,), (O,))
        assert estimable(references, asked).tolist() == [True, True, False, False, False]
        assert references.energy(asked[1]) == pytest.approx(-18.0)
        assert (references.rank, references.mae) == (1, pytest.approx(0, abs=1e-12))
        # the shortest solution lies along the composition (2, 1)/3: -2 = c·x with x = -2 c/|c|² = -2·(6/5, 3/5)
        assert references.energies == pytest.approx({"Li": -2.4, "O": -1.2})

    def test_an_undetermined_direction_may_be_added_without_any_effect(self):
        references = fit(SALT, exact(SALT))
        (direction,) = references.null_space
        moved = {symbol: value + 5 * direction.get(symbol, 0) for symbol, value in references.energies.items()}
        other = Offsets(energies=moved, null_space=references.null_space)
        fractions = composition_matrix([*SALT, np.array([NA])], [LI, NA, CL])
        before, after = (composition_energies(item, fractions, [LI, NA, CL]) for item in (references, other))
        np.testing.assert_allclose(after, before, atol=1e-12)
        assert np.isnan(after).tolist() == [False, False, False, True]


def test_rests_within_rounding_are_zero_and_what_is_unknown_stays_unknown():
    found = beyond_rounding(np.array([1e-12, -1e-12, 1e-6, -2.0, np.nan]))
    assert found[:4].tolist() == [0, 0, 1e-6, -2]
    assert np.isnan(found[4])

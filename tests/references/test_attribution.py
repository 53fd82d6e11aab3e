"""Shares of elements and kinds of materials."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.references import attribute, paired_shift
from xferbench.references.attribution import GROUPS
from xferbench.references.elemental import Offsets


def shares(found, name):
    return {item.element: getattr(item, name).value for item in found.elements}


def two(source, target, fractions, materials):
    """Pairs of lithium and oxygen, written by hand."""

    def make(make_labels):
        n = len(source)
        return replace(
            make_labels(5).take(np.zeros(n, dtype=int)),
            elements=(3, 8),
            fractions=np.array(fractions),
            source=np.array(source),
            target=np.array(target),
            materials=materials,
        )

    return make


class TestByHand:
    @pytest.fixture
    def found(self, make_labels):
        # gaps 2, 1 and -1; shifts Li 2, O -1 give 2, 0.5 and -1; rest 0, 0.5 and 0
        labels = two([0.0, 0, 0], [2.0, 1, -1], [[1, 0], [0.5, 0.5], [0, 1]], ("a", "b", "c"))(make_labels)
        return attribute(labels, Offsets(energies={"Li": 2.0, "O": -1.0}), n_resamples=50)

    def test_atoms(self, found):
        assert shares(found, "atoms") == pytest.approx({"Li": 0.5, "O": 0.5})

    def test_raw(self, found):
        assert shares(found, "raw") == pytest.approx({"Li": 4.5 / 6, "O": 1.5 / 6})

    def test_rest(self, found):
        assert shares(found, "rest") == pytest.approx({"Li": 0.5, "O": 0.5})

    def test_shift_and_unexplained(self, found):
        gap, li, o = np.array([2.0, 1, -1]), np.array([2.0, 1, 0]), np.array([0.0, -0.5, -1])
        variance = np.cov(gap, ddof=0)
        expected = {name: np.cov(part, gap, ddof=0)[0, 1] / variance for name, part in (("Li", li), ("O", o))}
        assert shares(found, "shift") == pytest.approx(expected)
        assert found.unexplained.value == pytest.approx(np.cov(gap - li - o, gap, ddof=0)[0, 1] / variance)

    def test_pairs_are_counted(self, found):
        assert [(item.element, item.n_pairs) for item in found.elements] == [("Li", 2), ("O", 2)]
        assert (found.n_pairs, found.n_left_out) == (3, 0)

    def test_kinds(self, found):
        kinds = {item.group: item for item in found.groups}
        assert (kinds["oxide"].n_pairs, kinds["oxide"].n_materials) == (1, 1)
        assert kinds["oxide"].raw.value == pytest.approx(1.0)
        assert kinds["oxide"].rest.value == pytest.approx(0.5)
        assert kinds["oxide"].share.value == pytest.approx(1.0)
        assert kinds["element"].raw.value == pytest.approx(1.5)
        assert kinds["halide"].n_pairs == 0
        assert kinds["halide"].raw.value is None


class TestLaws:
    def test_shares_add_up(self, make_labels):
        labels = make_labels(noise=0.2)
        found = attribute(labels, paired_shift(make_labels(noise=0.2, seed=4)), n_resamples=20)
        for name in ("atoms", "raw", "rest"):
            assert sum(shares(found, name).values()) == pytest.approx(1), name
        assert sum(shares(found, "shift").values()) == pytest.approx(1 - found.unexplained.value)

    def test_intervals_hold_their_values(self, make_labels):
        labels = make_labels(200, noise=0.2, n_materials=50)
        found = attribute(labels, paired_shift(labels), n_resamples=200)
        for item in found.elements:
            for name in ("atoms", "raw", "shift", "rest"):
                estimate = getattr(item, name)
                assert estimate.low < estimate.value < estimate.high

    def test_an_exact_alignment_leaves_nothing_to_share(self, make_labels):
        labels = make_labels(20)
        exact = Offsets(energies=dict.fromkeys(labels.symbols, 0.0))
        found = attribute(replace(labels, target=labels.source), exact, n_resamples=10)
        assert all(item.rest.value is None and item.raw.value is None for item in found.elements)
        assert found.unexplained.value is None

    def test_undetermined_pairs_are_counted_and_left_out(self, make_labels):
        labels = make_labels(40)
        known = paired_shift(labels.take(labels.fractions[:, 4] == 0))
        found = attribute(labels, known, n_resamples=10)
        assert found.n_left_out == int((labels.fractions[:, 4] > 0).sum()) > 0
        assert "Cl" not in shares(found, "raw")

    def test_nothing_determined_gives_nothing(self, make_labels):
        found = attribute(make_labels(7), Offsets(energies={}))
        assert (found.n_pairs, found.n_left_out, found.elements, found.groups) == (0, 7, (), ())

    def test_it_is_deterministic(self, make_labels):
        labels = make_labels(noise=0.1)
        first, second = (attribute(labels, paired_shift(labels), n_resamples=30) for _ in range(2))
        assert first == second


class TestGroups:
    @pytest.mark.parametrize(
        ("formula", "kinds"),
        [
            ({"Li", "O"}, {"oxide"}),
            ({"Na", "Cl"}, {"halide"}),
            ({"Cl", "F"}, {"other"}),
            ({"Fe", "O"}, {"oxide", "+U metal"}),
            ({"Fe", "F"}, {"halide", "+U metal"}),
            ({"Fe", "S"}, {"other"}),
            ({"La", "O", "F"}, {"oxide", "halide", "f-element"}),
            ({"U"}, {"f-element", "element"}),
            ({"O"}, {"element"}),
            ({"Y", "Hf"}, {"other"}),
        ],
    )
    def test_what_a_material_is(self, formula, kinds):
        assert {name for name, group in GROUPS.items() if group.holds(frozenset(formula))} == kinds

    def test_the_metals_with_u_are_those_of_the_materials_project(self):
        pytest.importorskip("pymatgen")
        from pymatgen.io.vasp.sets import MPRelaxSet

        values = MPRelaxSet.CONFIG["INCAR"]["LDAUU"]
        for anion in ("O", "F"):
            expected = {metal for metal, value in values[anion].items() if value}
            found = {
                metal for metal in expected | {"Ti", "Zn", "Cu"} if GROUPS["+U metal"].holds(frozenset({metal, anion}))
            }
            assert found == expected


class TestRounding:
    def test_a_fit_that_is_exact_leaves_nothing_to_share(self, make_labels):
        labels = make_labels()
        found = attribute(labels, paired_shift(labels), n_resamples=10)
        assert all(item.rest.value is None for item in found.elements)
        assert all(item.share.value is None for item in found.groups)
        assert found.unexplained.value == 0
        assert sum(shares(found, "shift").values()) == pytest.approx(1)

    def test_gaps_that_are_all_equal_have_no_variance_to_share(self, make_labels):
        labels = make_labels()
        labels = replace(labels, target=labels.source + 0.3)
        found = attribute(labels, paired_shift(labels), n_resamples=10)
        assert found.unexplained.value is None
        assert all(item.shift.value is None and item.raw.value is not None for item in found.elements)

    def test_a_large_common_gap_costs_the_variance_no_digits(self, make_labels):
        labels = make_labels(noise=0.1)
        moved = replace(labels, target=labels.target + 1e6)
        shift = paired_shift(labels)
        far = Offsets(energies={symbol: value + 1e6 for symbol, value in shift.energies.items()})
        before, after = attribute(labels, shift, n_resamples=5), attribute(moved, far, n_resamples=5)
        assert after.unexplained.value == pytest.approx(before.unexplained.value, rel=1e-6)

    def test_shares_have_no_unit_and_no_direction(self, make_labels):
        labels = make_labels(noise=0.1)
        shift = paired_shift(make_labels(noise=0.1, seed=3))
        turned = replace(labels, source=-1000 * labels.source, target=-1000 * labels.target)
        other = Offsets(energies={symbol: -1000 * value for symbol, value in shift.energies.items()})
        one, two_ = attribute(labels, shift, n_resamples=5), attribute(turned, other, n_resamples=5)
        for name in ("atoms", "raw", "shift", "rest"):
            assert shares(two_, name) == pytest.approx(shares(one, name), rel=1e-9), name

    def test_one_material_has_shares_without_intervals(self, make_labels):
        labels = make_labels(noise=0.1, n_materials=1)
        found = attribute(labels, paired_shift(make_labels()), n_resamples=10)
        assert all(item.rest.value is not None and item.rest.low is None for item in found.elements)

    @given(st.sets(st.sampled_from(["O", "F", "Cl", "Fe", "V", "La", "U", "Li", "S"]), min_size=1))
    def test_every_material_is_of_some_kind_and_other_means_of_no_other(self, formula):
        kinds = {name for name, group in GROUPS.items() if group.holds(frozenset(formula))}
        assert kinds
        assert "other" not in kinds or kinds == {"other"}

"""Gain, negative transfer, forgetting and the aggregate, against numbers worked by hand and Table 1 of the seed paper."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gmean

from xferbench.measure import Curve, aggregate, forgetting, gain, negative_transfer_index

TABLE1 = Path(__file__).parents[3] / "shared" / "data" / "paper-results" / "table1.csv"


def curve(x, errors) -> Curve:
    return Curve(x=np.array(x, dtype=float), errors=np.array(errors, dtype=float))


class TestCurve:
    LAW = curve([10, 100, 1000], 50 * np.array([10.0, 100, 1000]) ** -0.5)

    def test_a_power_law_is_interpolated_exactly(self):
        assert self.LAW([20.0, 500.0]) == pytest.approx(50 * np.array([20.0, 500]) ** -0.5)

    def test_nothing_is_said_beyond_the_ends(self):
        assert np.isnan(self.LAW([9.0, 1001.0])).all()

    def test_size_is_the_inverse(self):
        assert self.LAW.size(self.LAW([10.0, 20.0, 500.0, 1000.0])) == pytest.approx([10, 20, 500, 1000])

    def test_errors_outside_the_measured_ones_have_no_size(self):
        assert np.isnan(self.LAW.size([100.0, 0.1])).all()

    def test_a_curve_that_rises_again_counts_from_its_first_arrival(self):
        assert curve([1, 10, 100, 1000], [8, 4, 6, 2]).size([4.0]) == pytest.approx([10.0])

    def test_the_unit_of_either_axis_is_irrelevant(self):
        scaled = curve([1, 10, 100], [3.0, 2.0, 0.5])([5.0])
        assert curve([1000, 10_000, 100_000], [30.0, 20.0, 5.0])([5000.0]) == pytest.approx(10 * scaled)

    @pytest.mark.parametrize(
        ("x", "errors", "message"),
        [
            ([1, 2], [1.0], "do not make a curve"),
            ([], [], "do not make a curve"),
            ([2, 1], [1.0, 0.5], "increasing"),
            ([1, 1], [1.0, 0.5], "increasing"),
            ([0, 1], [1.0, 0.5], "positive"),
            ([1, 2], [1.0, 0.0], "positive"),
        ],
    )
    def test_anything_else_is_refused(self, x, errors, message):
        with pytest.raises(ValueError, match=message):
            curve(x, errors)


class TestGain:
    TRANSFER, SCRATCH = curve([100, 10_000], [40, 10]), curve([100, 10_000], [400, 25])

    def test_at_equal_data_the_errors_are_compared_at_one_size(self):
        (item,) = gain(self.TRANSFER, self.SCRATCH, [1000])
        assert (item.transfer, item.scratch) == pytest.approx((20.0, 100.0))
        assert (item.difference, item.fraction) == pytest.approx((80.0, 0.8))

    def test_at_equal_compute_pretraining_may_be_charged(self):
        """The same errors on an axis of compute: one unit per structure, and 9,000 units before transfer starts."""
        free = gain(self.TRANSFER, self.SCRATCH, [9100])[0]
        charged = gain(curve([9100, 19_000], [40, 10]), self.SCRATCH, [9100])[0]
        assert charged.transfer == pytest.approx(40.0)
        assert charged.scratch == pytest.approx(free.scratch)
        assert charged.difference < 0 < free.difference

    def test_where_one_curve_ends_there_is_no_gain(self):
        (item,) = gain(self.TRANSFER, curve([1000, 10_000], [100, 25]), [500])
        assert item.transfer > 0
        assert np.isnan(item.difference)
        assert np.isnan(item.fraction)

    def test_equal_curves_gain_nothing(self):
        (item,) = gain(self.SCRATCH, self.SCRATCH, [300])
        assert (item.difference, item.fraction) == pytest.approx((0.0, 0.0))


class TestNegativeTransfer:
    def test_the_paper_has_negative_transfer_where_it_says_so(self):
        if not TABLE1.exists():
            pytest.skip(f"needs {TABLE1.name}, which is not part of the package")
        with TABLE1.open() as stream:
            rows = {row["method"]: row for row in csv.DictReader(stream)}
        keys = [key for key in rows["1"] if "_mae_" in key]
        methods = {name: {key: float(row[key]) for key in keys} for name, row in rows.items()}
        index = {name: negative_transfer_index(methods[name], methods["1"]) for name in "234"}
        assert index["2"]["force_mae_meV_per_A"] == pytest.approx(1.20, abs=0.005)
        assert index["3"]["stress_mae_GPa"] == pytest.approx(1.08, abs=0.005)
        assert index["4"]["magmom_mae_muB"] == pytest.approx(1.21, abs=0.005)
        assert index["4"]["energy_mae_meV_per_atom"] < 1

    def test_equal_errors_give_one(self):
        assert negative_transfer_index({"a": 0.3}, {"a": 0.3}) == {"a": 1.0}

    def test_different_quantities_are_refused(self):
        with pytest.raises(ValueError, match=r"\['b', 'c'\]"):
            negative_transfer_index({"a": 1.0, "b": 1.0}, {"a": 1.0, "c": 1.0})

    def test_an_exact_model_from_scratch_is_no_denominator(self):
        with pytest.raises(ValueError, match="from scratch of a"):
            negative_transfer_index({"a": 1.0}, {"a": 0.0})


class TestForgetting:
    def test_a_larger_error_on_the_source_is_positive(self):
        assert forgetting({"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 1.5}) == {"a": 2.0, "b": -0.5}

    def test_different_quantities_are_refused(self):
        with pytest.raises(ValueError, match="one side only"):
            forgetting({"a": 1.0}, {})


class TestAggregate:
    FLOOR: ClassVar = {"crystals": {"energy": 100.0, "force": 200.0}, "molecules": {"energy": 50.0}}

    def scaled(self, factor: float):
        return {domain: {key: factor * value for key, value in row.items()} for domain, row in self.FLOOR.items()}

    def test_the_floor_itself_scores_one(self):
        assert aggregate(self.FLOOR, self.FLOOR).value == 1.0

    def test_a_perfect_model_scores_zero(self):
        assert aggregate(self.scaled(0.0), self.FLOOR).value == 0.0

    def test_half_the_floor_everywhere_scores_a_half(self):
        assert aggregate(self.scaled(0.5), self.FLOOR).value == pytest.approx(0.5)

    def test_beyond_the_floor_everything_is_equal_and_listed(self):
        result = aggregate(self.scaled(7.0), self.FLOOR)
        assert result.value == 1.0
        assert result.capped == ("crystals/energy", "crystals/force", "molecules/energy")

    def test_a_domain_with_many_metrics_weighs_no_more(self):
        errors = {"crystals": {"energy": 25.0, "force": 200.0}, "molecules": {"energy": 50.0}}
        result = aggregate(errors, self.FLOOR)
        assert result.components["crystals"] == {"energy": 0.25, "force": 1.0}
        assert result.domains == pytest.approx({"crystals": 0.5, "molecules": 1.0})
        assert result.value == pytest.approx(0.75)

    def test_a_smaller_error_never_scores_worse(self):
        values = [aggregate(self.scaled(factor), self.FLOOR).value for factor in (0.1, 0.3, 0.9, 1.0, 3.0)]
        assert values == sorted(values)

    @pytest.mark.parametrize(
        ("errors", "message"),
        [
            ({}, "nothing"),
            ({"crystals": {}}, "nothing"),
            ({"crystals": {"energy": 1.0, "force": 1.0}}, "molecules/energy"),
            ({"crystals": {"energy": -1.0, "force": 1.0}, "molecules": {"energy": 1.0}}, "crystals/energy"),
            ({"crystals": {"energy": np.nan, "force": 1.0}, "molecules": {"energy": 1.0}}, "crystals/energy"),
        ],
    )
    def test_impossible_input_is_refused_by_name(self, errors, message):
        with pytest.raises(ValueError, match=message):
            aggregate(errors, self.FLOOR)

    def test_a_floor_without_error_is_refused(self):
        with pytest.raises(ValueError, match="says nothing"):
            aggregate({"a": {"b": 1.0}}, {"a": {"b": 0.0}})


POSITIVE = st.floats(1e-3, 1e3)


class TestLawsOfCurves:
    @given(st.lists(POSITIVE, min_size=2, max_size=6, unique=True), POSITIVE)
    def test_a_falling_curve_reaches_each_of_its_errors_where_it_was_measured(self, errors, factor):
        falling = sorted(errors, reverse=True)
        measured = curve(10.0 ** np.arange(len(falling)), falling)
        np.testing.assert_allclose(measured.size(falling), measured.x, rtol=1e-6)
        rescaled = curve(measured.x, factor * measured.errors)
        np.testing.assert_allclose(rescaled(measured.x), factor * measured.errors, rtol=1e-9)

    def test_a_plateau_counts_from_its_beginning(self):
        assert curve([1, 10, 100, 1000], [9, 4, 4, 1]).size([4.0]) == pytest.approx([10])

    def test_a_single_point_knows_itself_only(self):
        point = curve([100], [3.0])
        assert point([100.0]) == pytest.approx([3.0])
        assert np.isnan(point([99.0, 101.0])).all()
        assert point.size([3.0]) == pytest.approx([100])
        assert np.isnan(point.size([2.0, 4.0])).all()

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_what_is_not_finite_is_no_point_of_a_curve(self, bad):
        with pytest.raises(ValueError, match="a curve needs positive errors"):
            curve([1, 10], [2.0, bad])
        with pytest.raises(ValueError, match="a curve needs positive errors"):
            curve([1, bad], [2.0, 1.0])

    @given(POSITIVE, POSITIVE)
    def test_gain_seen_from_the_other_side(self, first, second):
        a, b = curve([10], [first]), curve([10], [second])
        ((one,), (other,)) = gain(a, b, 10.0), gain(b, a, 10.0)
        assert one.difference == pytest.approx(-other.difference, abs=1e-12)
        assert (1 - one.fraction) * (1 - other.fraction) == pytest.approx(1)


class TestLawsOfMeasures:
    def test_harm_and_forgetting_turn_round_with_their_sides(self):
        one, other = {"force": 40.0, "energy": 20.0}, {"force": 50.0, "energy": 10.0}
        index, inverse = negative_transfer_index(one, other), negative_transfer_index(other, one)
        assert {key: index[key] * inverse[key] for key in index} == pytest.approx({"force": 1, "energy": 1})
        assert forgetting(one, other) == {key: -value for key, value in forgetting(other, one).items()}

    @given(st.lists(st.lists(st.floats(0.01, 3), min_size=1, max_size=4), min_size=1, max_size=4))
    def test_an_aggregate_is_the_mean_of_scipys_geometric_means(self, ratios):
        errors = {f"d{i}": {f"m{j}": r for j, r in enumerate(row)} for i, row in enumerate(ratios)}
        floors = {domain: dict.fromkeys(values, 1.0) for domain, values in errors.items()}
        found = aggregate(errors, floors)
        assert found.value == pytest.approx(np.mean([gmean(np.minimum(row, 1)) for row in ratios]))
        assert len(found.capped) == sum(r > 1 for row in ratios for r in row)

    def test_neither_order_nor_units_matter_to_an_aggregate(self):
        errors = {"a": {"energy": 3.0, "force": 7.0}, "b": {"energy": 1.0}}
        floors = {"a": {"energy": 9.0, "force": 8.0}, "b": {"energy": 4.0}}
        turned = {key: dict(reversed(values.items())) for key, values in reversed(errors.items())}
        assert aggregate(turned, floors).value == pytest.approx(aggregate(errors, floors).value)
        milli = [{d: {k: 1000 * v for k, v in m.items()} for d, m in side.items()} for side in (errors, floors)]
        assert aggregate(*milli).value == pytest.approx(aggregate(errors, floors).value)

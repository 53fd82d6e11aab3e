"""Digits follow the interval, and nothing that is not complete looks complete."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.report.rounding import MAX_DECIMALS, compact, fixed, percent, scaled, show, shown_unit
from xferbench.units import EV_PER_A3_IN_GPA, RENDERED


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "text"),
    [
        (0.1423, 0.1179, 0.1712, "eV/atom", "142 [118, 171]"),
        (0.01676, 0.0155, 0.0181, "eV/atom", "16.8 [15.5, 18.1]"),
        (0.01676, 0.01670, 0.01682, "eV/atom", "16.760 [16.700, 16.820]"),
        (16.9234, 13.0, 20.0, "eV/atom", "16923 [13000, 20000]"),
        (0.03846, 0.0380, 0.0390, "eV/Å", "38.46 [38.00, 39.00]"),
        (0.167 / EV_PER_A3_IN_GPA, 0.150 / EV_PER_A3_IN_GPA, 0.180 / EV_PER_A3_IN_GPA, "eV/Å³", "0.167 [0.150, 0.180]"),
        (0.0234, 0.021, 0.026, "µB", "0.0234 [0.0210, 0.0260]"),
        (0.1, 0.09, 0.11, "eV/atom", "100 [90, 110]"),
        (-8.4, -9.5, -7.0, "1", "−8.4 [−9.5, −7.0]"),
        (0.005, -0.2, 0.2, "1", "0.01 [−0.20, 0.20]"),
        (-0.001, -0.2, 0.2, "1", "0.00 [−0.20, 0.20]"),
        (0.1423, None, None, "eV/atom", "142"),
        (0.001423, None, None, "eV/atom", "1.42"),
        (16.9234, None, None, "eV/atom", "16923"),
        (0.0, None, None, "eV/atom", "0"),
        (0.0, 0.0, 0.0, "eV/atom", "0 [0, 0]"),
        (0.1423, 0.1423, 0.1423, "eV/atom", "142 [142, 142]"),
        (1.7577e23, None, None, "1", "1.76e23"),
        (2.9e8, -7.004e8, 5.2e8, "1", "2.90e8 [−7.00e8, 5.20e8]"),
        (9.9e6, None, None, "1", "9900000"),
    ],
)  # fmt: skip
def test_worked_examples(value, low, high, unit, text):
    assert str(show(value, low, high, unit)) == text


@given(
    st.floats(-1e3, 1e3),
    st.floats(1e-7, 1e3),
    st.sampled_from(sorted(RENDERED)),
)
def test_rounding_moves_a_number_by_less_than_a_tenth_of_its_interval(value, half, unit):
    shown = show(value, value - half, value + half, unit)
    moved = abs(float(shown.value.replace("−", "-")) - scaled(value, unit))
    assert moved <= max(0.051 * scaled(half, unit), 0.5 * 10**-MAX_DECIMALS * 1.001, 1e-9 * abs(scaled(value, unit)))


@given(st.floats(-1e3, 1e3), st.floats(1e-7, 1e3))
def test_value_and_interval_have_the_same_decimals(value, half):
    shown = show(value, value - half, value + half, "eV/atom")
    numbers = [shown.value, *shown.interval.strip("[]").split(", ")]
    assert len({len(number.partition(".")[2]) for number in numbers}) == 1


def test_an_interval_of_rounding_noise_does_not_blow_up_the_digits():
    assert str(show(1e-14, 0.9e-14, 1.1e-14, "eV/atom")) == "<0.000001"
    assert str(show(1e-14, -1.0, 1.0, "1")) == "0.0 [−1.0, 1.0]"
    assert str(show(0.0, -2.3e-14, 2.2e-14, "1")) == str(show(-2e-14, -3e-14, -1e-14, "1")) == "0 [0, 0]"


@pytest.mark.parametrize(
    ("unit", "shown"), [("eV/atom", "meV/atom"), ("eV/Å", "meV/Å"), ("eV/Å³", "GPa"), ("µB", "µB"), ("1", "")]
)
def test_units_are_those_of_the_table(unit, shown):
    assert shown_unit(unit) == shown


def test_an_unknown_unit_is_a_bug_not_a_guess():
    with pytest.raises(KeyError):
        show(1.0, None, None, "kcal/mol")


@pytest.mark.parametrize(("value", "text"), [(-0.04, "0.0"), (-0.06, "-0.1"), (0.0, "0.0"), (12.345, "12.3")])
def test_fixed_has_no_negative_zero(value, text):
    assert fixed(value, 1) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(1.0, "100 %"), (0.99999, "99.9 %"), (0.9375, "93.8 %"), (0.0001, "0.1 %"), (0.0, "0 %")],
)
def test_only_everything_is_a_hundred_percent(fraction, text):
    assert percent(fraction) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.142, "142"), (2e-5, "0.0200"), (9e-6, "<0.01"), (1e-300, "<0.01"), (0.0, "0"), (16.9, "16900")],
)
def test_little_room_makes_short_numbers(value, text):
    assert compact(value, "eV/atom") == text

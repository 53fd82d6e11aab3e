"""Wrong units and signs are named with their cause; bad but honest predictions are left in peace."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from xferbench import mistakes
from xferbench.functionals import Functional
from xferbench.measure import sample
from xferbench.mistakes import (
    ENERGY_FACTORS,
    FOLLOWED,
    FORCE_FACTORS,
    STRESS_FACTORS,
    followed_in_squares,
    robust_slope,
)
from xferbench.results import Corrections, Identity, IdentityEntry
from xferbench.scoring.suspicions import (
    correction_suspicion,
    identity_suspicion,
    slope_suspicion,
    suspect,
)
from xferbench.tasks.rows import Rows
from xferbench.units import stress_from_gpa, stress_from_vasp_kbar

RNG = np.random.default_rng(0)
LABEL = RNG.normal(size=(200, 3))


def rows(factor: float, noise: float = 0.3):
    """Labels times a factor, softened by 20 %, with relative noise."""
    return sample(factor * (0.8 * LABEL + noise * RNG.normal(size=LABEL.shape)), LABEL)


class TestSlopes:
    @pytest.mark.parametrize(
        ("name", "factors"), [("stress", STRESS_FACTORS), ("forces", FORCE_FACTORS), ("energies", ENERGY_FACTORS)]
    )
    def test_every_known_mistake_is_named(self, name, factors):
        for cause, factor in list(factors.items())[1:]:
            assert slope_suspicion(name, rows(factor), factors).endswith(f"it looks as if {cause}")

    def test_a_bad_potential_is_not_told_that_its_unit_is_wrong(self):
        assert slope_suspicion("forces", rows(34.7 / 0.8), FORCE_FACTORS).endswith("check unit and sign")

    @pytest.mark.parametrize("factor", [0.3, 0.6, 1.0, 1.5, 3.0])
    @pytest.mark.parametrize("factors", [STRESS_FACTORS, FORCE_FACTORS, ENERGY_FACTORS], ids="sfe")
    def test_too_soft_or_too_hard_is_no_suspicion(self, factor, factors):
        assert slope_suspicion("x", rows(factor / 0.8), factors) is None

    def test_units_of_stress_are_those_of_the_converters(self):
        assert "kBar with VASP's sign" in slope_suspicion(
            "stress", sample(LABEL, stress_from_vasp_kbar(LABEL)), STRESS_FACTORS
        )
        assert "in GPa instead" in slope_suspicion("stress", sample(LABEL, stress_from_gpa(LABEL)), STRESS_FACTORS)

    def test_an_unknown_factor_is_told_without_a_cause(self):
        assert slope_suspicion("forces", rows(10.0, 0.1), FORCE_FACTORS).endswith("check unit and sign")
        assert "8" in slope_suspicion("forces", rows(10.0, 0.0), FORCE_FACTORS)

    def test_noise_is_no_evidence(self):
        noise = sample(-160 * RNG.normal(size=LABEL.shape), LABEL)
        assert slope_suspicion("stress", noise, STRESS_FACTORS) is None

    def test_nothing_predicted_or_all_zero_is_no_evidence(self):
        assert slope_suspicion("stress", None, STRESS_FACTORS) is None
        assert slope_suspicion("stress", sample(np.zeros_like(LABEL), LABEL), STRESS_FACTORS) is None
        assert slope_suspicion("stress", sample(LABEL, np.zeros_like(LABEL)), STRESS_FACTORS) is None

    def test_a_few_wild_frames_hide_nothing(self):
        prediction = -0.9 * LABEL
        prediction[:20] = 1e6
        slope, _ = robust_slope(prediction.ravel(), LABEL.ravel())
        assert slope == pytest.approx(-0.9, rel=0.1)


class TestSmallLabelsThatAreShifted:
    """Stresses of a source model against target labels: the few large ones follow, the many small ones are shifted."""

    LABEL = np.concatenate([10 * RNG.normal(size=(20, 3)), 0.3 * RNG.normal(size=(180, 3))])
    PREDICTION = 0.8 * LABEL - 1.0

    def test_absolute_values_alone_would_see_no_line(self):
        slope, followed = robust_slope(self.PREDICTION.ravel(), self.LABEL.ravel())
        assert followed < FOLLOWED < followed_in_squares(self.PREDICTION.ravel(), self.LABEL.ravel(), slope)

    @pytest.mark.parametrize("cause", list(STRESS_FACTORS)[1:])
    def test_every_mistake_is_named_all_the_same(self, cause):
        broken = sample(STRESS_FACTORS[cause] * self.PREDICTION, self.LABEL)
        assert slope_suspicion("stress", broken, STRESS_FACTORS).endswith(f"it looks as if {cause}")

    def test_the_unbroken_predictions_are_no_suspicion(self):
        assert slope_suspicion("stress", sample(self.PREDICTION, self.LABEL), STRESS_FACTORS) is None


class TestFollowedInSquares:
    def test_it_is_what_the_least_squares_line_of_numpy_leaves(self):
        prediction, label = RNG.normal(size=51), RNG.normal(size=51)
        (slope,), (rest,), *_ = np.linalg.lstsq(label[:, None], prediction, rcond=None)
        expected = 1 - np.sqrt(rest) / np.linalg.norm(prediction)
        assert followed_in_squares(prediction, label, slope) == pytest.approx(expected)

    def test_a_line_of_the_other_sign_is_none(self):
        assert followed_in_squares(LABEL.ravel(), LABEL.ravel(), -1.0) == 0.0
        assert followed_in_squares(LABEL.ravel(), LABEL.ravel(), 1.0) == pytest.approx(1.0)

    def test_it_has_no_unit(self):
        prediction = (LABEL + 0.5).ravel()
        once = followed_in_squares(prediction, LABEL.ravel(), 1.0)
        assert followed_in_squares(1e90 * prediction, LABEL.ravel(), 1.0) == pytest.approx(once)


def test_examples_in_docstrings_are_true():
    assert doctest.testmod(mistakes, extraglobs={"np": np}) == (0, 2)


def test_the_robust_slope_has_the_least_absolute_error():
    prediction, label = RNG.normal(size=51), RNG.normal(size=51)
    slope, followed = robust_slope(prediction, label)
    errors = [np.abs(prediction - a * label).sum() for a in np.linspace(slope - 1, slope + 1, 401)]
    least = np.abs(prediction - slope * label).sum()
    assert least <= min(errors) + 1e-12
    assert followed == pytest.approx(1 - least / np.abs(prediction).sum())


def identity(*, loses: bool) -> Identity:
    numbers = {"n_frames": 9, "n_materials": 4, "softening": 0.8, "uncorrected": 0.0, "reason": None}
    entries = (
        IdentityEntry(quantity="forces", value=3.0, ci_low=-9.0, ci_high=9.0, verdict="undecided", **numbers),
        IdentityEntry(quantity="stress", value=0.02, ci_low=-0.3, ci_high=0.4, verdict="PBE", **numbers),
    )
    return Identity(verdict="PBE", declared_loses=loses, entries=entries)


def test_a_lost_declaration_is_told_with_the_evidence_that_decided():
    text = identity_suspicion(identity(loses=True), Functional("r2SCAN"))
    assert text.startswith("the model declares r2SCAN, but its predictions follow the PBE labels")
    assert "stress λ = 0.02 [-0.30, 0.40]" in text
    assert "forces" not in text
    assert identity_suspicion(identity(loses=False), Functional("PBE")) is None


def test_all_suspicions_come_together_and_numbers_stay():
    table = {
        ("differences", "none"): Rows(sample([1.0], [1.0]), 1, None),
        ("forces", "none"): Rows(rows(-1.0), 200, None),
        ("stress", "none"): Rows(None, 0, "none"),
    }
    before = table["forces", "none"].sample.prediction.copy()
    found = suspect(table, identity(loses=True), None, Functional("r2SCAN"))
    assert found[0].startswith("forces: ")
    assert len(found) == 2
    assert (table["forces", "none"].sample.prediction == before).all()


def corrections(verdict, declared, value=0.97):
    return Corrections(
        verdict=verdict, declared=declared, value=value, ci_low=value - 0.1, ci_high=value + 0.1,
        n_frames=90, n_materials=30, n_unknown=2, reason=None,
    )  # fmt: skip


class TestCorrections:
    def test_corrections_nobody_declared_are_told_with_their_share(self):
        for declared in (None, "none"):
            text = correction_suspicion(corrections("corrected", declared))
            assert "hold the MP2020 corrections" in text
            assert "0.97 [0.87, 1.07] of them" in text

    def test_declared_corrections_that_are_not_there_are_told(self):
        text = correction_suspicion(corrections("uncorrected", "MP2020", 0.02))
        assert text.startswith("the card declares energies with MP2020 corrections, but the predictions hold 0.02")

    @pytest.mark.parametrize(
        ("verdict", "declared"),
        [
            ("corrected", "MP2020"), ("uncorrected", "none"), ("uncorrected", None), ("undecided", "MP2020"),
            ("not_identifiable", None), ("not_identifiable", "MP2020"),
        ],
    )  # fmt: skip
    def test_what_agrees_or_is_open_is_no_suspicion(self, verdict, declared):
        assert correction_suspicion(corrections(verdict, declared)) is None

    def test_it_joins_the_others(self):
        table = {(name, "none"): Rows(None, 0, "none") for name in ("differences", "forces", "stress")}
        (found,) = suspect(table, identity(loses=False), corrections("corrected", None), Functional("PBE"))
        assert "MP2020" in found

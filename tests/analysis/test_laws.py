"""Laws of the whole analysis: what must not matter does not, and what must matter does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xferbench.analysis import Settings, analyze
from xferbench.records import Geometry

SETTINGS = Settings(n_resamples=30)
ENERGIES = ("energy/raw", "energy/in-sample", "energy/out-of-sample", "composition")
CORRELATIONS = ("pearson", "spearman")


class Changed:
    """A data set whose pairs are changed on the way."""

    def __init__(self, data, change, *, reverse=False):
        self.data, self.change, self.reverse = data, change, reverse

    def __getattr__(self, name):
        return getattr(self.data, name)

    def iter_pairs(self):
        pairs = [self.change(pair) for pair in self.data.iter_pairs()]
        return iter(pairs[::-1] if self.reverse else pairs)


def scaled(pair, factor):
    sides = [replace(frame, energy=frame.energy * factor) for frame in (pair.source, pair.target)]
    return replace(pair, source=sides[0], target=sides[1])


def shifted(pair, shift):
    """The target energy with a constant per element added."""
    moved = pair.target.energy + sum(shift[int(number)] for number in pair.target.numbers)
    return replace(pair, target=replace(pair.target, energy=moved))


@pytest.fixture(scope="module")
def plain(synthetic_dataset):
    return analyze(synthetic_dataset, SETTINGS)


def test_the_order_of_pairs_is_irrelevant(plain, synthetic_dataset):
    other = analyze(Changed(synthetic_dataset, lambda pair: pair, reverse=True), SETTINGS)
    for key, table in plain.tables.items():
        for item in table.estimates:
            again = other.find(key, item.name)
            assert (again.n_pairs, again.n_clusters) == (item.n_pairs, item.n_clusters)
            for name in ("value", "ci_low", "ci_high"):
                assert getattr(again, name) == pytest.approx(getattr(item, name), abs=1e-9), (key, item.name, name)


def test_elemental_constants_matter_to_raw_energies_and_to_nothing_else(plain, synthetic_dataset):
    shift = {3: -7.0, 8: 1.0, 12: -30.0, 17: -50.0}
    other = analyze(Changed(synthetic_dataset, lambda pair: shifted(pair, shift)), SETTINGS)
    assert other.find("energy/raw", "mae").value > plain.find("energy/raw", "mae").value + 1
    for key in ENERGIES[1:]:
        for item in plain.tables[key].estimates:
            assert other.find(key, item.name).value == pytest.approx(item.value, abs=1e-7), (key, item.name)
    for before, after in zip(plain.elements, other.elements, strict=True):
        number = {"Li": 3, "O": 8, "Mg": 12, "Cl": 17}[before.symbol]
        assert after.shift.value - before.shift.value == pytest.approx(shift[number])
        assert after.shift.ci_low - before.shift.ci_low == pytest.approx(shift[number])


def test_the_unit_of_energy_scales_gaps_and_leaves_correlations(plain, synthetic_dataset):
    other = analyze(Changed(synthetic_dataset, lambda pair: scaled(pair, 2.0)), SETTINGS)
    for key in ENERGIES:
        assert other.find(key, "mae").value == pytest.approx(2 * plain.find(key, "mae").value)
        for name in CORRELATIONS:
            assert other.find(key, name).value == pytest.approx(plain.find(key, name).value, abs=1e-9)


def test_a_functional_agrees_with_itself_perfectly(synthetic_dataset):
    def copied(pair):
        labels = {name: getattr(pair.source, name) for name in ("energy", "forces", "stress", "magmoms")}
        return replace(pair, target=replace(pair.target, **labels))

    got = analyze(Changed(synthetic_dataset, copied), SETTINGS)
    for key in ENERGIES:
        assert got.find(key, "pearson").value == pytest.approx(1)
        assert got.find(key, "slope").value == pytest.approx(1)
        assert got.find(key, "mae").value == pytest.approx(0, abs=1e-12)
    assert got.find("composition", "same_order").value == 1
    assert got.find("forces", "cosine").value == pytest.approx(1)
    assert got.find("magmoms", "sign_flips").value == 0
    np.testing.assert_allclose([row.shift.value for row in got.elements], 0, atol=1e-12)


def test_copies_of_a_material_add_no_certainty(make_pairs, synthetic_dataset):
    def twice():
        for pair in synthetic_dataset.iter_pairs():
            yield pair
            yield pair

    doubled = Changed(synthetic_dataset, lambda pair: pair)
    doubled.iter_pairs = twice
    one, two = analyze(synthetic_dataset, SETTINGS), analyze(doubled, SETTINGS)
    for name in ("pearson", "mae"):
        item, again = one.find("energy/raw", name), two.find("energy/raw", name)
        assert again.n_pairs == 2 * item.n_pairs
        assert (again.ci_low, again.ci_high) == pytest.approx((item.ci_low, item.ci_high))


def test_pairs_on_two_geometries_compare_energies_only(synthetic_dataset):
    got = analyze(Changed(synthetic_dataset, lambda pair: replace(pair, geometry=Geometry.SAME_MATERIAL)), SETTINGS)
    assert got.find("energy/raw", "pearson").value is not None
    for key in ("forces", "stress", "magmoms"):
        assert got.counts.missing[key] == {"the two geometries differ": got.counts.pairs}
        assert got.find(key, "mae").value is None


def test_every_interval_holds_its_value_or_says_nothing(plain):
    for key, table in plain.tables.items():
        for item in table.estimates:
            if item.ci_low is not None and item.name not in {"pearson", "spearman", "r_squared", "r_squared_identity"}:
                slack = 1e-9 + abs(item.ci_high - item.ci_low)
                assert item.ci_low - slack <= item.value <= item.ci_high + slack, (key, item.name)

"""Models of known identity: what λ says of them, how often its interval is right, and what it refuses to say."""

from __future__ import annotations

import doctest
from dataclasses import replace

import numpy as np
import pytest

from xferbench.functionals import Functional, Pair
from xferbench.labels import Labels, Values
from xferbench.measure import ClusterBootstrap, sum_by
from xferbench.measure import identity as module
from xferbench.measure.identity import fit, sums
from xferbench.records import Geometry, Prediction
from xferbench.results import IdentityEntry
from xferbench.scoring.identity import identify, joint, verdict
from xferbench.tasks import Bootstrap
from xferbench.tasks.rows import Joined, energies
from xferbench.units import stress_from_gpa

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))
PLAN = Bootstrap(n=300, seed=0, confidence=0.95)
rng = np.random.default_rng(0)
GGA = rng.normal(size=(500, 3))
R2SCAN = GGA * 1.03 + 0.1 * rng.normal(size=GGA.shape)


def fitted(model, source=GGA, target=R2SCAN):
    return fit(sums(model, source, target))


class TestFit:
    @pytest.mark.parametrize("share", [0.0, 0.3, 1.0, 1.4])
    @pytest.mark.parametrize("softening", [0.6, 1.0, 1.2])
    def test_without_noise_identity_and_softening_are_exact(self, share, softening):
        found = fitted(softening * (GGA + share * (R2SCAN - GGA)))
        assert found.value == pytest.approx(share, abs=1e-9)
        assert found.softening == pytest.approx(softening)

    def test_it_is_the_least_squares_fit_of_numpy(self):
        model = GGA + rng.normal(size=GGA.shape)
        design = np.stack([GGA.ravel(), (R2SCAN - GGA).ravel()], axis=1)
        (slope, part), *_ = np.linalg.lstsq(design, model.ravel(), rcond=None)
        found = fitted(model)
        assert found.softening == pytest.approx(slope)
        assert found.value == pytest.approx(part / slope)

    def test_the_plain_projection_is_shifted_by_softening_as_derived(self):
        gap, softening, share = R2SCAN - GGA, 0.8, 1.0
        shift = (softening - 1) * (GGA * gap).sum() / (gap * gap).sum()
        found = fitted(softening * (GGA + share * gap))
        assert found.uncorrected == pytest.approx(softening * share + shift)
        assert found.uncorrected < 0.5  # an target model that the projection takes for a source one
        assert found.value == pytest.approx(1.0)

    def test_above_one_half_means_nearer_to_r2scan_at_the_fitted_softening(self):
        for share in (0.4, 0.6):
            model = 0.7 * (GGA + share * (R2SCAN - GGA)) + 0.01 * rng.normal(size=GGA.shape)
            found = fitted(model)
            near = [((model - found.softening * side) ** 2).sum() for side in (GGA, R2SCAN)]
            assert (found.value > 0.5) == (near[1] < near[0])

    def test_sums_of_frames_add_up(self):
        parts = sum(sums(m, g, r) for m, g, r in zip(0.9 * R2SCAN, GGA, R2SCAN, strict=True))
        assert parts == pytest.approx(sums(0.9 * R2SCAN, GGA, R2SCAN))

    def test_labels_that_differ_by_a_factor_cannot_tell(self):
        found = fitted(GGA, GGA, 1.1 * GGA)
        assert np.isnan(found.value)
        assert np.isnan(found.softening)
        assert found.uncorrected == pytest.approx(0.0)

    def test_predictions_of_the_wrong_sign_have_no_identity(self):
        assert np.isnan(fitted(-R2SCAN).value)
        assert fitted(-R2SCAN).softening == pytest.approx(-1.0)

    def test_examples_in_docstrings_are_true(self):
        outcome = doctest.testmod(module, extraglobs={"np": np})
        assert (outcome.failed, outcome.attempted) == (0, 7)


class TestTheory:
    """The formulas of docs/identity.md."""

    def test_bias_and_variance_of_the_projection(self):
        error, gap = 0.4, R2SCAN - GGA
        draws = [fitted(GGA + error * rng.normal(size=GGA.shape)).uncorrected for _ in range(400)]
        assert np.mean(draws) == pytest.approx(0.0, abs=4 * np.std(draws) / 20)
        assert np.std(draws) == pytest.approx(error / np.sqrt((gap**2).sum()), rel=0.15)

    def test_variance_of_the_corrected_identity(self):
        error, gap, share = 0.05, R2SCAN - GGA, 1.0
        beyond = (gap**2).sum() - (gap * GGA).sum() ** 2 / (GGA**2).sum()
        draws = [fitted(R2SCAN + error * rng.normal(size=GGA.shape)).value for _ in range(400)]
        length = ((GGA + share * gap) ** 2).sum() / (GGA**2).sum()
        assert np.std(draws) == pytest.approx(error / np.sqrt(beyond) * np.sqrt(length), rel=0.15)

    def test_noise_of_the_labels_pulls_towards_one_half(self):
        noise = 0.1
        draws = []
        for _ in range(100):
            source, target = (side + noise * rng.normal(size=GGA.shape) for side in (GGA, R2SCAN))
            draws.append(fitted(GGA, source, target).uncorrected)
        gap = ((R2SCAN - GGA) ** 2).mean()
        assert np.mean(draws) == pytest.approx(noise**2 / (gap + 2 * noise**2), rel=0.1)

    def test_error_along_the_gap_is_taken_for_identity(self):
        assert fitted(GGA + 0.4 * (R2SCAN - GGA)).value == pytest.approx(0.4)


def clustered(seed: int, share: float, n_materials: int = 40, error: float = 0.15):
    """(n_materials, 5) sums of materials of one to four frames of four atoms, with errors that frames of one share."""
    draw = np.random.default_rng(seed)
    frames, material = [], []
    for i in range(n_materials):
        common = error * draw.normal(size=12)
        for _ in range(draw.integers(1, 5)):
            source = draw.normal(size=12)
            gap = 0.03 * source + 0.15 * draw.normal(size=12)
            model = 0.8 * (source + share * gap) + common + error * draw.normal(size=12)
            frames.append(sums(model, source, source + gap))
            material.append(i)
    return sum_by(np.array(frames), np.array(material), n_materials)


def entry(quantity, verdict, low=None, high=None) -> IdentityEntry:
    return IdentityEntry(
        quantity=quantity,
        value=None,
        ci_low=low,
        ci_high=high,
        softening=None,
        uncorrected=None,
        n_frames=0,
        n_materials=0,
        verdict=verdict,
        reason=None,
    )


class TestVerdicts:
    def test_the_interval_must_lie_on_one_side_of_one_half(self):
        assert verdict(0.51, 0.9, PAIR) == "r2SCAN"
        assert verdict(-3.0, 0.49, PAIR) == "PBE(+U)"
        assert verdict(0.2, 0.9, PAIR) == "undecided"

    @pytest.mark.parametrize(
        ("energy", "forces", "stress", "all_together"),
        [
            ("PBE(+U)", "undecided", "undecided", "PBE(+U)"),
            ("r2SCAN", "r2SCAN", "r2SCAN", "r2SCAN"),
            ("PBE(+U)", "undecided", "r2SCAN", "undecided"),
            ("undecided", "undecided", "undecided", "undecided"),
        ],
    )
    def test_quantities_that_contradict_each_other_decide_nothing(self, energy, forces, stress, all_together):
        found = [entry("energy", energy), entry("forces", forces), entry("stress", stress)]
        assert joint(found, PAIR) == all_together

    @pytest.mark.parametrize(
        ("interval", "all_together"), [((0.2, 1.1), "r2SCAN"), ((-0.3, 0.9), "undecided"), ((None, None), "r2SCAN")]
    )
    def test_the_stress_alone_decides_nothing_that_the_energy_excludes(self, interval, all_together):
        """r²SCAN is λ = 1, which an interval that ends at 0.9 does not hold."""
        assert joint([entry("energy", "undecided", *interval), entry("stress", "r2SCAN")], PAIR) == all_together
        beside = [entry("energy", "undecided", *interval), entry("stress", "r2SCAN"), entry("forces", "r2SCAN")]
        assert joint(beside, PAIR) == "r2SCAN"

    @pytest.mark.parametrize(("share", "right"), [(0.0, "PBE(+U)"), (1.0, "r2SCAN")])
    def test_intervals_hold_the_truth_and_verdicts_are_hardly_ever_wrong(self, share, right):
        bootstrap = ClusterBootstrap(n_clusters=40, n_resamples=300, seed=1, confidence=0.95)
        held, verdicts = 0, []
        for seed in range(150):
            totals = clustered(seed, share)
            low, high = bootstrap.interval(fit(bootstrap.resample(totals)).value, 40)
            held += low <= share <= high
            verdicts.append(verdict(low, high, PAIR))
        assert 0.88 <= held / 150 <= 0.99
        assert verdicts.count(right) > 0.8 * 150
        assert verdicts.count({"PBE(+U)": "r2SCAN", "r2SCAN": "PBE(+U)"}[right]) == 0

    def test_a_model_in_the_middle_is_seldom_decided(self):
        bootstrap = ClusterBootstrap(n_clusters=40, n_resamples=300, seed=1, confidence=0.95)
        decided = 0
        for seed in range(100):
            interval = bootstrap.interval(fit(bootstrap.resample(clustered(seed, 0.5))).value, 40)
            decided += verdict(*interval, PAIR) != "undecided"
        assert decided <= 12  # nominally 5


def predicted(frame, pair, share: float, softening: float = 1.0, seed: int = 0) -> Prediction:
    """Between the labels of the pair, with another energy zero and a little noise."""
    noise = np.random.default_rng(seed)
    mix = {
        name: softening * ((1 - share) * getattr(pair.source, name) + share * getattr(pair.target, name))
        for name in ("forces", "stress")
    }
    offset = sum({3: 0.3, 8: -2.0, 12: 1.0, 17: 4.0}[z] for z in frame.numbers.tolist())
    return Prediction(
        frame_id=frame.frame_id,
        energy=(1 - share) * pair.source.energy + share * pair.target.energy + offset,
        forces=mix["forces"] + 1e-3 * noise.normal(size=mix["forces"].shape),
        stress=mix["stress"] + 1e-5 * noise.normal(size=(3, 3)),
    )


@pytest.fixture(scope="module")
def deformed(make_pairs):
    """Synthetic pairs whose target side differs by more than a factor: stress and energy along other directions."""

    def other(pair, i):
        change = np.random.default_rng(i)
        source, target = pair.source, pair.target
        return replace(
            pair,
            target=replace(
                target,
                energy=target.energy + 0.05 * change.normal() * target.n_atoms,
                forces=source.forces + 0.05 * change.normal(size=source.forces.shape),
                stress=source.stress + 0.02 * np.diag(change.normal(size=3)),
            ),
            source=replace(source, energy=source.energy + 0.2 * change.normal() * source.n_atoms),
        )

    return [other(pair, i) for i, pair in enumerate(make_pairs())]


def judge(
    pairs, share: float, *, declared=Functional("r2SCAN"), side="target", change=lambda record: record, **options
):
    records = {
        pair.pair_id: predicted(getattr(pair, side), pair, share, seed=i, **options) for i, pair in enumerate(pairs)
    }
    test, calibration = (
        Joined(
            labels=Labels.of_pairs(part),
            side=side,
            predicted=Values.of([change(records[pair.pair_id]) for pair in part]),
        )
        for part in (pairs[:21], pairs[21:])
    )
    found = energies(test, calibration, None, PLAN)
    return identify(test, calibration, found, functionals=PAIR, declared=declared, plan=PLAN)


def by_quantity(found):
    return {entry.quantity: entry for entry in found.entries}


class TestIdentity:
    @pytest.mark.parametrize(("share", "right"), [(0.0, "PBE(+U)"), (1.0, "r2SCAN")])
    @pytest.mark.parametrize("side", ["source", "target"])
    def test_a_model_is_known_by_any_quantity_on_the_frames_of_either_functional(self, deformed, share, right, side):
        found = judge(deformed, share, side=side)
        assert found.verdict == right
        assert found.declared_loses == (right == "PBE(+U)")
        assert [entry.quantity for entry in found.entries] == ["energy", "forces", "stress"]
        for entry in found.entries:
            assert entry.verdict == right
            assert entry.value == pytest.approx(share, abs=0.1)
            assert entry.ci_low <= entry.value <= entry.ci_high

    def test_softening_does_not_move_it(self, deformed):
        entries = by_quantity(judge(deformed, 1.0, softening=0.7))
        assert entries["stress"].value == pytest.approx(1.0, abs=0.1)
        assert entries["stress"].softening == pytest.approx(0.7, abs=0.05)

    @pytest.mark.parametrize("pressure", [-3.0, -1.0, 2.5])
    @pytest.mark.parametrize("share", [0.0, 1.0])
    def test_a_common_pressure_does_not_move_the_stress_at_all(self, deformed, share, pressure):
        """In GPa: the fit takes it out exactly."""

        def biased(record):
            return replace(record, stress=record.stress + stress_from_gpa(pressure) * np.eye(3))

        plain, moved = (by_quantity(judge(deformed, share, change=change)) for change in (lambda item: item, biased))
        assert moved["stress"].value == pytest.approx(plain["stress"].value)
        assert moved["stress"].softening == pytest.approx(plain["stress"].softening)
        assert moved["stress"].ci_high == pytest.approx(plain["stress"].ci_high)
        assert moved["stress"].verdict == plain["stress"].verdict

    def test_declaring_pbe_or_pbe_u_is_declaring_gga(self, deformed):
        assert not judge(deformed, 0.0, declared=Functional("PBE+U")).declared_loses
        assert judge(deformed, 1.0, declared=Functional("PBE")).declared_loses

    def test_frames_without_forces_by_symmetry_decide_nothing(self, deformed):
        entries = by_quantity(judge(deformed, 1.0))
        assert entries["forces"].n_frames == 21
        still = [
            replace(
                pair,
                source=replace(pair.source, forces=0 * pair.source.forces),
                target=replace(pair.target, forces=1e-17 + 0 * pair.source.forces),
            )
            if i % 3
            else pair
            for i, pair in enumerate(deformed)
        ]
        assert by_quantity(judge(still, 1.0))["forces"].n_frames == 7

    def test_failed_and_missing_predictions_are_left_out(self, deformed):
        bare = judge(deformed, 1.0, change=lambda record: Prediction(frame_id=record.frame_id, energy=record.energy))
        assert by_quantity(bare)["energy"].verdict == "r2SCAN"
        assert by_quantity(bare)["forces"].reason == "no test pair of one geometry has a prediction and both labels"
        assert bare.verdict == "r2SCAN"

    def test_a_model_without_energies_is_known_by_the_rest(self, deformed):
        mute = by_quantity(judge(deformed, 1.0, change=lambda record: replace(record, energy=None)))
        assert mute["energy"].value is None
        assert mute["forces"].verdict == "r2SCAN"

    def test_zero_predictions_follow_nobody(self, deformed):
        zero = judge(deformed, 1.0, change=lambda r: replace(r, forces=0 * r.forces, stress=0 * r.stress))
        for name in ("forces", "stress"):
            entry = by_quantity(zero)[name]
            assert (entry.value, entry.verdict) == (None, "undecided")
            assert entry.reason == "the predictions do not follow the labels"

    def test_pairs_of_two_geometries_say_nothing(self, deformed):
        found = judge([replace(pair, geometry=Geometry.SAME_MATERIAL) for pair in deformed], 1.0)
        assert found.verdict == "undecided"
        assert {entry.reason for entry in found.entries} == {
            "no test pair of one geometry has a prediction and both labels"
        }

    def test_labels_that_agree_say_nothing(self, deformed):
        same = [replace(pair, source=replace(pair.target, frame_id=pair.source.frame_id)) for pair in deformed]
        assert by_quantity(judge(same, 1.0))["stress"].reason == "the labels do not differ, or only by a factor"

    def test_a_single_material_has_a_value_and_no_verdict(self, deformed):
        one = [
            replace(pair, target=replace(pair.target, material_id="m"), source=replace(pair.source, material_id="m"))
            for pair in deformed
        ]
        entry = by_quantity(judge(one, 1.0))["stress"]
        assert entry.value == pytest.approx(1.0, abs=0.1)
        assert (entry.ci_low, entry.verdict) == (None, "undecided")
        assert entry.reason == "no interval: fewer than 5 materials carry it"

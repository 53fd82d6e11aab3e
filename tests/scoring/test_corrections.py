"""Models that hold known parts of the corrections are found out; where nothing tells, nothing is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xferbench.functionals import Functional, Pair
from xferbench.labels import Labels, Values
from xferbench.records import Frame, FramePair, Geometry, Prediction
from xferbench.references import mp2020
from xferbench.results import ModelFacts
from xferbench.scoring.corrections import (
    FEWEST,
    NOTHING,
    OTHER_ERROR,
    Evidence,
    detect,
    gather,
    judge,
    without_elements,
)
from xferbench.tasks import Bootstrap
from xferbench.tasks.rows import Joined

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))
PLAN = Bootstrap(n=300, seed=0, confidence=0.95)
METALS = {"Li": 3, "Na": 11, "Mg": 12, "Ca": 20, "Al": 13, "Mn": 25}
ANIONS = {"O": 8, "S": 16, "F": 9, "Cl": 17}
OFFSETS = np.random.default_rng(0).normal(0, 5, 119)


def made(name, numbers, functional=Functional("PBE"), *, o_o=2.8, copy=0):
    positions = np.array([[0.0, 0.0, 4.0 * i] for i in range(len(numbers))])
    sites = [i for i, number in enumerate(numbers) if number == 8]
    for first, second in zip(sites[::2], sites[1::2], strict=False):
        positions[second] = positions[first] + [o_o, 0.0, 0.0]
    energy = -3.0 * len(numbers) + 0.1 * copy
    return Frame(
        frame_id=f"{name}-{copy}-{functional}",
        pair_id=f"{name}-{copy}",
        material_id=name,
        functional=functional,
        numbers=np.array(numbers),
        positions=positions,
        cell=np.eye(3) * 4.0 * (len(numbers) + 3),
        energy=energy,
    )


def world():
    """Elements, three stoichiometries of each metal and anion, and peroxides; Mn with +U in oxides and fluorides."""
    found = [made(name, (number, number)) for name, number in (METALS | ANIONS).items()]
    for metal, m in METALS.items():
        for anion, a in ANIONS.items():
            functional = Functional("PBE+U") if metal == "Mn" and anion in "OF" else Functional("PBE")
            found += [
                made(f"{metal}{i}{anion}{j}", (m,) * i + (a,) * j, functional, copy=copy)
                for i, j in ((1, 1), (1, 2), (2, 1))
                for copy in range(2)
            ]
        functional = Functional("PBE+U") if metal == "Mn" else Functional("PBE")
        found.append(made(f"{metal}2O2-peroxide", (m, m, 8, 8), functional, o_o=1.48))
    return found


WORLD = world()


def predicted(frames, beta, noise=0.03, seed=1):
    """Labels plus offsets of several eV, plus a part of the corrections, plus noise per atom."""
    rng = np.random.default_rng(seed)
    return joined(
        frames,
        [
            Prediction(
                frame_id=frame.frame_id,
                energy=frame.energy
                + OFFSETS[frame.numbers].sum()
                + beta * (mp2020(frame) or 0.0)
                + noise * rng.normal() * frame.n_atoms,
            )
            for frame in frames
        ],
    )


def joined(frames, predictions, pairs=None, side="source"):
    pairs = pairs or [FramePair(source=item, target=item, geometry=Geometry.SAME_GEOMETRY) for item in frames]
    return Joined(labels=Labels.of_pairs(pairs), side=side, predicted=Values.of(predictions))


def moved(part, energy):
    return replace(part, predicted=replace(part.predicted, energy=energy))


def found(part, **options):
    return detect([part], functionals=PAIR, functional=Functional("PBE"), declared=None, plan=PLAN, **options)


class TestVerdict:
    @pytest.mark.parametrize(("beta", "verdict"), [(0.0, "uncorrected"), (1.0, "corrected")])
    @pytest.mark.parametrize("seed", range(5))
    def test_models_are_told_apart(self, beta, verdict, seed):
        result = found(predicted(WORLD, beta, seed=seed))
        assert result.verdict == verdict
        assert result.ci_low <= result.value <= result.ci_high
        assert result.value == pytest.approx(beta, abs=0.25)

    def test_half_of_the_corrections_is_neither(self):
        assert found(predicted(WORLD, 0.5, noise=0.1)).verdict == "undecided"

    def test_without_noise_the_part_is_exact(self):
        assert found(predicted(WORLD, 0.7, noise=0.0)).value == pytest.approx(0.7, abs=1e-10)

    def test_offsets_of_the_elements_say_nothing(self):
        part = predicted(WORLD, 1.0)
        more = part.predicted.energy + 7.0 * np.array([(frame.numbers == 8).sum() for frame in WORLD])
        assert found(moved(part, more)).value == pytest.approx(found(part).value, abs=1e-10)

    def test_a_bad_model_is_undecided_not_accused(self):
        verdicts = [found(predicted(WORLD, 0.0, noise=1.0, seed=seed)).verdict for seed in range(20)]
        assert verdicts.count("corrected") == 0

    def test_another_error_of_the_same_shape_is_no_correction(self):
        result = found(predicted(WORLD, 5.0))
        assert (result.verdict, result.reason) == ("undecided", OTHER_ERROR)


class TestIdentifiability:
    def test_one_kind_of_compound_tells_nothing(self):
        oxides = [frame for frame in WORLD if "O1" in frame.material_id and "peroxide" not in frame.material_id]
        result = found(predicted(oxides, 1.0))
        assert result.verdict == "not_identifiable"
        assert result.value is None
        assert "oxides beside peroxides, compounds beside elements" in result.reason

    def test_few_materials_tell_nothing(self):
        few = [frame for frame in WORLD if set(frame.numbers.tolist()) <= {3, 8}]
        assert found(predicted(few, 1.0)).verdict == "not_identifiable"

    def test_materials_count_beyond_the_offsets_only(self):
        result = found(predicted(WORLD, 1.0))
        assert FEWEST <= result.n_materials <= len({frame.material_id for frame in WORLD}) - 10

    def test_no_energies_are_no_evidence(self):
        result = found(moved(predicted(WORLD, 1.0), np.full(len(WORLD), np.nan)))
        assert (result.verdict, result.reason, result.n_frames) == ("not_identifiable", NOTHING, 0)

    def test_unknown_corrections_are_counted_and_left_out(self):
        unsure = made("BiOCl", (83, 8, 17))
        result = found(predicted([*WORLD, unsure], 1.0))
        assert result.n_unknown == 1
        assert result.n_frames == len(WORLD)


class TestLabels:
    def test_the_sources_own_correction_comes_first(self):
        frames = [replace(frame, correction=0.25 * frame.n_atoms * (i % 3)) for i, frame in enumerate(WORLD)]
        energy = predicted(WORLD, 0.0, noise=0.0).predicted.energy + [frame.correction for frame in frames]
        own = [Prediction(frame_id=frame.frame_id, energy=e) for frame, e in zip(frames, energy.tolist(), strict=True)]
        assert found(joined(frames, own)).value == pytest.approx(1.0)

    def test_labels_that_hold_their_corrections_are_left_out(self):
        frames = [replace(frame, provenance={"corrected": True}) for frame in WORLD]
        assert found(predicted(frames, 1.0)).n_unknown == len(WORLD)

    def test_a_gga_model_is_laid_against_gga_labels(self):
        source = WORLD[20]
        other = replace(source, frame_id="r2", functional=Functional("r2SCAN"), energy=-99.0)
        same, differ = (
            joined(
                [other],
                [Prediction(frame_id="r2", energy=source.energy + 0.5)],
                [FramePair(source=source, target=other, geometry=item)],
                side="target",
            )
            for item in (Geometry.SAME_GEOMETRY, Geometry.SAME_MATERIAL)
        )
        assert len(gather([same], "source").residual) == 1
        assert len(gather([differ], "source").residual) == 0
        assert len(gather([differ], "target").residual) == 0 + (mp2020(other) is not None)
        assert len(gather([same], None).residual) == 0

    def test_a_large_set_is_thinned_evenly(self, monkeypatch):
        monkeypatch.setattr("xferbench.scoring.corrections.MOST", 40)
        evidence = gather([predicted(WORLD, 1.0)], "source")
        assert 20 <= len(evidence.residual) <= 40


def test_what_elements_explain_is_taken_out():
    numbers = [frame.numbers for frame in WORLD]
    linear = np.array([OFFSETS[item].mean() for item in numbers])
    rest = without_elements(numbers, np.stack([linear, np.arange(len(numbers)) * 1.0], axis=1))
    assert np.abs(rest[:, 0]).max() < 1e-10
    assert np.abs(rest[:, 1]).max() > 1.0
    assert without_elements([], np.zeros((0, 2))).shape == (0, 2)


def test_intervals_hold_the_truth_and_equal_models_are_not_accused():
    """Simulated: 60 materials of two frames, ten offsets, noise common to a material."""
    rng = np.random.default_rng(3)
    held, accused = 0, 0
    for _ in range(200):
        correction = np.repeat(rng.normal(0, 0.1, 60), 2)
        noise = np.repeat(rng.normal(0, 0.05, 60), 2) + rng.normal(0, 0.02, 120)
        evidence = Evidence(
            residual=noise,
            correction=correction,
            material=[f"{i // 2:02d}" for i in range(120)],
            n_elements=10,
            n_unknown=0,
        )
        result = judge(evidence, plan=PLAN)
        held += result.ci_low <= 0.0 <= result.ci_high
        accused += result.verdict == "corrected"
    assert held >= 184
    assert accused == 0


def test_a_result_tells_models_and_not_floors(run, answers):
    result = run(answers)
    assert result.corrections.verdict == "not_identifiable"
    assert result.corrections.declared is None
    floor = ModelFacts(id="f", name="F", kind="floor", functional=Functional("r2SCAN"))
    assert run(answers, facts=floor).corrections is None

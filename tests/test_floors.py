"""Floors: their predictions by hand, and what they score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xferbench import floors
from xferbench.errors import UsageError
from xferbench.functionals import Functional
from xferbench.labels import Labels, Ragged
from xferbench.records import Frame, FramePair, Geometry, Predictions
from xferbench.registry import FLOORS, resolve
from xferbench.results import DatasetEntry, Environment
from xferbench.scoring import Expected, expected_frames, score

LI, OX, MG = 3, 8, 12
every_floor = pytest.mark.parametrize("name", floors.NAMES)


def frame(material: str, formula: tuple[int, ...], energy: float, functional=Functional("r2SCAN")) -> Frame:
    n = len(formula)
    return Frame(
        frame_id=f"{material}-{n}-{functional}",
        pair_id=f"{material}-{n}",
        material_id=material,
        functional=functional,
        numbers=np.array(formula),
        positions=np.zeros((n, 3)),
        cell=np.eye(3),
        energy=energy,
        forces=np.full((n, 3), energy),
    )


def Pairs(geometry: Geometry = Geometry.SAME_GEOMETRY, **splits) -> Expected:  # noqa: N802 - it is what it makes
    """The frames of a data set in memory."""
    made = {
        split: Labels.of_pairs(
            [
                FramePair(source=frame(m, f, source, Functional("PBE")), target=frame(m, f, target), geometry=geometry)
                for m, f, source, target in rows
            ]
        )
        for split, rows in splits.items()
    }
    return Expected(
        dataset=DatasetEntry(name="d", version="1", fingerprint="x", labels="x"),
        side="target",
        test=made["test"],
        calibration=made["train"],
        frame_ids=frozenset,
    )


TINY = {
    "train": [("Li", (LI,), -2.0, -2.5), ("O", (OX, OX), -10.0, -12.0), ("LiO", (LI, OX), -8.0, -9.5)],
    "test": [("Li2O", (LI, LI, OX), -12.0, -14.0)],
}


def by_id(predictions: Predictions) -> dict:
    return {record.frame_id: record for record in predictions.records}


def predict(name, dataset, task) -> Predictions:
    expected = dataset if isinstance(dataset, Expected) else expected_frames(task, dataset)
    return resolve("floor", name, FLOORS)(expected, task)


@pytest.fixture
def scored(synthetic_dataset, synthetic_task):
    def inner(name, task=synthetic_task):
        expected = expected_frames(task, synthetic_dataset)
        return score(
            task,
            expected,
            predict(name, expected, task),
            facts=floors.facts(name, expected, task),
            environment=Environment(python="3", platform="x", packages={}),
        )

    return inner


class TestEveryFloor:
    def test_the_registry_lists_them(self):
        assert set(FLOORS) == set(floors.NAMES)

    @every_floor
    def test_it_predicts_exactly_the_frames_of_the_task(self, name, synthetic_dataset, synthetic_task):
        records = predict(name, synthetic_dataset, synthetic_task).records
        wanted = expected_frames(synthetic_task, synthetic_dataset).frames
        assert [record.frame_id for record in records] == [item.frame_id for item in wanted]

    @every_floor
    def test_its_settings_say_what_it_is(self, name, synthetic_dataset, synthetic_task):
        settings = predict(name, synthetic_dataset, synthetic_task).settings
        assert settings == {"kind": "floor", "floor": name, "task": "synthetic-static@1"}

    @every_floor
    def test_it_is_the_same_every_time(self, name, synthetic_dataset, synthetic_task):
        first, second = (predict(name, synthetic_dataset, synthetic_task).digest() for _ in range(2))
        assert first == second

    @every_floor
    def test_it_is_scored_like_a_model(self, name, scored):
        result = scored(name)
        assert result.model.kind == "floor"
        assert result.model.id == f"floor-{name}"
        assert result.coverage == 1.0
        assert any(entry.value is not None for entry in result.metrics)

    @every_floor
    def test_test_labels_do_not_enter(self, name, synthetic_task):
        if name == "copy-source":
            moved = dict(TINY, test=[("Li2O", (LI, LI, OX), -12.0, 99.0)])
        else:
            moved = dict(TINY, test=[("Li2O", (LI, LI, OX), 99.0, 99.0)])
        before, after = (predict(name, Pairs(**rows), synthetic_task).digest() for rows in (TINY, moved))
        assert before == after


class TestReferences:
    def test_energies_are_sums_of_fitted_references(self, synthetic_task):
        rows = dict(TINY, train=TINY["train"][:2])
        found = by_id(floors.references(Pairs(**rows), synthetic_task))
        assert found["Li2O-3-r2SCAN"].energy == pytest.approx(2 * -2.5 - 6.0)
        assert found["O-2-r2SCAN"].energy == pytest.approx(-12.0)
        assert found["Li2O-3-r2SCAN"].forces is None

    def test_a_composition_that_training_leaves_open_is_an_error_not_a_guess(self, synthetic_task):
        rows = dict(TINY, test=[("MgO", (MG, OX), -9.0, -10.0)])
        found = by_id(floors.references(Pairs(**rows), synthetic_task))
        assert found["MgO-2-r2SCAN"].energy is None
        assert found["MgO-2-r2SCAN"].error == floors.NOT_DETERMINED

    def test_alignment_changes_nothing_that_was_fitted_on_the_same_frames(self, scored):
        result = scored("references")
        values = [result.metric(f"energy_mae/{reference}").value for reference in ("raw", "aligned")]
        assert values[0] == pytest.approx(values[1], rel=1e-6)
        assert result.alignment.elements == pytest.approx(dict.fromkeys(result.alignment.elements, 0.0), abs=1e-9)


class TestCopyGga:
    def test_every_label_of_the_gga_frame_is_copied(self, synthetic_dataset, synthetic_task):
        found = by_id(predict("copy-source", synthetic_dataset, synthetic_task))
        for pair in synthetic_dataset.pairs("test"):
            record = found[pair.target.frame_id]
            assert record.energy == pair.source.energy
            assert (record.forces == pair.source.forces).all()
            assert (record.stress == pair.source.stress).all()
            assert (record.magmoms is None) == (pair.source.magmoms is None)

    def test_pairs_that_share_only_the_material_copy_the_energy_per_atom(self, synthetic_task):
        record = by_id(floors.copy_source(Pairs(Geometry.SAME_MATERIAL, **TINY), synthetic_task))["Li2O-3-r2SCAN"]
        assert record.energy == pytest.approx(-12.0)
        assert record.forces is None

    def test_it_explains_exactly_nothing_of_the_gap(self, scored):
        entry = scored("copy-source").metric("gap_explained/aligned")
        assert (entry.value, entry.ci_low, entry.ci_high) == pytest.approx((0, 0, 0), abs=1e-9)

    def test_referencing_each_functional_by_itself_is_aligning_one_to_the_other(self, scored):
        result = scored("copy-source")  # least squares is linear in the labels
        referenced, aligned = (result.metric(f"energy_mae/{name}").value for name in ("referenced", "aligned"))
        assert referenced == pytest.approx(aligned, rel=1e-6)
        assert result.metric("energy_mae/raw").value > 100 * aligned

    def test_its_force_error_is_the_force_gap(self, scored, synthetic_dataset):
        gaps = [pair.target.forces - pair.source.forces for pair in synthetic_dataset.pairs("test")]
        assert scored("copy-source").metric("force_all_mae").value == pytest.approx(np.abs(np.concatenate(gaps)).mean())

    def test_it_declares_the_functional_it_copies(self, scored):
        result = scored("copy-source")
        assert result.model.functional == Functional("PBE")
        assert not result.model.declared_match

    def test_a_gga_task_has_no_such_floor(self, synthetic_dataset, synthetic_task):
        task = replace(synthetic_task, side="source")
        assert "copy-source" not in floors.available(task)
        assert floors.available(synthetic_task) == tuple(floors.NAMES)
        with pytest.raises(UsageError, match=r"would copy the answers.*labels are PBE.*; use references, ridge, zero"):
            predict("copy-source", synthetic_dataset, task)

    def test_the_other_floors_stand_on_gga_tasks(self, scored, synthetic_task):
        task = replace(synthetic_task, side="source")
        for name in floors.available(task):
            assert scored(name, task).model.declared_match


class TestRidge:
    def test_it_sees_no_more_than_the_composition(self, synthetic_dataset, synthetic_task):
        found = by_id(predict("ridge", synthetic_dataset, synthetic_task))
        energies = {}
        for item in synthetic_dataset.frames("target", "test"):
            energies.setdefault(item.material_id, set()).add(found[item.frame_id].energy)
        assert all(len(values) == 1 for values in energies.values())

    def test_products_of_fractions_let_it_beat_the_references_on_bowed_energies(self, synthetic_task):
        def energy(formula):
            x = formula.count(LI) / len(formula)
            return len(formula) * (-2.0 * x - 5.0 * (1 - x) - 4.0 * x * (1 - x))

        formulas = [(LI,) * a + (OX,) * (6 - a) for a in range(7)]
        rows = [(f"m{i}", f, 0.0, energy(f)) for i, f in enumerate(formulas)]
        dataset = Pairs(train=[*rows[:4], *rows[5:]], test=[rows[4]])
        record, other = (
            by_id(predict(name, dataset, synthetic_task))["m4-6-r2SCAN"] for name in ("ridge", "references")
        )
        truth = rows[4][3]
        assert abs(record.energy - truth) < 0.1 * abs(other.energy - truth)

    def test_an_element_without_training_frames_is_an_error(self, synthetic_task):
        rows = dict(TINY, test=[("MgO", (MG, OX), -9.0, -10.0)])
        found = by_id(floors.ridge(Pairs(**rows), synthetic_task))
        assert found["MgO-2-r2SCAN"].error == floors.NOT_DETERMINED
        assert found["LiO-2-r2SCAN"].energy is not None

    def test_too_few_materials_to_validate_still_give_energies(self, synthetic_task):
        rows = dict(TINY, train=TINY["train"][:2])
        assert by_id(floors.ridge(Pairs(**rows), synthetic_task))["Li2O-3-r2SCAN"].energy < 0

    def test_copies_of_a_material_do_not_tempt_it_to_memorise(self):
        rng = np.random.default_rng(0)
        elements = [3, 4, 5, 8, 9, 12]
        formulas = [tuple(sorted(rng.choice(elements, size=6).tolist())) for _ in range(9)]
        noise = rng.normal(size=9)  # energies that composition does not explain, the same for all copies
        frames = [frame(f"m{i}", f, 6 * noise[i]) for i, f in enumerate(formulas) for _ in range(5)]
        features = floors._features(Ragged.of([item.numbers for item in frames], None, np.int64), np.array(elements))
        scaled = StandardScaler().fit_transform(features.toarray())
        leave_one_frame_out = RidgeCV(floors.ALPHAS).fit(scaled, np.repeat(noise, 5)).alpha_
        materials = [item.material_id for item in frames]
        assert floors._strength(features, np.repeat(noise, 5), materials) >= 10 * leave_one_frame_out

    def test_its_strength_is_the_one_a_grid_search_finds(self, synthetic_dataset):
        frames = synthetic_dataset.frames("target", "train")
        numbers = Ragged.of([item.numbers for item in frames], None, np.int64)
        features = floors._features(numbers, np.array([3, 8, 12, 17]))
        energies = np.array([item.energy / item.n_atoms for item in frames])
        materials = [item.material_id for item in frames]
        folds = GroupKFold(9).split(features, groups=materials)
        pipeline = make_pipeline(StandardScaler(), Ridge(solver="svd"))
        search = GridSearchCV(pipeline, {"ridge__alpha": floors.ALPHAS}, cv=folds, scoring="neg_mean_squared_error")
        found = search.fit(features.toarray(), energies).best_params_["ridge__alpha"]
        assert floors._strength(features, energies, materials) == found

    def test_many_features_are_solved_for_without_being_made_dense(self, synthetic_dataset, monkeypatch):
        frames = synthetic_dataset.frames("target", "train")
        numbers = Ragged.of([item.numbers for item in frames], None, np.int64)
        features = floors._features(numbers, np.array([3, 8, 12, 17]))
        energies = np.array([item.energy / item.n_atoms for item in frames])
        dense = floors._Regression(features, energies, 0.1).predict(features)
        monkeypatch.setattr(floors, "FEW", 0)
        assert floors._Regression(features, energies, 0.1).predict(features) == pytest.approx(dense, rel=1e-5)


class TestZero:
    def test_derivatives_are_zero_and_there_is_no_energy(self, synthetic_dataset, synthetic_task):
        for record in predict("zero", synthetic_dataset, synthetic_task).records:
            assert record.energy is None
            assert not record.forces.any()
            assert record.stress.tolist() == [[0, 0, 0]] * 3
            assert not record.magmoms.any()

    def test_its_force_error_is_the_mean_force(self, scored, synthetic_dataset):
        forces = np.concatenate([item.forces for item in synthetic_dataset.frames("target", "test")])
        assert scored("zero").metric("force_all_mae").value == pytest.approx(np.abs(forces).mean())

    def test_energies_are_not_scored_and_say_why(self, scored):
        result = scored("zero")
        for entry in result.metrics:
            if entry.unit == "eV/atom":
                assert entry.value is None
                assert entry.reason == "the model predicts no energy"
        assert result.alignment is None

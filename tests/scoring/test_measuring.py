"""Entries, intervals, elements and parity points of rows with known numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xferbench.functionals import Functional
from xferbench.labels import Labels, Values
from xferbench.measure import METRICS, ClusterBootstrap, sample
from xferbench.measure.estimating import FEW_MATERIALS, NOT_RESAMPLED
from xferbench.records import Frame, FramePair, Geometry
from xferbench.scoring.measuring import PARITY_POINTS, parity
from xferbench.scoring.measuring import measure as measure_rows
from xferbench.scoring.measuring import per_element as of_elements
from xferbench.tasks.rows import Joined
from xferbench.tasks.rows import Rows as MadeRows

LI, OX = 3, 8


def Rows(sample, n_labels, reason=None):  # noqa: N802 - it is what it makes
    """Rows of which so many frames have labels."""
    return MadeRows(sample, np.arange(max(4, n_labels)) < n_labels, reason)


def measure(task, rows, frames, keys=None):
    return measure_rows(task, rows, [frame.material_id for frame in frames], keys)


def per_element(rows, frames):
    pairs = [FramePair(source=item, target=item, geometry=Geometry.SAME_GEOMETRY) for item in frames]
    return of_elements(rows, Joined(labels=Labels.of_pairs(pairs), side="target", predicted=Values.of(frames)))


def frame(material: str, formula: tuple[int, ...]) -> Frame:
    n = len(formula)
    return Frame(
        frame_id=f"{material}-{n}",
        pair_id=material,
        material_id=material,
        functional=Functional("r2SCAN"),
        numbers=np.array(formula),
        positions=np.zeros((n, 3)),
        cell=np.eye(3),
    )


FRAMES = [frame("m1", (LI,)), frame("m0", (LI, OX)), frame("m1", (LI, LI)), frame("m2", (OX,))]

ERRORS = np.array([0.1, -0.2, 0.3, 0.4])
ENERGY = Rows(sample(ERRORS, np.zeros(4), baseline=np.full(4, 0.5)), 5, None)
FORCES = Rows(
    sample(np.repeat([0.1, 0.2, 0.3, 0.6, 0.6, 0.9], 3).reshape(6, 3), np.zeros((6, 3)), frame=[0, 1, 1, 2, 2, 3]),
    4,
    None,
)
NOTHING = Rows(None, 3, "the model predicts no stress")
ROWS = {
    ("energy", "aligned"): ENERGY,
    ("energy", "raw"): ENERGY,
    ("energy", "referenced"): NOTHING,
    ("gap", "aligned"): ENERGY,
    ("forces", "none"): FORCES,
    ("all_forces", "none"): FORCES,
    ("stress", "none"): NOTHING,
    ("all_stress", "none"): NOTHING,
    ("magmoms", "none"): NOTHING,
    ("differences", "none"): NOTHING,
    ("ground", "none"): NOTHING,
    ("force_gap", "none"): FORCES,
    ("stress_gap", "none"): NOTHING,
}


@pytest.fixture
def entries(synthetic_task):
    return {entry.key: entry for entry in measure(synthetic_task, ROWS, FRAMES)}


def test_the_number_of_threads_is_irrelevant(synthetic_task, entries, monkeypatch):
    """Small blocks, so that there are many to share out."""
    monkeypatch.setattr("xferbench.measure.bootstrap.BLOCK", 30)
    for workers in (1, 3):
        monkeypatch.setattr("xferbench.measure.estimating.WORKERS", workers)
        assert {entry.key: entry for entry in measure(synthetic_task, ROWS, FRAMES)} == entries


def test_the_value_is_that_of_the_metric_alone(entries):
    for key, entry in entries.items():
        metric = METRICS[entry.name]
        rows = ROWS[metric.quantity, entry.reference or "none"]
        if entry.value is not None:
            assert entry.value == pytest.approx(metric.value(rows.sample), rel=1e-12), key


class TestEntries:
    def test_there_is_one_for_each_metric_in_the_order_of_the_task(self, synthetic_task):
        assert [entry.key for entry in measure(synthetic_task, ROWS, FRAMES)] == [m.key for m in synthetic_task.metrics]

    def test_values_and_counts_are_those_worked_by_hand(self, entries):
        entry = entries["energy_mae/aligned"]
        assert entry.value == pytest.approx(0.25)
        assert (entry.n_frames, entry.n_materials, entry.n_missing) == (4, 3, 1)
        assert entry.reason == FEW_MATERIALS
        assert entries["energy_rmse/raw"].value == pytest.approx(np.sqrt(0.30 / 4))
        assert entries["gap_explained/aligned"].value == pytest.approx(1 - 0.30 / 1.0)
        assert entries["force_mae"].value == pytest.approx((0.1 + 0.2 + 0.3 + 0.6 + 0.6 + 0.9) / 6)

    def test_exactly_one_is_the_main_one(self, entries):
        assert [key for key, entry in entries.items() if entry.main] == ["energy_mae/aligned"]

    def test_units_and_directions_are_those_of_the_table(self, entries):
        for entry in entries.values():
            assert (entry.unit, entry.better) == (METRICS[entry.name].unit, METRICS[entry.name].better)
            assert entry.reference == (entry.key.partition("/")[2] or None)

    def test_rows_that_compare_frames_count_the_frames_and_rest_on_who_carries_them(self, synthetic_task):
        members = np.array([True, True, True, False])
        rows = Rows(replace(sample([0.1], [0.0], frame=[0], n_frames=4), members=members), 4, None)
        found = {entry.key: entry for entry in measure(synthetic_task, ROWS | {("differences", "none"): rows}, FRAMES)}
        entry = found["energy_difference_mae"]
        assert (entry.n_frames, entry.n_materials, entry.n_missing) == (3, 1, 1)

    def test_a_metric_without_rows_has_a_reason(self, entries):
        entry = entries["stress_mae"]
        assert (entry.value, entry.ci_low, entry.ci_high) == (None, None, None)
        assert (entry.n_frames, entry.n_materials, entry.n_missing) == (0, 0, 3)
        assert entry.reason == "the model predicts no stress"

    def test_a_single_material_has_a_value_without_interval(self, synthetic_task):
        frames = [replace(item, material_id="m") for item in FRAMES]
        entry = measure(synthetic_task, ROWS, frames)[0]
        assert entry.value is not None
        assert entry.ci_low is None
        assert entry.ci_high is None
        assert entry.reason == FEW_MATERIALS

    def test_an_undefined_value_has_a_reason(self, synthetic_task):
        exact = Rows(sample([0.1, 0.0], [0.0, 0.0], n_frames=4, baseline=[0.0, 0.0]), 2, None)
        found = {entry.key: entry for entry in measure(synthetic_task, ROWS | {("gap", "aligned"): exact}, FRAMES)}
        assert found["gap_explained/aligned"].value is None
        assert found["gap_explained/aligned"].reason == METRICS["gap_explained"].undefined
        assert found["gap_mae/aligned"].value == 0.05


class TestIntervals:
    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch):
        """Three materials, to be counted by hand, are as good as five."""
        monkeypatch.setattr("xferbench.measure.bootstrap.FEWEST", 2)

    def test_they_are_those_of_a_bootstrap_over_materials(self, entries, synthetic_task):
        plan = synthetic_task.bootstrap
        bootstrap = ClusterBootstrap(n_clusters=3, n_resamples=plan.n, seed=plan.seed, confidence=plan.confidence)
        total, count = np.array([0.2, 0.4, 0.4]), np.array([1, 2, 1])  # m0, m1, m2
        counts = np.concatenate(list(bootstrap.counts()))
        expected = bootstrap.interval((counts @ total) / (counts @ count), 3)
        entry = entries["energy_mae/aligned"]
        assert (entry.ci_low, entry.ci_high) == pytest.approx(tuple(expected))

    def test_an_interval_does_not_depend_on_the_other_metrics_of_the_task(self, entries, synthetic_task):
        (entry,) = measure(synthetic_task, ROWS, FRAMES, [synthetic_task.metrics[0].key])
        assert (entry.ci_low, entry.ci_high) == (entries[entry.key].ci_low, entries[entry.key].ci_high)

    def test_they_hold_the_value(self, entries):
        for entry in entries.values():
            if entry.reason is None:
                assert entry.ci_low <= entry.value <= entry.ci_high

    def test_a_maximum_has_a_value_and_no_interval(self, entries):
        entry = entries["force_error_max"]
        assert entry.value == pytest.approx(0.9 * np.sqrt(3))
        assert (entry.ci_low, entry.ci_high, entry.reason) == (None, None, NOT_RESAMPLED)

    def test_quantiles_are_those_of_atoms_drawn_with_their_material(self, entries, synthetic_task):
        plan = synthetic_task.bootstrap
        bootstrap = ClusterBootstrap(n_clusters=3, n_resamples=plan.n, seed=plan.seed, confidence=plan.confidence)
        norms = np.array([0.1, 0.2, 0.3, 0.6, 0.6, 0.9]) * np.sqrt(3)
        owner = np.array([1, 0, 0, 1, 1, 2])
        drawn = np.concatenate(list(bootstrap.counts()))
        medians = [np.quantile(np.repeat(norms, counts[owner]), 0.5, method="inverted_cdf") for counts in drawn]
        entry = entries["force_error_median"]
        assert (entry.ci_low, entry.ci_high) == pytest.approx(tuple(bootstrap.interval(np.array(medians), 3)))

    def test_the_seed_of_the_task_moves_them_and_nothing_else(self, synthetic_task):
        frames = [frame(f"m{i}", (LI,)) for i in range(20)]
        errors = Rows(sample(np.linspace(0, 1, 20) ** 2, np.zeros(20)), 20, None)
        plan = synthetic_task.bootstrap
        tasks = [replace(synthetic_task, bootstrap=replace(plan, seed=seed)) for seed in (0, 1)]
        (first,), (second,) = (measure(item, {("energy", "raw"): errors}, frames, ["energy_mae/raw"]) for item in tasks)
        assert first.value == second.value
        assert first.ci_high != second.ci_high
        assert first.ci_high == pytest.approx(second.ci_high, rel=0.1)


class TestPerElement:
    def test_energies_count_frames_and_forces_count_atoms_of_the_element(self):
        found = {(entry.element, entry.metric): entry for entry in per_element(ROWS, FRAMES)}
        assert found["Li", "energy_mae/aligned"].value == pytest.approx((0.1 + 0.2 + 0.3) / 3)
        assert found["O", "energy_mae/aligned"].value == pytest.approx((0.2 + 0.4) / 2)
        assert found["Li", "force_mae"].value == pytest.approx((0.1 + 0.2 + 0.6 + 0.6) / 4)
        assert found["O", "force_mae"].value == pytest.approx((0.3 + 0.9) / 2)
        assert found["Li", "force_mae"].n_frames == 3
        assert found["O", "energy_mae/aligned"].n_frames == 2

    def test_elements_come_by_atomic_number(self):
        assert [entry.element for entry in per_element(ROWS, FRAMES)] == ["Li", "O", "Li", "O"]

    def test_frames_without_rows_do_not_count(self):
        part = Rows(sample([0.1], [0.0], frame=[1], n_frames=4), 4, None)
        found = per_element({("energy", "aligned"): part, ("forces", "none"): NOTHING}, FRAMES)
        assert [(entry.element, entry.n_frames) for entry in found] == [("Li", 1), ("O", 1)]

    def test_nothing_measured_gives_nothing(self):
        assert per_element({("energy", "aligned"): NOTHING, ("forces", "none"): NOTHING}, FRAMES) == ()


class TestParity:
    COMPOSITION = np.array([-2.0, -3.5, -2.0, -5.0])  # of FRAMES, with -2 eV of Li and -5 eV of O

    def test_energies_lose_the_references_of_the_labels_on_both_sides(self):
        rows = Rows(sample([-2.1, -3.9], [-2.0, -4.0], frame=[0, 1], n_frames=4), 2, None)
        points = parity({("energy", "aligned"): rows, ("forces", "none"): NOTHING}, self.COMPOSITION, 0)
        assert np.array(points["energy"]) == pytest.approx(np.array([[0.0, -0.1], [-0.5, -0.4]]))
        assert set(points) == {"energy"}

    def test_forces_are_single_components(self):
        points = parity(ROWS, self.COMPOSITION, 0)["forces"]
        assert len(points) == 18
        assert points[0] == (0.0, 0.1)

    def test_many_points_are_thinned_the_same_way_every_time(self):
        label = np.arange(2000.0)
        rows = ROWS | {("forces", "none"): Rows(sample(label[:, None], label[:, None]), 2000, None)}
        first, again, other = (parity(rows, self.COMPOSITION, seed)["forces"] for seed in (0, 0, 1))
        assert len(first) == PARITY_POINTS
        assert first == again != other
        assert len(set(first)) == PARITY_POINTS
        assert list(first) == sorted(first)

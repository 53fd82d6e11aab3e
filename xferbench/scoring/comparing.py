"""Do models differ on a task? All are measured on the same frames and meet one resample plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from xferbench import statistics
from xferbench.errors import DataError
from xferbench.metrics import METRICS, Sample, together
from xferbench.records import Prediction
from xferbench.registry import check_name
from xferbench.scoring import rows as rows_of
from xferbench.scoring.checking import check, expected_frames
from xferbench.scoring.quantities import keyed
from xferbench.statistics import ClusterBootstrap, clusters, resamples_needed, tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from xferbench.dataset import Dataset
    from xferbench.records import Predictions
    from xferbench.scoring.checking import Expected
    from xferbench.statistics import Comparison
    from xferbench.tasks import Task, TaskMetric

    Floats = NDArray[np.float64]
    Records = dict[str, Prediction]

NOT_COMMON = "another model of the comparison has no prediction"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entrant:
    """A model that is compared.

    Attributes:
        name: Different for each.
        predictions: Of the test and calibration frames.
        references: Elemental references it declares, symbol -> eV/atom; for ``referenced`` energies only.
        where: The predictions' file, for messages.
    """

    name: str
    predictions: Predictions
    references: Mapping[str, float] | None = None
    where: object = "predictions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A comparison and what it rests on.

    Attributes:
        metric: The task's metric.
        n_frames: Test frames that entered: those on which every model has a value.
        n_left_out: Model -> frames on which it has a prediction and another model has none.
    """

    metric: TaskMetric
    comparison: Comparison
    n_frames: int
    n_left_out: Mapping[str, int]


def metric_of(task: Task, key: str) -> TaskMetric:
    """The task's metric of this key.

    Raises:
        UnknownNameError: It has none; the message lists the near one.
    """
    metrics = {metric.key: metric for metric in task.metrics}
    return metrics[check_name(f"metric of {task.key}", key, metrics)]


def compare(task: Task, dataset: Dataset, entrants: Sequence[Entrant], key: str) -> Compared:
    """Compare models pairwise on one metric, over the frames on which all of them have a value.

    Args:
        task: Names the frames and the metric, and gives the resample plan.
        dataset: The data set the task pins.
        entrants: At least two models.
        key: Of one of the task's metrics, such as ``energy_mae/aligned``.

    Raises:
        UnknownNameError: The task has no such metric.
        PredictionsError: Predictions that cannot be scored as they are.
        DataError: The metric has no value for one of the models, cannot be resampled, or rests on a single material.
    """
    wanted = metric_of(task, key)
    metric = METRICS[wanted.name]
    if not metric.resampled:
        raise DataError(f"{key} cannot be compared: resampling materials says nothing about it; choose another metric")
    expected = expected_frames(task, dataset)
    records, left_out = _common_records(dataset, expected, entrants)
    samples = [
        _sample(task, dataset, expected, entrant=entrant, records=record, wanted=wanted)
        for entrant, record in zip(entrants, records, strict=True)
    ]
    common = np.logical_and.reduce([sample.used for sample in samples])
    left_out = {
        name: count + int((sample.used & ~common).sum())
        for (name, count), sample in zip(left_out.items(), samples, strict=True)
    }
    samples = [_restrict(sample, common) for sample in samples]
    names, material = clusters([frame.material_id for frame in expected.test])
    plan = ClusterBootstrap(
        n_clusters=len(names),
        n_resamples=task.bootstrap.n,
        seed=task.bootstrap.seed,
        confidence=task.bootstrap.confidence,
    )
    comparison = _compare(wanted, dict(zip(left_out, samples, strict=True)), material, plan)
    return Compared(metric=wanted, comparison=comparison, n_frames=samples[0].n_used, n_left_out=left_out)


def _common_records(
    dataset: Dataset, expected: Expected, entrants: Sequence[Entrant]
) -> tuple[list[Records], dict[str, int]]:
    """Each model's predictions, without those of test frames on which another model failed; and how many these were."""
    known = [frame.frame_id for family in ("gga", "r2scan") for frame in dataset.frames(family)]
    records = [
        dict(check(item.predictions, expected, known, allow_missing=True, where=item.where).records)
        for item in entrants
    ]
    test = [frame.frame_id for frame in expected.test]
    failed = {frame_id for frame_id in test if any(record[frame_id].error is not None for record in records)}
    left_out = {
        item.name: sum(record[frame_id].error is None for frame_id in failed)
        for item, record in zip(entrants, records, strict=True)
    }
    dropped = {frame_id: Prediction(frame_id=frame_id, error=NOT_COMMON) for frame_id in failed}
    return [record | dropped for record in records], left_out


def _sample(
    task: Task, dataset: Dataset, expected: Expected, *, entrant: Entrant, records: Records, wanted: TaskMetric
) -> Sample:
    test = rows_of.join(expected.test, records)
    energies = rows_of.energies(test, rows_of.join(expected.calibration, records), entrant.references)
    rows = keyed(task, dataset, test, energies)[METRICS[wanted.name].quantity, wanted.reference]
    if rows.sample is None:
        raise DataError(f"{entrant.where} has no {wanted.key}: {rows.reason}; leave it out or compare another metric")
    return rows.sample


def _restrict(sample: Sample, frames: NDArray[np.bool_]) -> Sample:
    """The rows of some of the frames."""
    keep = frames[sample.frame]
    return replace(
        sample,
        prediction=sample.prediction[keep],
        label=sample.label[keep],
        frame=sample.frame[keep],
        baseline=None if sample.baseline is None else sample.baseline[keep],
        weight=None if sample.weight is None else sample.weight[keep],
    )


def _compare(
    wanted: TaskMetric,
    samples: Mapping[str, Sample],
    material: NDArray[np.int64],
    plan: ClusterBootstrap,
) -> Comparison:
    metric = METRICS[wanted.name]
    n_clusters = len(set(material[next(iter(samples.values())).used].tolist()))
    values = [metric.value(sample) for sample in samples.values()] if n_clusters else []
    if n_clusters < 2 or not np.isfinite(values).all():
        raise DataError(
            f"{wanted.key} cannot be compared: the frames on which all models have a value are of {n_clusters} material(s), "
            "and two are needed, with a value for each model; leave out the model that fails most"
        )
    longer = replace(plan, n_resamples=resamples_needed(comb(len(samples), 2), n_clusters, plan))
    values_of = together([metric.resampler(sample, material, plan.n_clusters) for sample in samples.values()])
    resampled = np.concatenate([np.stack(values_of(tally(draws, np.float64)), axis=1) for draws in longer.draws()])
    return statistics.compare(list(samples), values, resampled, better=metric.better, n_clusters=n_clusters, plan=plan)

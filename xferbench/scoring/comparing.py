"""Do models differ on a task? All are measured on the same frames and meet one resample plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from xferbench import measure
from xferbench.errors import DataError
from xferbench.measure import FEWEST, METRICS, Asked, clusters, resample, resamples_needed
from xferbench.registry import check_name
from xferbench.scoring.checking import check
from xferbench.scoring.measuring import plan_of
from xferbench.tasks.kind import task_rows
from xferbench.tasks.rows import Joined, Rows, energies

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from xferbench.labels import Values
    from xferbench.measure import ClusterBootstrap, Comparison
    from xferbench.records import Predictions
    from xferbench.scoring.checking import Checked, Expected
    from xferbench.tasks import Task, TaskMetric

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Mask = NDArray[np.bool_]


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


def compare(task: Task, expected: Expected, entrants: Sequence[Entrant], key: str) -> Compared:
    """Compare models pairwise on one metric, over the frames on which all of them have a value.

    All meet the same draws of test materials, and where energies are aligned, the same weights of calibration materials.

    Args:
        task: Names the metric, and gives the resample plan.
        expected: The frames the task wants.
        entrants: At least two models.
        key: Of one of the task's metrics, such as ``energy_mae/aligned``.

    Raises:
        UnknownNameError: The task has no such metric.
        PredictionsError: Predictions that cannot be scored as they are.
        DataError: The metric has no value for one of the models, cannot be resampled, or rests on too few materials.
    """
    wanted = metric_of(task, key)
    metric = METRICS[wanted.name]
    if not metric.resampled:
        raise DataError(f"{key} cannot be compared: resampling materials says nothing about it; choose another metric")
    checked = [check(item.predictions, expected, allow_missing=True, where=item.where) for item in entrants]
    succeeded = [np.array([error is None for error in item.test.error], dtype=bool) for item in checked]
    predicted = np.logical_and.reduce(succeeded)
    names, material = clusters(expected.test.material_id.tolist())
    plan = plan_of(task.bootstrap, len(names))
    n_materials = len(set(material[predicted].tolist()))
    if n_materials < FEWEST:
        raise DataError(_too_few(wanted, n_materials))
    longer = replace(plan, n_resamples=resamples_needed(comb(len(entrants), 2), n_materials, plan))
    longest = replace(task, bootstrap=replace(task.bootstrap, n=longer.n_resamples))
    rows = [
        _rows(longest, expected, item, answers, predicted)[METRICS[wanted.name].quantity, wanted.reference]
        for item, answers in zip(entrants, checked, strict=True)
    ]
    for item, entrant in zip(rows, entrants, strict=True):
        if item.sample is None:
            raise DataError(f"{entrant.where} has no {key}: {item.reason}; leave it out or compare another metric")
    used = [item.sample.used for item in rows if item.sample is not None]
    common = np.logical_and.reduce(used)
    left_out = {
        item.name: int((there & ~predicted).sum()) + int((own & ~common).sum())
        for item, there, own in zip(entrants, succeeded, used, strict=True)
    }
    rows = [item.part(common, np.arange(len(common)), len(common)) for item in rows]
    comparison = _compare(wanted, dict(zip(left_out, rows, strict=True)), material, (plan, longer))
    return Compared(metric=wanted, comparison=comparison, n_frames=int(common.sum()), n_left_out=left_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """A frame on which a model errs most.

    Attributes:
        prediction: In the unit of the metric, aligned or not as the metric is.
        label: The same of the label.
    """

    frame_id: str
    material_id: str
    prediction: float
    label: float


def worst(task: Task, expected: Expected, entrant: Entrant, key: str, count: int) -> tuple[Worst, ...]:
    """The frames with the largest errors of a model, worst first; none for a metric whose rows are not one number a frame.

    Args:
        task: Names the metric.
        expected: The frames the task wants.
        entrant: The model.
        key: Of one of the task's metrics, such as ``energy_mae/aligned``.
        count: As many, if there are so many.
    """
    wanted = metric_of(task, key)
    checked = check(entrant.predictions, expected, allow_missing=True, where=entrant.where)
    everything = np.ones(len(expected.test), dtype=bool)
    rows = _rows(task, expected, entrant, checked, everything)[METRICS[wanted.name].quantity, wanted.reference]
    sample = rows.sample
    if sample is None or sample.prediction.shape[1] != 1 or len(set(sample.frame.tolist())) != len(sample.frame):
        return ()
    errors = np.abs(sample.prediction - sample.label)[:, 0]
    order = np.argsort(-errors, kind="stable")[:count]
    frame_id = expected.test.of(expected.side).frame_id
    return tuple(
        Worst(
            frame_id=str(frame_id[sample.frame[k]]),
            material_id=str(expected.test.material_id[sample.frame[k]]),
            prediction=float(sample.prediction[k, 0]),
            label=float(sample.label[k, 0]),
        )
        for k in order.tolist()
    )


def _rows(
    task: Task, expected: Expected, entrant: Entrant, checked: Checked, predicted: Mask
) -> dict[tuple[str, str], Rows]:
    """The rows of one model, without the frames on which another one failed."""
    values = _without(checked.test.values, predicted)
    test = Joined(labels=expected.test, side=expected.side, predicted=values)
    calibration = Joined(labels=expected.calibration, side=expected.side, predicted=checked.calibration.values)
    return task_rows(task, test, energies(test, calibration, entrant.references, task.bootstrap))


def _without(values: Values, kept: Mask) -> Values:
    """Predictions with those of other frames taken out."""
    gone = ~kept
    arrays = {}
    for name in ("forces", "stress", "magmoms"):
        column = getattr(values, name)
        part = column.take(np.flatnonzero(kept & column.present))
        lengths = np.where(gone, 0, column.lengths)
        arrays[name] = replace(part, offsets=np.concatenate([[0], np.cumsum(lengths)]), present=column.present & kept)
    return replace(values, energy=np.where(kept, values.energy, np.nan), **arrays)


def _too_few(wanted: TaskMetric, n_materials: int) -> str:
    return (
        f"{wanted.key} cannot be compared: the frames on which all models have a value are of {n_materials} material(s), "
        f"and {FEWEST} are needed, with a value for each model; leave out the model that fails most"
    )


def _compare(
    wanted: TaskMetric,
    rows: Mapping[str, Rows],
    material: Integers,
    plans: tuple[ClusterBootstrap, ClusterBootstrap],
) -> Comparison:
    """Of models, by name: on the task's plan, and on one that goes on for longer."""
    metric = METRICS[wanted.name]
    samples = [item.sample for item in rows.values() if item.sample is not None]
    n_clusters = len(set(material[samples[0].used].tolist())) if len(samples) == len(rows) else 0
    values = [metric.value(sample) for sample in samples] if n_clusters >= FEWEST else []
    if not values or not np.isfinite(values).all():
        raise DataError(_too_few(wanted, n_clusters))
    unknown = next((item.no_interval for item in rows.values() if item.no_interval is not None), None)
    if unknown is not None:
        raise DataError(f"{wanted.key} cannot be compared: {unknown}; compare a metric without alignment")
    asked = [Asked(metric, item.sample, item.refits) for item in rows.values()]
    resampled = np.stack(
        [drawn[1:] for drawn in resample(asked, material, plans[1], centred_on=plans[0].n_resamples)], axis=1
    )
    return measure.compare(list(rows), values, resampled, better=metric.better, n_clusters=n_clusters, plan=plans[0])

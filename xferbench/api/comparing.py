"""``xferbench compare``: do models differ, or is it the choice of test materials?"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from xferbench import results, scoring
from xferbench.api.evaluation import (
    floor_candidate,
    is_predictions,
    open_for,
    predictions_path,
    result_path,
)
from xferbench.errors import FormatError, UsageError
from xferbench.measure import METRICS
from xferbench.measure.comparing import POWER
from xferbench.predict.facts import FACTS, facts_of
from xferbench.progress import silent
from xferbench.registry import canonical_model, check_name
from xferbench.report.rounding import show, shown_unit
from xferbench.scoring import Entrant
from xferbench.tasks import load_task

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from xferbench.scoring import Compared, Expected
    from xferbench.tasks import Task

WIDTH = 100
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SCOPE = (
    "Intervals and p-values cover the choice of test materials. The spread between training seeds is not in them: "
    "another seed of the same model may move a value by more."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonReport:
    """Models compared pairwise on one metric. ``print`` shows them in order, then the pairs."""

    task: Task
    compared: Compared

    def to_json(self) -> dict[str, Any]:
        """Plain values: numbers in the stored unit, full precision."""
        metric = METRICS[self.compared.metric.name]
        return {
            "task": self.task.key,
            "metric": self.compared.metric.key,
            "unit": metric.unit,
            "better": metric.better,
            "n_frames": self.compared.n_frames,
            "n_left_out": dict(self.compared.n_left_out),
            "power": POWER,
            "resolved": self.compared.comparison.resolved,
            "scope": SCOPE,
            **dataclasses.asdict(self.compared.comparison),
        }

    def __str__(self) -> str:
        return _table(self)


def compare(
    models: Sequence[str],
    *,
    task: str = "mini-static",
    metric: str | None = None,
    out: str | os.PathLike[str] = "xferbench-out",
    dataset: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    say: Callable[[str], None] = silent,
) -> ComparisonReport:
    """Compare models pairwise on one metric of a task, from stored predictions.

    Args:
        models: Two or more: a model id with a result below ``out``, a floor (``floor:ridge``), a result ``.json``, or a
            predictions ``.parquet``.
        task: Task id or TOML file.
        metric: Key of a metric of the task; the main one if not given.
        out: A directory of results and predictions, as ``xferbench score`` or a leaderboard has it.
        dataset: Name or path of a data set; the prepared one that the task pins if not given.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.
        offline: Never use the network.
        say: Where notes go.

    Raises:
        UsageError: Fewer than two models, one twice, or unknown names.
        DataError: Predictions or results that cannot be read, or that have no such metric.

    Example:
        >>> import xferbench as xb
        >>> report = xb.compare(["floor:ridge", "floor:references"], task="mini-static")
        >>> [standing.name for standing in report.compared.comparison.standings]
        ['floor-ridge', 'floor-references']
    """
    if len(models) < 2:
        raise UsageError("a comparison needs two models at least; name more")
    wanted = load_task(task)
    key = scoring.metric_of(wanted, metric or wanted.main).key
    data = open_for(wanted, dataset, cache_dir=cache_dir, offline=offline, say=say)
    expected = scoring.expected_frames(wanted, data, structures=False)
    entrants = [_entrant(model, wanted, expected, Path(out)) for model in models]
    names = [entrant.name for entrant in entrants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{', '.join(twice)} is named twice; compare different models")
    return ComparisonReport(task=wanted, compared=scoring.compare(wanted, expected, entrants, key))


def _entrant(model: str, task: Task, expected: Expected, out: Path) -> Entrant:
    """Find the predictions that ``model`` names."""
    if model.endswith(".json"):
        return _from_result(Path(model), task, expected)
    if is_predictions(model):
        return _from_predictions(Path(model))
    name = model.removeprefix("floor:").removeprefix("floor-")
    if name != model:
        return _floor(name, task, expected)
    model_id = canonical_model(model).replace(":", "-")
    known = [path.stem for path in (out / "results" / task.key).glob("*.json")]
    return _from_result(result_path(out, task, check_name(f"result in {out} of", model_id, known)), task, expected)


def _from_predictions(path: Path) -> Entrant:
    predictions = scoring.read_predictions(path)
    facts = facts_of(predictions.settings, path) if FACTS in predictions.settings else None
    references = None if facts is None else facts.references
    return Entrant(name=path.stem, predictions=predictions, references=references, where=path)


def _from_result(path: Path, task: Task, expected: Expected) -> Entrant:
    """The predictions stored beside a result: they must be those that it was made from."""
    result = results.read(path)
    if result.task.key != task.key:
        raise UsageError(f"{path} is of {result.task.key}, not {task.key}; compare results of one task version")
    if result.model.kind == "floor":
        return _floor(result.model.id.removeprefix("floor-"), task, expected)
    stored = predictions_path(path.parent.parent.parent, task, result.model.id)
    predictions = scoring.read_predictions(stored)
    if predictions.digest() != result.predictions.digest:
        raise FormatError(f"{stored} is not what {path} was made from; run `xferbench score` again")
    return Entrant(name=result.model.id, predictions=predictions, references=result.references.model, where=stored)


def _floor(name: str, task: Task, expected: Expected) -> Entrant:
    made = floor_candidate(name, task, expected)
    return Entrant(name=made.facts.id, predictions=made.predictions, references=made.facts.references, where=made.path)


def _table(report: ComparisonReport) -> str:
    """A comparison as text: the models in order, then the pairs."""
    compared, comparison = report.compared, report.compared.comparison
    metric = METRICS[compared.metric.name]
    unit = shown_unit(metric.unit)
    rests_on = (
        f"{compared.n_frames} frames of {comparison.n_clusters} materials on which every model has a value; "
        f"{comparison.n_resamples} resamples"
    )
    best = "closer to 1" if metric.better == "one" else metric.better
    head = [f"{compared.metric.key}{f' in {unit}' if unit else ''} on {report.task.key}, {best} is better", rests_on]
    head += [f"left out: {count} frames of {name}" for name, count in compared.n_left_out.items() if count]
    return "\n\n".join(["\n".join(head), _standings(report), _differences(report), "\n".join(_remarks(report))])


def _standings(report: ComparisonReport) -> str:
    unit = METRICS[report.compared.metric.name].unit
    rows = [("rank", "model", "value", "tied")]
    for item in report.compared.comparison.standings:
        ranks = f"{item.best}" if item.best == item.worst else f"{item.best}–{item.worst}"
        rows.append((ranks, item.name, str(show(item.value, *item.interval, unit)), "".join(map(_letter, item.groups))))
    return _columns(rows)


def _differences(report: ComparisonReport) -> str:
    unit = METRICS[report.compared.metric.name].unit
    rows = [
        (
            f"{item.first} − {item.second}",
            str(show(item.value, *item.interval, unit)),
            f"{item.p_value:.2g}",
            f"{item.p_holm:.2g}",
            str(show(item.detectable, None, None, unit)),
        )
        for item in report.compared.comparison.differences
    ]
    return _columns([("difference", "", "p", "p (Holm)", "detectable"), *rows])


def _remarks(report: ComparisonReport) -> list[str]:
    comparison = report.compared.comparison
    level = f"{comparison.confidence * 100:g} %"
    legend = (
        f"[ ] holds the {level} interval. p (Holm) is corrected for {len(comparison.differences)} pair(s). "
        f"detectable: a true difference that would be found with {POWER * 100:g} % probability."
    )
    remarks = [
        "rank: what the data allow. tied: models that share a letter are not significantly different.",
        legend,
        SCOPE,
    ]
    if not comparison.resolved:
        remarks.append(
            f"With {comparison.n_clusters} materials no p-value can fall below {comparison.smallest_p:.2g}: "
            "too large to be significant among so many pairs. Compare fewer models."
        )
    return [line for remark in remarks for line in wrap(remark, WIDTH)]


def _letter(group: int) -> str:
    return LETTERS[group] if group < len(LETTERS) else f"({group + 1})"


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)

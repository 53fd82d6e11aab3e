"""How sure the order of a task is: the paired tests of its models on the main metric, kept beside the results.

``comparisons/<task-id>@<version>.json`` holds what ``scoring.compare`` found, with the digests of the predictions it was found
from. Building a board again needs neither predictions nor data set as long as the digests are those of the results, so the same
files give the same bytes; where they are not, the tests are run again, and where they cannot be, the page says why.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xferbench import dataset as datasets
from xferbench import scoring
from xferbench.errors import DataError
from xferbench.schema import parse
from xferbench.scoring import Entrant, Worst
from xferbench.storage import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from xferbench.board.ranking import Entry, Ranking
    from xferbench.dataset import Dataset
    from xferbench.tasks import Task

SCHEMA = 4
"""Of the file and of how the tests are made: tests of an earlier one are made again."""

WORST = 5
"""As many frames are named on a model's page."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOLERANCE = 1e-9
"""Relative difference up to which two scores of the same predictions count as equal: other versions of numpy or BLAS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the tests leave a model.

    Attributes:
        rescored: Whether the stored predictions gave the main value of the result file again.
        frames: Those on which it errs most in the main metric, in its stored unit; none if it is not of single frames.
    """

    model: str
    digest: str
    rescored: bool
    best: int
    worst: int
    ties: str
    frames: tuple[Worst, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTest:
    """Two models, the better one first.

    Attributes:
        value: Main metric of ``first`` minus that of ``second``, in its stored unit.
        low: Lower end of the interval of the value, not corrected for the number of tests.
        high: Upper end.
        p_value: Of the one test.
        p_adjusted: Corrected for the family of the board.
    """

    first: str
    second: str
    value: float
    low: float
    high: float
    p_value: float
    p_adjusted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """The tests of one task version.

    Attributes:
        family: What the p-values are corrected for, in words.
        task_digest: Of the task whose results these are, see ``Task.digest``.
    """

    task: str
    task_digest: str
    metric: str
    family: str
    confidence: float
    n_frames: int
    n_materials: int
    n_resamples: int
    standings: tuple[Standing, ...]
    pairs: tuple[PairTest, ...]
    schema: int = SCHEMA

    def significant(self, pair: PairTest) -> bool:
        """Whether a difference is significant after correction."""
        return pair.p_adjusted <= 1 - self.confidence

    def between(self, one: str, other: str) -> PairTest | None:
        """The test of two models, in whichever order, if it was made."""
        return next((pair for pair in self.pairs if {pair.first, pair.second} == {one, other}), None)


def path_of(directory: Path, key: str) -> Path:
    """Where the tests of a task version lie on a board."""
    return directory / "comparisons" / f"{key}.json"


def read_tests(path: Path) -> Tests | None:
    """Stored tests, or nothing where there are none of this schema: they can be made again.

    Raises:
        FormatError: The file is of this schema and breaks it.
    """
    if not path.exists():
        return None
    data = read_json(path)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        return None
    return parse(Tests, data, path)


def fits(tests: Tests | None, ranking: Ranking) -> bool:
    """Whether tests are those of exactly these models, results and task."""
    models = ranking.models
    if tests is None or not models:
        return False
    result = models[0].entry.result
    return (
        tests.metric == result.main.key
        and tests.task_digest == result.task.digest
        and {item.model: item.digest for item in tests.standings}
        == {row.entry.model_id: row.entry.result.predictions.digest for row in models}
    )


def make_tests(directory: Path, task: Task, ranking: Ranking, cache_dir: Path | None) -> Tests:
    """Run the tests of a task version from the stored predictions.

    Raises:
        DataError: Predictions or the data set are not here, or are others than the results were made from.
    """
    entries = [row.entry for row in ranking.models]
    if len(entries) < 2:
        raise DataError("one model alone: nothing to compare")
    entrants = [_entrant(directory, task, entry) for entry in entries]
    data = _prepared(task, cache_dir)
    expected = scoring.expected_frames(task, data, structures=False)
    found = scoring.compare(task, expected, entrants, task.main)
    by_name = {entrant.name: entrant for entrant in entrants}
    compared = found.comparison
    by_id = {entry.model_id: entry for entry in entries}
    return Tests(
        task=task.key,
        task_digest=entries[0].result.task.digest,
        metric=task.main,
        family=f"all {len(compared.differences)} pairs, Holm",
        confidence=compared.confidence,
        n_frames=found.n_frames,
        n_materials=compared.n_clusters,
        n_resamples=compared.n_resamples,
        standings=tuple(
            Standing(
                model=item.name,
                digest=by_id[item.name].result.predictions.digest,
                rescored=_equal(item.value, by_id[item.name].main.value),
                best=item.best,
                worst=item.worst,
                ties="".join(map(_letter, item.groups)),
                frames=scoring.worst(task, expected, by_name[item.name], task.main, WORST),
            )
            for item in compared.standings
        ),
        pairs=tuple(
            PairTest(
                first=item.first,
                second=item.second,
                value=item.value,
                low=item.interval[0],
                high=item.interval[1],
                p_value=item.p_value,
                p_adjusted=item.p_holm,
            )
            for item in compared.differences
        ),
    )


def write_tests(path: Path, tests: Tests) -> None:
    """Keep tests; the same ones give the same bytes."""
    write_json(path, dataclasses.asdict(tests))


def _entrant(directory: Path, task: Task, entry: Entry) -> Entrant:
    path = directory / "predictions" / task.key / f"{entry.model_id}.parquet"
    if not path.exists():
        raise DataError(f"the predictions of {entry.model_id} are not on the board")
    predictions = scoring.read_predictions(path)
    if predictions.digest() != entry.result.predictions.digest:
        raise DataError(f"the stored predictions of {entry.model_id} are not those of its result")
    return Entrant(name=entry.model_id, predictions=predictions, references=entry.result.references.model, where=path)


def _prepared(task: Task, cache_dir: Path | None) -> Dataset:
    """The data set of a task, if it is here or can be made without the network."""
    opened = datasets.open_dataset(task.dataset, fingerprint=task.fingerprint, cache_dir=cache_dir, offline=True)
    if opened.fingerprint != task.fingerprint:
        raise DataError(f"data set {task.dataset} here is another one than the task names")
    return opened


def _equal(one: float, other: float | None) -> bool:
    return other is not None and abs(one - other) <= TOLERANCE * max(abs(one), abs(other))


def _letter(group: int) -> str:
    return LETTERS[group] if group < len(LETTERS) else f"({group + 1})"

"""A leaderboard directory in memory: cards and results read, checked against each other, and ordered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from xferbench.board.cards import load_cards
from xferbench.board.comparisons import fits, path_of, read_tests
from xferbench.board.ranking import Entry, Ranking, Row, rank, with_tests
from xferbench.errors import FormatError, IntegrityError, StorageError
from xferbench.models.spec import MODEL_ID
from xferbench.report.figures import POSITIONS, parity_scale, scale_for
from xferbench.results import read
from xferbench.storage import disk_errors
from xferbench.tasks import ID_PATTERN, Task, list_tasks, read_task
from xferbench.units import RENDERED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from xferbench.board.cards import ModelCard
    from xferbench.board.comparisons import Tests
    from xferbench.report.figures import Scale
    from xferbench.results import MetricEntry, Result


FEW_MATERIALS = 5
"""A metric that no result measures on this many materials is no column: it would order models by a handful of crystals."""


@dataclass(frozen=True, kw_only=True, eq=False)  # without slots, for what is worth keeping
class Section:
    """All results of one task version: what is comparable, and nothing else.

    Attributes:
        key: ``id@version``.
        task: The definition, where its file is at hand in this version.
        current: Whether no higher version of the task is known.
        ranking: The results in order; at least one.
        tests: Paired tests of the ranked models on the main metric, of these very results.
        untested: Why there are none.
    """

    key: str
    task_id: str
    version: int
    task: Task | None
    current: bool
    ranking: Ranking
    tests: Tests | None = None
    untested: str = "run `xferbench leaderboard build` where the predictions and the data set are"

    def tested(self, tests: Tests | None, reason: str = "") -> Section:
        """The same section with tests, or with the reason why there are none."""
        return replace(self, ranking=with_tests(self.ranking, tests), tests=tests, untested=reason or self.untested)

    @cached_property
    def metrics(self) -> tuple[MetricEntry, ...]:
        """Every metric of the task, in the task's order; the first result that has a metric describes it."""
        found: dict[str, MetricEntry] = {}
        for row in self.ranking.rows:
            for metric in row.entry.result.metrics:
                found.setdefault(metric.key, metric)
        return tuple(found.values())

    @cached_property
    def materials(self) -> dict[str, int]:
        """Metric that some result has a value of -> the most materials that any result measures it on."""
        found: dict[str, int] = {}
        for metric in (metric for row in self.ranking.rows for metric in row.entry.result.metrics):
            if metric.value is not None:
                found[metric.key] = max(found.get(metric.key, 0), metric.n_materials)
        return found

    @cached_property
    def columns(self) -> tuple[MetricEntry, ...]:
        """The metrics that can order models: measured on ``FEW_MATERIALS`` materials or more, and the one that ranks.

        An energy with a model's own references is none: its error is that of the aligned energy and a gauge term, the labels'
        references minus the declared ones, that says nothing about the potential.
        """
        known = self.materials
        return tuple(
            metric
            for metric in self.metrics
            if metric.main or (known.get(metric.key, 0) >= FEW_MATERIALS and metric.reference != "referenced")
        )

    @cached_property
    def thin(self) -> tuple[MetricEntry, ...]:
        """The metrics that have a value, but only of fewer materials: shown with each model, not as columns."""
        known, columns = self.materials, self.columns
        return tuple(
            metric
            for metric in self.metrics
            if metric.key in known and known[metric.key] < FEW_MATERIALS and metric not in columns
        )

    @cached_property
    def rescored(self) -> frozenset[str]:
        """Ids of the models whose stored predictions gave the main value of the result again."""
        standings = () if self.tests is None else self.tests.standings
        return frozenset(item.model for item in standings if item.rescored)

    @cached_property
    def parity_scales(self) -> dict[str, Scale]:
        """Axes that the parity plots of all models share."""
        points: dict[str, list[float]] = {}
        for row in self.ranking.rows:
            for name, known in row.entry.result.parity.items():
                points.setdefault(name, []).extend(point[0] for point in known)
        return {name: parity_scale(labels) for name, labels in points.items()}

    @cached_property
    def element_scales(self) -> dict[str, Scale]:
        """Metric -> the scale that the periodic tables of all models share."""
        values: dict[str, list[float]] = {}
        for row in self.ranking.rows:
            for item in row.entry.result.per_element:
                values.setdefault(item.metric, []).append(item.value)
        return {metric: scale_for(known) for metric, known in values.items()}

    @property
    def main(self) -> MetricEntry:
        """The metric that ranks; its value is that of the first row."""
        return self.ranking.rows[0].entry.main

    @property
    def result(self) -> Result:
        """Any result, for what all results of a section share: task, data, counts of the labels."""
        return self.ranking.rows[0].entry.result

    @property
    def slug(self) -> str:
        """Its stable address: the task's id for the current version, the key for an earlier one."""
        return self.task_id if self.current else self.key


@dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """Every section: tasks by id, versions of a task newest first."""

    sections: tuple[Section, ...]

    @property
    def current(self) -> tuple[Section, ...]:
        """Sections of the newest version of each task."""
        return tuple(section for section in self.sections if section.current)

    @property
    def without_card(self) -> tuple[str, ...]:
        """Ids of models that nobody has described: fine on one's own disk, not for a published board."""
        entries = [row.entry for section in self.sections for row in section.ranking.rows]
        return tuple(sorted({entry.model_id for entry in entries if entry.card is None and not entry.is_floor}))

    @cached_property
    def entries(self) -> dict[str, dict[str, Row]]:
        """Model id -> key of a section -> the row it has there; models by name, floors last."""
        found: dict[str, dict[str, Row]] = {}
        for section in self.sections:
            for row in section.ranking.rows:
                found.setdefault(row.entry.model_id, {})[section.key] = row
        first = {model: next(iter(rows.values())).entry for model, rows in found.items()}
        order = sorted(found, key=lambda model: (first[model].is_floor, first[model].name.casefold(), model))
        return {model: found[model] for model in order}

    @property
    def earlier(self) -> tuple[Section, ...]:
        """Sections of older versions, kept for the record."""
        return tuple(section for section in self.sections if not section.current)


def read_board(directory: Path, *, cards: Path | None = None, tasks: Path | None = None) -> Board:
    """Read ``results/<task-id>@<version>/<model-id>.json`` and ``models/<model-id>.toml`` of a leaderboard directory.

    Args:
        directory: The leaderboard.
        cards: Where the cards are instead of ``directory/models``.
        tasks: Where the task files are instead of the package's own.

    Raises:
        StorageError: The directory is not there, or a file cannot be read.
        FormatError: Files break their schema or contradict each other; every problem is listed.
    """
    if not directory.is_dir():
        raise StorageError(
            f"there is no leaderboard directory at {directory}; make it, with results/ and models/ in it"
        )
    problems: list[str] = []
    known = _cards(cards or directory / "models", problems)
    definitions = {path.stem: read_task(path) for path in list_tasks(tasks).values()}
    entries = _entries(directory, known, problems)
    groups: dict[tuple[str, int], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.result.task.id, entry.result.task.version), []).append(entry)
    for group in groups.values():
        problems += _group_problems(group, definitions.get(group[0].result.task.id))
    if problems:
        raise FormatError("\n".join(problems))
    ordered = sorted(groups, key=lambda name: (name[0], -name[1]))
    sections = [_section(name, groups, definitions) for name in ordered]
    stored = [read_tests(path_of(directory, section.key)) for section in sections]
    return Board(
        sections=tuple(
            section.tested(tests) if fits(tests, section.ranking) else section
            for section, tests in zip(sections, stored, strict=True)
        )
    )


def _cards(directory: Path, problems: list[str]) -> dict[str, ModelCard]:
    try:
        return load_cards(directory)
    except FormatError as error:
        problems.append(str(error))
        return {}


def _entries(directory: Path, cards: Mapping[str, ModelCard], problems: list[str]) -> list[Entry]:
    """Every result file that could be read; what is wrong with the others and between files goes to ``problems``."""
    with disk_errors("read", directory):
        paths = sorted(directory.glob("results/*/*.json"))
    cards_readable = not problems
    entries = []
    for path in paths:
        try:
            result = read(path)
        except (FormatError, IntegrityError) as error:
            problems.append(str(error))
            continue
        entry = Entry(result=result, card=cards.get(result.model.id))
        found = _place_problems(result, path) + _content_problems(result)
        found += _card_problems(entry) if cards_readable else []
        problems += [f"{path}: {problem}" for problem in found]
        entries.append(entry)
    return entries


def _place_problems(result: Result, path: Path) -> list[str]:
    """A result must lie where its task and model say."""
    problems = []
    if path.parent.name != result.task.key or not ID_PATTERN.fullmatch(result.task.id):
        problems.append(f"holds a result of task {result.task.key!r}; move it to results/<task-id>@<version>/")
    if path.stem != result.model.id or not MODEL_ID.fullmatch(result.model.id):
        problems.append(
            f"holds a result of model {result.model.id!r}; name it <model-id>.json, in small letters, digits, '.' and '-'"
        )
    return problems


def _card_problems(entry: Entry) -> list[str]:
    """A card must agree with the result."""
    model, card = entry.result.model, entry.card
    if card is not None and card.functional != model.functional:
        return [f"the model declared {model.functional}, its card says {card.functional}; correct one of them"]
    return []


def _content_problems(result: Result) -> list[str]:
    """A result must be a score of the whole task, in units and elements that can be drawn."""
    problems = []
    if result.counts.limit is not None:
        problems.append(f"is a trial on {result.counts.limit} frames; score again without --limit")
    units = sorted({metric.unit for metric in result.metrics} - set(RENDERED))
    if units:
        problems.append(f"unknown units {', '.join(units)}; known: {', '.join(RENDERED)}")
    elements = sorted({item.element for item in result.per_element} - set(POSITIONS))
    if elements:
        problems.append(f"per_element names unknown elements: {', '.join(elements)}")
    return problems


def _group_problems(group: Sequence[Entry], task: Task | None) -> list[str]:
    """What the results of one task version must agree on."""
    shared = group[0].result.task
    wanted = {
        "data of fingerprint": {entry.model_id: entry.result.dataset.fingerprint for entry in group},
        "the task": {entry.model_id: entry.result.task.digest for entry in group},
        "the labels": {entry.model_id: entry.result.dataset.labels for entry in group},
        "the number of frames": {entry.model_id: str(entry.result.counts.frames) for entry in group},
        "the main metric": {entry.model_id: entry.main.key for entry in group},
    }
    problems = [
        f"results/{shared.key}: results differ in {what}: {_spread(values)}; score all of them again alike"
        for what, values in wanted.items()
        if len(set(values.values())) > 1
    ]
    found = group[0].result.dataset.fingerprint
    if task is not None and task.version == shared.version and found != task.fingerprint:
        problems.append(
            f"results/{shared.key}: scored on data {found}, the task is defined on {task.fingerprint}; score again"
        )
    return problems


def _spread(values: Mapping[str, str]) -> str:
    """Each value with the models that have it."""
    models: dict[str, list[str]] = {}
    for model, value in values.items():
        models.setdefault(value, []).append(model)
    return ", ".join(f"{value} ({', '.join(names)})" for value, names in models.items())


def _section(
    name: tuple[str, int], groups: Mapping[tuple[str, int], Iterable[Entry]], definitions: Mapping[str, Task]
) -> Section:
    task_id, version = name
    task = definitions.get(task_id)
    newest = max(other for same, other in groups if same == task_id)
    return Section(
        key=f"{task_id}@{version}",
        task_id=task_id,
        version=version,
        task=task if task is not None and task.version == version else None,
        current=version >= max(newest, task.version if task is not None else 0),
        ranking=rank(groups[name]),
    )

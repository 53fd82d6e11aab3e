"""``xferbench verify`` and ``rescore``: does every task, card and result of a tree keep its word, and make it so.

A stored result is checked by doing it again: its predictions are scored anew, and every number must come out the same.
"""

from __future__ import annotations

import dataclasses
import json
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xferbench import board as boards
from xferbench import results, scoring
from xferbench.api.evaluation import audit_path, environment, floor_candidate, predictions_path, read_audited
from xferbench.board.cards import read_card
from xferbench.board.site import stale
from xferbench.dataset import open_dataset
from xferbench.errors import FormatError, IntegrityError, StorageError, XferbenchError
from xferbench.functionals import Functional
from xferbench.progress import silent
from xferbench.registry import OWN
from xferbench.results import Environment, ModelFacts, Result
from xferbench.storage import read_json, write_text
from xferbench.tables import read_table, table_predictions
from xferbench.tasks import Task, list_tasks, read_task

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from xferbench.dataset import Dataset
    from xferbench.scoring import Expected

TOLERANCE = 1e-9
"""Relative difference up to which two scores of the same predictions count as equal: other versions of numpy or BLAS."""


class OnlyRead(str):
    """What is said of a file that could be read and not checked: that is not "ok"."""

    __slots__ = ()


@dataclasses.dataclass(slots=True, kw_only=True)
class VerifyReport:
    """What was looked at, and what was wrong. ``print`` shows a line for each.

    Attributes:
        lines: About what is fine.
        problems: About what is not.
    """

    lines: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)

    def check(self, path: object, check: Callable[[], str]) -> None:
        """Run one check; it returns what to say of ``path``, or raises what is wrong with it."""
        try:
            told = check()
            self.lines.append(f"{'read   ' if isinstance(told, OnlyRead) else 'ok     '} {path}: {told}")
        except XferbenchError as error:
            self.problems.append(f"WRONG   {path}: {error}")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return "\n".join([*self.lines, *self.problems])


def verify(
    root: str | os.PathLike[str] = ".",
    *,
    model: str | None = None,
    allow_self_reported: bool = False,
    say: Callable[[str], None] = silent,
) -> VerifyReport:
    """Check ``tasks/*.toml`` and every leaderboard directory (one with ``models/`` or ``results/``) at or below ``root``.

    Every stored result is scored again from its predictions, and every number must come out the same.

    Args:
        root: Of a checkout, or a leaderboard directory.
        model: Only the card and the results of this model id; neither tasks nor pages.
        allow_self_reported: Results whose predictions are not stored are read only, instead of being a problem.
        say: Where notes go.

    Raises:
        StorageError: ``root`` holds nothing to check, or nothing of this model.
    """
    root, found = Path(root), VerifyReport()
    boards = [
        path for path in (root, root / "leaderboard") if (path / "models").is_dir() or (path / "results").is_dir()
    ]
    files = list_tasks(root / "tasks")
    if not files and not boards:
        raise StorageError(
            f"{root} has no tasks/, models/ or results/ to check; give the root of a checkout or a leaderboard"
        )
    data: dict[str, Dataset] = {}
    for path in files.values() if model is None else ():
        found.check(path, partial(_task, path, data, say))
    tasks = {task.key: task for path in (files or list_tasks()).values() if (task := _readable(path))}
    for board in boards:
        _board(board, tasks, data, found, model, allow_self_reported=allow_self_reported)
    if model is not None and not (found.lines or found.problems):
        raise StorageError(f"{root} has neither a card nor a result of {model}; give the id that its page shows")
    return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RescoreReport:
    """What scoring all stored predictions again changed. ``print`` shows a line for each.

    Attributes:
        moved: Path of a result -> ``metric: old -> new`` of each value or interval that moved, and what else differs.
        same: Results that are as they were.
        left: Path of a result -> why it could not be scored again; it stays as it is.
    """

    moved: Mapping[str, tuple[str, ...]]
    same: tuple[str, ...]
    left: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        lines = [f"moved  {path}: {text}" for path, texts in self.moved.items() for text in texts]
        lines += [f"left   {path}: {why}" for path, why in self.left.items()]
        return "\n".join(
            [*lines, f"{len(self.moved)} written, {len(self.same)} as they were, {len(self.left)} left alone"]
        )


def rescore(
    board: str | os.PathLike[str] = "leaderboard", *, dry_run: bool = False, say: Callable[[str], None] = silent
) -> RescoreReport:
    """Bring every result of a board up to date from its stored predictions: new metrics, versions and intervals.

    Nothing is written before everything has been computed. Results of tasks that are not here, and those without predictions, stay.

    Args:
        board: Directory with ``results/`` and ``predictions/``.
        dry_run: Write nothing.
        say: Where notes go.

    Raises:
        StorageError: There are no results, or the disk refuses.
        DataError: Something stored cannot be read or scored; nothing was written.
    """
    board = Path(board)
    paths = sorted(board.glob("results/*/*.json"))
    if not paths:
        raise StorageError(f"{board} has no results; give the directory of a leaderboard")
    tasks = {task.key: task for path in list_tasks().values() if (task := read_task(path))}
    data: dict[str, Dataset] = {}
    texts: dict[Path, str] = {}
    moved: dict[str, tuple[str, ...]] = {}
    same, left = [], {}
    for path in paths:
        old = read_json(path)
        key = path.parent.name
        if key not in tasks:
            left[str(path)] = f"of {key}, a version that is not here"
            continue
        task = tasks[key]
        if task.dataset in OWN:
            left[str(path)] = "its data set is a user's own and not here"
            continue
        say(f"scoring {path} again")
        again = _score_again(_asked(old, path), board, task, _expected(task, _data(task, data, say)))
        if again is None:
            left[str(path)] = "its predictions are not stored"
            continue
        again = dataclasses.replace(again, environment=environment())
        text = again.to_json()
        if _differences(_plain(json.loads(text)), _plain(old), ""):
            texts[path], moved[str(path)] = text, tuple(_moved(json.loads(text), old))
        else:
            same.append(str(path))
    if not dry_run:
        for path, text in texts.items():
            write_text(path, text)
    return RescoreReport(moved=moved, same=tuple(same), left=left)


def _asked(raw: Any, path: Path) -> _Asked:  # noqa: ANN401 - parsed JSON
    try:
        return _Asked(
            **{name: raw["model"][name] for name in ("id", "name", "kind", "source_sha256")},
            functional=Functional(raw["model"]["functional"]),
            references=raw["references"]["model"],
            environment=Environment(**raw["environment"]),
        )
    except (KeyError, TypeError) as error:
        raise FormatError(f"{path} is no result: {error!r}; score the model again") from error


def _plain(raw: Any) -> dict[str, Any]:  # noqa: ANN401 - parsed JSON
    """Without what depends on where it was computed: of a floor, which is made again, also the last digits that its digest is of."""
    values = {name: value for name, value in raw.items() if name != "environment"}
    if values["model"]["kind"] == "floor":
        values["predictions"] = {name: value for name, value in raw["predictions"].items() if name != "digest"}
    return values


def _moved(new: Any, old: Any) -> Iterator[str]:  # noqa: ANN401 - parsed JSON
    """Values and intervals that differ by more than ``TOLERANCE``, metrics that came or went, and other parts that differ."""
    before = {item["key"]: item for item in old.get("metrics", ())}
    after = {item["key"]: item for item in new["metrics"]}
    yield from (f"{key}: no longer measured" for key in sorted(before.keys() - after.keys()))
    for key, item in after.items():
        numbers = [
            [entry.get(name) for name in ("value", "ci_low", "ci_high")] for entry in (before.get(key, {}), item)
        ]
        if key not in before:
            yield f"{key}: new, {_shown(numbers[1])}"
        elif _differences(numbers[1], numbers[0], ""):
            yield f"{key}: {_shown(numbers[0])} -> {_shown(numbers[1])}"
    parts = sorted({*_plain(new), *_plain(old)} - {"metrics"})
    others = [name for name in parts if _differences(new.get(name), old.get(name), name)]
    if others:
        yield f"also {', '.join(others)}"


def _shown(numbers: list[float | None]) -> str:
    value, low, high = ("none" if number is None else f"{number:.6g}" for number in numbers)
    return f"{value} [{low}, {high}]"


def _readable(path: Path) -> Task | None:
    """The task, or nothing where ``_task`` has already said what is wrong."""
    try:
        return read_task(path)
    except XferbenchError:
        return None


def _task(path: Path, data: dict[str, Dataset], say: Callable[[str], None]) -> str:
    task = read_task(path)
    if task.dataset in OWN:
        return OnlyRead(f"{task.key}, of a user's own files, which are not here: read, not compared with its data set")
    prepared = _data(task, data, say)
    if prepared.fingerprint != task.fingerprint:
        raise IntegrityError(
            f"fingerprint is {task.fingerprint}, but data set {task.dataset} has {prepared.fingerprint}"
        )
    return f"{task.key}, {len(task.metrics)} metrics"


def _data(task: Task, data: dict[str, Dataset], say: Callable[[str], None]) -> Dataset:
    if task.dataset not in data:
        say(f"preparing data set {task.dataset}")
        data[task.dataset] = open_dataset(task.dataset, fingerprint=task.fingerprint)
    return data[task.dataset]


def _board(
    board: Path,
    tasks: dict[str, Task],
    data: dict[str, Dataset],
    found: VerifyReport,
    model: str | None,
    *,
    allow_self_reported: bool,
) -> None:
    for path in sorted(board.glob("models/*.toml")):
        if model in {None, path.stem}:
            found.check(path, partial(_card, path))
    for path in sorted(board.glob("results/*/*.json")):
        if model in {None, path.stem}:
            found.check(path, partial(check_result, path, board, tasks, data, allow_self_reported=allow_self_reported))
    if model is None and any(board.glob("results/*/*.json")):
        found.check(board, partial(_rendered, board))


def _card(path: Path) -> str:
    return read_card(path).model_name


def check_result(
    path: Path,
    board: Path,
    tasks: Mapping[str, Task],
    data: dict[str, Dataset],
    *,
    allow_self_reported: bool = False,
) -> str:
    """What to say of a result whose numbers its predictions give again, or why it could only be read (``OnlyRead``).

    Raises:
        IntegrityError: They give other numbers, or are not stored and may not be missing.
        DataError: The result or its predictions cannot be read.
    """
    stored = results.read(path)
    if stored.task.key not in tasks:
        return OnlyRead(f"of {stored.task.key}, a version that is not here: read, not scored again")
    task = tasks[stored.task.key]
    if task.dataset in OWN:
        return OnlyRead(f"of {stored.task.key}, whose data set is a user's own and not here: read, not scored again")
    prepared = _data(task, data, silent)
    again = _score_again(_Asked.of(stored), board, task, _expected(task, prepared))
    if again is None and allow_self_reported:
        return OnlyRead("self-reported: its predictions are not stored, so it was not scored again")
    if again is None:
        wanted = predictions_path(board, task, stored.model.id).relative_to(board)
        raise IntegrityError(
            f"self-reported: its predictions are not stored, so nobody can score them again; add {wanted}, "
            "or allow such rows with --allow-self-reported"
        )
    differences = list(_differences(_comparable(again), _comparable(stored), ""))
    if differences:
        shown = ", ".join(differences[:5]) + (f" and {len(differences) - 5} more" if len(differences) > 5 else "")
        raise IntegrityError(f"scoring its predictions again gives other values of {shown}; run `xferbench rescore`")
    return "scored again with the same numbers"


@lru_cache(maxsize=2)  # the results of a task follow each other
def _expected(task: Task, data: Dataset) -> Expected:
    return scoring.expected_frames(task, data, structures=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a stored result says of its model, in this or an older schema: what scoring again needs of it."""

    id: str
    name: str
    kind: Literal["model", "floor"]
    functional: Functional
    references: Mapping[str, float] | None
    source_sha256: str | None
    environment: Environment

    @classmethod
    def of(cls, stored: Result) -> _Asked:
        model = stored.model
        return cls(
            id=model.id,
            name=model.name,
            kind=model.kind,
            functional=model.functional,
            references=stored.references.model,
            source_sha256=model.source_sha256,
            environment=stored.environment,
        )


def _score_again(asked: _Asked, board: Path, task: Task, expected: Expected) -> Result | None:
    if asked.kind == "floor":
        made = floor_candidate(asked.id.removeprefix("floor-"), task, expected)
        facts, predictions = made.facts, made.predictions
    else:
        path = predictions_path(board, task, asked.id)
        if not path.exists():
            return None
        predictions = table_predictions(read_table(path))
        card = board / "models" / f"{asked.id}.toml"
        known = read_card(card) if card.exists() else None
        facts = ModelFacts(
            id=asked.id,
            name=asked.name if known is None else known.model_name,
            kind="model",
            functional=asked.functional,
            references=asked.references,
            energy_corrections=None if known is None else known.energy_corrections,
            source_sha256=asked.source_sha256,
        )
    audit = audit_path(board, task, asked.id)
    return scoring.score(
        task,
        expected,
        predictions,
        facts=facts,
        environment=asked.environment,
        allow_missing=True,
        audited=read_audited(audit) if audit.exists() else None,
    )


def _comparable(result: Result) -> dict[str, object]:
    """``_plain``, without what people call the model."""
    values = _plain(dataclasses.asdict(result))
    del values["model"]["name"]
    return values


def _differences(new: object, old: object, at: str) -> list[str]:
    """Paths at which two results differ; numbers may differ by ``TOLERANCE``."""
    if isinstance(new, dict) and isinstance(old, dict):
        keys = sorted({*new, *old})
        return [path for key in keys for path in _differences(new.get(key), old.get(key), f"{at}.{key}".lstrip("."))]
    if isinstance(new, list | tuple) and isinstance(old, list | tuple) and len(new) == len(old):
        return [path for i, pair in enumerate(zip(new, old, strict=True)) for path in _differences(*pair, f"{at}[{i}]")]
    if isinstance(new, float) and isinstance(old, float):
        return [] if abs(new - old) <= TOLERANCE * max(1.0, abs(old)) else [at]
    return [] if new == old else [at]


def _rendered(board: Path) -> str:
    """README.md and every page are what their results give."""
    content = boards.read_board(board)
    if content.without_card:
        raise FormatError(
            f"no card for {', '.join(content.without_card)}; write models/<model-id>.toml, see docs/leaderboard.md"
        )
    changed = stale(board, boards.site(content))
    if changed:
        named = " and ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise IntegrityError(f"{named} are not what the results give; run `xferbench leaderboard build {board}`")
    return "README.md and the pages are what the results give"

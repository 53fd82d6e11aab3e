"""``xferbench validate``: does every task, card and result of a tree keep its word?

A stored result is checked by doing it again: its predictions are scored anew, and every number must come out the same.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING

from xferbench import dataset as datasets
from xferbench import leaderboard, results, scoring
from xferbench.errors import FormatError, IntegrityError, StorageError, XferbenchError
from xferbench.leaderboard.cards import read_card
from xferbench.results import ModelFacts, Result
from xferbench.storage import read_bytes, sha256
from xferbench.tables import read_table, table_predictions
from xferbench.tasks import Task, list_tasks, read_task
from xferbench.workflow.evaluation import audit_path, floor_contender, predictions_path, read_audited, silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xferbench.dataset import Dataset

TOLERANCE = 1e-9
"""Relative difference up to which two scores of the same predictions count as equal: other versions of numpy or BLAS."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Findings:
    """What was looked at, and what was wrong."""

    lines: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)

    def look(self, path: object, check: Callable[[], str]) -> None:
        """Run one check; it returns what to say of ``path``, or raises what is wrong with it."""
        try:
            self.lines.append(f"ok      {path}: {check()}")
        except XferbenchError as error:
            self.problems.append(f"WRONG   {path}: {error}")


def validate(root: Path, *, say: Callable[[str], None] = silent) -> tuple[list[str], list[str]]:
    """Check ``tasks/*.toml`` and every leaderboard directory (one with ``models/`` or ``results/``) at or below ``root``.

    Returns:
        Lines about what is fine, and lines about what is not.

    Raises:
        StorageError: ``root`` holds nothing to check.
    """
    found = Findings()
    boards = [
        path for path in (root, root / "leaderboard") if (path / "models").is_dir() or (path / "results").is_dir()
    ]
    files = list_tasks(root / "tasks")
    if not files and not boards:
        raise StorageError(
            f"{root} has no tasks/, models/ or results/ to check; give the root of a checkout or a leaderboard"
        )
    data: dict[str, Dataset] = {}
    for path in files.values():
        found.look(path, partial(_task, path, data, say))
    tasks = {task.key: (task, path) for path in (files or list_tasks()).values() if (task := _readable(path))}
    for board in boards:
        _board(board, tasks, data, found)
    return found.lines, found.problems


def _readable(path: Path) -> Task | None:
    """The task, or nothing where ``_task`` has already said what is wrong."""
    try:
        return read_task(path)
    except XferbenchError:
        return None


def _task(path: Path, data: dict[str, Dataset], say: Callable[[str], None]) -> str:
    task = read_task(path)
    prepared = _data(task, data, say)
    if prepared.fingerprint != task.fingerprint:
        raise IntegrityError(
            f"fingerprint is {task.fingerprint}, but data set {task.dataset} has {prepared.fingerprint}"
        )
    return f"{task.key}, {len(task.metrics)} metrics"


def _data(task: Task, data: dict[str, Dataset], say: Callable[[str], None]) -> Dataset:
    if task.dataset not in data:
        say(f"preparing data set {task.dataset}")
        data[task.dataset] = datasets.prepare(task.dataset)
    return data[task.dataset]


def _board(board: Path, tasks: dict[str, tuple[Task, Path]], data: dict[str, Dataset], found: Findings) -> None:
    for path in sorted(board.glob("models/*.toml")):
        found.look(path, partial(_card, path))
    for path in sorted(board.glob("results/*/*.json")):
        found.look(path, partial(_result, path, board, tasks, data))
    if any(board.glob("results/*/*.json")):
        found.look(board, partial(_rendered, board))


def _card(path: Path) -> str:
    return read_card(path).model_name


def _result(path: Path, board: Path, tasks: dict[str, tuple[Task, Path]], data: dict[str, Dataset]) -> str:
    stored = results.read(path)
    if stored.task.key not in tasks:
        return f"of {stored.task.key}, a version that is not here: read, not scored again"
    task, task_file = tasks[stored.task.key]
    prepared = _data(task, data, silent)
    again = _score_again(stored, board, task, task_file, prepared)
    if again is None:
        return "read; its predictions are not stored, so it was not scored again"
    differences = list(_differences(_comparable(again), _comparable(stored), ""))
    if differences:
        shown = ", ".join(differences[:5]) + (f" and {len(differences) - 5} more" if len(differences) > 5 else "")
        raise IntegrityError(
            f"scoring its predictions again gives other values of {shown}; run `xferbench score` again"
        )
    return "scored again with the same numbers"


def _score_again(stored: Result, board: Path, task: Task, task_file: Path, data: Dataset) -> Result | None:
    model = stored.model
    if model.kind == "floor":
        made = floor_contender(model.id.removeprefix("floor-"), task, data)
        facts, predictions = made.facts, made.predictions
    else:
        path = predictions_path(board, task, model.id)
        if not path.exists():
            return None
        predictions = table_predictions(read_table(path))
        card = board / "models" / f"{model.id}.toml"
        known = read_card(card) if card.exists() else None
        facts = ModelFacts(
            id=model.id,
            name=model.name,
            kind="model",
            functional=model.functional,
            references=stored.references.model,
            energy_corrections=None if known is None else known.energy_corrections,
            card_sha256=None if known is None else sha256(card),
            source_sha256=model.source_sha256,
        )
    audit = audit_path(board, task, model.id)
    return scoring.score(
        task,
        data,
        predictions,
        facts=facts,
        environment=stored.environment,
        task_sha256=sha256(task_file),
        allow_missing=True,
        audited=read_audited(audit) if audit.exists() else None,
    )


def _comparable(result: Result) -> dict[str, object]:
    values = dataclasses.asdict(result)
    del values["environment"]
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
    """README.md and index.html are what their results give."""
    content = leaderboard.read_board(board)
    if content.without_card:
        raise FormatError(
            f"no card for {', '.join(content.without_card)}; write models/<model-id>.toml, see docs/leaderboard.md"
        )
    wanted = {"README.md": leaderboard.render_markdown(content), "index.html": leaderboard.render_page(content)}
    stale = [name for name, text in wanted.items() if read_bytes(board / name) != text.encode()]
    if stale:
        raise IntegrityError(
            f"{' and '.join(stale)} are not what the results give; run `xferbench leaderboard build {board}`"
        )
    return "README.md and index.html are what the results give"

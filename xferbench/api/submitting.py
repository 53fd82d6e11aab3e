"""A model to a board, in the two steps that are its author's: write the card, and hand over card, results and predictions.

What ``score`` leaves below ``--out`` is already laid out as a board of one model; with a card in ``models/`` it is complete, and
``submit`` checks it and copies it into a checkout of the board. Only data move: nothing of a model is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench import results
from xferbench.api.evaluation import audit_path, predictions_path
from xferbench.api.verifying import OnlyRead, check_result
from xferbench.board.cards import blank_card, read_card
from xferbench.board.words import full_label, not_audited, prose, value_words
from xferbench.errors import CheckFailedError, StorageError, UsageError, XferbenchError
from xferbench.models.spec import MODEL_ID, parse_spec
from xferbench.progress import silent
from xferbench.report.blocks import Cell, Column, Report, Row, Table, Text, marked
from xferbench.report.markdown import markdown
from xferbench.storage import read_bytes, write_bytes, write_text
from xferbench.tasks import list_tasks, read_task

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from xferbench.board.cards import ModelCard
    from xferbench.results import Result

LARGEST = 50 * 2**20
"""Bytes of one file of predictions; GitHub warns above 50 MiB and refuses 100."""

TOO_GOOD = 1 / 3
"""A main error below this part of the best on the board is told to the reviewers: labels are public, and mistakes leak them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCard:
    """A card that was begun. ``print`` says where, and what to do next.

    Attributes:
        path: ``models/<model-id>.toml`` below the output of ``score``.
        results: Keys of the tasks that the model has a result of there.
    """

    path: Path
    results: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"path": str(self.path), "results": list(self.results)}

    def __str__(self) -> str:
        model = self.path.stem
        return f"{self.path}\nFill in what is empty, then: xferbench submit {model} --out {self.path.parent.parent}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A model whose card, results and predictions passed every check. ``print`` says what to do next.

    Attributes:
        files: What a board needs of it, below the board; with ``dry_run`` nothing was copied.
        text: Of the pull request, Markdown.
        text_path: Where it was written; none with ``dry_run``.
        remarks: What reviewers will ask; none of it keeps the model out.
    """

    model_id: str
    name: str
    board: Path
    files: tuple[str, ...]
    text: str
    text_path: Path | None
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "model_id": self.model_id,
            "board": str(self.board),
            "files": list(self.files),
            "text": self.text,
            "remarks": list(self.remarks),
        }

    def __str__(self) -> str:
        lines = [f"{self.model_id}: card, results and predictions are in order"]
        lines += [f"note   {remark}" for remark in self.remarks]
        if self.text_path is None:
            return "\n".join([*lines, *(f"would copy {name}" for name in self.files)])
        there = f"git -C {self.board}"
        return "\n".join(
            [
                *lines,
                *(f"copied {self.board / name}" for name in self.files),
                "",
                "Look at your row, then hand it over:",
                f"    xferbench leaderboard build {self.board}      # then open {self.board / 'index.html'}",
                f"    {there} switch -c add-{self.model_id}",
                f"    {there} add {' '.join(self.files)}",
                f"    {there} commit -m 'Add {self.model_id} to the board'",
                f"    {there} push -u origin add-{self.model_id}",
                f"Open the pull request with the text of {self.text_path}; with GitHub's command line:",
                f"    cd {self.board} && gh pr create --title 'Add {self.model_id}' --body-file {self.text_path.resolve()}",
            ]
        )


def new_card(model: str, *, out: str | os.PathLike[str] = "xferbench-out") -> NewCard:
    """Begin the card of a scored model: what its results know is filled in, the rest is left empty with an example.

    Args:
        model: The ``model.py`` that was scored, or its id in the results.
        out: Where ``score`` put the results.

    Raises:
        UsageError: No model can have this id, or there is a card already.
        StorageError: The model has no result there.
        FormatError: A result cannot be read.
    """
    out, model_id = Path(out), _model_id(model)
    known = [results.read(path) for path in _results(out, model_id)]
    path = out / "models" / f"{model_id}.toml"
    if path.exists():
        raise UsageError(f"{path} exists; edit it, or remove it to begin anew")
    write_text(path, blank_card(known, day=datetime.now(tz=UTC).date()))
    return NewCard(path=path, results=tuple(result.task.key for result in known))


def submit(
    model: str,
    *,
    out: str | os.PathLike[str] = "xferbench-out",
    board: str | os.PathLike[str] = "leaderboard",
    replace: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None] = silent,
) -> Submission:
    """Check card, results and predictions of a scored model, and copy them into a checkout of the board.

    Every result is scored again from its predictions. Nothing is copied unless everything is in order.

    Args:
        model: The ``model.py`` that was scored, or its id in the results.
        out: Where ``score`` put the results, and ``new_card`` the card.
        board: The directory of the board, in a checkout of yours.
        replace: The board has this model already, and it is yours.
        dry_run: Only check.
        say: Where notes go.

    Raises:
        CheckFailedError: Something is not in order; every problem is listed.
        UsageError: No model can have this id.
        StorageError: There is no result, or no board.
    """
    out, board, model_id = Path(out), Path(board), _model_id(model)
    if not (board / "models").is_dir():
        raise StorageError(f"{board} has no models/, so it is no board; name the leaderboard/ of a checkout")
    paths = _results(out, model_id)
    problems: list[str] = []
    card = _checked_card(out / "models" / f"{model_id}.toml", problems)
    known = [
        result
        for path in (paths if card is not None else ())  # a name and a functional are the card's
        if (result := _checked_result(path, out, problems, say)) is not None
    ]
    for result in known:
        problems += _problems(result, card, board, replace=replace)
    if problems or card is None:
        raise CheckFailedError("; ".join(problems))
    files = tuple(_files(out, known))
    remarks = tuple(prose(remark) for result in known for remark in _remarks(result, card, board))
    text, text_path = _pull_request(card, known, remarks), out / f"pull-request-{model_id}.md"
    if not dry_run:
        for name in files:
            write_bytes(board / name, read_bytes(out / name))
        write_text(text_path, text)
    return Submission(
        model_id=model_id,
        name=card.model_name,
        board=board,
        files=files,
        text=text,
        text_path=None if dry_run else text_path,
        remarks=remarks,
    )


def _model_id(model: str) -> str:
    model_id = parse_spec(model).model_id if model.endswith(".py") else model.replace(":", "-")
    if not MODEL_ID.fullmatch(model_id):
        raise UsageError(f"{model!r} is no model id; give a model.py, or small letters and digits joined by '.' or '-'")
    return model_id


def _results(out: Path, model_id: str) -> list[Path]:
    found = sorted(out.glob(f"results/*/{model_id}.json"))
    if not found:
        raise StorageError(f"{out} has no result of {model_id}; run `xferbench score` first, or name its --out")
    return found


def _checked_card(path: Path, problems: list[str]) -> ModelCard | None:
    if not path.exists():
        problems.append(f"{path} is not there; `xferbench card new {path.stem}` begins it")
        return None
    try:
        return read_card(path)
    except XferbenchError as error:
        problems.append(str(error))
        return None


def _checked_result(path: Path, out: Path, problems: list[str], say: Callable[[str], None]) -> Result | None:
    """A result whose predictions lie beside it and give the same numbers again."""
    key, model_id = path.parent.name, path.stem
    tasks = {task.key: task for task in map(read_task, list_tasks().values())}
    try:
        result = results.read(path)
        if (result.task.key, result.model.id) != (key, model_id):
            problems.append(f"{path} holds a result of {result.model.id} on {result.task.key}; score the model again")
            return None
        size = _size(out / "predictions" / key / f"{model_id}.parquet")
        if size > LARGEST:
            problems.append(f"{path}: its predictions have {size} bytes, a board takes {LARGEST}; send a smaller file")
            return None
        say(f"scoring {path} again")
        told = check_result(path, out, tasks, {}, allow_self_reported=True)
    except XferbenchError as error:
        problems.append(str(error) if str(path) in str(error) else f"{path}: {error}")
        return None
    if isinstance(told, OnlyRead):
        problems.append(f"{path}: {told}")
        return None
    return result


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _problems(result: Result, card: ModelCard | None, board: Path, *, replace: bool) -> Iterator[str]:
    key, model = result.task.key, result.model
    if model.kind == "floor":
        yield f"{key}: {model.id} is a floor, which every board has"
    if result.counts.limit is not None:
        yield f"{key}: a trial on {result.counts.limit} frames; score again without --limit"
    if card is not None and card.functional != model.functional:
        yield f"{key}: the model declared {model.functional}, its card says {card.functional}; correct one of them"
    for other in _on_board(board, key):
        same = other.predictions.digest == result.predictions.digest
        if other.model.id == model.id and not same and not replace:
            yield f"{key}: the board has another {model.id}; choose another MODEL_ID, or add --replace if it is yours"
        if other.model.id != model.id and same:
            yield f"{key}: these are the predictions of {other.model.id}, which is on the board"


def _remarks(result: Result, card: ModelCard, board: Path) -> Iterator[str]:
    """What a reviewer will ask."""
    key, main = result.task.key, result.main
    if result.coverage < 1:
        yield f"{key}: covers {result.coverage:.1%} of the frames, so it is listed without a rank"
    yield from (f"{key}: {note}" for note in result.notes)
    others = [entry.main.value for entry in _on_board(board, key) if entry.model.id != result.model.id]
    best = min((value for value in others if value is not None), default=None)
    if best is not None and main.value is not None and main.better == "lower" and main.value < TOO_GOOD * best:
        yield f"{key}: {full_label(main)} is less than a third of the best on the board; say how, it looks too good"
    if result.overlap is None:
        yield f"{key}: training set {not_audited(result, card)}; xferbench audit does it on your machine"


def _on_board(board: Path, key: str) -> list[Result]:
    return [results.read(path) for path in sorted((board / "results" / key).glob("*.json"))]


def _files(out: Path, known: list[Result]) -> Iterator[str]:
    """What a board needs of a model, relative to ``out`` and to the board alike."""
    yield f"models/{known[0].model.id}.toml"
    for result in known:
        key, model_id = result.task.key, result.model.id
        task = next(task for task in map(read_task, list_tasks().values()) if task.key == key)
        yield f"results/{key}/{model_id}.json"
        yield predictions_path(Path(), task, model_id).as_posix()
        if (audit := audit_path(Path(), task, model_id)) and (out / audit).exists():
            yield audit.as_posix()


def _pull_request(card: ModelCard, known: list[Result], remarks: tuple[str, ...]) -> str:
    rows = tuple(
        Row(
            cells=(
                Cell(text=result.task.key),
                Cell(text=full_label(result.main)),
                Cell(text=value_words(result.main)),
                Cell(text=f"{result.counts.predicted} of {result.counts.frames}"),
                Cell(text=result.identity.verdict),
            )
        )
        for result in known
    )
    heads = ("Task", "Metric", "Value", "Frames", "Follows")
    told = remarks or ("nothing",)
    return markdown(
        Report(
            title=f"Add {prose(card.model_name)} to the board",
            blocks=(
                Table(title="Main metrics", columns=tuple(Column(title=head) for head in heads), rows=rows),
                Text(
                    items=(
                        marked("Checked by `xferbench submit`: schema, names, hashes, coverage, every number again."),
                    )
                ),
                Text(items=("What reviewers will ask:",)),
                Text(kind="list", items=told),
            ),
        )
    )

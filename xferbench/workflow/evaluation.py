"""One model on one task: find the data, run the model or read its predictions, score it and the floors, write it all.

```
out/models/<model-id>.toml                       card
out/predictions/<task-id>@<version>/<model-id>.parquet
out/results/<task-id>@<version>/<model-id>.json
out/audits/<task-id>@<version>/<model-id>.json   audit of the training set, if there is one
```
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench import dataset as datasets
from xferbench import floors, leaderboard, predict, results, scoring
from xferbench.audit import read_audit
from xferbench.errors import FormatError, IntegrityError, UsageError
from xferbench.leaderboard.cards import cards_directory, read_card
from xferbench.models import parse_spec
from xferbench.models.spec import MODEL_ID
from xferbench.predict.facts import FACTS, facts_of
from xferbench.records import Functional
from xferbench.registry import FLOORS, MODEL_VARIANTS, canonical_model, check_name, near, resolve
from xferbench.scoring import Audited
from xferbench.storage import read_bytes, sha256, write_bytes, write_text
from xferbench.tables import predictions_table, write_table
from xferbench.tasks import Task, load_task, task_sha256

if TYPE_CHECKING:
    from collections.abc import Callable

    from xferbench.dataset import Dataset
    from xferbench.records import Predictions
    from xferbench.results import ModelFacts, Result

PACKAGES = ("numpy", "pyarrow", "scikit-learn", "xferbench")
"""Whose versions can move the last digit of a score, or of a floor."""


def silent(_message: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to score, and how; the options of ``xferbench score``.

    Attributes:
        model: ``chgnet:r2scan``, ``floor:ridge``, a ``model.py``, or a predictions ``.parquet``.
        task: Task id or TOML file.
        directory: A prepared data set; without it the cached one, prepared if need be.
        engine: Another way to run a built-in model than its default.
        limit: Score only the first test frames: a trial, of which no result file is written.
        model_id: Name of the row, for a predictions file.
        functional: What the model reproduces, for a predictions file.
        audit: Audit of the training set (``xferbench audit``): frames it has not seen are scored by themselves as well.
        say: Where notes go.
    """

    model: str
    task: str = "mini-static"
    out: Path = Path("xferbench-out")
    directory: Path | None = None
    device: str = "cpu"
    engine: str | None = None
    batch_size: int = 16
    limit: int | None = None
    timeout: float = 600.0
    resume: bool = True
    allow_missing: bool = False
    model_id: str | None = None
    functional: str | None = None
    audit: Path | None = None
    cache_dir: Path | None = None
    offline: bool = False
    progress: bool = False
    say: Callable[[str], None] = silent


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """What came out.

    Attributes:
        results: The model's first, then the floors'.
        table: All of them, ranked, as text.
        written: Files that were written or kept.
    """

    results: list[Result]
    table: str
    written: list[Path]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contender:
    """Predictions and what is known of the model that made them."""

    facts: ModelFacts
    predictions: Predictions
    path: Path


def score(request: Request) -> Report:
    """Score a model and the floors on a task, and write results, predictions and card below ``request.out``.

    Raises:
        XferbenchError: Whatever the user has to mend: see ``errors``.
    """
    request = replace(request, model=canonical_model(request.model))
    task = load_task(request.task)
    _check_options(request)  # a wrong name should not cost the preparation of a data set
    data = open_dataset(task, request)
    scoring.check_dataset(task, data)  # another data set should not cost a run of the model
    audited = None if request.audit is None else read_audited(request.audit)
    if audited is not None:
        scoring.check_audit(task, data, audited)  # nor should a wrong file
    contender = _contender(request, task, data)
    scored = [_score(contender, task, data, request, audited)]
    scored += [
        _score(floor_contender(name, task, data), task, data, request, None)
        for name in floors.available(task)
        if f"floor-{name}" != contender.facts.id
    ]
    for text in scored[0].notes:
        request.say(f"{contender.facts.id}: {text}")
    written = [_keep(contender, task, request)]
    if request.audit is not None and request.limit is None:
        kept = audit_path(request.out, task, contender.facts.id)
        write_bytes(kept, read_bytes(request.audit))
        written.append(kept)
    if request.limit is None:
        for result in scored:
            path = result_path(request.out, task, result.model.id)
            results.write(path, result)
            written.append(path)
    return Report(results=scored, table=leaderboard.terminal_table(scored, task), written=written)


def open_dataset(task: Task, request: Request) -> Dataset:
    """The task's data set: the named directory, else the cached one, built or rebuilt if it is not the one pinned.

    Raises:
        DataError: It cannot be prepared, or is damaged.
    """
    if request.directory is not None:
        return datasets.Dataset.open(request.directory)
    directory = datasets.locate(task.dataset, request.cache_dir)
    if directory.exists():
        opened = _opened(directory)
        if opened is not None and opened.fingerprint == task.fingerprint:
            return opened
    request.say(f"preparing data set {task.dataset} in {directory}")
    return datasets.prepare(task.dataset, cache_dir=request.cache_dir, offline=request.offline)


def _opened(directory: Path) -> Dataset | None:
    """The data set there, or nothing if it is damaged: the cache's own copy is made again rather than refused."""
    try:
        return datasets.Dataset.open(directory)
    except IntegrityError:
        return None


def result_path(out: Path, task: Task, model_id: str) -> Path:
    """Where the result of a model on a task belongs."""
    return out / "results" / task.key / f"{model_id}.json"


def predictions_path(out: Path, task: Task, model_id: str, limit: int | None = None) -> Path:
    """Where the predictions of a model for a task belong; those of a trial lie beside them."""
    trial = "" if limit is None else f".limit-{limit}"
    return out / "predictions" / task.key / f"{model_id}{trial}.parquet"


def audit_path(out: Path, task: Task, model_id: str) -> Path:
    """Where the audit of a model's training set against a task belongs."""
    return out / "audits" / task.key / f"{model_id}.json"


def read_audited(path: Path) -> Audited:
    """An audit with the hash of its file.

    Raises:
        DataError: It cannot be read.
    """
    return Audited(audit=read_audit(path), sha256=sha256(path), where=path)


def environment() -> results.Environment:
    """This machine, as far as it can move a last digit."""
    return results.Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages={name: metadata.version(name) for name in PACKAGES},
    )


def floor_contender(name: str, task: Task, data: Dataset) -> Contender:
    """Predictions of a floor; they are computed, not read, so ``path`` is only its name."""
    check_name("floor", name, FLOORS)
    predictions = resolve("floor", name, FLOORS)(data, task)
    return Contender(facts=floors.facts(name, data, task), predictions=predictions, path=Path(f"floor:{name}"))


def _score(contender: Contender, task: Task, data: Dataset, request: Request, audited: Audited | None) -> Result:
    return scoring.score(
        task,
        data,
        contender.predictions,
        facts=contender.facts,
        environment=environment(),
        task_sha256=task_sha256(request.task),
        limit=request.limit,
        allow_missing=request.allow_missing,
        audited=audited,
        where=contender.path,
    )


def _check_options(request: Request) -> None:
    """Refuse a name that nobody has, and options that what is scored would ignore."""
    predictions = is_predictions(request.model)
    for option in ("model_id", "functional"):
        if getattr(request, option) is not None and not predictions:
            raise UsageError(f"--{option.replace('_', '-')} is for predictions files; a model declares it itself")
    if not predictions and not request.model.startswith("floor:"):
        parse_spec(request.model, engine=request.engine)
    elif request.engine is not None:
        raise UsageError(f"--engine {request.engine} is for built-in potentials; {request.model} runs none")


def _contender(request: Request, task: Task, data: Dataset) -> Contender:
    """Run, compute or read the predictions that ``request.model`` names."""
    kind, _, name = request.model.partition(":")
    if kind == "floor":
        return floor_contender(name, task, data)
    if is_predictions(request.model):
        return _from_file(request)
    return _from_model(request, task, data)


def _keep(contender: Contender, task: Task, request: Request) -> Path:
    """Keep predictions below ``out`` once they are scored, so that the result can be repeated from there."""
    path = predictions_path(request.out, task, contender.facts.id, request.limit)
    if path.resolve() != contender.path.resolve():
        write_table(path, predictions_table(contender.predictions))
    return path


def is_predictions(model: str) -> bool:
    """Whether a model is named by the file of its predictions."""
    return model.endswith((".parquet", ".pq"))


def _from_model(request: Request, task: Task, data: Dataset) -> Contender:
    spec = parse_spec(request.model, engine=request.engine)
    path = predictions_path(request.out, task, spec.model_id, request.limit)
    engine = {} if spec.engine is None else {"engine": spec.engine}
    predictions, declared = predict.run(
        spec,
        scoring.expected_frames(task, data, limit=request.limit).frames,
        path,
        settings={"task": task.key, "fingerprint": task.fingerprint, **engine},
        device=request.device,
        batch_size=request.batch_size,
        timeout=request.timeout,
        resume=request.resume,
        progress=request.progress,
    )
    return Contender(facts=_facts(spec.model_id, declared, request), predictions=predictions, path=path)


def _from_file(request: Request) -> Contender:
    """Predictions of anybody."""
    source = Path(request.model)
    predictions = scoring.read_predictions(source)
    if FACTS in predictions.settings:
        own = facts_of(predictions.settings, source)
        if request.functional not in (None, own.functional):
            raise UsageError(
                f"{source} says that its model reproduces {own.functional}, not {request.functional}; leave --functional out"
            )
    else:
        own = predict.ModelFacts(functional=_functional(request), **_UNDECLARED)
    model_id = request.model_id or predictions.settings.get("model") or source.stem
    if not MODEL_ID.fullmatch(model_id):
        raise UsageError(
            f"model id {model_id!r} must be small letters and digits joined by '.' or '-'; give --model-id"
        )
    return Contender(facts=_facts(model_id, own, request), predictions=predictions, path=source)


_UNDECLARED: dict[str, Any] = {
    "supported_elements": None,
    "references": None,
    "card": None,
    "source_sha256": None,
    "versions": {},
}


def _functional(request: Request) -> Functional:
    known = [item.value for item in Functional]
    if request.functional is None:
        raise UsageError(
            f"{request.model} does not say which functional its model reproduces; add --functional {'|'.join(known)}"
        )
    if request.functional not in known:
        raise UsageError(f"unknown functional {request.functional!r}; {near(request.functional, known)}")
    return Functional(request.functional)


def _facts(model_id: str, declared: predict.ModelFacts, request: Request) -> ModelFacts:
    """What scoring needs to know, with the card in its place below ``out``."""
    card = request.out / "models" / f"{model_id}.toml"
    _place_card(model_id, declared.card, card)
    known = read_card(card) if card.exists() else None
    return results.ModelFacts(
        id=model_id,
        name=model_id if known is None else known.model_name,
        kind="model",
        functional=declared.functional,
        references=declared.references,
        energy_corrections=None if known is None else known.energy_corrections,
        card_sha256=None if known is None else sha256(card),
        source_sha256=declared.source_sha256,
    )


def _place_card(model_id: str, declared: str | None, card: Path) -> None:
    """Copy the card a model brings, or that of a built-in model; a card that is there already is left as it is."""
    if card.exists():
        return
    builtin = {f"{name}-{variant}" for name, variants in MODEL_VARIANTS.items() for variant in variants}
    if declared is not None:
        write_text(card, declared)
        try:
            read_card(card)
        except FormatError:
            card.unlink()
            raise
    elif model_id in builtin:
        write_bytes(card, (cards_directory() / card.name).read_bytes())

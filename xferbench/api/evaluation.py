"""One model on one task: find the data, run the model or read its predictions, score it and the floors, write it all.

```
out/models/<model-id>.toml                       card
out/predictions/<task-id>@<version>/<model-id>.parquet
out/results/<task-id>@<version>/<model-id>.json
out/audits/<task-id>@<version>/<model-id>.json   audit of the training set, if there is one
```
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench import board, floors, predict, results, scoring
from xferbench.audit import read_audit
from xferbench.board.cards import cards_directory, read_card
from xferbench.dataset import open_dataset
from xferbench.errors import DataError, FormatError, StorageError, UsageError
from xferbench.functionals import Functional, names
from xferbench.measure import METRICS
from xferbench.models import parse_spec
from xferbench.models.spec import MODEL_ID
from xferbench.predict.facts import FACTS, facts_of
from xferbench.progress import silent
from xferbench.records import PROPERTIES
from xferbench.registry import FLOORS, MODEL_VARIANTS, canonical_model, check_name, resolve
from xferbench.scoring import Audited
from xferbench.scoring.reading import PREDICTIONS
from xferbench.storage import cache_directory, read_bytes, sha256, write_bytes, write_text
from xferbench.tables import predictions_table, write_table
from xferbench.tasks import Task, list_tasks, load_task, obvious

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xferbench.dataset import Dataset
    from xferbench.models import ModelSpec
    from xferbench.records import Predictions
    from xferbench.results import ModelFacts, Result
    from xferbench.scoring import Expected

PACKAGES = ("numpy", "pyarrow", "scikit-learn", "xferbench")
"""Whose versions can move the last digit of a score, or of a floor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to score, and how: the arguments of ``score``, handed down as one."""

    model: str
    task: str | None = None
    out: Path = Path("xferbench-out")
    dataset: str | None = None
    engine: str | None = None
    run: predict.Options = field(default_factory=predict.Options)
    limit: int | None = None
    shard: str | None = None
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
class ScoreReport:
    """A model's result beside those of the floors. ``print`` shows the ranked table.

    Attributes:
        task: What they were scored on.
        results: The model's first, then the floors'; none where only a shard was predicted.
        written: Files that were written or kept.
    """

    task: Task
    results: list[Result]
    written: list[Path]

    @property
    def result(self) -> Result:
        """The model's."""
        return self.results[0]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values, as the files have them."""
        return [dataclasses.asdict(result) for result in self.results]

    def __str__(self) -> str:
        return (
            board.terminal_table(self.results, self.task) if self.results else "nothing is scored yet: a part of a run"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """Where the predictions of all shards are now.

    Attributes:
        path: The file.
    """

    path: Path

    def to_json(self) -> dict[str, str]:
        """Plain values."""
        return {"path": str(self.path)}

    def __str__(self) -> str:
        return f"wrote {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """Predictions and what is known of the model that made them."""

    facts: ModelFacts
    predictions: Predictions
    path: Path


def score(
    model: str,
    *,
    task: str | None = None,
    out: str | os.PathLike[str] = "xferbench-out",
    dataset: str | os.PathLike[str] | None = None,
    engine: str | None = None,
    device: str = "cpu",
    python: str | os.PathLike[str] | None = None,
    env: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    timeout: float = 600.0,
    sandbox: str = "auto",
    read: Sequence[str | os.PathLike[str]] = (),
    pass_env: Sequence[str] = (),
    memory: float | None = None,
    batch_atoms: int = 512,
    workers: int = 1,
    ray: str | None = None,
    shard: str | None = None,
    limit: int | None = None,
    resume: bool = True,
    allow_missing: bool = False,
    model_id: str | None = None,
    functional: str | None = None,
    audit: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    progress: bool = False,
    say: Callable[[str], None] = silent,
) -> ScoreReport:
    """Score a model and the floors on a task, and write results, predictions and card.

    The model runs in a process, and if you like an interpreter, of its own that is handed structures only, never labels. A run
    that was interrupted continues where it stopped.

    Args:
        model: A built-in model such as ``chgnet:r2scan``, a floor such as ``floor:ridge``, the path of a ``model.py``, or a
            file of predictions.
        task: Task id or TOML file, see ``list_tasks``. Without it ``mini-static``, or with ``dataset`` the obvious task of that data
            set, which is written below ``out``; a TOML file that is not there yet is written with it.
        out: Where results go; a leaderboard directory is one.
        dataset: Name or path of a data set; the prepared one that the task pins if not given.
        engine: Another way to run a built-in model than its default.
        device: As the framework names it: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; several, joined by commas, are dealt to the workers.
        python: The interpreter that runs the model; by default that of the ``env.toml`` beside it, else this one.
        env: Its virtual environment, instead.
        threads: Of each worker; by default one if there are several, else what the libraries choose.
        timeout: Seconds per call of the model.
        sandbox: How the model is kept apart: ``auto``, ``bwrap``, ``process`` or ``none``; see ``docs/security.md``.
        read: What it may read besides under ``bwrap``: weights outside its folder.
        pass_env: Names of environment variables to hand to it besides the usual ones.
        memory: GiB it may have; by default what the machine has, on a GPU any amount.
        batch_atoms: Atoms per call of the model.
        workers: Copies of the model on this machine.
        ray: Address of a Ray cluster to run on, or ``local`` for one on this machine.
        shard: ``i/n``: predict only this part, for a job array, and score nothing; see ``merge``.
        limit: Score only the first test frames: a trial, of which no result file is written.
        resume: Whether to continue an interrupted run, or to start anew.
        allow_missing: Count frames that a predictions file lacks as failed.
        model_id: Name of the row, for a predictions file.
        functional: Which head to ask, of a model that serves several; what the model reproduces, for a predictions file.
        audit: Audit of the training set (``audit_overlap``): frames it has not seen are scored by themselves as well.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.
        offline: Never use the network.
        progress: Whether to draw a bar on stderr.
        say: Where notes go.

    Returns:
        Results in eV, eV/Å, eV/Å³, µB. ``print`` shows them ranked, rounded as their intervals allow.

    Raises:
        UsageError: Unknown names, or options that do not go together.
        DataError: The data set, the predictions or a card cannot be used as they are.
        ModelError: The model cannot be loaded.

    Example:
        >>> import xferbench as xb
        >>> report = xb.score("floor:ridge", task="mini-static", out="scores")
        >>> report.result.model.id
        'floor-ridge'
    """
    request = Request(
        model=canonical_model(model),
        task=task,
        out=Path(out),
        dataset=None if dataset is None else os.fspath(dataset),
        engine=engine,
        run=predict.options(
            device=device,
            python=python,
            env=env,
            threads=threads,
            timeout=timeout,
            sandbox=sandbox,
            read=read,
            pass_env=pass_env,
            memory=memory,
            batch_atoms=batch_atoms,
            workers=workers,
            ray=ray,
        ),
        shard=shard,
        limit=limit,
        resume=resume,
        allow_missing=allow_missing,
        model_id=model_id,
        functional=functional,
        audit=None if audit is None else Path(audit),
        cache_dir=None if cache_dir is None else Path(cache_dir),
        offline=offline,
        progress=progress,
        say=say,
    )
    return _score_model(request)


def merge(shards: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str] | None = None) -> MergeReport:
    """Join the predictions of all shards of a run; ``score`` of the same model then finds them done and scores them.

    Args:
        shards: The files that ``score(shard=…)`` wrote, in any order.
        out: The file to write; by default beside the shards, where ``score`` looks for it.

    Raises:
        UsageError: They are not all the shards of one run.
        DataError: They do not hold what they promise.
    """
    return MergeReport(path=predict.merge([Path(shard) for shard in shards], None if out is None else Path(out)))


def _score_model(request: Request) -> ScoreReport:
    _check_options(request)  # a wrong name should not cost the preparation of a data set
    request = replace(request, task=chosen_task(request))
    task = load_task(request.task or TASK)
    data = open_for(task, request.dataset, cache_dir=request.cache_dir, offline=request.offline, say=request.say)
    scoring.check_dataset(task, data)  # another data set should not cost a run of the model
    audited = None if request.audit is None else read_audited(request.audit)
    if audited is not None:
        scoring.check_audit(task, data, audited)  # nor should a wrong file
    expected = scoring.expected_frames(task, data, limit=request.limit, structures=_runs(request.model))
    if request.shard is not None:
        return _shard(request, task, data, expected)
    candidate = _candidate(request, task, data, expected)
    scored = [_score(candidate, task, expected, request, audited)]
    scored += [
        _floor_result(name, task, expected, data, request)
        for name in floors.available(task)
        if f"floor-{name}" != candidate.facts.id
    ]
    for text in scored[0].notes:
        request.say(f"{candidate.facts.id}: {text}")
    written = [_keep(candidate, task, request)]
    if request.audit is not None and request.limit is None:
        kept = audit_path(request.out, task, candidate.facts.id)
        write_bytes(kept, read_bytes(request.audit))
        written.append(kept)
    if request.limit is None:
        for result in scored:
            path = result_path(request.out, task, result.model.id)
            content = result.to_json().encode()
            if result is scored[0] or not path.exists() or read_bytes(path) != content:
                write_bytes(path, content)
            written.append(path)
    return ScoreReport(task=task, results=scored, written=written)


TASK = "mini-static"


def chosen_task(request: Request) -> str:
    """The task that is meant, written first where a prepared data set brings none.

    Raises:
        DataError: The data set is damaged, or has no pairs.
        UsageError: The task's file is to be written and its name is no id.
    """
    given = request.task
    if request.dataset is None or (given is not None and not (given.endswith(".toml") and not Path(given).exists())):
        return given or TASK
    data = open_dataset(request.dataset, cache_dir=request.cache_dir, offline=request.offline, say=request.say)
    if given is None:
        known = [name for name in list_tasks() if load_task(name).fingerprint == data.fingerprint]
        if TASK in known or known:
            return TASK if TASK in known else known[0]
    data.check_pairs()
    task_id = Path(given).stem if given else f"{_slug(Path(request.dataset).name)}-static"
    if not MODEL_ID.fullmatch(task_id):
        raise UsageError(
            f"a task cannot be called {task_id!r}: small letters and digits joined by '.' or '-'; name another file"
        )
    path = Path(given) if given else request.out / "tasks" / f"{task_id}.toml"
    labels = data.manifest["labels"]
    counts = [labels.get(name, {}) for name in data.functionals.target]
    text = obvious(
        task_id,
        dataset=data.name,
        fingerprint=data.fingerprint,
        version=data.version,
        functionals=data.functionals,
        properties=[name for name in PROPERTIES if any(item.get(name) for item in counts)],
        calibration="train",
    )
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    request.say(
        f"task {task_id}: the {data.functionals.prose('target')} labels of the test pairs of {request.dataset}, offsets fitted on its train pairs; kept in {path}"
        + ("" if given else ", --task NAME.toml keeps it elsewhere")
    )
    return str(path)


def _slug(name: str) -> str:
    """A name as part of an id."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "own"


def open_for(
    task: Task,
    dataset: str | os.PathLike[str] | None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    say: Callable[[str], None] = silent,
) -> Dataset:
    """The data set that was named, else the prepared one that the task pins, prepared if need be.

    Raises:
        DataError: It cannot be prepared, or is damaged.
    """
    name, fingerprint = (task.dataset, task.fingerprint) if dataset is None else (dataset, None)
    place = None if cache_dir is None else Path(cache_dir)
    return open_dataset(name, fingerprint=fingerprint, cache_dir=place, offline=offline, say=say)


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


def floor_candidate(name: str, task: Task, expected: Expected) -> Candidate:
    """Predictions of a floor; they are computed, not read, so ``path`` is only its name."""
    check_name("floor", name, FLOORS)
    predictions = resolve("floor", name, FLOORS)(expected, task)
    return Candidate(facts=floors.facts(name, expected, task), predictions=predictions, path=Path(f"floor:{name}"))


def _floor_result(name: str, task: Task, expected: Expected, data: Dataset, request: Request) -> Result:
    """The result of a floor, computed once for everything that it depends on and kept beside the data set.

    A trial is not kept, nor is anything beside a directory that cannot be written.
    """
    depends = {
        "task": task.digest,
        "metrics": {metric.key: METRICS[metric.name].version for metric in task.metrics},
        "labels": expected.dataset.labels,
        "schema": results.SCHEMA,
        "environment": dataclasses.asdict(environment()),
    }
    digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]
    kept = data.directory.with_name(f"{data.directory.name}.floors") / f"{task.key}-{digest}" / f"{name}.json"
    if request.limit is None and kept.exists():
        with suppress(DataError):  # truncated, or of another version: computed again
            return results.read(kept)
    result = _score(floor_candidate(name, task, expected), task, expected, request, None)
    if request.limit is None:
        with suppress(StorageError):
            results.write(kept, result)
    return result


def _score(candidate: Candidate, task: Task, expected: Expected, request: Request, audited: Audited | None) -> Result:
    return scoring.score(
        task,
        expected,
        candidate.predictions,
        facts=candidate.facts,
        environment=environment(),
        allow_missing=request.allow_missing,
        audited=audited,
        where=candidate.path,
    )


def _check_options(request: Request) -> None:
    """Refuse a name that nobody has, and options that what is scored would ignore."""
    predictions = is_predictions(request.model)
    if not predictions and not request.model.endswith(".py") and Path(request.model).is_dir():
        raise UsageError(f"{request.model} is a folder; name the model.py or the file of predictions in it")
    floor = request.model.startswith("floor:")
    if request.model_id is not None and not predictions:
        raise UsageError("--model-id is for predictions files; a model declares it itself")
    if request.functional is not None and floor:
        raise UsageError(
            f"--functional {request.functional} is for models; {request.model} reproduces what it is made of"
        )
    if request.shard is not None and (predictions or floor):
        raise UsageError(f"--shard {request.shard} is for potentials, which take long; {request.model} runs none")
    if not predictions and not floor:
        parse_spec(request.model, engine=request.engine, functional=request.functional)
    elif request.engine is not None:
        raise UsageError(f"--engine {request.engine} is for built-in potentials; {request.model} runs none")


def _candidate(request: Request, task: Task, data: Dataset, expected: Expected) -> Candidate:
    """Run, compute or read the predictions that ``request.model`` names."""
    kind, _, name = request.model.partition(":")
    if kind == "floor":
        return floor_candidate(name, task, expected)
    if is_predictions(request.model):
        return _from_file(request)
    return _from_model(request, task, data, expected)


def _keep(candidate: Candidate, task: Task, request: Request) -> Path:
    """Keep predictions below ``out`` once they are scored, so that the result can be repeated from there."""
    path = predictions_path(request.out, task, candidate.facts.id, request.limit)
    if path.resolve() != candidate.path.resolve():
        write_table(path, predictions_table(candidate.predictions))
    return path


def _runs(model: str) -> bool:
    """Whether a model has to be run, and so needs structures."""
    return not (is_predictions(model) or model.startswith("floor:"))


def is_predictions(model: str) -> bool:
    """Whether a model is named by the file of its predictions: by the end of its name, or since it is a file and no Python."""
    return not model.endswith(".py") and (PREDICTIONS.search(model) is not None or Path(model).is_file())


def _from_model(request: Request, task: Task, data: Dataset, expected: Expected) -> Candidate:
    spec, declared, path = _predicted(request, task, data, expected)
    predictions = scoring.read_predictions(path)
    return Candidate(facts=_facts(spec.model_id, declared, request), predictions=predictions, path=path)


def _shard(request: Request, task: Task, data: Dataset, expected: Expected) -> ScoreReport:
    """Predict one part of the task's structures."""
    _, _, path = _predicted(request, task, data, expected)
    request.say(f"shard {request.shard} is done; when all are: xferbench merge {path.parent}/*.shard-*.parquet")
    return ScoreReport(task=task, results=[], written=[path])


def _predicted(
    request: Request, task: Task, data: Dataset, expected: Expected
) -> tuple[ModelSpec, predict.ModelFacts, Path]:
    """Run the model, or the part of it that is asked for; where its predictions lie."""
    spec = parse_spec(request.model, engine=request.engine, functional=request.functional)
    path = predictions_path(request.out, task, spec.model_id, request.limit)
    if request.shard is not None:
        path = predict.shard_path(path, request.shard)
    cache = cache_directory(request.cache_dir)
    hidden = [request.out, cache, Path(data.directory)]
    options = replace(request.run, cache=cache, sandbox=replace(request.run.sandbox, hidden=hidden))
    engine = {} if spec.engine is None else {"engine": spec.engine}
    declared = predict.run(
        spec,
        expected.frames,
        path,
        settings={"task": task.key, "fingerprint": task.fingerprint, **engine},
        options=options,
        resume=request.resume,
        shard=request.shard,
        progress=request.progress,
    )
    return spec, declared, path


def _from_file(request: Request) -> Candidate:
    """Predictions of anybody."""
    source = Path(request.model)
    predictions = scoring.read_predictions(source)
    if FACTS in predictions.settings:
        own = facts_of(predictions.settings, source)
        if request.functional is not None and Functional(request.functional) != own.functional:
            raise UsageError(
                f"{source} says that its model reproduces {own.functional}, not {request.functional}; leave --functional out"
            )
    else:
        own = predict.ModelFacts(functional=_functional(request), **_UNDECLARED)
    model_id = request.model_id or predictions.settings.get("model") or PREDICTIONS.sub("", source.name)
    if not MODEL_ID.fullmatch(model_id):
        raise UsageError(
            f"model id {model_id!r} must be small letters and digits joined by '.' or '-'; give --model-id"
        )
    return Candidate(facts=_facts(model_id, own, request), predictions=predictions, path=source)


_UNDECLARED: dict[str, Any] = {
    "supported_elements": None,
    "references": None,
    "card": None,
    "source_sha256": None,
    "versions": {},
}


def _functional(request: Request) -> Functional:
    if request.functional is None:
        raise UsageError(
            f"{request.model} does not say which functional its model reproduces; add --functional {'|'.join(names())}"
        )
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

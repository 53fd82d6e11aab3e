"""``run``: a model over frames, in fixed batches, to a file; ``check`` and ``cost``: the same model, in the same isolation."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench.errors import ModelError, UsageError
from xferbench.models import CheckResult
from xferbench.predict import interpreter, plan, sandbox, store
from xferbench.predict.facts import ModelFacts, facts_of, run_settings, with_facts
from xferbench.predict.log import Log
from xferbench.predict.pool import Pool
from xferbench.predict.sandbox import Options as SandboxOptions
from xferbench.predict.session import Limits, Session
from xferbench.progress import bar
from xferbench.storage import lock

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from xferbench.models import ModelSpec
    from xferbench.predict.plan import Plan
    from xferbench.predict.pool import Engine
    from xferbench.records import Frame

LOAD_TIMEOUT = 600.0
"""Seconds that importing and loading a model may take."""

CACHE = Path.home() / ".cache" / "xferbench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a model is run. Nothing of it changes what a model is told; what may change a last digit is in the settings.

    Attributes:
        device: As the framework names it; several, separated by commas, are dealt to the workers.
        batch_atoms: Budget of a batch, in atoms.
        timeout: Seconds that one call may take, be it for a batch or for a single structure.
        load_timeout: Seconds until the model must be loaded.
        workers: Processes that serve the model on this machine, each with a copy of it.
        threads: Of each; by default one if there are several workers, else what the libraries choose.
        python: The interpreter that runs the model.
        env: Its virtual environment, instead.
        cache: Where an environment that has to be made is kept.
        sandbox: How it is kept apart.
        ray: Address of a Ray cluster to run on, or ``local`` for one on this machine.
    """

    device: str = "cpu"
    batch_atoms: int = plan.BATCH_ATOMS
    timeout: float = 600.0
    load_timeout: float = LOAD_TIMEOUT
    workers: int = 1
    threads: int | None = None
    python: Path | None = None
    env: Path | None = None
    cache: Path = CACHE
    sandbox: sandbox.Options = field(default_factory=sandbox.Options)
    ray: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name, seconds in (("timeout", self.timeout), ("load timeout", self.load_timeout)):
            if not seconds > 0:
                raise UsageError(f"a {name} of {seconds:g} s is impossible; give more than 0")
        for name in ("workers", "threads"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise UsageError(f"--{name} {number} is impossible; give 1 or more")

    @property
    def devices(self) -> list[str]:
        """One for each worker in turn."""
        return [name.strip() for name in self.device.split(",")]

    @property
    def threads_each(self) -> int | None:
        """Of each worker; ``None`` leaves it to the libraries."""
        return 1 if self.threads is None and (self.workers > 1 or self.ray is not None) else self.threads


def options(
    *,
    python: str | os.PathLike[str] | None = None,
    env: str | os.PathLike[str] | None = None,
    sandbox: str = "auto",
    read: Sequence[str | os.PathLike[str]] = (),
    pass_env: Sequence[str] = (),
    memory: float | None = None,
    **others: Any,  # noqa: ANN401 - attributes of ``Options``
) -> Options:
    """``Options`` from what a user gives: paths as text, memory in GiB.

    Args:
        python: See ``Options``.
        env: See ``Options``.
        sandbox: Its mode.
        read: See ``sandbox.Options``.
        pass_env: Its ``variables``.
        memory: GiB.
        others: Attributes of ``Options``.
    """
    kept_apart = SandboxOptions(
        mode=sandbox,
        read=tuple(Path(path) for path in read),
        variables=tuple(pass_env),
        memory=None if memory is None else int(memory * 2**30),
    )
    return Options(
        python=None if python is None else Path(python),
        env=None if env is None else Path(env),
        sandbox=kept_apart,
        **others,
    )


def run(
    spec: ModelSpec,
    frames: Sequence[Frame],
    out: Path,
    *,
    settings: Mapping[str, Any],
    options: Options | None = None,
    resume: bool = True,
    shard: str | None = None,
    progress: bool = False,
) -> ModelFacts:
    """Predict every frame and write ``out``. Killed at any moment, a rerun goes on and ends with the same bytes.

    The frames are sorted by id and cut into batches once and for all, so that every run makes the same calls: with any number of
    workers, on Ray, in shards. A frame whose prediction fails is recorded with its error, also if that is all of them: what to
    make of it is the caller's decision. What the model printed is kept in ``<out>.log``. Memory does not grow with the answers.

    Args:
        spec: The model; see ``models.parse_spec``.
        frames: In any order; they may be made when they are asked for. Their labels and ids stay in this process.
        out: Parquet file of ``tables.PREDICTION_SCHEMA``.
        settings: What else must agree before two runs are joined: task, fingerprint of the data set, limit. JSON-able.
        options: How it is run.
        resume: Continue an unfinished run and keep a finished one; if false, both are discarded once the model is loaded.
        shard: ``i/n``: only this part of the batches; ``merge`` joins the files of all parts.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        What the model declared.

    Raises:
        UsageError: Impossible options, or ``out`` was made with other settings.
        ModelError: The model cannot be loaded, or broke down; what was done is kept.
        DataError: No frames, or two of one id.
        IntegrityError: The finished file is damaged.
        StorageError: The disk refuses, or another run is writing ``out``.
    """
    options = options or Options()
    planned = plan.make(frames, options.batch_atoms)
    numbers = range(len(planned)) if shard is None else plan.shard(shard, len(planned))
    ids = planned.ids if shard is None else planned.ids[planned.rows(numbers)]
    python = _interpreter(spec, options)
    isolation = sandbox.isolation(options.sandbox.mode)
    wanted = run_settings(
        spec,
        settings,
        {
            "structures": len(planned.ids),
            "structures_sha256": planned.structures_sha256,
            "batch_atoms": options.batch_atoms,
            # cuda:0 and cuda:1 of one machine count as the same
            "device": options.devices[0].partition(":")[0],
            "threads": options.threads_each,
            "timeout": options.timeout,
            "isolation": isolation,
            "versions": python.versions,
            **({} if shard is None else {"shard": shard}),
        },
    )
    with lock(out):
        store.tidy(out)
        if resume and out.exists():
            return facts_of(store.finished(out, wanted, ids), out)
        log = Log()
        try:
            with _engine(spec, options, python, isolation, log) as engine:
                if engine.facts.source_sha256 != wanted["source_sha256"]:
                    raise ModelError(f"the file of {wanted['model']} changed while it was loaded; run again")
                if not resume:
                    store.discard(out)
                complete = with_facts(wanted, engine.facts)
                journal = store.Journal(store.journal_path(out), complete, planned, numbers)
                _predict(engine, planned, journal, wanted["model"], show=progress)
        finally:
            log.save(store.log_path(out))
        store.finish(out, journal, ids, complete)
        return engine.facts


def check(spec: ModelSpec, *, options: Options | None = None) -> tuple[list[CheckResult], list[float]]:
    """Run ``models.check_model`` where the model would be scored.

    Args:
        spec: The model.
        options: How it is run; the time limit is for loading, and again for all checks together.

    Returns:
        The results, and energies of the check's crystals, to compare the heads of a model by.

    Raises:
        ModelError: The model cannot be loaded, or broke down.
    """
    with opened(spec, options or Options(load_timeout=LOAD_TIMEOUT)) as asked:
        reply = asked.check()
    return [CheckResult(**result) for result in reply["checks"]], list(map(float, reply["energies"]))


@contextmanager
def opened(spec: ModelSpec, options: Options, log: Log | None = None) -> Iterator[Session]:
    """A loaded model in the isolation that ``run`` gives it, its output in ``log``.

    Raises:
        ModelError: It cannot be loaded.
    """
    python = _interpreter(spec, options)
    with _guarded(spec, options, python, sandbox.isolation(options.sandbox.mode)) as launch:
        limits = Limits(load=options.load_timeout, call=options.timeout)
        with Session(spec, options.devices[0], limits, log or Log(), launch) as session:
            yield session


@contextmanager
def _guarded(
    spec: ModelSpec, options: Options, python: interpreter.Interpreter, isolation: str
) -> Iterator[sandbox.Launch]:
    with (
        sandbox.undumpable() if isolation == "process" else nullcontext(),
        sandbox.launching(
            python,
            None if spec.path is None else Path(spec.path),
            options.sandbox,
            device=options.devices[0],
            threads=options.threads_each,
        ) as launch,
    ):
        yield launch


@contextmanager
def _engine(
    spec: ModelSpec, options: Options, python: interpreter.Interpreter, isolation: str, log: Log
) -> Iterator[Engine]:
    """What predicts batches: processes of this machine, or of a Ray cluster."""
    if options.ray is not None:
        from xferbench.predict.ray import RayEngine

        with RayEngine(spec, options, log) as cluster:
            yield cluster
        return
    limits = Limits(load=options.load_timeout, call=options.timeout)
    with ExitStack() as stack:
        launch = stack.enter_context(_guarded(spec, options, python, isolation))
        devices = options.devices

        def start(worker: int) -> Session:
            return Session(spec, devices[worker % len(devices)], limits, log, launch)

        yield stack.enter_context(Pool(start, options.workers))


def _predict(engine: Engine, planned: Plan, journal: store.Journal, title: str, *, show: bool) -> None:
    """Predict the batches that an earlier run has not finished, each into the journal as it comes."""
    missing = [number for number in journal.numbers if number not in journal]
    total = sum(planned.size(number) for number in journal.numbers)
    left = sum(planned.size(number) for number in missing)
    failed = 0
    with bar(title, total, total - left, unit="structures", show=show) as meter:
        for number, predicted in engine.map(missing, planned.batch):
            journal.add(number, predicted.answers, halved=predicted.usage.halved)
            failed += len(predicted.answers.errors)
            if failed:
                meter.set_postfix_str(f"{failed} failed", refresh=False)
            meter.update(planned.size(number))


def _interpreter(spec: ModelSpec, options: Options) -> interpreter.Interpreter:
    model = None if spec.path is None else Path(spec.path)
    return interpreter.find(model, options.cache, python=options.python, env=options.env)

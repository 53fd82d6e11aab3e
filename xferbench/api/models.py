"""Models: load one, check that it keeps the contract, and the quick tour of all built-in ones."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench import board, models, predict
from xferbench.api.evaluation import score
from xferbench.models.heads import heads_differ
from xferbench.models.spec import functionals
from xferbench.progress import silent
from xferbench.registry import MODEL_VARIANTS, canonical_model
from xferbench.tasks import load_task

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from xferbench.models import CheckResult, Model
    from xferbench.predict import ModelCost
    from xferbench.results import Result

WORDS = {True: "ok", False: "FAILED", None: "n/a"}
TASK = "mini-static"
"""Of the quick tour."""


def load_model(model: str, *, device: str = "cpu", engine: str | None = None, functional: str | None = None) -> Model:
    """Load a potential into this process, to predict with it.

    The code of a ``model.py`` runs here, unguarded; ``score`` and ``check`` run it in a process of its own.

    Args:
        model: ``chgnet:r2scan`` or another built-in one (see ``list_models``), or the path of a ``model.py``.
        device: As the framework names it: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        engine: Another way to run a built-in model than its default.
        functional: Which head, of a file that serves several.

    Returns:
        A model whose ``predict(structures)`` takes ASE ``Atoms`` and returns a dictionary for each: ``energy`` (eV in all),
        ``forces`` ((n, 3), eV/Å), ``stress`` ((3, 3), eV/Å³, tension positive), ``magmoms`` ((n,), µB), as far as it has them.

    Raises:
        ModelError: The file, or what it offers, breaks the contract.
        MissingExtraError: The package of the model is not installed.
        UnknownNameError: No such model or engine.
    """
    return models.load(models.parse_spec(canonical_model(model), engine=engine, functional=functional), device)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """Every check of a model. ``print`` shows a line for each, the suspected cause under a failure.

    Attributes:
        model: As it was named.
        results: In the order in which they ran.
    """

    model: str
    results: tuple[CheckResult, ...]

    @property
    def failed(self) -> list[str]:
        """Names of the checks that the model fails."""
        return [result.name for result in self.results if result.passed is False]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values."""
        return [dataclasses.asdict(result) for result in self.results]

    def __str__(self) -> str:
        width = max(len(result.name) for result in self.results)
        lines = []
        for result in self.results:
            lines.append(f"{WORDS[result.passed]:6s}  {result.name:{width}s}  {result.detail}")
            if result.cause is not None:
                lines.append(f"{'':6s}  {'':{width}s}  suspected cause: {result.cause}")
        return "\n".join(lines)


def check(
    model: str,
    *,
    functional: str | None = None,
    device: str = "cpu",
    python: str | os.PathLike[str] | None = None,
    env: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    timeout: float = 600.0,
    sandbox: str = "auto",
    read: Sequence[str | os.PathLike[str]] = (),
    pass_env: Sequence[str] = (),
    memory: float | None = None,
) -> CheckReport:
    """Test a model against the contract: shapes, units, signs, gradients, symmetries and heads, on small crystals.

    It runs as it would be scored: in a process and interpreter of its own that is handed structures only. No label is needed.

    Args:
        model: ``chgnet:r2scan`` or another built-in one, or the path of a ``model.py``.
        functional: Which head to check, of a model that serves several; by default all, and whether they differ.
        device: As the framework names it.
        python: The interpreter that runs the model; by default that of the ``env.toml`` beside it, else this one.
        env: Its virtual environment, instead.
        threads: Of the model's process.
        timeout: Seconds for loading, and again for the checks of a head.
        sandbox: How the model is kept apart; see ``docs/security.md``.
        read: What it may read besides under ``bwrap``.
        pass_env: Names of environment variables to hand to it besides the usual ones.
        memory: GiB it may have.

    Raises:
        ModelError: The model cannot be loaded.
        UsageError: Unknown name or impossible option.
    """
    options = predict.options(
        device=device,
        python=python,
        env=env,
        threads=threads,
        timeout=timeout,
        sandbox=sandbox,
        read=read,
        pass_env=pass_env,
        memory=memory,
        load_timeout=timeout,
    )
    path = Path(model)
    served = functionals(path) if functional is None and path.suffix == ".py" and path.is_file() else ()
    if not served:
        results, _ = predict.check(models.parse_spec(model, functional=functional), options=options)
        return CheckReport(model=model, results=tuple(results))
    results, energies = [], {}
    for name in served:
        found, energies[name] = predict.check(models.parse_spec(model, functional=name), options=options)
        results += [dataclasses.replace(result, name=f"{name}: {result.name}") for result in found]
    return CheckReport(model=model, results=(*results, heads_differ(energies)))


def cost(
    model: str,
    *,
    out: str | os.PathLike[str] | None = None,
    functional: str | None = None,
    device: str = "cpu",
    python: str | os.PathLike[str] | None = None,
    env: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    timeout: float = 600.0,
    sandbox: str = "auto",
    read: Sequence[str | os.PathLike[str]] = (),
    pass_env: Sequence[str] = (),
    memory: float | None = None,
) -> ModelCost:
    """Time a model on crystals of 8, 64 and 512 atoms: µs per atom, and memory. Never part of a rank.

    Args:
        model: As in ``check``.
        out: A JSON file to write it to, too.
        functional: Which head, of a model that serves several.
        device: As the framework names it.
        python: The interpreter that runs the model; by default that of the ``env.toml`` beside it, else this one.
        env: Its virtual environment, instead.
        threads: Of the model's process.
        timeout: Seconds per call.
        sandbox: How the model is kept apart; see ``docs/security.md``.
        read: What it may read besides under ``bwrap``.
        pass_env: Names of environment variables to hand to it besides the usual ones.
        memory: GiB it may have.

    Raises:
        ModelError: The model cannot be loaded, or computes no crystal.
        UsageError: Unknown name or impossible option.
    """
    options = predict.options(
        device=device,
        python=python,
        env=env,
        threads=threads,
        timeout=timeout,
        sandbox=sandbox,
        read=read,
        pass_env=pass_env,
        memory=memory,
    )
    spec = models.parse_spec(model, functional=functional)
    return predict.cost(spec, options, out=None if out is None else Path(out))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuickstartReport:
    """Every built-in model and floor on the embedded data. ``print`` shows the ranked table.

    Attributes:
        results: Of models and floors.
        page: The HTML page.
    """

    results: tuple[Result, ...]
    page: Path

    def to_json(self) -> list[dict[str, Any]]:
        """Results as plain values."""
        return [dataclasses.asdict(result) for result in self.results]

    def __str__(self) -> str:
        return board.terminal_table(list(self.results), load_task(TASK))


def quickstart(
    out: str | os.PathLike[str] = "xferbench-quickstart",
    *,
    device: str = "cpu",
    progress: bool = False,
    say: Callable[[str], None] = silent,
) -> QuickstartReport:
    """Score every CHGNet variant and the floors on the embedded pairs, and build a leaderboard.

    Args:
        out: A leaderboard directory, made if absent; a run that was interrupted continues.
        device: As torch names it.
        progress: Whether to draw a bar on stderr.
        say: Where notes go.

    Raises:
        XferbenchError: Whatever the user has to mend: see ``errors``.
    """
    found: dict[str, Result] = {}
    names = [f"chgnet:{variant}" for variant in MODEL_VARIANTS["chgnet"]]
    for number, model in enumerate(names, start=1):
        say(f"[{number}/{len(names)}] {model}")
        report = score(model, task=TASK, out=out, device=device, progress=progress, say=say)
        found |= {result.model.id: result for result in report.results}
    built = board.build(Path(out))
    return QuickstartReport(results=tuple(found.values()), page=built.page)

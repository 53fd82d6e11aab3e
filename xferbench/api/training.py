"""Training: one run on one data set, and studies of many runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xferbench.dataset import open_dataset
from xferbench.errors import UsageError
from xferbench.progress import silent

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from xferbench.studies import StudyReport
    from xferbench.transfer import Run


def train(
    dataset: str | os.PathLike[str] = "mini",
    *,
    out: str | os.PathLike[str] | None = None,
    model: str | None = None,
    strategy: str | None = None,
    references: str | None = None,
    atoms: str | os.PathLike[str] | None = None,
    presets: Sequence[str] = (),
    config: str | os.PathLike[str] | None = None,
    settings: Sequence[str] = (),
    subset: float | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    resume: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    progress: bool = False,
    say: Callable[[str], None] = silent,
) -> Run:
    """Train a potential for the target functional with a strategy and references, evaluate it and export it.

    Settings come from the presets, then the file, then ``settings``, then the arguments; the later wins. What is not given
    anywhere has the value of the seed paper. docs/training.md has all of them.

    Args:
        dataset: Name or path of a data set.
        out: Directory of the run; below ``runs``, named by its settings, if not given.
        model: What to start from, ``ARCHITECTURE:WEIGHTS``: ``chgnet:0.3.0``, ``sevennet:7net-0``, or the path of a file.
        strategy: Which weights move, see ``list_strategies``.
        references: Elemental energies to start with, ``SCHEME[:TRAINING]``: ``fit``, ``source:lr=0.3``.
        atoms: File with the energies of isolated atoms, for the schemes that need them.
        presets: Settings to begin with: ``paper-1`` to ``paper-4``, ``small``.
        config: TOML with settings, such as the ``config.toml`` of another run.
        settings: ``key=value`` texts for any setting: ``loss.energy=1``, ``options.rank=4``.
        subset: Fraction of the training materials, in (0, 1]; smaller ones lie inside larger ones.
        epochs: Passes over the training frames.
        batch_size: Frames per step of the optimizer.
        lr: Learning rate at the start.
        seed: Of weights and order.
        device: As torch names it: ``cpu``, ``cuda``, ``cuda:1``.
        threads: Of torch on a CPU.
        resume: Continue a run that was interrupted, to the same result.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.
        offline: Never use the network.
        progress: Whether to draw a bar on stderr.
        say: Takes the errors before training and after the first epoch, and a warning if references make the start worse.

    Returns:
        The run: ``run.evaluation`` in eV/atom, eV/Å, eV/Å³, µB; ``run.model`` is a ``model.py`` for ``score``;
        ``run.predictions("test")``. ``print`` shows a table.

    Raises:
        UsageError: Unknown names, or settings out of range.
        DataError: The data set cannot be opened, or another run is in ``out``.
        MissingExtraError: torch or the package of the architecture is not installed.
    """
    from xferbench import transfer
    from xferbench.transfer.run import model_id

    made = transfer.make_config(
        presets,
        path=None if config is None else Path(config),
        settings=settings,
        model=model,
        strategy=strategy,
        references=references,
        atoms=None if atoms is None else str(atoms),
        subset=subset,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        device=device,
        threads=threads,
    )
    data = open_dataset(dataset, cache_dir=None if cache_dir is None else Path(cache_dir), offline=offline)
    directory = Path("runs") / model_id(made, data.name) if out is None else Path(out)
    return transfer.train(data, directory, made, resume=resume, progress=progress, say=say)


def study(
    kind: Literal["methods", "scaling"],
    dataset: str | os.PathLike[str] = "mini",
    *,
    out: str | os.PathLike[str],
    methods: Sequence[str] = (),
    subsets: Sequence[float] = (1.0,),
    n_seeds: int = 3,
    fit_from: int = 1,
    models: Sequence[str] = (),
    presets: Sequence[str] = (),
    config: str | os.PathLike[str] | None = None,
    settings: Sequence[str] = (),
    options: Sequence[str] = (),
    epochs: int | None = None,
    minutes: float | None = None,
    device: str | None = None,
    jobs: int = 1,
    cluster: Literal["slurm", "local"] | None = None,
    cluster_options: Sequence[str] = (),
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    say: Callable[[str], None] = silent,
) -> StudyReport:
    """Carry out a grid of training runs, and write tables, figures, a report and a page. What is finished there is kept.

    Args:
        kind: ``methods`` compares transfer methods on one training set: errors, negative transfer, gain, forgetting.
            ``scaling`` follows test errors over nested training sets: exponents, data equivalence, crossings. There,
            elemental references are fitted to all training energies, so that all sizes predict the same test frames,
            unless ``settings`` say ``reference_data=subset``.
        dataset: Name or path of a data set.
        out: Directory of the study; a study that is there already grows.
        methods: ``paper-1`` to ``paper-4``, or ``[MODEL/]STRATEGY[+REFERENCES]``; fifteen of them if none is given.
        subsets: Fractions of the training materials, each inside the next.
        n_seeds: Training seeds, from 0.
        fit_from: Smallest number of training frames that power laws are fitted to; declare it before looking.
        models: What to start from; several are compared side by side.
        presets: Settings of training to begin with, such as ``small``.
        config: TOML with settings of training.
        settings: ``key=value`` texts for any setting of training.
        options: ``METHOD:KEY=VALUE`` texts for settings of one method, such as ``lora+fit:rank=4``.
        epochs: Passes over the training frames of each run.
        minutes: Instead of ``epochs``: each method gets the epochs that fit, two are timed first. The cosine schedule, warm-up
            and plan follow; the plan keeps the epochs, so that a study that goes on elsewhere stays one study.
        device: As torch names it.
        jobs: Runs at a time on this machine.
        cluster: Submit each run as a job, through submitit.
        cluster_options: ``key=value`` texts for submitit, such as ``timeout_min=600``.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.
        offline: Never use the network.
        say: Where notes go.

    Returns:
        What the finished runs say. ``print`` shows the report; ``report.study.failed`` has the runs that failed.

    Raises:
        UsageError: Unknown names, or another study in ``out``.
        CheckFailedError: No run has finished.
        DataError: The data set is damaged, or the disk refuses.
    """
    from xferbench import studies

    if minutes is not None and (epochs is not None or len(subsets) > 1):
        raise UsageError(
            "minutes set the epochs of one training set; leave out epochs, and study several sizes with epochs"
        )
    if kind == "scaling":
        settings = ("reference_data=train", *settings)
    grid = studies.Grid(
        kind=kind,
        methods=tuple(methods),
        models=tuple(models),
        subsets=tuple(subsets),
        n_seeds=n_seeds,
        fit_from=fit_from,
        config=studies.settings(
            presets, path=None if config is None else Path(config), settings=settings, epochs=epochs, device=device
        ),
        options=studies.method_options(options),
        minutes=minutes,
    )
    execution = studies.Execution(jobs=jobs, cluster=cluster, cluster_options=tuple(cluster_options), say=say)
    data = open_dataset(dataset, cache_dir=None if cache_dir is None else Path(cache_dir), offline=offline)
    return studies.run_study(data, grid, Path(out), execution)


def write_study(out: str | os.PathLike[str]) -> StudyReport:
    """Write tables, figures, report and page of a study again, from its ``study.json`` alone.

    Args:
        out: Directory of the study.

    Returns:
        What it says. ``print`` shows the report.

    Raises:
        DataError: There is no study, or it cannot be read or written.
    """
    from xferbench import studies

    return studies.write_again(Path(out))

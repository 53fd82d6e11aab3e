"""``xferbench refs fit`` and ``refs compare``: elemental references of a prepared data set."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench import references
from xferbench.dataset import open_dataset
from xferbench.dataset.layout import CONFIGS
from xferbench.errors import DataError
from xferbench.functionals import Functional
from xferbench.grouping import atomic_numbers
from xferbench.records import SPLITS
from xferbench.registry import check_name
from xferbench.storage import write_json

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from xferbench.dataset import Dataset
    from xferbench.records import Frame
    from xferbench.references import Attribution, Comparison, CurvePoint, ElementalReferences

CONFIDENCE = 0.95
"""Of the intervals of a comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceFits:
    """Elemental references fitted to a data set. ``print`` shows each with the elements it has.

    Attributes:
        fits: One for each functional.
    """

    fits: tuple[ElementalReferences, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values."""
        return [asdict(fit) for fit in self.fits]

    def __str__(self) -> str:
        return "\n\n".join(map(_fit_text, self.fits))


def fit_references(
    dataset: str | os.PathLike[str] = "mini",
    *,
    functional: str | None = None,
    split: str = "train",
    elements: Sequence[str] = (),
    allow_missing: bool = False,
    out: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> ReferenceFits:
    """Fit eV per element by least squares on composition fractions, per functional (seed paper, Eq. 2).

    Args:
        dataset: Name or path of a data set.
        functional: One functional; all that the data set has if not given.
        split: The frames to fit on.
        elements: Symbols that must be covered; every element of the data set if none is given.
        allow_missing: List elements without data as missing instead of refusing.
        out: Also write the references as JSON.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.
        offline: Never use the network.

    Raises:
        DataError: No frames of the functional, or an element without data.
        UsageError: Unknown names.

    Example:
        >>> import xferbench as xb
        >>> fits = xb.fit_references("mini", functional="r2SCAN").fits
        >>> -10 < fits[0].energies["Li"] < 0  # eV/atom
        True
    """
    check_name("split", split, SPLITS)
    wanted = None if functional is None else Functional(functional)
    data = open_dataset(dataset, cache_dir=None if cache_dir is None else Path(cache_dir), offline=offline)
    groups: dict[Functional, list[Frame]] = {}
    for family in (config for config in CONFIGS if config in data.configs):
        for frame in data.frames(family, split):
            if frame.energy is not None and wanted in {None, frame.functional}:
                groups.setdefault(frame.functional, []).append(frame)
    if not groups:
        raise DataError(f"split {split} of {data.name} has no frames of {wanted or 'any functional'}; choose another")
    numbers = atomic_numbers(elements) if elements else _all_elements(data)
    found = ReferenceFits(
        fits=tuple(
            references.fit_frames(frames, elements=numbers, allow_missing=allow_missing) for frames in groups.values()
        )
    )
    if out is not None:
        write_json(Path(out), found.to_json())
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceReport:
    """Every way to choose elemental references on one data set, side by side. ``print`` shows the tables.

    Attributes:
        source: The source functional of the pairs; with and without a Hubbard U energies have different zeros, so
            functionals of one side are never pooled.
        target: The target side.
        other_functional: Pairs left out because their source functional is another: name -> count.
        atom_energies: Digest of the isolated atoms used; empty if there are none.
        command: What makes this report again.
        curve: Error against the number of labelled structures; empty if not asked for.
        attribution: Of the gap of the test pairs, with the ``paired`` shifts.
        n_resamples: Of every interval.
        confidence: Of every interval.
    """

    dataset: str
    version: str
    fingerprint: str
    source: Functional
    target: str
    other_functional: Mapping[str, int]
    atom_energies: str
    command: str
    comparison: Comparison
    curve: tuple[CurvePoint, ...]
    attribution: Attribution
    n_resamples: int
    confidence: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, full precision."""
        return asdict(self)

    def __str__(self) -> str:
        from xferbench.api.referencing_report import text

        return text(self)


def compare_references(
    dataset: str | os.PathLike[str] = "mini",
    *,
    predictions: str | os.PathLike[str] | None = None,
    atoms: str | os.PathLike[str] | None = None,
    curve: bool = False,
    n_resamples: int = 200,
    out: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> ReferenceReport:
    """Fit every scheme of ``references.SCHEMES`` on the train pairs and judge it on the test pairs.

    Args:
        dataset: Name or path of a data set.
        predictions: Of a source model for the target frames of both splits, for the model-aware scheme.
        atoms: Table of isolated atoms, for the schemes that need one; the data set's own if not given.
        curve: Also fit to growing numbers of labelled structures.
        n_resamples: Of materials. The schemes are fitted anew in each, which takes a while on large sets.
        out: Also write a page (.md) or full precision (.json).
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.
        offline: Never use the network.

    Raises:
        DataError: A split without pairs; files that cannot be read or used.
        UsageError: Unknown names.
    """
    from xferbench.scoring import read_predictions

    data = open_dataset(dataset, cache_dir=None if cache_dir is None else Path(cache_dir), offline=offline)
    predictions = None if predictions is None else Path(predictions)
    atoms = None if atoms is None else Path(atoms)
    predicted = None if predictions is None else read_predictions(predictions)
    pairs = {split: data.pairs(split) for split in ("train", "test")}
    families = Counter(pair.source.functional for pair in pairs["train"] + pairs["test"])
    source = max(families, key=families.__getitem__, default=data.functionals.source[0])
    elements = _all_elements(data)
    train, test = (
        references.pair_labels(
            [pair for pair in pairs[split] if pair.source.functional == source], predicted, elements=elements
        )
        for split in ("train", "test")
    )
    tables = (data.atom_energies or None) if atoms is None else references.read_atoms(atoms)
    comparison = references.compare(train, test, atoms=tables, n_resamples=n_resamples, confidence=CONFIDENCE)
    report = ReferenceReport(
        dataset=data.name,
        version=data.version,
        fingerprint=data.fingerprint,
        source=source,
        target=data.functionals.prose("target"),
        other_functional={name: count for name, count in sorted(families.items()) if name != source},
        atom_energies=references.digest(tables or {}),
        command=_command(dataset, predictions=predictions, atoms=atoms, curve=curve, n_resamples=n_resamples),
        comparison=comparison,
        curve=tuple(references.learning_curve(train, test)) if curve else (),
        attribution=references.attribute(
            test, references.paired_shift(train), n_resamples=n_resamples, confidence=CONFIDENCE
        ),
        n_resamples=n_resamples,
        confidence=CONFIDENCE,
    )
    if out is not None:
        from xferbench.api import referencing_report

        referencing_report.write(report, Path(out))
    return report


def _command(
    dataset: str | os.PathLike[str], *, predictions: Path | None, atoms: Path | None, curve: bool, n_resamples: int
) -> str:
    """The call that makes a report again; files by name, since where they lie is nobody else's business."""
    options = {"--predictions": predictions, "--atoms": atoms}
    words = ["xferbench", "refs", "compare", Path(dataset).name]
    words += [f"{option} {path.name}" for option, path in options.items() if path is not None]
    return " ".join([*words, *(["--curve"] if curve else []), f"--resamples {n_resamples}"])


def _fit_text(fit: ElementalReferences) -> str:
    """A fit as text: the elements with their references, then how well they are determined."""
    title = f"{fit.functional or 'difference'} references, eV/atom"
    rows = [f"  {'element':8s} {'reference':>12s} {'structures':>11s}"]
    for symbol, energy in fit.energies.items():
        mark = "  not determined alone" if symbol in fit.undetermined else ""
        rows.append(f"  {symbol:8s} {energy:12.4f} {fit.n_structures[symbol]:11d}{mark}")
    rows += [f"  {symbol:8s} {'no data':>12s} {0:11d}" for symbol in fit.missing]
    facts = (
        f"  {fit.n_frames} structures, rank {fit.rank} of {len(fit.energies)} elements, "
        f"condition number {fit.condition_number:.3g}; rest: MAE {fit.mae:.4f}, RMSE {fit.rmse:.4f} eV/atom"
    )
    return "\n".join([title, *rows, facts])


def _all_elements(data: Dataset) -> list[int]:
    return sorted({int(number) for frame in data.frames("target") for number in frame.numbers})

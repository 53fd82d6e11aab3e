"""``xferbench refs fit`` and ``refs compare``: elemental references of a prepared data set."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench import dataset as datasets
from xferbench import references
from xferbench.dataset.layout import CONFIGS
from xferbench.errors import DataError, UsageError
from xferbench.records import SPLITS, Functional
from xferbench.registry import check_name
from xferbench.workflow.paired import open_paired

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xferbench.records import Frame
    from xferbench.references import Attribution, Comparison, CurvePoint, ElementalReferences

CONFIDENCE = 0.95
"""Of the intervals of a comparison."""


def fit_references(
    dataset: str,
    *,
    functional: str | None = None,
    split: str = "train",
    elements: str | None = None,
    allow_missing: bool = False,
    cache_dir: Path | None = None,
    offline: bool = False,
) -> list[ElementalReferences]:
    """Fit references on one split of a data set.

    Args:
        dataset: A name, prepared in the cache if need be, or a directory that ``xferbench prepare`` made.
        functional: One functional; all that the data set has if not given.
        split: The frames to fit on.
        elements: Symbols that must be covered, comma-separated; without it, every element of the data set.
        allow_missing: List elements without data as missing instead of refusing.
        cache_dir: Where data sets live.
        offline: Never use the network.

    Raises:
        DataError: No frames of the functional, or an element without data.
        UsageError: Unknown names.
    """
    check_name("split", split, SPLITS)
    wanted = None if functional is None else check_name("functional", functional, [item.value for item in Functional])
    data = open_paired(dataset, cache_dir=cache_dir, offline=offline)
    groups: dict[Functional, list[Frame]] = {}
    for family in (config for config in CONFIGS if config in data.configs):
        for frame in data.frames(family, split):
            if frame.energy is not None and wanted in {None, frame.functional.value}:
                groups.setdefault(frame.functional, []).append(frame)
    if not groups:
        raise DataError(f"split {split} of {data.name} has no frames of {wanted or 'any functional'}; choose another")
    numbers = _atomic_numbers(elements) if elements else _all_elements(data)
    return [references.fit_frames(frames, elements=numbers, allow_missing=allow_missing) for frames in groups.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceReport:
    """Every way to choose elemental references on one data set, side by side.

    Attributes:
        gga: The GGA functional of the pairs; PBE and PBE+U have different zeros and are never pooled.
        other_functional: Pairs left out because their GGA is the other one: name -> count.
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
    gga: str
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


def compare_references(
    dataset: str,
    *,
    predictions: Path | None = None,
    atoms: Path | None = None,
    curve: bool = False,
    n_resamples: int = 200,
    cache_dir: Path | None = None,
    offline: bool = False,
) -> ReferenceReport:
    """Fit every scheme of ``references.SCHEMES`` on the train pairs and judge it on the test pairs.

    Args:
        dataset: A name, prepared in the cache if need be, or a directory that ``xferbench prepare`` made.
        predictions: Of a GGA model for the r2SCAN frames of both splits, for the model-aware scheme.
        atoms: Table of isolated atoms, for the schemes that need one; the data set's own if not given.
        curve: Also fit to growing numbers of labelled structures.
        n_resamples: Of materials. The schemes are fitted anew in each, which takes a while on large sets.
        cache_dir: Where data sets live.
        offline: Never use the network.

    Raises:
        DataError: A split without pairs; files that cannot be read or used.
        UsageError: Unknown names.
    """
    from xferbench.scoring import read_predictions

    data = open_paired(dataset, cache_dir=cache_dir, offline=offline)
    predicted = None if predictions is None else read_predictions(predictions)
    pairs = {split: data.pairs(split) for split in ("train", "test")}
    families = Counter(pair.gga.functional.value for pair in pairs["train"] + pairs["test"])
    gga = max(families, key=families.__getitem__, default=Functional.PBE.value)
    elements = _all_elements(data)
    train, test = (
        references.pair_labels(
            [pair for pair in pairs[split] if pair.gga.functional.value == gga], predicted, elements=elements
        )
        for split in ("train", "test")
    )
    tables = (data.atom_energies or None) if atoms is None else references.read_atoms(atoms)
    comparison = references.compare(train, test, atoms=tables, n_resamples=n_resamples, confidence=CONFIDENCE)
    return ReferenceReport(
        dataset=data.name,
        version=data.version,
        fingerprint=data.fingerprint,
        gga=gga,
        other_functional={name: count for name, count in sorted(families.items()) if name != gga},
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


def _command(dataset: str, *, predictions: Path | None, atoms: Path | None, curve: bool, n_resamples: int) -> str:
    """The call that makes a report again; files by name, since where they lie is nobody else's business."""
    options = {"--predictions": predictions, "--atoms": atoms}
    words = ["xferbench", "refs", "compare", Path(dataset).name]
    words += [f"{option} {path.name}" for option, path in options.items() if path is not None]
    return " ".join([*words, *(["--curve"] if curve else []), f"--resamples {n_resamples}"])


def references_table(fit: ElementalReferences) -> str:
    """A fit as text: the elements with their references, then how well they are determined."""
    title = f"{fit.functional.value if fit.functional else 'difference'} references, eV/atom"
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


def _all_elements(data: datasets.Dataset) -> list[int]:
    return sorted({int(number) for frame in data.frames("r2scan") for number in frame.numbers})


def _atomic_numbers(text: str) -> list[int]:
    from ase.data import atomic_numbers

    symbols = [item.strip() for item in text.split(",") if item.strip()]
    unknown = [symbol for symbol in symbols if symbol not in atomic_numbers]
    if unknown or not symbols:
        raise UsageError(
            f"--elements {text!r}: {', '.join(unknown) or 'nothing'} is no chemical symbol; write Li,Na,Cl"
        )
    return [int(atomic_numbers[symbol]) for symbol in symbols]

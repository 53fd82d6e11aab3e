"""``xferbench refs fit``: elemental references of a prepared data set, per functional."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench import dataset as datasets
from xferbench import references
from xferbench.errors import DataError, UsageError
from xferbench.records import SPLITS, Functional
from xferbench.registry import check_name

if TYPE_CHECKING:
    from pathlib import Path

    from xferbench.records import Frame
    from xferbench.references import ElementalReferences


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
        dataset: Name of a data set, prepared in the cache if need be.
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
    data = datasets.prepare(dataset, cache_dir=cache_dir, offline=offline)
    groups: dict[Functional, list[Frame]] = {}
    for family in ("gga", "r2scan"):
        for frame in data.frames(family, split):
            if frame.energy is not None and wanted in {None, frame.functional.value}:
                groups.setdefault(frame.functional, []).append(frame)
    if not groups:
        raise DataError(f"split {split} of {data.name} has no frames of {wanted or 'any functional'}; choose another")
    numbers = _atomic_numbers(elements) if elements else _all_elements(data)
    return [references.fit_frames(frames, elements=numbers, allow_missing=allow_missing) for frames in groups.values()]


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

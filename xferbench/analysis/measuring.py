"""From a data set to an analysis: choose the pairs, measure everything once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from xferbench.analysis.columns import QUANTITIES, collect
from xferbench.analysis.composition import within_composition
from xferbench.analysis.content import Analysis, Counts, Settings, Source, Table
from xferbench.analysis.elements import element_rows
from xferbench.analysis.estimating import AGREEMENT, LEVELS, agreement_sums, resampling
from xferbench.analysis.importance import importance
from xferbench.analysis.labels import TERMS
from xferbench.analysis.referencing import referenced
from xferbench.errors import DataError, UsageError
from xferbench.functionals import Functional
from xferbench.records import SPLITS
from xferbench.registry import check_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xferbench.analysis.columns import Columns
    from xferbench.analysis.estimating import Estimate, Resampling
    from xferbench.analysis.importance import Importance
    from xferbench.analysis.referencing import Referenced
    from xferbench.dataset import Dataset

    Floats = NDArray[np.float64]


class _Bootstrap(TypedDict):
    n_resamples: int
    seed: int
    confidence: float


QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
TITLES = {
    "energy/raw": ("Raw", "Total energies per atom as the calculations print them."),
    "energy/shift": ("Shift of a structure", "Raw energies, target minus source; pairs.csv has every one."),
    "energy/in-sample": (
        "Referenced, in sample",
        "Each functional's own elemental references removed, fitted to the very pairs compared here.",
    ),
    "energy/out-of-sample": (
        "Referenced, out of sample",
        "References fitted to the train split, removed from the test split.",
    ),
    "composition": (
        "Within compositions",
        "Energies as deviations from the mean of their composition: no reference enters. Compositions are resampled.",
    ),
    "forces": ("Forces", "All Cartesian components pooled; each atom weighs the same."),
    "stress": ("Stress", "The nine components of the matrix; tension positive."),
    "magmoms": ("Magnetic moments", "Absolute values of collinear moments; each atom weighs the same."),
    "importance": (
        "Does the tree know anything?",
        "A decision tree on the fractions of the elements, asked for the referenced gap of materials it has not seen.",
    ),
}


def analyze(data: Dataset, settings: Settings | None = None) -> Analysis:
    """Compare the two functionals of a paired data set.

    Args:
        data: Opened.
        settings: All pairs of the more frequent source functional if not given.

    Raises:
        DataError: Nothing is left to compare.
        UsageError: The settings make no sense, or name something unknown.
    """
    settings = _checked(settings or Settings(), data.functionals.source)
    everything, other = _one_functional(collect(data.iter_pairs(), data.splits), settings)
    split = np.array(everything.splits)
    outside = referenced(everything, split == "train", split == "test")
    rows = np.ones(len(split), dtype=bool) if settings.split is None else split == settings.split
    columns = everything.take(rows)
    everyone = np.ones(len(columns), dtype=bool)
    inside = referenced(columns, everyone, everyone)
    plan = _plan(columns.material_ids, settings)
    share = importance(columns, inside.target - inside.source, **_bootstrap(settings))
    return Analysis(
        dataset=_source(data),
        settings=settings,
        source=Functional(columns.functionals[0]),
        target=data.functionals.prose("target"),
        counts=_counts(columns, other, inside, outside),
        spread=_spread(columns),
        tables={table.key: table for table in _tables(columns, inside, (everything, outside), share, settings)},
        elements=element_rows(columns, inside, share, plan),
        columns=columns,
        in_sample=inside,
        out_of_sample=outside.take(rows),
    )


def _checked(settings: Settings, known: tuple[Functional, ...]) -> Settings:
    if settings.n_resamples < 1 or not 0 < settings.confidence < 1:
        raise UsageError(
            f"{settings.n_resamples} resamples at confidence {settings.confidence}: need at least 1, and between 0 and 1"
        )
    if settings.split is not None:
        check_name("split", settings.split, SPLITS)
    if settings.functional is None:
        return settings
    return replace(settings, functional=check_name("source functional", Functional(settings.functional), known))


def _one_functional(columns: Columns, settings: Settings) -> tuple[Columns, dict[str, int]]:
    """Pairs of one source functional, and how many of the chosen split have another: their energies have other zeros."""
    splits = {settings.split or split for split in columns.splits}
    found = Counter(name for name, split in zip(columns.functionals, columns.splits, strict=True) if split in splits)
    if not found:
        raise DataError(f"split {settings.split} has no pairs to analyse; choose another")
    name = settings.functional or max(sorted(found), key=found.__getitem__)
    if name not in found:
        raise DataError(f"no pair has a {name} frame; found {', '.join(sorted(found))}")
    others = {other: count for other, count in sorted(found.items()) if other != name}
    return columns.take(np.array(columns.functionals) == name), others


def _bootstrap(settings: Settings) -> _Bootstrap:
    return {"n_resamples": settings.n_resamples, "seed": settings.seed, "confidence": settings.confidence}


def _plan(names: Sequence[str], settings: Settings) -> Resampling:
    return resampling(names, n_resamples=settings.n_resamples, seed=settings.seed, confidence=settings.confidence)


def _table(key: str, estimates: Sequence[Estimate], cluster: str = "material") -> Table:
    title, remark = TITLES[key]
    return Table(key=key, title=title, remark=remark, cluster=cluster, estimates=tuple(estimates))


def _agreement(key: str, source: Floats, target: Floats, used: NDArray[np.bool_], plan: Resampling) -> Table:
    if not used.any():
        return _table(key, [])
    found = plan.estimates(agreement_sums(source, target), used, AGREEMENT)
    found.insert(1, plan.spearman(source, target, used))
    return _table(key, found)


def _shift(columns: Columns, plan: Resampling) -> Table:
    used = columns.has("energy")
    return _table("energy/shift", plan.quantiles(columns.gap, used, LEVELS) if used.any() else [])


def _tables(
    columns: Columns, inside: Referenced, outside: tuple[Columns, Referenced], share: Importance, settings: Settings
) -> list[Table]:
    """Every table, in the order of the page."""
    plan = _plan(columns.material_ids, settings)
    within = within_composition(columns, **_bootstrap(settings))
    return [
        _agreement("energy/raw", columns.source, columns.target, columns.has("energy"), plan),
        _shift(columns, plan),
        _agreement("energy/in-sample", inside.source, inside.target, inside.used, plan),
        _outside_table(*outside, settings),
        _table("composition", within, "composition"),
        *[
            _table(name, plan.estimates(columns.sums[name], columns.has(name), terms.statistics))
            for name, terms in TERMS.items()
        ],
        _table("importance", [] if share.skill is None else [share.skill]),
    ]


def _outside_table(columns: Columns, rest: Referenced, settings: Settings) -> Table:
    """Only materials that are compared are resampled."""
    if not rest.used.any():
        return _table("energy/out-of-sample", [])
    rows = rest.used
    plan = _plan(list(compress(columns.material_ids, rows)), settings)
    return _agreement("energy/out-of-sample", rest.source[rows], rest.target[rows], rest.used[rows], plan)


def _source(data: Dataset) -> Source:
    return Source(
        name=data.name,
        version=data.version,
        title=str(data.manifest["title"]),
        fingerprint=data.fingerprint,
        geometry=str(data.manifest["geometry"]),
        material=str(data.manifest["split_rule"]["group"]),
    )


def _counts(columns: Columns, other: dict[str, int], inside: Referenced, outside: Referenced) -> Counts:
    return Counts(
        pairs=len(columns),
        materials=len(set(columns.material_ids)),
        compositions=len(set(columns.formulas)),
        splits=dict(sorted(Counter(columns.splits).items())),
        other_functional=other,
        missing={name: columns.missing(name) for name in QUANTITIES},
        corrected=int(columns.corrected.sum()),
        corrected_inside=int(columns.corrected_inside.sum()),
        not_determined={"in-sample": inside.n_open, "out-of-sample": outside.n_open},
    )


def _spread(columns: Columns) -> dict[str, float]:
    gaps = columns.gap[columns.has("energy")]
    if not gaps.size:
        return {}
    return {f"{q:g}": value for q, value in zip(QUANTILES, np.quantile(gaps, QUANTILES).tolist(), strict=True)}

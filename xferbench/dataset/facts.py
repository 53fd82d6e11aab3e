"""What a manifest says about pairs and drops. Computed when a directory is built, and again when it is verified."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from xferbench.records import PROPERTIES, SPLITS, fingerprint
from xferbench.splits import SUBSET_PERCENTS, assign, subset_key, uncovered_elements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.records import Drop, Frame, Pair, SplitRule


def summarise(pairs: Sequence[Pair], drops: Sequence[Drop], rule: SplitRule) -> dict[str, Any]:
    """The computed part of the manifest, as plain JSON values.

    Returns:
        The manifest's ``fingerprint``, ``splits``, ``subsets``, ``drops`` and ``labels``.
    """
    materials = assign((pair.material_id for pair in pairs), rule)
    frames = [frame for pair in pairs for frame in (pair.gga, pair.r2scan)]
    members = {split: [pair for pair in pairs if materials[pair.material_id] == split] for split in SPLITS}
    return {
        "fingerprint": fingerprint(frames, materials),
        "splits": _splits(members),
        "subsets": {str(percent): _subset(members["train"], rule, percent / 100) for percent in SUBSET_PERCENTS},
        "drops": dict(sorted(Counter(drop.reason for drop in drops).items())),
        "labels": _labels(frames),
    }


def symbols(pairs: Sequence[Pair]) -> list[str]:
    """Symbols of the elements in the pairs, by atomic number."""
    from ase.data import chemical_symbols

    present: set[int] = set()
    for pair in pairs:
        present.update(pair.r2scan.numbers.tolist(), pair.gga.numbers.tolist())
    return [chemical_symbols[number] for number in sorted(present)]


def _splits(members: dict[str, list[Pair]]) -> dict[str, dict[str, Any]]:
    elements = {split: symbols(pairs) for split, pairs in members.items()}
    uncovered = uncovered_elements({split: frozenset(names) for split, names in elements.items()})
    return {
        split: {
            "pairs": len(pairs),
            "materials": len({pair.material_id for pair in pairs}),
            "elements": elements[split],
            "uncovered_elements": uncovered[split],
        }
        for split, pairs in members.items()
    }


def _subset(train: Sequence[Pair], rule: SplitRule, fraction: float) -> dict[str, int]:
    inside = [pair for pair in train if subset_key(pair.material_id, rule) < fraction]
    return {
        "pairs": len(inside),
        "materials": len({pair.material_id for pair in inside}),
        "elements": len(symbols(inside)),
    }


def _labels(frames: Sequence[Frame]) -> dict[str, dict[str, int]]:
    """Functional -> property -> frames that have it."""
    counts = {functional.value: dict.fromkeys(PROPERTIES, 0) for functional in sorted({f.functional for f in frames})}
    for frame in frames:
        for name in PROPERTIES:
            counts[frame.functional.value][name] += getattr(frame, name) is not None
    return counts

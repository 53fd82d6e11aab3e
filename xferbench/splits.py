"""Materials -> train, val and test, and nested subsets of train.

A material's place depends on nothing but its id and the rule's salt: it hashes to a number in [0, 1), and the fractions cut
that interval. So adding, removing or reordering data never moves a material, and frames of one material never meet in
different splits. The price is that the fractions hold on average only.

With groups (``grouping``), the name of the group is hashed in place of the id, and a group with a held-out element goes to
test whole.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from xferbench.errors import DataError
from xferbench.records import SPLITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from xferbench.grouping import Groups
    from xferbench.records import SplitRule

    Grouping = Literal["material", "chemsys", "prototype"]

SUBSET_PERCENTS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
"""Sizes of the nested training subsets whose counts are recorded, in percent of the training materials."""


def assign(material_ids: Iterable[str], rule: SplitRule, groups: Groups | None = None) -> dict[str, str]:
    """Deal materials to splits.

    Args:
        material_ids: In any order.
        rule: How.
        groups: What the materials belong to, if the rule asks for more than their ids.

    Returns:
        Material id -> split, sorted by id.

    Raises:
        DataError: The rule's fractions are no fractions.
    """
    train, val = _cuts(rule)

    def split(material_id: str) -> str:
        group = material_id if groups is None else groups.names.get(material_id, material_id)
        if groups is not None and group in groups.held_out:
            return "test"
        place = _place("split", group, rule)
        return SPLITS[(place >= train) + (place >= val)]

    return {material_id: split(material_id) for material_id in sorted(set(material_ids))}


SMALL = 300
"""Materials up to which chance may well leave a split of a tenth without any."""

SALTS = 200
"""Salts that are tried."""


def filled(material_ids: Iterable[str], rule: SplitRule) -> SplitRule | None:
    """A rule that leaves no split without materials, where the given one left train or test so.

    Args:
        material_ids: All there are.
        rule: The one that did not; only its salt is changed, to the first of ``salt+1``, ``salt+2``, … that does.

    Returns:
        Nothing if there are too few materials, or so many that an empty split is no matter of chance, or where groups are dealt.
    """
    materials = set(material_ids)
    if not len(SPLITS) <= len(materials) <= SMALL or rule.by != "material" or rule.held_out or 0 in rule.fractions:
        return None
    tried = (replace(rule, salt=f"{rule.salt}+{number}") for number in range(1, SALTS + 1))
    return next((other for other in tried if set(assign(materials, other).values()) == set(SPLITS)), None)


def regroup(
    rule: SplitRule, by: Grouping, held_out: Iterable[str], fractions: Sequence[float] = (), salt: str = ""
) -> tuple[SplitRule, str]:
    """A rule that deals otherwise, and the mark it leaves on the version of a data set.

    Args:
        rule: The usual one.
        by: What goes into one split together.
        held_out: Elements that only test may contain.
        fractions: Of train, val and test; the rule's own if not given.
        salt: Of the hash; the rule's own if not given.

    Returns:
        The rule, and what tells the data set from the usual one, such as ``+by-chemsys+without-Lu-Yb+split-0.6-0.2-0.2+salt-b``.

    Raises:
        DataError: The fractions are no fractions.
    """
    elements = tuple(sorted(set(held_out)))
    mark = (f"+by-{by}" if by != "material" else "") + (f"+without-{'-'.join(elements)}" if elements else "")
    mark += (f"+split-{'-'.join(f'{part:g}' for part in fractions)}" if fractions else "") + (
        f"+salt-{salt}" if salt else ""
    )
    parts = cast("tuple[float, float, float]", tuple(fractions) or rule.fractions)
    changed = replace(rule, by=by, held_out=elements, fractions=parts, salt=salt or rule.salt)
    _cuts(changed)
    return changed, mark


def rule_facts(rule: SplitRule) -> dict[str, Any]:
    """A rule as plain JSON values; what it does not ask for is left out."""
    facts = {**asdict(rule), "fractions": list(rule.fractions), "held_out": list(rule.held_out)}
    if rule.by == "material":
        del facts["by"]
    if not rule.held_out:
        del facts["held_out"]
    return facts


def subset_key(material_id: str, rule: SplitRule) -> float:
    """A number in [0, 1), independent of the split: the training subset of fraction f is the materials with key < f.

    Each smaller subset lies inside every larger one.
    """
    return _place("subset", material_id, rule)


def uncovered_elements(elements: Mapping[str, AbstractSet[str]]) -> dict[str, list[str]]:
    """Elements of a split that train lacks, so that nothing learned on train knows them.

    Args:
        elements: Split -> symbols of the elements in it.

    Returns:
        Split -> sorted symbols, for the same splits; always empty for train.
    """
    known = elements.get("train", frozenset())
    return {split: sorted(symbols - known) for split, symbols in elements.items()}


def _cuts(rule: SplitRule) -> tuple[float, float]:
    """Where train and val end in [0, 1)."""
    valid = all(0 <= fraction <= 1 for fraction in rule.fractions) and math.isclose(
        sum(rule.fractions), 1, abs_tol=1e-9
    )
    if len(rule.fractions) != len(SPLITS) or not valid:
        raise DataError(
            f"split fractions {rule.fractions} of salt {rule.salt!r} must be {len(SPLITS)} numbers from 0 to 1 that sum to 1"
        )
    train, _, test = rule.fractions
    return train, 1 - test


def _place(purpose: str, material_id: str, rule: SplitRule) -> float:
    """SHA-256 of purpose, salt and id as a number in [0, 1): its first 53 bits, which a double holds exactly."""
    text = f"{purpose}\0{rule.salt}\0{material_id}"
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11) / 2**53

"""The audit file: which test pairs a training set knows already.

It is JSON with sorted keys. It says nothing of the training set but how many records were compared and what they have in
common with the test pairs, which are public. With ``overlapping`` left out (``--counts-only``) only numbers remain.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping  # noqa: TC003 - schema.parse reads the annotations
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from xferbench.errors import FormatError, IntegrityError, UsageError
from xferbench.schema import parse
from xferbench.storage import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from xferbench.dataset import Dataset
    from xferbench.results import DatasetEntry

SCHEMA = 1
"""Version of the file format; another one is not read."""

KINDS = {
    "id": "the same material, frame or pair id",
    "structure": "the same structure, to the tolerance",
    "composition": "the same reduced composition",
    "chemsys": "the same chemical system",
}
"""In what a training record can agree with a test pair -> what it means."""


class Regime(StrEnum):
    """What a training set knows of a test pair."""

    SEEN_STRUCTURE = "seen-structure"
    NEW_MATERIAL = "new-material"
    NEW_CHEMSYS = "new-chemsys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """A training set compared with the test pairs of a data set.

    Attributes:
        dataset: Name of the data set.
        version: Of the data set.
        fingerprint: Of the data set, as its manifest states it.
        split: Whose pairs were compared.
        tolerance: Up to which two structures are the same, in units of (volume per atom)^(1/3); see ``structures``.
        test_pairs: Pairs in the split.
        train_records: Records of the training set that were read.
        compared: Each of ``KINDS`` -> records that have it. Without records nothing can overlap, which proves nothing.
        unread: Records that cannot be compared: no structure, no formula, no id as the data set has them.
        counts: Each of ``KINDS`` -> test pairs that some record agrees with.
        regimes: Each ``Regime`` -> test pairs.
        overlapping: Each of ``KINDS`` -> the test pairs behind ``counts``, by ``pair_id``, sorted; none if only counts
            were wanted.
        train_sha256: Of the training file, if it was asked for.
        uncompared: Records of a test composition whose structure could not be compared: damaged, or beyond ``structures``.
    """

    dataset: str
    version: str
    fingerprint: str
    split: str
    tolerance: float
    test_pairs: int
    train_records: int
    compared: Mapping[str, int]
    unread: int
    counts: Mapping[str, int]
    regimes: Mapping[str, int]
    overlapping: Mapping[str, tuple[str, ...]] | None = None
    train_sha256: str | None = None
    uncompared: int = 0
    schema: int = field(default=SCHEMA)

    def check_fits(self, dataset: Dataset | DatasetEntry, where: object) -> None:
        """Whether the audit is about this data set.

        Raises:
            IntegrityError: It is about another one.
        """
        if self.fingerprint != dataset.fingerprint:
            raise IntegrityError(
                f"{where} is an audit of {self.dataset} {self.version} with fingerprint {self.fingerprint}, but "
                f"{dataset.name} {dataset.version} here has {dataset.fingerprint}; audit the training set again"
            )

    def seen(self) -> frozenset[str]:
        """Test pairs that are ``seen-structure``: what a clean score leaves out.

        Raises:
            UsageError: The audit holds counts only.
        """
        return frozenset(name for name, found in self.by_pair().items() if regime(found) is Regime.SEEN_STRUCTURE)

    def by_pair(self) -> dict[str, frozenset[str]]:
        """Pair id -> in what some training record agrees with it, for the pairs that have any such record.

        Raises:
            UsageError: The audit holds counts only.
        """
        if self.overlapping is None:
            raise UsageError("this audit holds counts only; make it again without --counts-only to tell pairs apart")
        found: dict[str, set[str]] = {}
        for kind, names in self.overlapping.items():
            for name in names:
                found.setdefault(name, set()).add(kind)
        return {name: frozenset(kinds) for name, kinds in sorted(found.items())}

    def regimes_of(self, pair_ids: Iterable[str]) -> dict[str, Regime]:
        """Test pair -> what the training set knows of it.

        Raises:
            UsageError: The audit holds counts only.
        """
        found = self.by_pair()
        known = self.compared["chemsys"] == self.train_records
        return {name: regime(found.get(name, frozenset()), systems_known=known) for name in pair_ids}


def regime(overlap: AbstractSet[str], *, systems_known: bool = True) -> Regime:
    """What a training set knows of a test pair.

    Args:
        overlap: Those of ``KINDS`` in which some training record agrees with the pair.
        systems_known: Whether the chemical system of every training record is known. Of a bare list of ids it is not, and
            then nothing can be called ``new-chemsys``.

    Returns:
        ``seen-structure``: the material by its id, or the structure, is in the training set. ``new-chemsys``: nothing of the
        chemical system is. ``new-material``: all between, such as another polymorph or another stoichiometry.
    """
    if overlap & {"id", "structure"}:
        return Regime.SEEN_STRUCTURE
    return Regime.NEW_MATERIAL if overlap or not systems_known else Regime.NEW_CHEMSYS


def write_audit(path: Path, audit: Audit) -> None:
    """Write an audit, whole or not at all.

    Raises:
        StorageError: The disk refuses.
    """
    write_json(path, dataclasses.asdict(audit))


def read_audit(path: Path) -> Audit:
    """Read an audit.

    Raises:
        StorageError: The file cannot be read.
        IntegrityError: It is not JSON: truncated or altered.
        FormatError: It breaks the schema; every problem is listed.
    """
    data = read_json(path)
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise FormatError(f"{path}: an audit of schema {SCHEMA} is wanted, not {schema!r:.40}; audit again")
    audit = parse(Audit, data, path)
    problems = _problems(audit)
    if problems:
        raise FormatError(f"{path}: {'; '.join(problems)}")
    return audit


def _problems(audit: Audit) -> list[str]:
    """What types cannot say: keys that must be there, numbers that must agree."""
    problems = [
        f"{name} must have the keys {', '.join(keys)}, not {', '.join(sorted(found)) or 'none'}"
        for name, keys, found in (
            ("compared", KINDS, audit.compared),
            ("counts", KINDS, audit.counts),
            ("regimes", tuple(Regime), audit.regimes),
            ("overlapping", KINDS, audit.overlapping if audit.overlapping is not None else KINDS),
        )
        if set(found) != set(keys)
    ]
    if problems:
        return problems
    if sum(audit.regimes.values()) != audit.test_pairs:
        problems.append(f"regimes do not sum up to {audit.test_pairs} test pairs")
    if audit.overlapping is not None:
        problems += [
            f"counts.{kind} is {audit.counts[kind]}, but {len(set(names))} pairs are listed"
            for kind, names in audit.overlapping.items()
            if len(set(names)) != audit.counts[kind]
        ]
    return problems

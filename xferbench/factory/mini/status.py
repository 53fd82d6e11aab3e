"""What there is of the second edition and what is missing: every plan run against the records, computing nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.factory.mini.plan import VOLUMES, Outcome, Stopped
from xferbench.factory.mini.structures import MOMENTS, seeds
from xferbench.factory.mini.work import Archive, effort, found_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from xferbench.factory.mini.plan import Record
    from xferbench.factory.mini.structures import Seed

FLOORS = {
    "compositions": 180,
    "test compositions": 60,
    "elements in three training compositions": 40,
    "magnetic test compositions": 8,
    "pairs of eight atoms": 20,
    "test frames with forces": 80,
    "test compositions with forces": 35,
    "systems of four compositions": 10,
}
"""What the second edition must have at least, in finished crystals."""

FORCE = 0.05
"""A frame has forces if one of its components is at least this large, in eV/Å, in r²SCAN."""

BIG = 8
"""Atoms of a big cell."""

COMPETITORS = 4
"""Compositions of a chemical system, elements included, from which a hull is worth drawing."""


FIRST_RATE = 60.0
"""CPU seconds per unit of ``work.effort`` of a core, before finished crystals tell."""

EVERYTHING = 2.5
"""All copies of a test crystal relative to its core, roughly."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Progress:
    """How far one crystal is.

    Attributes:
        seed: The crystal.
        state: ``finished``, ``core`` (what comes first is there), ``begun``, ``waiting``, ``stopped``.
        reason: Why it stopped, or "".
        outcome: What came out, once the core is there.
    """

    seed: Seed
    state: str
    reason: str = ""
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Status:
    """What there is and what is missing.

    Attributes:
        crystals: How far each crystal of the list is.
        counts: Name of a floor -> how much of it there is.
        pairs: Finished pairs of copies.
        failed: Calculations that failed.
        cpu_hours: Spent on all records.
        hours: Class of work -> CPU hours left, estimated.
    """

    crystals: tuple[Progress, ...]
    counts: Mapping[str, int]
    pairs: int
    failed: int
    cpu_hours: float
    hours: Mapping[str, float] = field(default_factory=dict)

    @property
    def missing(self) -> dict[str, int]:
        """Name of a floor -> how much of it is missing."""
        return {name: floor - self.counts[name] for name, floor in FLOORS.items() if self.counts[name] < floor}

    def to_json(self) -> object:
        """Plain values."""
        return {
            "counts": dict(self.counts),
            "missing": self.missing,
            "pairs": self.pairs,
            "failed": self.failed,
            "cpu_hours": self.cpu_hours,
            "hours_left": dict(self.hours),
            "states": {progress.seed.name: progress.state for progress in self.crystals},
        }

    def __str__(self) -> str:
        states = Counter(progress.state for progress in self.crystals)
        lines = [
            f"{self.pairs} pairs, {self.failed} failed calculations, {self.cpu_hours:.1f} CPU hours spent",
            "crystals: " + ", ".join(f"{number} {state}" for state, number in sorted(states.items())),
            *(f"{name}: {self.counts[name]} of {floor}" for name, floor in FLOORS.items()),
            *(f"left: {hours:.1f} CPU hours for {name}" for name, hours in self.hours.items()),
            *(f"stopped: {p.seed.name}: {p.reason}" for p in self.crystals if p.state == "stopped"),
        ]
        return "\n".join(lines)


def status(files: Iterable[Path], scans: Path | None) -> Status:
    """Compare the list with the records of files, which may still grow.

    Raises:
        StorageError: A file cannot be read.
        FormatError: A file breaks the format, or two have different records of one id.
    """
    archive = Archive(files, scans)
    records = archive.records()
    spent: dict[str, float] = defaultdict(float)
    for record in records:
        spent[record["seed_structure"]] += record.get("cpu_s", 0.0)
    crystals = tuple(_progress(seed, archive, begun=seed.name in spent) for seed in seeds().values())
    ready = {p.seed.name: p.seed for p in crystals if p.state in {"core", "finished"}}
    frames = [record for record in records if is_frame(record) and record["seed_structure"] in ready]
    return Status(
        crystals=crystals,
        counts=_counts(list(ready.values()), frames),
        pairs=len(frames),
        failed=sum(record["status"] != "ok" for record in records),
        cpu_hours=sum(spent.values()) / 3600,
        hours=_hours(crystals, spent),
    )


def _progress(seed: Seed, archive: Archive, *, begun: bool) -> Progress:
    core = found_out(seed, archive)
    if core is None:
        return Progress(seed=seed, state="begun" if begun else "waiting")
    if isinstance(core, Stopped):
        return Progress(seed=seed, state="stopped", reason=str(core))
    whole = found_out(seed, archive, everything=True)
    if whole is None:
        return Progress(seed=seed, state="core", outcome=core)
    return Progress(seed=seed, state="finished", outcome=whole if isinstance(whole, Outcome) else core)


def _hours(crystals: Iterable[Progress], spent: Mapping[str, float]) -> dict[str, float]:
    """Class of work -> CPU hours left: by the effort of a crystal, at the rate of those whose core is there."""
    done = [p.seed for p in crystals if p.state == "core" and spent.get(p.seed.name)]
    rate = sum(spent[seed.name] for seed in done) / sum(map(effort, done)) if done else FIRST_RATE
    hours: dict[str, float] = defaultdict(float)
    for progress in crystals:
        seed = progress.seed
        if progress.state in {"finished", "stopped"}:
            continue
        whole = rate * effort(seed) * (EVERYTHING if seed.main and seed.split == "test" else 1.0)
        hours[_class(seed)] += max(0.0, whole - spent.get(seed.name, 0.0)) / 3600
    return dict(sorted(hours.items()))


def is_frame(record: Record) -> bool:
    """Whether a record is the r²SCAN side of a pair of copies."""
    copy: str = record["perturbation"]
    return record["status"] == "ok" and record["functional"] == "r2SCAN" and copy[1:].isdigit()


def _counts(ready: list[Seed], frames: list[Any]) -> dict[str, int]:
    """How much there is of each floor."""
    materials = {seed.material: seed for seed in ready}
    test = {material for material, seed in materials.items() if seed.split == "test"}
    elements = {material: frozenset(seed.atoms.get_chemical_symbols()) for material, seed in materials.items()}
    learned = Counter(
        element for material, found in elements.items() if materials[material].split == "train" for element in found
    )
    tested = {seed.name: seed.material for seed in ready if seed.split == "test"}
    strong = [
        record
        for record in frames
        if record["seed_structure"] in tested
        and record["perturbation"] not in VOLUMES
        and np.abs(record["forces_eV_per_A"]).max() >= FORCE
    ]
    systems = {found for found in elements.values() if len(found) > 1}
    competing = [sum(other <= system for other in elements.values()) for system in systems]
    return {
        "compositions": len(materials),
        "test compositions": len(test),
        "elements in three training compositions": sum(number >= 3 for number in learned.values()),
        "magnetic test compositions": sum(bool(elements[material] & set(MOMENTS)) for material in test),
        "pairs of eight atoms": sum(len(record["structure"]["species"]) >= BIG for record in frames),
        "test frames with forces": len(strong),
        "test compositions with forces": len({tested[record["seed_structure"]] for record in strong}),
        "systems of four compositions": sum(number >= COMPETITORS for number in competing),
    }


def _class(seed: Seed) -> str:
    """What kind of work a crystal is, for the hours."""
    role = "polymorphs" if not seed.main else "test" if seed.split == "test" else "training"
    kind = "magnetic" if seed.spin_polarised else "big cells" if len(seed.atoms) >= BIG else seed.bonding
    return f"{role}, {kind}"

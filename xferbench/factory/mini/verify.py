"""Recompute stored records and compare: structure, settings, mesh and starting state are those of the record."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import CheckFailedError, UnknownNameError, UsageError, XferbenchError
from xferbench.factory.mini.engine import Calculation, GpawEngine, cpu_limit
from xferbench.functionals import Functional
from xferbench.sources.mini.checks import XC
from xferbench.sources.mini.recordfile import read_records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from xferbench.factory.mini.engine import Engine, Labels

    Record = Mapping[str, Any]

TOLERANCES = {"energy": 1e-4, "forces": 1e-3, "stress": 2e-5, "magmoms": 1e-3}
"""Largest difference of a recomputed number from the stored one, in ``UNITS``. docs/mini.md has the measurements.

- energy: the SCF cycle ends when it moves by less than 1e-5 eV per valence electron, and an atom here has about ten at most.
  Measured: convergence leaves 1e-6, a libxc compiled with other options 2.4e-5.
- forces: what they are converged to. Measured: 5e-6.
- stress: no criterion in GPAW; five times the measured 4e-6.
- magmoms: no criterion in GPAW; measured 7e-6, but a moment that is zero comes out as up to 2e-4 of either sign.
"""

UNITS = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³", "magmoms": "µB"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A recomputed record against the stored one.

    Attributes:
        deviations: Quantity -> largest absolute difference, in ``UNITS``; empty if the calculation failed.
        exceeded: Quantities beyond their tolerance.
        versions: Code -> (version then, version now), where they differ.
        error: Why there are no numbers, or "".
    """

    record_id: str
    deviations: Mapping[str, float] = field(default_factory=dict)
    exceeded: tuple[str, ...] = ()
    versions: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    error: str = ""

    @property
    def agrees(self) -> bool:
        """Whether every number is within its tolerance."""
        return not self.error and not self.exceeded

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value:.1e} {UNITS[name]}" for name, value in self.deviations.items())
        changed = ", ".join(f"{name} {then} -> {now}" for name, (then, now) in self.versions.items())
        verdict = "agrees" if self.agrees else self.error or f"{', '.join(self.exceeded)} beyond tolerance"
        return f"{self.record_id}: {verdict}{f' ({numbers})' if numbers else ''}{f' [{changed}]' if changed else ''}"


def verify(
    path: Path,
    names: Sequence[str] = (),
    *,
    fraction: float = 0.05,
    seed: int = 0,
    tolerances: Mapping[str, float] = TOLERANCES,
    limit_seconds: float = 3600.0,
    progress: Callable[[str], None] | None = None,
    engine: Engine | None = None,
) -> list[Comparison]:
    """Recompute records and compare them with the stored numbers.

    An r²SCAN record starts from PBE, so its PBE calculation runs first, whether it was asked for or not.

    Args:
        path: Record file.
        names: Record ids, or pair ids for all records of the pair. If empty, records are drawn at random.
        fraction: Of all successful records to draw, at least one.
        seed: Of that choice.
        tolerances: Quantity -> largest difference, in ``UNITS``.
        limit_seconds: Of CPU time for one calculation.
        progress: Told each comparison as it is made.
        engine: What calculates; default GPAW.

    Returns:
        One comparison per record, all of them in agreement.

    Raises:
        CheckFailedError: A number is beyond its tolerance or a calculation failed; lists them after all have run.
        UnknownNameError: No such record.
        UsageError: A named record is a failed calculation, or the fraction is none.
        MissingExtraError: GPAW is not installed.
    """
    records = {record["id"]: record for record in read_records(path)}
    chosen = _named(records, names) if names else drawn(records, fraction, seed)
    engine = engine or GpawEngine()
    versions = engine.versions()
    comparisons = []
    for pair_id in dict.fromkeys(record["pair_id"] for record in chosen):
        wanted = {Functional(record["functional"]): record for record in chosen if record["pair_id"] == pair_id}
        for functional, (labels, error) in _recompute(wanted, engine, limit_seconds).items():
            comparison = _compare(wanted[functional], labels, error, versions, tolerances)
            comparisons.append(comparison)
            if progress is not None:
                progress(str(comparison))
    wrong = [str(comparison) for comparison in comparisons if not comparison.agrees]
    if wrong:
        raise CheckFailedError(f"{len(wrong)} of {len(comparisons)} recomputed records disagree: {'; '.join(wrong)}")
    return comparisons


def drawn(records: Mapping[str, Record], fraction: float, seed: int) -> list[Record]:
    """A random part of the successful records, dear ones like cheap ones.

    Raises:
        UsageError: The fraction is not between 0 and 1, or there is no successful record.
    """
    names = sorted(name for name, record in records.items() if record["status"] == "ok")
    if not 0 < fraction <= 1 or not names:
        raise UsageError(
            f"cannot draw a fraction of {fraction:g} of {len(names)} records; give one above 0 and up to 1"
        )
    number = max(1, round(fraction * len(names)))
    picked = np.random.default_rng(seed).choice(len(names), size=number, replace=False)
    return [records[names[index]] for index in sorted(picked)]


def _named(records: Mapping[str, Record], names: Sequence[str]) -> list[Record]:
    pairs: dict[str, list[str]] = {}
    for record in records.values():
        pairs.setdefault(record["pair_id"], []).append(record["id"])
    chosen = []
    for name in names:
        if name not in records and name not in pairs:
            close = difflib.get_close_matches(name, [*records, *pairs], n=1)
            hint = f"did you mean {close[0]!r}?" if close else "ids look like LiF_rocksalt-c0-PBE"
            raise UnknownNameError(f"no record or pair {name!r} among the {len(records)} records; {hint}")
        chosen += [name] if name in records else pairs[name]
    failed = [name for name in chosen if records[name]["status"] != "ok"]
    if failed:
        raise UsageError(f"{', '.join(failed)}: a failed calculation has no numbers to compare with; name others")
    return [records[name] for name in dict.fromkeys(chosen)]


def _recompute(
    wanted: Mapping[Functional, Record], engine: Engine, limit_seconds: float
) -> dict[Functional, tuple[Labels, str]]:
    """Labels, or the reason why there are none, of the wanted records of one pair."""
    results: dict[Functional, tuple[Labels, str]] = {}
    record = next(iter(wanted.values()))
    state, error = None, ""
    for functional in XC:
        labels: Labels = {}
        try:
            with cpu_limit(limit_seconds):
                labels, state = engine.calculate(_calculation(record, functional), state)
        except XferbenchError:
            raise
        except Exception as failure:  # noqa: BLE001 - that it fails now is the finding: reported as a disagreement
            error = f"failed in {functional}: {type(failure).__name__}: {failure}".rstrip(": ")
        if functional in wanted:
            results[functional] = (labels, error)
        if error or wanted.keys() <= results.keys():
            break
    return {functional: results.get(functional, ({}, error)) for functional in wanted}


def _calculation(record: Record, functional: Functional) -> Calculation:
    """What a stored record was calculated from, for either functional of its pair."""
    from ase import Atoms

    structure = record["structure"]
    atoms = Atoms(
        structure["species"],
        positions=structure["cart_coords_A"],
        cell=structure["lattice_A"],
        pbc=structure["pbc"],
        magmoms=structure["initial_magmoms_muB"] if record["spin_polarised"] else None,
    )
    a, b, c = record["kpts"]["size"]
    return Calculation(
        atoms=atoms,
        kpts=(a, b, c),
        spin_polarised=record["spin_polarised"],
        settings=record["settings"] | {"xc_libxc": XC[functional]},
    )


def _compare(
    record: Record, labels: Labels, error: str, versions: Mapping[str, str], tolerances: Mapping[str, float]
) -> Comparison:
    then = record["versions"]
    changed = {
        name: (then[name], versions[name]) for name in sorted({*then} & {*versions}) if then[name] != versions[name]
    }
    if error:
        return Comparison(record_id=record["id"], versions=changed, error=error)
    stored, recomputed = _quantities(record, record), _quantities(labels, record)
    deviations = {name: float(np.abs(np.subtract(recomputed[name], value)).max()) for name, value in stored.items()}
    # not "> tolerance": a NaN must not agree
    exceeded = tuple(name for name, value in deviations.items() if not value <= tolerances[name])
    return Comparison(record_id=record["id"], deviations=deviations, exceeded=exceeded, versions=changed)


def _quantities(labels: Mapping[str, Any], record: Record) -> dict[str, Any]:
    """What is compared, in ``UNITS``."""
    found = {
        "energy": labels["energy_eV"] / len(record["structure"]["species"]),
        "forces": labels["forces_eV_per_A"],
        "stress": labels["stress_eV_per_A3_voigt"],
    }
    return found | ({"magmoms": labels["magmoms_muB"]} if record["spin_polarised"] else {})

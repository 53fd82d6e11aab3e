"""Recompute stored records and compare: structure, settings, mesh and starting state are those of the record."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench import tables, units
from xferbench.errors import CheckFailedError, UnknownNameError, UsageError, XferbenchError
from xferbench.records import Functional
from xferbench.sources.mini.build import PARQUET
from xferbench.sources.mini.engine import XC, Calculation, GpawEngine, time_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from xferbench.sources.mini.engine import Engine, Labels

    Row = Mapping[str, Any]

TOLERANCES = {"energy": 1e-4, "forces": 1e-3, "stress": 2e-5, "magmoms": 1e-3}
"""Largest difference of a recomputed number from the stored one, in ``UNITS``. docs/mini.md has the measurements.

- energy: the SCF cycle ends when it moves by less than 1e-5 eV per valence electron, and an atom here has about ten at most.
  Measured: convergence leaves 1e-6, a libxc compiled with other options 2.4e-5.
- forces: what they are converged to. Measured: 5e-6.
- stress: no criterion in GPAW; five times the measured 4e-6.
- magmoms: no criterion in GPAW; measured 7e-6, but a moment that is zero comes out as up to 2e-4 of either sign.
"""

UNITS = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³", "magmoms": "µB"}

CHEAP_SECONDS = 60.0
"""Recorded CPU time up to which a pair may be picked when none is named."""


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
    names: Sequence[str] = (),
    *,
    n: int = 1,
    seed: int = 0,
    parquet: Path | None = None,
    tolerances: Mapping[str, float] = TOLERANCES,
    limit_seconds: float = 3600.0,
    progress: Callable[[str], None] | None = None,
    engine: Engine | None = None,
) -> list[Comparison]:
    """Recompute records and compare them with the stored numbers.

    An r²SCAN record starts from PBE, so its PBE calculation runs first, whether it was asked for or not.

    Args:
        names: Record ids, or pair ids for both records. If empty, ``n`` pairs are picked.
        n: Pairs to pick at random among those that took up to ``CHEAP_SECONDS``.
        seed: Of that choice.
        parquet: What ``build`` made; default: the file in the package.
        tolerances: Quantity -> largest difference, in ``UNITS``.
        limit_seconds: Of wall time for one calculation.
        progress: Told each comparison as it is made.
        engine: What calculates; default GPAW.

    Returns:
        One comparison per record, all of them in agreement.

    Raises:
        CheckFailedError: A number is beyond its tolerance or a calculation failed; lists them after all have run.
        UnknownNameError: No such record.
        UsageError: A named record is a failed calculation, or there are fewer than ``n`` cheap pairs.
        MissingExtraError: GPAW is not installed.
    """
    rows = {row["record_id"]: row for row in tables.read_table(PARQUET if parquet is None else parquet).to_pylist()}
    chosen = _named(rows, names) if names else _cheap(rows, n, seed)
    engine = engine or GpawEngine()
    versions = engine.versions()
    comparisons = []
    for pair_id in dict.fromkeys(row["pair_id"] for row in chosen):
        wanted = {Functional(row["functional"]): row for row in chosen if row["pair_id"] == pair_id}
        for functional, (labels, error) in _recompute(wanted, engine, limit_seconds).items():
            comparison = _compare(wanted[functional], labels, error, versions, tolerances)
            comparisons.append(comparison)
            if progress is not None:
                progress(str(comparison))
    wrong = [str(comparison) for comparison in comparisons if not comparison.agrees]
    if wrong:
        raise CheckFailedError(f"{len(wrong)} of {len(comparisons)} recomputed records disagree: {'; '.join(wrong)}")
    return comparisons


def _named(rows: Mapping[str, Row], names: Sequence[str]) -> list[Row]:
    pairs: dict[str, list[str]] = {}
    for row in rows.values():
        pairs.setdefault(row["pair_id"], []).append(row["record_id"])
    chosen = []
    for name in names:
        if name not in rows and name not in pairs:
            close = difflib.get_close_matches(name, [*rows, *pairs], n=1)
            hint = f"did you mean {close[0]!r}?" if close else "ids look like LiF_rocksalt-v2-PBE"
            raise UnknownNameError(f"no record or pair {name!r} among the {len(rows)} records; {hint}")
        chosen += [name] if name in rows else pairs[name]
    failed = [name for name in chosen if rows[name]["status"] != "ok"]
    if failed:
        raise UsageError(f"{', '.join(failed)}: a failed calculation has no numbers to compare with; name others")
    return [rows[name] for name in dict.fromkeys(chosen)]


def _cheap(rows: Mapping[str, Row], n: int, seed: int) -> list[Row]:
    pairs: dict[str, list[Row]] = {}
    for row in rows.values():
        if row["status"] == "ok":
            pairs.setdefault(row["pair_id"], []).append(row)
    cheap = [
        pair
        for _, pair in sorted(pairs.items())
        if len(pair) == len(XC) and sum(row["cpu_seconds"] for row in pair) <= CHEAP_SECONDS
    ]
    if not 1 <= n <= len(cheap):
        raise UsageError(
            f"cannot pick {n} pairs: {len(cheap)} of {len(pairs)} took up to {CHEAP_SECONDS:g} s; name records"
        )
    picked = np.random.default_rng(seed).choice(len(cheap), size=n, replace=False)
    return [row for index in picked for row in cheap[index]]


def _recompute(
    wanted: Mapping[Functional, Row], engine: Engine, limit_seconds: float
) -> dict[Functional, tuple[Labels, str]]:
    """Labels, or the reason why there are none, of the wanted records of one pair."""
    results: dict[Functional, tuple[Labels, str]] = {}
    row = next(iter(wanted.values()))
    state, error = None, ""
    for functional in XC:
        labels: Labels = {}
        try:
            with time_limit(limit_seconds):
                labels, state = engine.calculate(_calculation(row, functional), state)
        except XferbenchError:
            raise
        except Exception as failure:  # noqa: BLE001 - that it fails now is the finding: reported as a disagreement
            error = f"failed in {functional}: {type(failure).__name__}: {failure}".rstrip(": ")
        if functional in wanted:
            results[functional] = (labels, error)
        if error or wanted.keys() <= results.keys():
            break
    return {functional: results.get(functional, ({}, error)) for functional in wanted}


def _calculation(row: Row, functional: Functional) -> Calculation:
    """What a stored record was calculated from, for either functional of its pair."""
    from ase import Atoms

    atoms = Atoms(
        numbers=row["numbers"],
        positions=row["positions"],
        cell=row["cell"],
        pbc=row["pbc"],
        magmoms=row["initial_magmoms"] if row["spin_polarised"] else None,
    )
    return Calculation(
        atoms=atoms,
        kpts=tuple(row["kpts"]),
        spin_polarised=row["spin_polarised"],
        settings=json.loads(row["settings"]) | {"xc_libxc": XC[functional]},
    )


def _compare(
    row: Row, labels: Labels, error: str, versions: Mapping[str, str], tolerances: Mapping[str, float]
) -> Comparison:
    then = json.loads(row["versions"])
    changed = {
        name: (then[name], versions[name]) for name in sorted({*then} & {*versions}) if then[name] != versions[name]
    }
    if error:
        return Comparison(record_id=row["record_id"], versions=changed, error=error)
    n_atoms = len(row["numbers"])
    recomputed = {
        "energy": labels["energy_eV"] / n_atoms,
        "forces": labels["forces_eV_per_A"],
        "stress": units.voigt_to_matrix(labels["stress_eV_per_A3_voigt"]),
        "magmoms": labels.get("magmoms_muB"),
    }
    stored = {name: row[name] for name in recomputed} | {"energy": row["energy"] / n_atoms}
    deviations = {
        name: float(np.abs(np.subtract(recomputed[name], value)).max())
        for name, value in stored.items()
        if value is not None
    }
    # not "> tolerance": a NaN must not agree
    exceeded = tuple(name for name, value in deviations.items() if not value <= tolerances[name])
    return Comparison(record_id=row["record_id"], deviations=deviations, exceeded=exceeded, versions=changed)

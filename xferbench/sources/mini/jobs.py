"""Run the pairs of calculations that a records file does not have yet, and append them: killable at any moment."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xferbench.errors import UsageError, XferbenchError
from xferbench.sources.mini.checks import label_problems
from xferbench.sources.mini.engine import FHC_KEY, PROTOCOL, XC, Calculation, GpawEngine, settings_of, time_limit
from xferbench.sources.mini.recordfile import append_records, resume
from xferbench.storage import lock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ase import Atoms

    from xferbench.records import Functional
    from xferbench.sources.mini.engine import Engine

    Record = dict[str, Any]

FHC_NOTE = (
    "libxc was not compiled with --disable-fhc: some r2SCAN runs may not converge, and their energies can differ from those "
    "of other builds by about 1e-5 eV/atom; the records say so"
)

ERROR_LENGTH = 300
"""Characters kept of a failed run's reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A structure to calculate with both functionals.

    Attributes:
        seed_structure: Name of what it is a copy of.
        perturbation: Name of the copy.
        seed: Of the copy's random numbers.
        atoms: Makes the structure, with initial magnetic moments if it is spin-polarised.
        kpts: Size of the Γ-centred mesh.
        metal: Whether that is the denser mesh.
        protocol: The settings that both functionals share.
    """

    seed_structure: str
    perturbation: str
    seed: int
    atoms: Callable[[], Atoms]
    kpts: tuple[int, int, int]
    spin_polarised: bool
    metal: bool
    protocol: Mapping[str, Any] = field(default_factory=lambda: PROTOCOL)

    @property
    def pair_id(self) -> str:
        """Of its two records."""
        return f"{self.seed_structure}-{self.perturbation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What one run of the generator did.

    Attributes:
        planned: Pairs that were asked for.
        present: Of these, pairs the file already had, failed ones included.
        calculated: Pairs calculated now with success.
        failed: Pairs that failed now; their records say why and they are not tried again.
        left: Pairs for which the budget did not suffice.
        dropped: What a killed run had left in the file and was removed, in words.
    """

    planned: int
    present: int
    calculated: int
    failed: int
    left: int
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.planned} pairs: {self.present} present before, {self.calculated} calculated, {self.failed} failed, "
            f"{self.left} left"
        )


def run(
    out: Path,
    jobs: Sequence[Job],
    *,
    budget_minutes: float,
    limit_seconds: float,
    progress: Callable[[str], None] | None = None,
    engine: Engine | None = None,
) -> Generated:
    """Append the missing pairs to a records file, in the order of the jobs.

    Args:
        out: JSON lines; made if missing. The two records of a pair arrive in one write.
        jobs: What the file is to have.
        budget_minutes: After that no new pair is begun.
        limit_seconds: Of wall time for one calculation; beyond it the calculation has failed.
        progress: Told one line per calculation, and of everything unusual.
        engine: What calculates; default GPAW.

    Raises:
        UsageError: A number is out of range.
        MissingExtraError: GPAW is not installed.
        StorageError: The file cannot be written, or another run is writing it.
        FormatError: The file is broken in a way that no killed run explains.
    """
    if budget_minutes < 0 or limit_seconds <= 0:
        raise UsageError(f"budget ({budget_minutes} min) and time limit ({limit_seconds} s) must be positive")
    tell = progress or _silent
    begin = time.monotonic()
    engine = engine or GpawEngine()
    with lock(out):
        resumed = resume(out)
        for message in resumed.dropped:
            tell(f"{out}: {message}")
        versions = engine.versions()
        if versions.get(FHC_KEY) == "no":
            tell(FHC_NOTE)
        todo = [job for job in jobs if job.pair_id not in resumed.finished]
        done = failed = 0
        for job in todo:
            if time.monotonic() - begin > 60 * budget_minutes:
                break
            records = _pair(job, engine=engine, versions=versions, limit_seconds=limit_seconds)
            append_records(out, records)
            done += 1
            failed += records[-1]["status"] != "ok"
            for record in records:
                tell(_progress_line(record, done, len(todo), time.monotonic() - begin))
    return Generated(
        planned=len(jobs),
        present=len(jobs) - len(todo),
        calculated=done - failed,
        failed=failed,
        left=len(todo) - done,
        dropped=resumed.dropped,
    )


def _silent(_line: str) -> None:
    """Progress nobody wants."""


def _pair(job: Job, *, engine: Engine, versions: Mapping[str, str], limit_seconds: float) -> list[Record]:
    """The records of one pair; the first failure is the last record."""
    atoms = job.atoms()
    records, state = [], None
    for functional in XC:
        record = _identity(job, atoms, functional) | {"versions": dict(versions)}
        calculation = Calculation(
            atoms=atoms, kpts=job.kpts, spin_polarised=job.spin_polarised, settings=record["settings"]
        )
        try:
            with time_limit(limit_seconds):
                labels, state = engine.calculate(calculation, state)
            outcome = _checked(record | {"status": "ok"} | labels, len(atoms))
        except XferbenchError:
            raise
        except Exception as error:  # noqa: BLE001 - a failed calculation is data too: its reason is recorded and counted
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            outcome = record | {"status": "failed", "error": reason[:ERROR_LENGTH]}
        records.append(outcome)
        if outcome["status"] != "ok":
            break
    return records


def _checked(record: Record, n_atoms: int) -> Record:
    """A record whose labels have the right shapes and are finite.

    Raises:
        ValueError: They do not or are not: the calculation has failed without saying so.
    """
    problems = list(label_problems(record, n_atoms))
    if problems:
        raise ValueError("; ".join(problems))
    return record


def _identity(job: Job, atoms: Atoms, functional: Functional) -> Record:
    """What is known of a record before the calculation."""
    return {
        "id": f"{job.pair_id}-{functional}",
        "pair_id": job.pair_id,
        "seed_structure": job.seed_structure,
        "perturbation": job.perturbation,
        "seed": job.seed,
        "functional": str(functional),
        "spin_polarised": job.spin_polarised,
        "metal_kmesh": job.metal,
        "structure": {
            "lattice_A": atoms.cell.array.tolist(),
            "species": atoms.get_chemical_symbols(),
            "cart_coords_A": atoms.positions.tolist(),
            "pbc": atoms.pbc.tolist(),
            "initial_magmoms_muB": atoms.get_initial_magnetic_moments().tolist(),
        },
        "settings": settings_of(functional, job.protocol),
    }


def _progress_line(record: Record, number: int, total: int, elapsed: float) -> str:
    outcome = f"ok, {record['wall_s']} s" if record["status"] == "ok" else f"failed: {record['error']}"
    return f"{elapsed:7.0f} s  {number}/{total}  {record['id']}  {outcome}"

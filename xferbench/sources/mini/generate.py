"""Calculate the pairs that a records file does not have yet, and append them: resumable, killable at any moment."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xferbench.errors import UsageError, XferbenchError
from xferbench.registry import check_name
from xferbench.sources.mini.checks import label_problems
from xferbench.sources.mini.engine import FHC_KEY, XC, Calculation, GpawEngine, kpoint_mesh, settings_of, time_limit
from xferbench.sources.mini.recordfile import append_records, resume
from xferbench.sources.mini.structures import (
    KINDS,
    Seed,
    check_kind,
    has_free_coordinates,
    hash_order,
    perturbed,
    random_seed,
    seeds,
)
from xferbench.storage import lock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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


def generate(
    out: Path,
    *,
    budget_minutes: float = 60.0,
    part: tuple[int, int] = (0, 1),
    kinds: Sequence[str] | None = None,
    elements: Collection[str] | None = None,
    spin: bool = False,
    limit_seconds: float = 400.0,
    progress: Callable[[str], None] | None = None,
    engine: Engine | None = None,
) -> Generated:
    """Append the missing pairs to a records file, one kind of copy after another.

    Args:
        out: JSON lines; made if missing. The two records of a pair arrive in one write.
        budget_minutes: After that no new pair is begun.
        part: ``(i, n)``: every n-th seed structure, starting at i, to share the work between machines. Each writes its
            own file; afterwards join the files with ``cat``.
        kinds: Kinds of copies, in this order; default ``structures.KINDS``.
        elements: Only structures made of these.
        spin: The spin-polarised structures instead of the others.
        limit_seconds: Of wall time for one calculation; beyond it the calculation has failed.
        progress: Told one line per calculation, and of everything unusual.
        engine: What calculates; default GPAW.

    Raises:
        UsageError: An argument is out of range, or names an element or kind that does not exist.
        MissingExtraError: GPAW is not installed.
        StorageError: The file cannot be written, or another run is writing it.
        FormatError: The file is broken in a way that no killed run explains.
    """
    if budget_minutes < 0 or limit_seconds <= 0:
        raise UsageError(f"budget ({budget_minutes} min) and time limit ({limit_seconds} s) must be positive")
    tell = progress or _silent
    begin = time.monotonic()
    plan = list(_plan(part, KINDS if kinds is None else kinds, elements, spin=spin))
    if not plan:
        raise UsageError(
            "no seed structure matches; those with Fe or Ni are calculated with spin (--spin), all others without"
        )
    engine = engine or GpawEngine()
    with lock(out):
        resumed = resume(out)
        for message in resumed.dropped:
            tell(f"{out}: {message}")
        versions = engine.versions()
        if versions.get(FHC_KEY) == "no":
            tell(FHC_NOTE)
        todo = [(seed, kind) for seed, kind in plan if _pair_id(seed, kind) not in resumed.finished]
        done = failed = 0
        for seed, kind in todo:
            if time.monotonic() - begin > 60 * budget_minutes:
                break
            records = _pair(seed, kind, engine=engine, versions=versions, limit_seconds=limit_seconds)
            append_records(out, records)
            done += 1
            failed += records[-1]["status"] != "ok"
            for record in records:
                tell(_progress_line(record, done, len(todo), time.monotonic() - begin))
    return Generated(
        planned=len(plan),
        present=len(plan) - len(todo),
        calculated=done - failed,
        failed=failed,
        left=len(todo) - done,
        dropped=resumed.dropped,
    )


def _silent(_line: str) -> None:
    """Progress nobody wants."""


def _plan(
    part: tuple[int, int], kinds: Sequence[str], elements: Collection[str] | None, *, spin: bool
) -> Iterator[tuple[Seed, str]]:
    """The pairs asked for, in the order of calculation."""
    first, step = part
    if not 0 <= first < step:
        raise UsageError(f"part {first}/{step} does not exist: i/n needs 0 <= i < n")
    known = {symbol for seed in seeds().values() for symbol in seed.atoms.get_chemical_symbols()}
    wanted = known if elements is None else {check_name("element", symbol, known) for symbol in elements}
    for kind in kinds:
        check_kind(kind)
    chosen = [seeds()[name] for name in hash_order(seeds())[first::step]]
    chosen = [s for s in chosen if s.spin_polarised == spin and wanted.issuperset(s.atoms.get_chemical_symbols())]
    for kind in kinds:
        for seed in chosen:
            if kind.startswith("v") or has_free_coordinates(seed):
                yield seed, kind


def _pair_id(seed: Seed, kind: str) -> str:
    return f"{seed.name}-{kind}"


def _pair(seed: Seed, kind: str, *, engine: Engine, versions: Mapping[str, str], limit_seconds: float) -> list[Record]:
    """The records of one pair; the first failure is the last record."""
    atoms = perturbed(seed.name, kind)
    # of the unperturbed cell, so that all copies share one mesh and energies along a curve are comparable
    kpts = kpoint_mesh(seed.atoms.cell.array, metal=seed.metal)
    records, state = [], None
    for functional in XC:
        record = _identity(seed, kind, atoms, functional) | {"versions": dict(versions)}
        calculation = Calculation(
            atoms=atoms, kpts=kpts, spin_polarised=seed.spin_polarised, settings=record["settings"]
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


def _identity(seed: Seed, kind: str, atoms: Atoms, functional: Functional) -> Record:
    """What is known of a record before the calculation."""
    pair_id = _pair_id(seed, kind)
    return {
        "id": f"{pair_id}-{functional}",
        "pair_id": pair_id,
        "seed_structure": seed.name,
        "perturbation": kind,
        "seed": random_seed(seed.name, kind),
        "functional": str(functional),
        "spin_polarised": seed.spin_polarised,
        "metal_kmesh": seed.metal,
        "structure": {
            "lattice_A": atoms.cell.array.tolist(),
            "species": atoms.get_chemical_symbols(),
            "cart_coords_A": atoms.positions.tolist(),
            "pbc": atoms.pbc.tolist(),
            "initial_magmoms_muB": atoms.get_initial_magnetic_moments().tolist(),
        },
        "settings": settings_of(functional),
    }


def _progress_line(record: Record, number: int, total: int, elapsed: float) -> str:
    outcome = f"ok, {record['wall_s']} s" if record["status"] == "ok" else f"failed: {record['error']}"
    return f"{elapsed:7.0f} s  {number}/{total}  {record['id']}  {outcome}"

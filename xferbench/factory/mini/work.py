"""Doing the calculations that the record files do not have yet: in order of importance, killable at any moment."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import orjson

from xferbench.errors import FormatError, UsageError, XferbenchError
from xferbench.factory.mini.engine import Calculation, GpawEngine, cpu_limit, settings_of
from xferbench.factory.mini.meshes import Point, confirmed
from xferbench.factory.mini.plan import Known, Stopped, plan
from xferbench.factory.mini.structures import seeds
from xferbench.functionals import Functional
from xferbench.registry import check_name
from xferbench.sources.mini.checks import FHC_KEY, label_problems
from xferbench.sources.mini.recordfile import append_records, read_records, resume
from xferbench.storage import lock, read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from pathlib import Path

    from xferbench.factory.mini.engine import Engine
    from xferbench.factory.mini.plan import Outcome, Record, Results, Step
    from xferbench.factory.mini.structures import Seed

T = TypeVar("T")

FHC_NOTE = (
    "libxc was not compiled with --disable-fhc: some r2SCAN runs may not converge, and their energies can differ from those "
    "of other builds by about 1e-5 eV/atom; the records say so"
)

ERROR_LENGTH = 300
"""Characters kept of a failed run's reason."""

EFFORT = {"ionic": 1.0, "covalent": 3.0, "metallic": 6.0}
"""How many more k points a crystal needs, roughly; only the order of the work depends on it."""

MAGNETIC_EFFORT = 4.0
"""Of a crystal with spin; as above."""

RELAX_EFFORT = 2.0
"""Of a crystal that has to be relaxed; as above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """What one run of the factory did.

    Attributes:
        calculated: Calculations with success, of either functional.
        failed: Calculations that failed; their records say why and they are not tried again.
        finished: Crystals all of whose calculations are there.
        stopped: Crystals that cannot go on, with the reason.
        out_of_time: Whether the budget ended the run.
    """

    calculated: int
    failed: int
    finished: int
    stopped: Mapping[str, str]
    out_of_time: bool

    def __str__(self) -> str:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in self.stopped.items())
        return (
            f"{self.calculated} calculations, {self.failed} failed; {self.finished} crystals finished, "
            f"{len(self.stopped)} stopped{', out of time' if self.out_of_time else ''}{reasons}"
        )


class Archive:
    """Records by the pair they belong to, and what the first edition knows of a crystal.

    Args:
        files: Record files, later ones may repeat earlier ones.
        scans: JSON lines of the first edition's scans, or ``None``.

    Raises:
        FormatError: Two files have different records of one id.
    """

    def __init__(self, files: Iterable[Path] = (), scans: Path | None = None) -> None:
        self._pairs: dict[str, dict[Functional, Record]] = defaultdict(dict)
        for path in files:
            self.add(read_records(path, growing=True), path)
        self._scans = {} if scans is None else read_scans(scans)

    def add(self, records: Iterable[Record], origin: object) -> Results:
        """Take records in.

        Args:
            records: Of any crystals.
            origin: Where they are from, for messages.

        Returns:
            Those of the last pair.

        Raises:
            FormatError: There is another record of an id.
        """
        pair: dict[Functional, Record] = {}
        for record in records:
            pair = self._pairs[record["pair_id"]]
            if pair.setdefault(Functional(record["functional"]), record) != record:
                raise FormatError(
                    f"{origin}: {record['id']} differs from the record of this id in another file; remove one"
                )
        return pair

    def results(self, step: Step) -> Results | None:
        """The records of a step, failed ones included, or ``None`` if it has to be calculated."""
        found = self._pairs.get(step.pair_id, {})
        failed = any(record["status"] == "failed" for record in found.values())
        return found if failed or found.keys() >= {*step.functionals} else None

    def known(self, seed: Seed) -> Known:
        """What the first edition knows of a crystal."""
        scan = self._scans.get(seed.name, ())
        kept = next((r for r in self._pairs.get(f"{seed.name}-v2", {}).values() if keeps(r, scan)), None)
        return Known(scan=tuple(scan), kept_mesh=None if kept is None else tuple(kept["kpts"]["size"]))

    def records(self) -> list[Record]:
        """All records."""
        return [record for pair in self._pairs.values() for record in pair.values()]


def read_scans(path: Path) -> dict[str, list[Point]]:
    """The scans of the first edition, by crystal."""
    scans = {}
    for line in read_bytes(path).splitlines():
        entry = orjson.loads(line)
        scans[entry["seed_structure"]] = [
            Point(
                kpts=tuple(point["kpts"]),
                energy=point["energy_meV_per_atom"],
                pressure=point["pressure_GPa"],
                irreducible=point["n_kpts_irreducible"],
                cpu_seconds=point["cpu_s"],
            )
            for point in entry["scan"]
        ]
    return scans


def keeps(record: Record, scan: Sequence[Point]) -> bool:
    """Whether a record of the first edition stays: its own mesh passes the rule, with what is denser in a scan."""
    size = tuple(record["kpts"]["size"]) if record["status"] == "ok" else None
    denser = [point for point in scan if size is not None and _product(point.kpts) >= _product(size)]
    choice = confirmed(denser)
    return choice is not None and choice.point.kpts == size


def order(part: tuple[int, int] = (1, 1)) -> list[tuple[Seed, bool]]:
    """Crystals and whether everything is computed of them, the most important first.

    Compositions give a benchmark its power, those of test first; the cores of all come before more copies, main crystals before
    polymorphs, and what is cheap before what is not.

    Args:
        part: (i, n): the i-th of n parts, for workers with a file each. Which part a crystal is in depends on its name.
    """
    index, number = part
    if not 1 <= index <= number:
        raise UsageError(f"part {index}/{number} does not exist: i/n needs 1 <= i <= n")
    mine = [seed for seed in seeds().values() if _hash(seed.name) % number == index - 1]
    by_effort = sorted(mine, key=lambda seed: (effort(seed), seed.name))
    test = [seed for seed in by_effort if seed.main and seed.split == "test"]
    learn = [seed for seed in by_effort if seed.main and seed.split != "test"]
    others = sorted((seed for seed in by_effort if not seed.main), key=lambda seed: seed.split != "test")
    return [
        *((seed, False) for seed in test),
        *((seed, False) for seed in learn),
        *((seed, True) for seed in test),
        *((seed, True) for seed in learn),
        *((seed, True) for seed in others),
    ]


def effort(seed: Seed) -> float:
    """How costly a crystal is, roughly and relative to others: only the order of the work depends on it."""
    size: float = len(seed.atoms) ** 1.5
    magnetic = MAGNETIC_EFFORT if seed.spin_polarised else 1.0
    return EFFORT[seed.bonding] * size * magnetic * (RELAX_EFFORT if seed.free_shape else 1.0)


def follow(steps: Generator[Step, Results, T], archive: Archive, compute: Callable[[Step], Results]) -> T | Stopped:
    """Run a plan: the archive answers what it knows, the rest is computed.

    Returns:
        What came out, or why the plan could not go on.
    """
    try:
        step = next(steps)
        while True:
            step = steps.send(archive.results(step) or compute(step))
    except StopIteration as end:
        result: T = end.value
        return result
    except Stopped as reason:
        return reason


class Unanswered(Exception):  # noqa: N818 - an answer, not an error
    """No record answers a step."""


def found_out(seed: Seed, archive: Archive, *, everything: bool = False) -> Outcome | Stopped | None:
    """What a crystal's plan comes to by the records alone, or ``None`` if it asks for something that they do not have."""

    def give_up(step: Step) -> NoReturn:
        raise Unanswered(step.pair_id)

    try:
        return follow(plan(seed, archive.known(seed), everything=everything), archive, give_up)
    except Unanswered:
        return None


class OutOfTime(Exception):  # noqa: N818 - the budget's end is no error
    """The budget does not allow another calculation."""


def work(
    out: Path,
    *,
    others: Iterable[Path] = (),
    scans: Path | None = None,
    part: tuple[int, int] = (1, 1),
    budget_minutes: float = 60.0,
    names: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
    engine: Engine | None = None,
) -> Worked:
    """Append the missing calculations of crystals to a records file, the most important first.

    Args:
        out: JSON lines; made if missing. The records of a step arrive in one write, which the disk has confirmed.
        others: More record files, only read: what they have is not calculated again.
        scans: Of the first edition.
        part: (i, n): the crystals of this worker.
        budget_minutes: After that no new calculation is begun.
        names: Only these crystals, in this order, with everything.
        progress: Told one line per calculation, and of everything unusual.
        engine: What calculates; default GPAW.

    Raises:
        UsageError: An argument is out of range.
        UnknownNameError: No such crystal.
        MissingExtraError: GPAW is not installed.
        StorageError: A file cannot be read or written, or another run is writing it.
        FormatError: A file is broken in a way that no killed run explains.
    """
    archive = Archive(others, scans)
    todo = order(part) if names is None else [(seeds()[check_name("crystal", name, seeds())], True) for name in names]
    plans = ((seed.name, plan(seed, archive.known(seed), everything=everything)) for seed, everything in todo)
    return work_through(plans, out, archive=archive, budget_minutes=budget_minutes, progress=progress, engine=engine)


def work_through(
    plans: Iterable[tuple[str, Generator[Step, Results, object]]],
    out: Path,
    *,
    archive: Archive | None = None,
    budget_minutes: float = 60.0,
    progress: Callable[[str], None] | None = None,
    engine: Engine | None = None,
) -> Worked:
    """Follow plans one after another and append to a records file what no record answers.

    Args:
        plans: Names and plans; one begins when the one before has ended.
        out: JSON lines; made if missing.
        archive: What is known from elsewhere.
        budget_minutes: After that no new calculation is begun.
        progress: Told one line per calculation, and of everything unusual.
        engine: What calculates; default GPAW.

    Raises:
        UsageError: The budget is negative.
        MissingExtraError: GPAW is not installed.
        StorageError: A file cannot be read or written, or another run is writing it.
        FormatError: A file is broken in a way that no killed run explains.
    """
    if budget_minutes < 0:
        raise UsageError(f"the budget ({budget_minutes} min) must not be negative")
    tell = progress or _silent
    begin = time.monotonic()
    engine = engine or GpawEngine()
    archive = Archive() if archive is None else archive
    counts = {"ok": 0, "failed": 0}
    stopped: dict[str, str] = {}
    finished: set[str] = set()
    out_of_time = False

    def compute(step: Step) -> Results:
        if time.monotonic() - begin > 60 * budget_minutes:
            raise OutOfTime
        records = calculated(step, engine=engine, versions=versions)
        append_records(out, records)
        for record in records:
            counts[record["status"]] += 1
            tell(_progress_line(record, time.monotonic() - begin))
        return archive.add(records, out)

    with lock(out):
        for message in resume(out).dropped:
            tell(f"{out}: {message}")
        archive.add(read_records(out) if out.exists() else [], out)
        versions = engine.versions()
        if versions.get(FHC_KEY) == "no":
            tell(FHC_NOTE)
        try:
            for name, steps in plans:
                end = follow(steps, archive, compute)
                if isinstance(end, Stopped):
                    stopped[name] = str(end)
                else:
                    finished.add(name)
        except OutOfTime:
            out_of_time = True
    return Worked(
        calculated=counts["ok"],
        failed=counts["failed"],
        finished=len(finished),
        stopped=stopped,
        out_of_time=out_of_time,
    )


def calculated(step: Step, *, engine: Engine, versions: Mapping[str, str]) -> list[Record]:
    """The records of one step; the first failure is the last record."""
    records, state = [], None
    for functional in step.functionals:
        record = _identity(step, functional) | {"versions": dict(versions)}
        calculation = Calculation(
            atoms=step.atoms, kpts=step.kpts, spin_polarised=step.spin_polarised, settings=record["settings"]
        )
        try:
            with cpu_limit(step.cpu_limit):
                labels, state = engine.calculate(calculation, state)
            outcome = _checked(record | {"status": "ok"} | labels, len(step.atoms))
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


def _identity(step: Step, functional: Functional) -> Record:
    """What is known of a record before the calculation."""
    atoms = step.atoms
    return {
        "id": f"{step.pair_id}-{functional}",
        "pair_id": step.pair_id,
        "seed_structure": step.owner,
        "perturbation": step.name,
        "seed": step.random_seed,
        "functional": str(functional),
        "spin_polarised": step.spin_polarised,
        "metal_kmesh": step.metallic,
        "structure": {
            "lattice_A": atoms.cell.array.tolist(),
            "species": atoms.get_chemical_symbols(),
            "cart_coords_A": atoms.positions.tolist(),
            "pbc": atoms.pbc.tolist(),
            "initial_magmoms_muB": atoms.get_initial_magnetic_moments().tolist(),
        },
        "settings": settings_of(functional, step.protocol),
    }


def _progress_line(record: Mapping[str, Any], elapsed: float) -> str:
    outcome = f"ok, {record['cpu_s']} s" if record["status"] == "ok" else f"failed: {record['error']}"
    return f"{elapsed:7.0f} s  {record['id']}  {outcome}"


def _silent(_line: str) -> None:
    """Progress nobody wants."""


def _hash(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)


def _product(size: tuple[int, int, int]) -> int:
    a, b, c = size
    return a * b * c

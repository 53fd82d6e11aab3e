"""The pairs of calculations that there are to do, and doing those that a records file does not have yet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from xferbench.errors import UsageError
from xferbench.registry import check_name
from xferbench.sources.mini.engine import kpoint_mesh
from xferbench.sources.mini.jobs import Job, run
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

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from xferbench.sources.mini.engine import Engine
    from xferbench.sources.mini.jobs import Generated


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
    jobs = list(_plan(part, KINDS if kinds is None else kinds, elements, spin=spin))
    if not jobs:
        raise UsageError(
            "no seed structure matches; those with Fe or Ni are calculated with spin (--spin), all others without"
        )
    return run(out, jobs, budget_minutes=budget_minutes, limit_seconds=limit_seconds, progress=progress, engine=engine)


def _plan(
    part: tuple[int, int], kinds: Sequence[str], elements: Collection[str] | None, *, spin: bool
) -> Iterator[Job]:
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
                yield _job(seed, kind)


def _job(seed: Seed, kind: str) -> Job:
    return Job(
        seed_structure=seed.name,
        perturbation=kind,
        seed=random_seed(seed.name, kind),
        atoms=partial(perturbed, seed.name, kind),
        # of the unperturbed cell, so that all copies share one mesh and energies along a curve are comparable
        kpts=kpoint_mesh(seed.atoms.cell.array, metal=seed.metal),
        spin_polarised=seed.spin_polarised,
        metal=seed.metal,
    )

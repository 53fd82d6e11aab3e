"""What a model costs: microseconds per atom at three sizes, and memory. Kept beside a result, never in a rank."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import ModelError
from xferbench.models.crystals import candidates
from xferbench.predict.runner import Options, opened
from xferbench.records import Frame
from xferbench.storage import write_json

if TYPE_CHECKING:
    from ase import Atoms

    from xferbench.functionals import Functional
    from xferbench.models import ModelSpec
    from xferbench.predict.session import Session

REPEATS = ((2, 1, 1), (4, 2, 2), (4, 4, 8))
"""How often a crystal of four atoms is repeated: 8, 64 and 512 atoms."""

CALLS = 7
"""Timed calls of each size, after ``WARM_UP``."""

WARM_UP = 2
"""Calls that are not timed: compilation, allocation, caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCost:
    """What calls with one structure of one size cost.

    Attributes:
        n_atoms: Of the structure.
        us_per_atom: Median of the timed calls, µs.
        quartiles: First and third, µs.
        calls: How many were timed.
    """

    n_atoms: int
    us_per_atom: float
    quartiles: tuple[float, float]
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCost:
    """What a model costs on one machine.

    Attributes:
        model: Its id.
        sizes: From small to large; sizes that the model fails at are left out.
        failed: Atoms of a size that failed -> why.
        memory: Bytes at their highest, over all calls: of the GPU where there is one, else of the model's process.
        device: As the framework names it.
        hardware: Processor, cores and threads.
        formula: Of the crystal.
        versions: Of the model's Python and packages.
    """

    model: str
    sizes: tuple[CallCost, ...]
    failed: dict[int, str]
    memory: int
    device: str
    hardware: str
    formula: str
    versions: dict[str, str]

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return _table(self)


def cost(spec: ModelSpec, options: Options | None = None, *, out: Path | None = None) -> ModelCost:
    """Time a model on crystals of 8, 64 and 512 atoms, in the isolation in which it would be scored.

    Only the model's own code is timed, graphs included, not the way to its process. Structures differ from call to call, so that no
    cache answers.

    Args:
        spec: The model.
        options: How it is run.
        out: A JSON file to write it to.

    Raises:
        ModelError: The model cannot be loaded, or computes no crystal.
        StorageError: The disk refuses.
    """
    options = options or Options()
    with opened(spec, options) as session:
        crystal = _crystal(session)
        sizes, failed, memory = [], {}, 0
        for repeats in REPEATS:
            larger = crystal.repeat(repeats)
            seconds: list[float] = []
            for call in range(WARM_UP + CALLS):
                predicted = session.predict([_frame(larger, call, session.facts.functional)])
                if predicted.answers.errors:
                    failed[len(larger)] = predicted.answers.errors[0]
                    break
                seconds.append(predicted.usage.seconds)
                memory = max(memory, predicted.usage.memory)
            else:
                each = 1e6 * np.array(seconds[WARM_UP:]) / len(larger)
                first, median, third = np.percentile(each, [25, 50, 75]).tolist()
                sizes.append(CallCost(n_atoms=len(larger), us_per_atom=median, quartiles=(first, third), calls=CALLS))
        measured = ModelCost(
            model=spec.model_id,
            sizes=tuple(sizes),
            failed=failed,
            memory=memory,
            device=options.device,
            hardware=_hardware(options),
            formula=crystal.get_chemical_formula(),
            versions=dict(session.facts.versions),
        )
    if out is not None:
        write_json(out, measured.to_json())
    return measured


def _table(measured: ModelCost) -> str:
    lines = [f"{measured.model} on {measured.hardware}, {measured.device}; {measured.formula}, repeated", ""]
    lines += [f"{'atoms':>6}  {'µs per atom':>12}  quartiles"]
    lines += [
        f"{size.n_atoms:6d}  {size.us_per_atom:12.4g}  {size.quartiles[0]:.4g} to {size.quartiles[1]:.4g}"
        for size in measured.sizes
    ]
    lines += [f"{n_atoms:6d}  failed: {reason}" for n_atoms, reason in measured.failed.items()]
    return "\n".join([*lines, "", f"memory {measured.memory / 2**20:.0f} MiB at its highest"])


def _crystal(session: Session) -> Atoms:
    """The first of the usual crystals that the model computes."""
    reason = "no crystal of its elements"
    for atoms in candidates(session.facts.supported_elements):
        answers = session.predict([_frame(atoms, 0, session.facts.functional)]).answers
        if not answers.errors:
            return atoms
        reason = answers.errors[0]
    raise ModelError(f"the model computes none of the crystals that it could be timed on: {reason}")


def _frame(atoms: Atoms, call: int, functional: Functional) -> Frame:
    rng = np.random.default_rng(call)
    return Frame(
        frame_id=f"cost-{call}",
        pair_id="",
        material_id="cost",
        functional=functional,
        numbers=atoms.numbers.astype(np.int64),
        positions=atoms.positions + rng.normal(0.0, 0.01, atoms.positions.shape),
        cell=atoms.cell.array,
    )


def _hardware(options: Options) -> str:
    name = platform.processor() or platform.machine()
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    threads = f", {options.threads_each} thread(s)" if options.threads_each else ""
    return f"{name}, {os.cpu_count()} cores{threads}"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []

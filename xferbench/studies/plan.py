"""What a study consists of: a grid of runs, written down before the first one starts."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - schema.parse reads the annotations
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from xferbench.errors import UsageError
from xferbench.registry import check_name
from xferbench.schema import parse
from xferbench.storage import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PLAN = "plan.json"
RUNS = "runs"
SCRATCH = "scratch+fit"
"""The method that all others of the same network are compared with."""

ATOMS = ("atoms", "two-step")
"""Reference schemes whose energies of isolated atoms the data set brings, or a file."""


def scratch_of(method: str) -> str:
    """Training from scratch of the network of a method: ``sevennet:7net-0/scratch+fit`` of ``sevennet:7net-0/finetune+fit``."""
    model, slash, _ = method.rpartition("/")
    return f"{model}{slash}{SCRATCH}"


def needs_atoms(method: str) -> bool:
    """Whether a method starts with energies of isolated atoms."""
    return method.rpartition("+")[2].partition(":")[0] in ATOMS


def _directory(method: str) -> str:
    return f"{RUNS}/{method.replace(':', '-')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run of a study."""

    method: str
    subset: float
    seed: int

    @property
    def name(self) -> str:
        """Path of the run below the study's directory."""
        return f"{_directory(self.method)}/subset-{self.subset:.12g}/seed-{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The schema of ``plan.json``.

    Attributes:
        kind: "methods" compares methods on one training set, "scaling" follows them over training sets.
        dataset: Name of the data set.
        fingerprint: Of the data set; runs on another one cannot be added.
        methods: ``[MODEL/]STRATEGY+REFERENCES``.
        subsets: Fractions of the training materials, each inside the next.
        seeds: Training seeds.
        fit_from: Smallest number of training frames that power laws are fitted to; declared before anything is seen.
        config: What all runs share: settings of training, without method, subset and seed.
        options: Method -> settings of its own, beyond those that all share.
        atoms: File with the energies of isolated atoms; those of the data set if empty.
        atom_energies: Digest of them, which neither the fingerprint of the data set nor the name of a file says; empty if
            there are none, or no method of the study needs them.
        minutes: That each run is to take, if all are to take as long; ``epochs`` follow from it.
        epochs: Method -> passes over the training frames instead of those that all share.
    """

    kind: Literal["methods", "scaling"]
    dataset: str
    fingerprint: str
    methods: tuple[str, ...]
    subsets: tuple[float, ...]
    seeds: tuple[int, ...]
    fit_from: int
    config: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    atoms: str = ""
    atom_energies: str = ""
    minutes: float | None = None
    epochs: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("methods", "subsets", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise UsageError(f"a study needs {name}, each once, not {', '.join(map(str, values)) or 'none'}")
        for method in self.options:
            check_name("method of this study", method, self.methods)
        wrong = [f"{size:g}" for size in self.subsets if not 0 < size <= 1]
        if wrong:
            raise UsageError(
                f"subset {', '.join(wrong)}: a fraction of the training materials is above 0 and at most 1"
            )

    def cells(self) -> list[Cell]:
        """Every run: all methods with the first seed and the smallest subset come first, so that results come early."""
        grid = product(sorted(self.seeds), sorted(self.subsets), self.methods)
        return [Cell(method=method, subset=subset, seed=seed) for seed, subset, method in grid]

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``read_plan`` undoes it."""
        lists = {name: list(getattr(self, name)) for name in ("methods", "subsets", "seeds")}
        keep = {
            name: getattr(self, name)
            for name in ("kind", "dataset", "fingerprint", "fit_from", "atoms", "atom_energies", "minutes")
        }
        return {
            **keep,
            **lists,
            "config": dict(self.config),
            "options": dict(self.options),
            "epochs": dict(self.epochs),
        }


def read_plan(out: Path) -> Plan | None:
    """The plan of a study, if there is one.

    Raises:
        StorageError: It cannot be read.
        IntegrityError: It is not JSON.
        FormatError: It is no plan.
    """
    path = out / PLAN
    return parse(Plan, read_json(path), path) if path.exists() else None


def write_plan(plan: Plan, out: Path, atoms: Callable[[str], str]) -> Plan:
    """Write the plan, or add to the one that is there: finished runs of a study are part of what it grows into.

    Args:
        plan: What is asked for, ``atom_energies`` apart.
        out: Directory of the study.
        atoms: File of isolated atoms, or nothing -> digest of the energies that it means today.

    Raises:
        UsageError: The study in ``out`` has another data set or other settings.
        DataError: A file of isolated atoms cannot be read or used.
        StorageError: The disk refuses.
    """
    old = read_plan(out)
    whole = plan if old is None else _both(old, plan)
    if any(map(needs_atoms, whole.methods)):
        whole = replace(whole, atom_energies=atoms(whole.atoms))
    different = [] if old is None else list(_differences(old, plan, whole, out))
    if different:
        raise UsageError(f"{out} holds another study: {'; '.join(different)}; choose another directory for this one")
    write_json(out / PLAN, whole.to_json())
    return whole


def _both(old: Plan, new: Plan) -> Plan:
    """Both plans in one."""
    return replace(
        new,
        methods=tuple(dict.fromkeys(old.methods + new.methods)),
        subsets=tuple(sorted({*old.subsets, *new.subsets})),
        seeds=tuple(sorted({*old.seeds, *new.seeds})),
        options={**old.options, **new.options},
        epochs={**new.epochs, **old.epochs},
    )


def _differences(old: Plan, new: Plan, whole: Plan, out: Path) -> Iterator[str]:
    """What keeps a new plan from being added to the old one."""
    for name in ("kind", "fingerprint", "fit_from", "minutes"):
        before, now = getattr(old, name), getattr(new, name)
        if before != now:
            yield f"{name} {before}, not {now}"
    for method in set(old.methods) & set(new.methods):
        # a method that never started, for want of an option, may be given it
        if _started(method, out) and old.options.get(method) != new.options.get(method):
            yield f"options of {method} {old.options.get(method)}, not {new.options.get(method)}"
    started = any(needs_atoms(method) and _started(method, out) for method in old.methods)
    if started and old.atom_energies != whole.atom_energies:
        yield f"isolated atoms {old.atom_energies or 'none'}, not {whole.atom_energies or 'none'}"
    for key in sorted(old.config.keys() | new.config.keys()):
        before, now = old.config.get(key), new.config.get(key)
        if before != now:
            yield f"{key} {before}, not {now}"


def _started(method: str, out: Path) -> bool:
    return any((out / _directory(method)).glob("subset-*/seed-*"))

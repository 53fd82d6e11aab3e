"""``xferbench refs export``: elemental references of a functional, or the correction between two, in the file a package takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench import references
from xferbench.dataset import open_dataset
from xferbench.errors import DataError, UsageError
from xferbench.functionals import Functional
from xferbench.records import SPLITS
from xferbench.references import zeros
from xferbench.references.exporting import PACKAGES, UNTESTED
from xferbench.registry import check_name
from xferbench.storage import write_bytes, write_text

if TYPE_CHECKING:
    import os

    from xferbench.dataset import Dataset

UNKNOWN_ZERO = "not known here: whatever made the labels of the data set"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceExport:
    """A file of elemental references, and what one has to know to use it. ``print`` shows it, and so does the text file beside it.

    Attributes:
        package: Which takes the file.
        path: The file.
        functional: Of the references; ``r2SCAN - PBE`` for a correction.
        kind: ``fitted`` to compositions, or of ``isolated atoms``.
        dataset: Name, version and split of the data.
        zero: Code, potentials and what the energies are relative to.
        energies: Symbol -> eV/atom, as in the file.
        n_structures: That they were fitted to; none for isolated atoms.
        mae: What they leave of the energies, eV/atom; none for isolated atoms.
        undetermined: Elements of the data that it does not determine alone; they are not in the file.
        filled: Elements whose place in the file holds ``filler``.
        filler: ``nan``, or ``0`` where a NaN would spoil every energy.
        homeless: Elements that have a reference and no place in the layout of the package.
        use: One line.
        tested: Version of the package that is tested to load such a file.
    """

    package: str
    path: Path
    functional: str
    kind: str
    dataset: str
    zero: str
    energies: dict[str, float]
    n_structures: int | None
    mae: float | None
    undetermined: tuple[str, ...]
    filled: tuple[str, ...]
    filler: str
    homeless: tuple[str, ...]
    use: str
    tested: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "path": str(self.path)}

    def __str__(self) -> str:
        fit = (
            ""
            if self.n_structures is None
            else f", {self.n_structures} structures, {1000 * (self.mae or 0):.0f} meV/atom left"
        )
        lines = [
            f"{self.functional} references for {self.package}: {len(self.energies)} elements ({', '.join(self.energies)})",
            f"file      {self.path}",
            f"from      {self.dataset}, {self.kind}{fit}",
            f"zero      {self.zero}",
            f"use       {self.use}",
            f"tested    {self.tested}",
        ]
        if self.undetermined:
            lines.append(f"left out  {', '.join(self.undetermined)}: the data do not determine them alone")
        if self.homeless:
            lines.append(f"left out  {', '.join(self.homeless)}: the layout of {self.package} has no place for them")
        if self.filled:
            lines.append(f"not covered, {self.filler} in the file  {', '.join(self.filled)}")
        else:
            lines.append("not covered  every other element; it is not in the file")
        return "\n".join(lines)


def export_references(
    dataset: str | os.PathLike[str] = "mini",
    *,
    package: str,
    functional: str | None = None,
    minus: str | None = None,
    atoms: bool = False,
    split: str = "train",
    out: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> ReferenceExport:
    """Write elemental references in the file that a training package takes, and a text file beside it that says what they are.

    Args:
        dataset: Name or path of a data set; its code and potentials are those of the references.
        package: One of ``references.exporting.PACKAGES``.
        functional: Of the references; the target functional of the data set if not given.
        minus: Another functional: write the correction from it to ``functional``, fitted to the pairs that have both.
        atoms: The data set's isolated atoms in place of fitted references.
        split: The frames to fit on.
        out: The file; ``<functional>-<package>.<ending>`` here if not given.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.
        offline: Never use the network.

    Raises:
        UsageError: Unknown names, or a functional minus itself.
        DataError: No frames or pairs of the functionals, no isolated atoms, or no element that the data determine.

    Example:
        >>> import xferbench as xb
        >>> made = xb.export_references("mini", package="mace", minus="PBE", out="correction.json")
        >>> made.functional, -5 < made.energies["Na"] < 0
        ('r2SCAN - PBE', True)
    """
    taker = PACKAGES[check_name("package", package, PACKAGES)]
    check_name("split", split, SPLITS)
    data = open_dataset(dataset, cache_dir=None if cache_dir is None else Path(cache_dir), offline=offline)
    wanted = data.functionals.target[0] if functional is None else Functional(functional)
    other = None if minus is None else Functional(minus)
    if other == wanted:
        raise UsageError(f"{wanted} minus {other} is nothing; name two functionals, as --functional r2SCAN --minus PBE")
    energies, fit = (_atoms(data, wanted, other), None) if atoms else _fitted(data, wanted, other, split)
    homeless = taker.homeless(energies)
    kept = {symbol: energy for symbol, energy in energies.items() if symbol not in homeless}
    if not kept:
        raise DataError(f"{data.name} determines no element that {package} has a place for; name a larger data set")
    label = str(wanted) if other is None else f"{wanted} - {other}"
    path = Path(out) if out is not None else Path(f"{label.replace(' - ', '-minus-')}-{package}.{taker.ending}".lower())
    zero = zeros.of_dataset(data.name)
    made = ReferenceExport(
        package=package,
        path=path,
        functional=label,
        kind="isolated atoms" if fit is None else "fitted to compositions",
        dataset=f"{data.name} {data.version}" + ("" if fit is None else f", split {split}"),
        zero=UNKNOWN_ZERO if zero is None else str(zero),
        energies=kept,
        n_structures=None if fit is None else fit.n_frames,
        mae=None if fit is None else fit.mae,
        undetermined=() if fit is None else fit.undetermined,
        filled=taker.filled(kept),
        filler=f"{taker.filler:g}",
        homeless=homeless,
        use=taker.use.format(path=path)
        if other is None
        else f"add to the {other} references of the model, then {taker.use.format(path=path)}",
        tested=taker.tested if taker.tested == UNTESTED else f"loaded by {taker.tested}",
    )
    write_bytes(path, taker.write(kept))
    write_text(path.with_name(f"{path.name}.txt"), f"{made}\n")
    return made


def _fitted(
    data: Dataset, wanted: Functional, other: Functional | None, split: str
) -> tuple[dict[str, float], references.ElementalReferences]:
    """The elements that the data determine alone, and the fit."""
    if other is None:
        frames = [
            frame
            for config in ("source", "target")
            if config in data.configs
            for frame in data.iter_frames(config, split)
            if frame.functional == wanted and frame.energy is not None
        ]
        if not frames:
            raise DataError(f"split {split} of {data.name} has no frames of {wanted}; it has {data.functionals}")
        fit = references.fit_frames(frames)
    else:
        differences = [
            (target.numbers, target.energy / target.n_atoms - source.energy / source.n_atoms)
            for pair in data.iter_pairs(split)
            for source, target in [(pair.source, pair.target)[:: 1 if pair.target.functional == wanted else -1]]
            if (source.functional, target.functional) == (other, wanted)
            and source.energy is not None
            and target.energy is not None
        ]
        if not differences:
            raise DataError(
                f"split {split} of {data.name} has no pairs of {other} and {wanted}; it has {data.functionals}"
            )
        fit = references.fit([numbers for numbers, _ in differences], [gap for _, gap in differences])
    return {symbol: energy for symbol, energy in fit.energies.items() if symbol not in fit.undetermined}, fit


def _atoms(data: Dataset, wanted: Functional, other: Functional | None) -> dict[str, float]:
    tables = data.atom_energies
    lacking = [functional for functional in (wanted, other) if functional is not None and functional not in tables]
    if lacking:
        raise DataError(
            f"{data.name} has no isolated atoms of {' and '.join(lacking)}; leave --atoms out for fitted references"
        )
    if other is None:
        return tables[wanted]
    return {
        symbol: energy - tables[other][symbol] for symbol, energy in tables[wanted].items() if symbol in tables[other]
    }

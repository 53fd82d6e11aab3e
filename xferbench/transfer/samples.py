"""Labelled frames as training reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import DataError, ModelError
from xferbench.models.chgnet.engine import guess_rows
from xferbench.models.chgnet.graph import build
from xferbench.records import PROPERTIES
from xferbench.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ase import Atoms

    from xferbench.dataset import Dataset
    from xferbench.models.chgnet.model import Settings
    from xferbench.records import Floats, Frame, Pair


PACK = 64
"""Structures whose neighbours are searched at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """A frame with its labels in the units of the loss; NaN where there is no label.

    Attributes:
        frame_id: Of the frame.
        atoms: The structure.
        gga: Whether the labels are those of the GGA frame.
        rows: About how many directed bonds and angles it has.
        energy: eV/atom.
        forces: (n_atoms, 3) eV/Å.
        stress: (3, 3) GPa, tension positive.
        magmoms: (n_atoms,) µB, absolute values.
    """

    frame_id: str
    atoms: Atoms
    gga: bool
    rows: float
    energy: float
    forces: Floats
    stress: Floats
    magmoms: Floats

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """How many numbers are labelled of energy, forces, stress and moments."""
        return (
            int(np.isfinite(self.energy)),
            int(np.isfinite(self.forces).sum()),
            int(np.isfinite(self.stress).sum()),
            int(np.isfinite(self.magmoms).sum()),
        )


def samples(frames: Iterable[Frame]) -> list[Sample]:
    """Frames as samples, in order.

    Raises:
        DataError: Labels that are infinite or NaN; every such frame is named.
    """
    made, broken = [], []
    for frame in frames:
        if any(value is not None and not np.isfinite(value).all() for value in map(frame.__getattribute__, PROPERTIES)):
            broken.append(frame.frame_id)
        made.append(_sample(frame))
    if broken:
        raise DataError(f"labels that are not finite: {listed(broken)}; leave these frames out of the data set")
    return made


def _sample(frame: Frame) -> Sample:
    n, atoms = frame.n_atoms, frame.atoms()
    nothing = np.float64(np.nan)
    return Sample(
        frame_id=frame.frame_id,
        atoms=atoms,
        gga=frame.functional.is_gga,
        rows=guess_rows(atoms, 6, 3),
        energy=np.nan if frame.energy is None else frame.energy / n,
        forces=np.broadcast_to(nothing, (n, 3)) if frame.forces is None else frame.forces,
        stress=np.broadcast_to(nothing, (3, 3)) if frame.stress is None else frame.stress * EV_PER_A3_IN_GPA,
        magmoms=np.broadcast_to(nothing, (n,)) if frame.magmoms is None else np.abs(frame.magmoms),
    )


def training_pairs(dataset: Dataset, subset: float) -> list[Pair]:
    """Pairs of the training materials, or of a nested part of them.

    Args:
        dataset: With pairs.
        subset: Fraction of the materials; smaller ones lie inside larger ones, see ``splits.subset_key``.

    Raises:
        DataError: The part is empty.
    """
    chosen = _materials(dataset, "r2scan", subset)
    pairs = [pair for pair in dataset.iter_pairs("train") if pair.material_id in chosen]
    if not pairs:
        raise DataError(f"the subset {subset:g} of {dataset.name} has no training pairs; choose a larger one")
    return pairs


def training_frames(dataset: Dataset, family: str, subset: float) -> list[Frame] | None:
    """All r2SCAN frames of the same materials and more, those in pairs included; None if ``family`` has pairs only."""
    if family == "r2scan":
        return None
    chosen = _materials(dataset, family, subset)
    return [frame for frame in dataset.iter_frames(family, "train") if frame.material_id in chosen]


def _materials(dataset: Dataset, family: str, subset: float) -> set[str]:
    """Training materials whose key lies in the subset."""
    return {
        material
        for table in dataset.tables(family, "train", ["material_id", "subset_key"])
        for material, key in zip(table["material_id"].to_pylist(), table["subset_key"].to_pylist(), strict=True)
        if subset >= 1 or key < subset
    }


def with_graphs(made: Sequence[Sample], settings: Settings) -> tuple[list[Sample], list[str]]:
    """Samples that have a graph, and the frame ids of those that have none: an isolated atom, two atoms at one place.

    Args:
        made: Samples.
        settings: Of the network, for the cutoffs.
    """
    good: list[Sample] = []
    for begin in range(0, len(made), PACK):
        pack = made[begin : begin + PACK]
        good += pack if _has_graph(pack, settings) else [sample for sample in pack if _has_graph([sample], settings)]
    kept = {id(sample) for sample in good}
    return good, [sample.frame_id for sample in made if id(sample) not in kept]


def _has_graph(pack: Sequence[Sample], settings: Settings) -> bool:
    atoms = [sample.atoms for sample in pack]
    try:
        # angles are never at fault, and there are many: none are made
        build(atoms, atom_cutoff=settings.atom_graph_cutoff, bond_cutoff=0)
    except ModelError:
        return False
    return True


def training_facts(pairs: Sequence[Pair], frames: Sequence[Frame]) -> dict[str, int]:
    """What was trained on, in numbers: pairs, all r2SCAN frames, and the materials and elements of the pairs."""
    return {
        "pairs": len(pairs),
        "frames": len(frames),
        "materials": len({pair.material_id for pair in pairs}),
        "elements": len({int(z) for pair in pairs for z in pair.r2scan.numbers}),
    }


def listed(ids: Sequence[str], shown: int = 10) -> str:
    """Ids for a message: the first ones, and how many more."""
    more = f" and {len(ids) - shown} more" if len(ids) > shown else ""
    return ", ".join(ids[:shown]) + more

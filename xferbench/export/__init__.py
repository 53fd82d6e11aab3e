"""A data set in the formats that trainers read: one file per functional family and split.

| format | file | read by |
|---|---|---|
| ``extxyz`` | ``target-train.extxyz`` | ``ase.io.read``: labels come back in the calculator |
| ``mace`` | ``target-train.extxyz`` | MACE and all who follow its ``REF_energy``, ``REF_forces``, ``REF_stress`` |
| ``chgnet`` | ``target-train.json`` | CHGNet's ``StructureJsonData``: the layout, units and signs of MPtrj |

Numbers keep every digit. The two families have the same pairs in the same order. Elemental references are not removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xferbench.export import chgnet, extxyz
from xferbench.export.counting import Counted
from xferbench.records import SPLITS
from xferbench.registry import check_name
from xferbench.storage import write_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from xferbench.dataset import Dataset

__all__ = ["FORMATS", "Exported", "export"]

FORMATS: dict[str, tuple[str, Callable[[Counted, str], Iterator[str]]]] = {
    "extxyz": ("extxyz", extxyz.ase_lines),
    "mace": ("extxyz", extxyz.mace_lines),
    "chgnet": ("json", chgnet.json_lines),
}
"""Format -> ending of its files, and a function from frames and their split to text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One file.

    Attributes:
        frames: Written.
        missing: Label -> frames written without it.
        left_out: Reason -> frames the format cannot hold.
    """

    path: Path
    frames: int
    missing: dict[str, int]
    left_out: dict[str, int]


def export(data: Dataset, name: str, out: Path) -> list[Exported]:
    """Write every split of both families, or of the one there is, and of all target frames if they are there.

    Args:
        data: Opened.
        name: One of ``FORMATS``.
        out: Directory; files of the same names are replaced, others stay.

    Raises:
        UnknownNameError: No such format.
        StorageError: The disk refuses.
        DataError: There are no structures.
    """
    data.check_structures()
    ending, write = FORMATS[check_name("format", name, FORMATS)]
    exported = []
    for family in data.configs:
        for split in SPLITS:
            frames = Counted(data.iter_frames(family, split))
            path = out / f"{family}-{split}.{ending}"
            write_chunks(path, (text.encode() for text in write(frames, split)))
            exported.append(
                Exported(path=path, frames=frames.written, missing=frames.missing, left_out=frames.left_out)
            )
    return exported

"""Graphs kept on disk, for those who predict or train on the same structures again and again.

One file per batch, named by a hash of everything a graph depends on, so that a changed structure or cutoff is another file
and nothing has to be thrown away by hand. Reading is somewhat faster than building, as long as the files are in memory, and
slower from a slow disk: see ``docs/performance.md`` before using it.
"""

from __future__ import annotations

import hashlib
import io
import logging
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xferbench.models.chgnet.graph import Crystals, Graphs, build
from xferbench.storage import read_bytes, write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ase import Atoms

FORMAT = b"xferbench graphs 1"
"""Changes whenever the same structures would give other graphs or other files."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphCache:
    """A folder of graphs; many processes may use it at once.

    Attributes:
        folder: Where the files are; made when the first one is written.
    """

    folder: Path

    def build(
        self, structures: Sequence[Atoms], *, atom_cutoff: float, bond_cutoff: float, isolated: str = "raise"
    ) -> Graphs:
        """As ``graph.build``, from the file if there is one.

        A file that is damaged is reported in the log, built again and replaced.

        Raises:
            ModelError: As ``graph.build``; nothing is written then.
            StorageError: The disk refuses.
        """
        crystals = Crystals.from_atoms(structures)
        path = self.folder / f"{_key(crystals, f'{atom_cutoff!r} {bond_cutoff!r} {isolated}')}.npz"
        found = _read(path, crystals)
        if found is None:
            found = build(structures, atom_cutoff=atom_cutoff, bond_cutoff=bond_cutoff, isolated=isolated)
            _write(path, found)
        return found


def _key(crystals: Crystals, options: str) -> str:
    """Hexadecimal hash of the structures and options."""
    digest = hashlib.sha256(FORMAT + options.encode())
    for array in (crystals.counts, crystals.numbers, crystals.positions, crystals.cells, crystals.pbc):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _write(path: Path, graphs: Graphs) -> None:
    """Bonds as they are; angles follow from them."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        center=graphs.center.astype(np.int32),
        neighbor=graphs.neighbor.astype(np.int32),
        image=graphs.image.astype(np.int32),
        vector=graphs.vector,
        n_short=np.int64(graphs.n_short),
    )
    write_bytes(path, buffer.getvalue())


def _read(path: Path, crystals: Crystals) -> Graphs | None:
    """The graphs in a file; none if it is not there, or damaged: zip files carry checksums."""
    if not path.exists():
        return None
    try:
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as arrays:
            center, neighbor, image = (arrays[name].astype(np.int64) for name in ("center", "neighbor", "image"))
            vector, n_short = arrays["vector"], int(arrays["n_short"])
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        log.warning("%s is damaged (%s) and built again", path, error)
        return None
    return Graphs.from_bonds(
        crystals=crystals, center=center, neighbor=neighbor, image=image, vector=vector, n_short=n_short
    )

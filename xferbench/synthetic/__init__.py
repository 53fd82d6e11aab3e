"""Thousands of small crystals labelled by two CHGNets, to study methods of transfer. No DFT in them.

| data set | what |
|---|---|
| ``synthetic-teacher`` | 73 elements, a thin sample of their compositions: what transfers must know them |
| ``synthetic-teacher-dense`` | 17 elements, about 60 % of the compositions that the prototypes allow: enough to learn them from nothing |

| file | what |
|---|---|
| ``structures`` | prototypes, elements, copies |
| ``labelling`` | what the two teachers say, kept in chunks |
| ``card.md`` | how it was made, and why a gain measured on it is not one on DFT |

A room of its own because it runs models, which the rooms of other sources must not know.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xferbench import storage
from xferbench.dataset.cache import cache_directory
from xferbench.records import Geometry, SourceDataset, SplitRule
from xferbench.sources.stream import FrameStream, local_files, local_version
from xferbench.sources.work import checked
from xferbench.synthetic.labelling import labelled, read
from xferbench.synthetic.structures import SETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xferbench.records import Drop, Frame

CARD = Path(__file__).with_name("card.md")

VERSION = "1"
"""Of structures, teachers and split rule."""

FRACTIONS = (0.8, 0.1, 0.1)

CITATION = """@article{deng2023chgnet,
  title = {CHGNet as a pretrained universal neural network potential for charge-informed atomistic modelling},
  author = {Deng, Bowen and Zhong, Peichen and Jun, KyuJung and Riebesell, Janosh and Han, Kevin and Bartel,
            Christopher J. and Ceder, Gerbrand},
  journal = {Nature Machine Intelligence}, volume = {5}, pages = {1031}, year = {2023}
}"""


def load(*, paths: Sequence[Path] = (), cache_dir: Path | None = None) -> SourceDataset:
    """``synthetic-teacher``; see ``load_dense`` for the arguments."""
    return _load("synthetic-teacher", paths, cache_dir)


def load_dense(*, paths: Sequence[Path] = (), cache_dir: Path | None = None) -> SourceDataset:
    """The same of 17 elements and 60 % of their compositions, which a network can learn from nothing. No DFT in it.

    Nothing is built or labelled before the first frame is asked for.

    Args:
        paths: Chunks of another machine, or directories of them, to read instead of labelling.
        cache_dir: Where the chunks are kept; see ``dataset.cache``.

    Raises:
        StorageError: A path cannot be read.
        DataError: Nothing to read at ``paths``.
    """
    return _load("synthetic-teacher-dense", paths, cache_dir)


def _load(name: str, paths: Sequence[Path], cache_dir: Path | None) -> SourceDataset:
    files = local_files(paths, lambda file: file.endswith(".parquet"), "*.parquet chunks") if paths else []

    def items() -> Iterator[Frame | Drop]:
        if files:
            return checked(item for path in files for item in read(path))
        return checked(labelled(cache_directory(cache_dir) / name, kinds=SETS[name]))

    stream = FrameStream(read=items)
    return SourceDataset(
        name=name,
        version=local_version(files) if files else VERSION,
        title=f"{name}: small crystals labelled by CHGNet 0.3.0 and CHGNet r2SCAN, not by DFT",
        licence="bsd-3-clause",
        citation=CITATION,
        card=storage.read_bytes(CARD).decode(),
        geometry=Geometry.SAME_GEOMETRY,
        split=SplitRule(salt=name, fractions=FRACTIONS, group="reduced composition"),
        frames=stream,
        drops=stream.drops,
        synthetic=True,
    )

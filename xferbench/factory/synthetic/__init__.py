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

It runs models, which the rooms of other sources must not know. No task accepts it: its labels are no density functional's.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from xferbench import storage
from xferbench.dataset import prepare_source
from xferbench.factory.synthetic.labelling import TEACHERS, labelled, read
from xferbench.factory.synthetic.structures import SETS
from xferbench.functionals import Pair
from xferbench.records import Geometry, SourceDataset, SplitRule
from xferbench.registry import check_name
from xferbench.sources.stream import FrameStream, local_files, local_version
from xferbench.sources.work import checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xferbench.dataset import Dataset
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


def load(name: str, *, paths: Sequence[Path] = (), cache_dir: Path | None = None) -> SourceDataset:
    """A synthetic data source. Nothing is built or labelled before the first frame is asked for.

    Args:
        name: One of ``SETS``.
        paths: Chunks of another machine, or directories of them, to read instead of labelling.
        cache_dir: Where the chunks are kept; see ``dataset.cache``.

    Raises:
        UnknownNameError: No such set.
        StorageError: A path cannot be read.
        DataError: Nothing to read at ``paths``.
    """
    check_name("synthetic data set", name, SETS)
    files = local_files(paths, lambda file: file.endswith(".parquet"), "*.parquet chunks") if paths else []

    def items() -> Iterator[Frame | Drop]:
        if files:
            return checked(item for path in files for item in read(path))
        return checked(labelled(storage.cache_directory(cache_dir) / name, kinds=SETS[name]))

    stream = FrameStream(read=items)
    return SourceDataset(
        name=name,
        version=local_version(files) if files else VERSION,
        title=f"{name}: small crystals labelled by CHGNet 0.3.0 and CHGNet r2SCAN, not by DFT",
        licence="bsd-3-clause",
        citation=CITATION,
        card=storage.read_bytes(CARD).decode(),
        functionals=Pair(source=tuple(TEACHERS)[:1], target=tuple(TEACHERS)[1:]),
        geometry=Geometry.SAME_GEOMETRY,
        split=SplitRule(salt=name, fractions=FRACTIONS, group="reduced composition"),
        frames=stream,
        drops=stream.drops,
        synthetic=True,
    )


def prepare(
    name: str, *, out: Path | None = None, paths: Sequence[Path] = (), cache_dir: Path | None = None
) -> Dataset:
    """Make sure that a synthetic set is on disk; every command knows it by its name from then on.

    Args:
        name: One of ``SETS``.
        out: Where to write; in the cache if not given.
        paths: As for ``load``.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.

    Raises:
        UnknownNameError: No such set.
        DataError: It cannot be made, or the disk refuses.
    """
    words = ["python", "-m", "xferbench.factory", "synthetic", name]
    words += [word for path in paths for word in ("--from", str(path.resolve()))]
    words += [] if out is None else ["--out", str(out.resolve())]
    source = load(name, paths=paths, cache_dir=cache_dir)
    return prepare_source(source, out, name=name, recipe=shlex.join(words), cache_dir=cache_dir)

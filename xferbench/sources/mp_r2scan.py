"""MP-r2SCAN with MPtrj: the relaxed states of 35 thousand materials in r²SCAN and in PBE or PBE+U.

- Home: https://figshare.com/articles/dataset/28245650, doi 10.6084/m9.figshare.28245650; 238,247 frames of 34,927 materials
- Paper: npj Computational Materials 11, 313 (2025), doi 10.1038/s41524-025-01796-y
- Licence: as figshare's page of the article states; MPtrj is MIT over Materials Project data, CC BY 4.0.

The layout, units and signs are those of ``mptrj``; energies are uncorrected r²SCAN. Sizes and MD5 come from figshare's API
when the files are fetched.

MP-r2SCAN has no GGA labels. The GGA side is MPtrj's relaxation of the same Materials Project id, so a pair is
``same_material``: each side is the last frame of its own relaxation, with its own lattice and coordinates, and errors on
the two sides are comparable, while labels are not atom by atom. Pairs that relaxed to different phases are dropped. All frames
of MP-r2SCAN, the last ones among them, are kept for training, in the split of their material: that is the seed paper's data
set. The other frames of MPtrj are counted as ``other_frames``, one line for each material. Corrected and uncorrected GGA energies are kept apart: ``energy`` is
uncorrected, and ``correction`` is what MP2020 adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench import download
from xferbench.errors import DataError
from xferbench.functionals import Functional, Pair
from xferbench.records import Geometry, SourceDataset, SplitRule
from xferbench.sources import mptrj
from xferbench.sources.parallel import read_all
from xferbench.sources.stream import FrameStream, check_release, local_files, local_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from xferbench.records import Drop, Frame

ARTICLE = 28245650
RELEASES = ("2",)
"""Of the figshare article."""

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))
SPLIT = SplitRule(salt="mp-r2scan", fractions=(0.8, 0.1, 0.1), group="Materials Project id")
CITATION = """@article{huang2025cross,
  title = {Cross-functional transferability in foundation machine learning interatomic potentials},
  author = {Huang, Xu and Deng, Bowen and Zhong, Peichen and Kaplan, Aaron D. and Persson, Kristin A. and Ceder, Gerbrand},
  journal = {npj Computational Materials},
  volume = {11},
  pages = {313},
  year = {2025}
}
@article{deng2023chgnet,
  title = {CHGNet as a pretrained universal neural network potential for charge-informed atomistic modelling},
  author = {Deng, Bowen and Zhong, Peichen and Jun, KyuJung and Riebesell, Janosh and Han, Kevin and Bartel, Christopher J.
            and Ceder, Gerbrand},
  journal = {Nature Machine Intelligence},
  volume = {5},
  pages = {1031--1041},
  year = {2023}
}"""
CARD = """The end points of relaxations of the Materials Project: r²SCAN from MP-r2SCAN, PBE or PBE+U from MPtrj, joined by
Materials Project id. Each side has the geometry of its own functional. The configuration `target-frames` has every frame of
MP-r2SCAN, split by material at 8:1:1, for training. `energy` is uncorrected; the MP2020 correction of the
GGA side is in `correction`. Which GGA frames used a Hubbard U follows from the composition by the rule of the Materials
Project's input sets: the files do not say. The licence of MP-r2SCAN is the one on its figshare page, 28245650; MPtrj is MIT over
data of the Materials Project, CC BY 4.0."""


def load(
    *,
    version: str | None = None,
    paths: Sequence[Path] = (),
    cache_dir: Path | None = None,
    offline: bool = False,
) -> SourceDataset:
    """The pairs of relaxed states, and all r2SCAN frames for training. Nothing is fetched or read before the first frame is asked for.

    Args:
        version: Of the figshare article of MP-r2SCAN.
        paths: Local files, or directories with files named ``MPr2SCAN*.json`` and ``MPtrj*.json``, instead of the network.
        cache_dir: Where downloads are kept.
        offline: Forbid the network.

    Raises:
        UsageError: No such release.
        DataError: Nothing to read at ``paths``, or a file whose name says neither what it is.
        StorageError: A path cannot be read.
    """
    release = check_release("mp-r2scan", version, RELEASES)
    files = local_files(paths, _is_ours, "MPr2SCAN*.json and MPtrj*.json files") if paths else []
    for path in files:
        _is_r2scan(path)

    def upstream() -> Sequence[Path]:
        return files or [
            *download.fetch_article(ARTICLE, "mp-r2scan", _is_ours, cache_dir, offline=offline),
            *download.fetch_article(mptrj.ARTICLE, "mptrj", mptrj.FILE.__eq__, cache_dir, offline=offline),
        ]

    def read() -> Iterator[Frame | Drop]:
        return read_all(upstream(), _read)

    stream = FrameStream(read=read)
    return SourceDataset(
        name="mp-r2scan",
        version=local_version(files) if files else release,
        title="MP-r2SCAN with MPtrj: relaxed materials in r²SCAN and PBE(+U)",
        licence="other",
        citation=CITATION,
        card=CARD,
        functionals=PAIR,
        geometry=Geometry.SAME_MATERIAL,
        split=SPLIT,
        frames=stream,
        drops=stream.drops,
        upstream=upstream,
    )


def _is_ours(name: str) -> bool:
    small = name.lower()
    return ("r2scan" in small or "mptrj" in small) and ".json" in small


def _is_r2scan(path: Path) -> bool:
    small = path.name.lower()
    if ("r2scan" in small) == ("mptrj" in small):
        raise DataError(f"{path}: its records do not say which functional they are of; name it MPr2SCAN… or MPtrj…")
    return "r2scan" in small


def _read(path: Path) -> Iterator[Frame | Drop]:
    if _is_r2scan(path):
        return mptrj.read_relaxed(path, lambda _: Functional("r2SCAN"), every=True)
    return mptrj.read(path)

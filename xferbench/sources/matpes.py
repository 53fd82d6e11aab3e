"""MatPES: PBE and r²SCAN single points of 0.4 million structures, most of them with both functionals.

- Home: https://matpes.ai; files: https://huggingface.co/datasets/materialyze/matpes, with copies at
  https://materialsproject-contribs.s3.amazonaws.com/index.html#MatPES_2025_1/
- Licence: BSD-3-Clause (repository of the authors). Paper: arXiv 2503.04070.
- Releases: 2025.1 (434,712 PBE and 387,897 r²SCAN documents) and 2025.2.

One document per calculation, the files being JSON arrays, JSON lines or mappings, compressed or not whatever their names
say. Shortened::

    {"matpes_id": "matpes-20240214_2999_73", "functional": "PBE", "energy": -29.52, "energy_per_atom": -3.69,
     "structure": {"lattice": {"matrix": [[...], ...]}, "sites": [{"species": [{"element": "Fe", "occu": 1}],
                   "abc": [...], "properties": {"magmom": 2.2}}, ...]},
     "forces": [[fx, fy, fz], ...], "stress": [xx, yy, zz, yz, xz, xy], "abs_forces": [...], "bandgap": 0.0,
     "provenance": {"original_mp_id": "mp-13", "md_ensemble": "NpT", "md_temperature": 300, ...}}

| field | raw | here |
|---|---|---|
| energy | eV of the whole cell, σ → 0, no Hubbard U, uncorrected | as is |
| forces | eV/Å | as is |
| stress | kBar, VASP's sign (compression positive), xx yy zz yz xz xy | × -0.1 / 160.2176634: eV/Å³, tension positive |
| magmom | µB, a property of each site | as is |

The same ``matpes_id`` names one geometry in both functionals; ``pairing`` verifies it atom by atom. The material is
``provenance.original_mp_id``, the crystal that molecular dynamics started from. A document without it is its own material
if it is named after a Materials Project id, and else belongs to its chemical system, which is coarser and so leaks nothing
between two such documents.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from xferbench import download
from xferbench.download import RemoteFile
from xferbench.records import Geometry, SourceDataset, SplitRule
from xferbench.sources import matpes_documents, matpes_tables
from xferbench.sources.parallel import read_all
from xferbench.sources.stream import FrameStream, check_release, local_files, local_version
from xferbench.sources.work import checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from xferbench.records import Drop, Frame

RELEASES = ("2025.1", "2025.2")
HUGGING_FACE = "materialyze/matpes"
S3 = "https://s3.us-east-1.amazonaws.com/materialsproject-contribs"
LOCAL = re.compile(r"matpes-.*\.jsonl?(\.gz)?", re.IGNORECASE)
NOT_FRAMES = ("-atoms.", "-split.", "-stats.")
"""Parts of names of files of the release that hold no documents of frames."""

SPLIT = SplitRule(salt="matpes", fractions=(0.8, 0.1, 0.1), group="Materials Project id (provenance.original_mp_id)")
"""The salt is the plainest of those that also give the public elemental references a validation and a test split."""

CITATION = """@article{kaplan2025matpes,
  title = {A Foundational Potential Energy Surface Dataset for Materials},
  author = {Kaplan, Aaron D. and Liu, Runze and Qi, Ji and Ko, Tsz Wai and Deng, Bowen and Riebesell, Janosh and
            Ceder, Gerbrand and Persson, Kristin A. and Ong, Shyue Ping},
  journal = {arXiv preprint arXiv:2503.04070},
  year = {2025}
}"""

CARD = """Single points of crystals near and away from equilibrium, sampled from molecular dynamics, each computed with PBE
and with r²SCAN by VASP (settings of `MatPESStaticSet`: 680 eV, EDIFF 1e-5, KSPACING 0.22, PBE_64 PAW). There is no
Hubbard U and no empirical correction on either side. A pair is one `matpes_id`; lattice, species and coordinates of both
documents were compared."""


def load(
    *,
    version: str | None = None,
    paths: Sequence[Path] = (),
    cache_dir: Path | None = None,
    offline: bool = False,
) -> SourceDataset:
    """The pairs of a release, or of local files. Nothing is fetched or read before the first frame is asked for.

    Args:
        version: ``2025.1`` or ``2025.2``; the newest if not given. Of several local files that name releases, it chooses.
        paths: Local files, or directories with files named ``MatPES-*.json``, instead of the network.
        cache_dir: Where downloads are kept.
        offline: Forbid the network.

    Raises:
        UsageError: No such release.
        DataError: Nothing to read at ``paths``.
        StorageError: A path cannot be read.
    """
    release = check_release("matpes", version, RELEASES)
    files = local_files(paths, _is_ours, "MatPES-*.json files") if paths else []
    if version is not None and any(version in path.name for path in files):
        files = [path for path in files if version in path.name]

    def upstream() -> Sequence[Path]:
        return files or [download.fetch(file, cache_dir, offline=offline) for file in remote_files(release)]

    def read() -> Iterator[Frame | Drop | pa.Table]:
        return checked(read_all(upstream(), matpes_tables.read))

    stream = FrameStream(read=read)
    return SourceDataset(
        name="matpes",
        version=local_version(files) if files else release,
        title=f"MatPES {'(local files)' if files else release}: PBE and r²SCAN on the same structures",
        licence="bsd-3-clause",
        citation=CITATION,
        card=CARD,
        functionals=matpes_documents.PAIR,
        geometry=Geometry.SAME_GEOMETRY,
        split=SPLIT,
        frames=stream,
        drops=stream.drops,
        upstream=upstream,
    )


def remote_files(release: str) -> list[RemoteFile]:
    """The two files of a release, at the Hub that ``HF_ENDPOINT`` names. There are no published hashes; what comes is recorded."""
    from huggingface_hub import hf_hub_url

    folder = f"MatPES_{release.replace('.', '_')}"
    names = [f"MatPES-{functional}-{release}.json" for functional in ("PBE", "R2SCAN")]
    return [
        RemoteFile(
            folder="matpes",
            name=name,
            urls=(hf_hub_url(HUGGING_FACE, name, repo_type="dataset"), f"{S3}/{folder}/{name}.gz"),
        )
        for name in names
    ]


def _is_ours(name: str) -> bool:
    return LOCAL.fullmatch(name) is not None and not any(part in name for part in NOT_FRAMES)

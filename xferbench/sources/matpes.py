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
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench import download
from xferbench.download import RemoteFile
from xferbench.records import Frame, Functional, Geometry, SourceDataset, SplitRule
from xferbench.sources.parallel import read_all
from xferbench.sources.reading import (
    INCONSISTENT,
    UNKNOWN_FUNCTIONAL,
    Unusable,
    array,
    energy,
    mapping,
    number,
    structure,
    text,
)
from xferbench.sources.stream import FrameStream, check_release, local_files, local_version
from xferbench.sources.work import checked
from xferbench.units import stress_from_vasp_kbar, voigt_to_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from xferbench.records import Drop
    from xferbench.sources.documents import Document

RELEASES = ("2025.1", "2025.2")
HUGGING_FACE = "https://huggingface.co/datasets/materialyze/matpes/resolve/main"
S3 = "https://s3.us-east-1.amazonaws.com/materialsproject-contribs"
FUNCTIONALS = {"pbe": Functional.PBE, "r2scan": Functional.R2SCAN}
LOCAL = re.compile(r"matpes-.*\.jsonl?(\.gz)?", re.IGNORECASE)
NOT_FRAMES = ("-atoms.", "-split.", "-stats.")
"""Parts of names of files of the release that hold no documents of frames."""

SPLIT = SplitRule(salt="matpes", fractions=(0.8, 0.1, 0.1), group="Materials Project id (provenance.original_mp_id)")
"""The salt is the plainest of those that also give the public elemental references a validation and a test split."""

TOLERANCE = 1e-3
"""eV/atom and eV/Å up to which a document's repeated values may differ from each other."""

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
        from xferbench.sources.matpes_tables import read as read_file  # which needs this module

        return checked(read_all(upstream(), read_file))

    stream = FrameStream(read=read)
    return SourceDataset(
        name="matpes",
        version=local_version(files) if files else release,
        title=f"MatPES {'(local files)' if files else release}: PBE and r²SCAN on the same structures",
        licence="bsd-3-clause",
        citation=CITATION,
        card=CARD,
        geometry=Geometry.SAME_GEOMETRY,
        split=SPLIT,
        frames=stream,
        drops=stream.drops,
        upstream=upstream,
    )


def remote_files(release: str) -> list[RemoteFile]:
    """The two files of a release. Their authors publish no hashes; what comes is recorded."""
    folder = f"MatPES_{release.replace('.', '_')}"
    names = [f"MatPES-{functional}-{release}.json" for functional in ("PBE", "R2SCAN")]
    return [
        RemoteFile(folder="matpes", name=name, urls=(f"{HUGGING_FACE}/{name}", f"{S3}/{folder}/{name}.gz"))
        for name in names
    ]


def _is_ours(name: str) -> bool:
    return LOCAL.fullmatch(name) is not None and not any(part in name for part in NOT_FRAMES)


def judged(document: Document, path: Path) -> Frame | Drop:
    """What becomes of a document of a file."""
    try:
        return frame(document.value)
    except Unusable as problem:
        name = document.value.get("matpes_id") or f"{path.name}#{document.key}"
        return problem.drop(f"{name}-{document.value.get('functional')}")


def frame(document: Mapping[str, Any]) -> Frame:
    """One MatPES document as a frame; see the module for units.

    Raises:
        Unusable: It gives none.
    """
    matpes_id = text(document, "matpes_id")
    functional = FUNCTIONALS.get(text(document, "functional").lower())
    if functional is None:
        raise Unusable(UNKNOWN_FUNCTIONAL, str(document["functional"]))
    crystal = structure(mapping(document, "structure"))
    n = len(crystal["numbers"])
    stress = array(document, "stress", (6,))
    made = Frame(
        frame_id=f"{matpes_id}-{functional.value}",
        pair_id=matpes_id,
        material_id=_material(document, matpes_id, crystal["numbers"]),
        functional=functional,
        energy=energy(document, "energy"),
        forces=array(document, "forces", (n, 3)),
        stress=None if stress is None else voigt_to_matrix(stress_from_vasp_kbar(stress)),
        provenance=_provenance(document),
        **crystal,
    )
    _check_repeated(document, made)
    return made


def _check_repeated(document: Mapping[str, Any], made: Frame) -> None:
    """What a document states twice must agree: the energy per atom, and the length of each force."""
    per_atom, lengths = number(document, "energy_per_atom"), array(document, "abs_forces", (made.n_atoms,))
    if per_atom is not None and made.energy is not None and abs(made.energy / made.n_atoms - per_atom) > TOLERANCE:
        raise Unusable(INCONSISTENT, f"energy {made.energy} eV of {made.n_atoms} atoms, {per_atom} eV/atom")
    if lengths is not None and made.forces is not None:
        apart = float(np.abs(np.sqrt((made.forces * made.forces).sum(axis=1)) - lengths).max())
        if apart > TOLERANCE:
            raise Unusable(INCONSISTENT, f"forces and abs_forces differ by {apart:.3g} eV/Å")


def _material(document: Mapping[str, Any], matpes_id: str, numbers: NDArray[np.int64]) -> str:
    if _history(document).get("original_mp_id") is not None:
        return text(_history(document), "original_mp_id")
    if matpes_id.startswith("mp-"):
        return matpes_id
    from ase.data import chemical_symbols

    return "-".join(sorted({chemical_symbols[number] for number in numbers}))


def _provenance(document: Mapping[str, Any]) -> dict[str, Any]:
    """How the structure was made, and the band gap in eV."""
    facts = {key: value for key, value in _history(document).items() if value is not None}
    gap = number(document, "bandgap")
    return facts if gap is None else {**facts, "bandgap": gap}


def _history(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return {} if document.get("provenance") is None else mapping(document, "provenance")

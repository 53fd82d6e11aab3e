"""MP-ALOE: 0.9 million r²SCAN single points of crystals far from equilibrium, to train on; no GGA labels, so no pairs.

- Home: https://figshare.com/articles/dataset/29452190, doi 10.6084/m9.figshare.29452190, ``MP_ALOE_data.jsonl.gz``, 676 MB;
  the same as Parquet in ``MP_ALOE_2025/format=parquet`` of https://materialsproject-contribs.s3.amazonaws.com/index.html
- Licence: CC BY 4.0. Paper: npj Computational Materials, doi 10.1038/s41524-025-01834-9.
- 909,792 frames; settings as in MatPES (``MatPESStaticSet``). Size and MD5 come from figshare's API when the file is fetched.

JSON lines, one document per frame, in the schema of MatPES. Shortened::

    {"mp_aloe_id": "...", "functional": "r2SCAN", "structure": {...}, "energy": -23.4, "forces": [[fx, fy, fz], ...],
     "stress": [xx, yy, zz, yz, xz, xy], "bandgap": 0.0, "elements": ["O", "Ta"], "formula_pretty": "Ta2O5",
     "prototype_number": 575, "ionic_step_number": 1, "provenance": {"original_mp_id": null, ...}}

In the Parquet file the structure is spread over columns: ``atomic_numbers``, ``cart_coords`` in Å, ``cell`` in Å with one
lattice vector per row, ``magmoms``.

| field | raw | here |
|---|---|---|
| energy | eV of the whole cell, σ → 0, no Hubbard U, uncorrected | as is |
| forces | eV/Å | as is |
| stress | kBar, VASP's sign (compression positive), xx yy zz yz xz xy | × -0.1 / 160.2176634: eV/Å³, tension positive |
| stress_matrix | the same as (3, 3), where the calculation's tensor is not symmetric | the same, its symmetric part |
| magmom, magmoms | µB | as is |

The material is ``provenance.original_mp_id`` where a crystal of the Materials Project was the start, else the chemical
system. The frames made from prototypes name no parent, and to keep whole chemical systems together is coarser, so that
nothing leaks between two of them. A crystal of the Materials Project and a prototype frame of its elements are two
materials.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench import download
from xferbench.download import RemoteFile
from xferbench.errors import DataError, StorageError
from xferbench.functionals import Functional, Pair
from xferbench.pairing import UNKNOWN_ELEMENT, WRONG_SHAPE
from xferbench.records import Drop, Frame, Geometry, SourceDataset, SplitRule
from xferbench.sources.documents import documents
from xferbench.sources.reading import (
    INCONSISTENT,
    UNKNOWN_FUNCTIONAL,
    Unusable,
    array,
    energy,
    field,
    mapping,
    number,
    structure,
    text,
)
from xferbench.sources.rows import is_parquet, rows
from xferbench.sources.stream import FrameStream, check_release, local_files, local_version
from xferbench.sources.work import checked
from xferbench.units import stress_from_vasp_kbar, voigt_to_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Record = Mapping[str, Any]

log = logging.getLogger(__name__)

ARTICLE = 29452190
PARQUET = RemoteFile(
    folder="mp-aloe",
    name="MP-ALOE-2025.parquet",
    urls=("https://materialsproject-contribs.s3.amazonaws.com/MP_ALOE_2025/format=parquet/MP-ALOE-2025.parquet",),
)
RELEASES = ("2",)
"""Of the figshare article."""

IDS = ("mp_aloe_id", "matpes_id")
HISTORY = (
    "original_mp_id",
    "prototype_number",
    "ionic_step_number",
    "md_ensemble",
    "md_temperature",
    "md_step",
    "mlip_name",
)
"""What of a document's origin is kept, from its provenance or from itself."""

TOLERANCE = 1e-3
"""eV/Å up to which the stated lengths of the forces may differ from the forces."""

PAIR = Pair(source=(), target=(Functional("r2SCAN"),))
SPLIT = SplitRule(
    salt="mp-aloe", fractions=(0.8, 0.1, 0.1), group="Materials Project id of the parent, else chemical system"
)
CITATION = """@article{kuner2025mpaloe,
  title = {MP-ALOE: an r2SCAN dataset for universal machine learning interatomic potentials},
  author = {Kuner, Matthew C. and Kaplan, Aaron D. and Persson, Kristin A. and Asta, Mark and Chrzan, Daryl C.},
  journal = {npj Computational Materials},
  year = {2025},
  doi = {10.1038/s41524-025-01834-9}
}"""
CARD = """Crystals far from equilibrium, chosen by active learning, each computed with r²SCAN by VASP at the settings of MatPES (680 eV,
EDIFF 1e-5, KSPACING 0.22, PBE_64 PAW). There is no Hubbard U, no empirical correction and no GGA label: nothing here can be
compared between functionals. It is for training, and for fitting r²SCAN references."""


def load(
    *,
    version: str | None = None,
    paths: Sequence[Path] = (),
    cache_dir: Path | None = None,
    offline: bool = False,
) -> SourceDataset:
    """All frames. Nothing is fetched or read before the first frame is asked for.

    Args:
        version: Of the figshare article.
        paths: Local files, JSON of any layout or Parquet, or directories of them, instead of the network.
        cache_dir: Where downloads are kept.
        offline: Forbid the network.

    Raises:
        UsageError: No such release.
        DataError: Nothing to read at ``paths``.
        StorageError: A path cannot be read.
    """
    release = check_release("mp-aloe", version, RELEASES)
    files = local_files(paths, _is_ours, "MP-ALOE files (*.jsonl.gz, *.json, *.parquet)") if paths else []

    def read() -> Iterator[Frame | Drop]:
        found = files or _fetched(cache_dir, offline=offline)
        return checked(item for path in found for item in _read(path))

    stream = FrameStream(read=read)
    return SourceDataset(
        name="mp-aloe",
        version=local_version(files) if files else release,
        title="MP-ALOE: r²SCAN frames far from equilibrium",
        licence="cc-by-4.0",
        citation=CITATION,
        card=CARD,
        functionals=PAIR,
        geometry=Geometry.UNPAIRED,
        split=SPLIT,
        frames=stream,
        drops=stream.drops,
    )


def _fetched(cache_dir: Path | None, *, offline: bool) -> list[Path]:
    """The documents of figshare's article; the Parquet copy if figshare does not give them.

    Raises:
        DataError: Neither can be had.
        StorageError: The disk refuses, or another run is fetching.
    """
    try:
        return download.fetch_article(ARTICLE, "mp-aloe", _is_ours, cache_dir, offline=offline)
    except StorageError:
        raise
    except DataError as error:
        first = error
    log.info("%s; the Parquet copy will do", first)
    try:
        return [download.fetch(PARQUET, cache_dir, offline=offline)]
    except StorageError:
        raise
    except DataError as error:
        raise DataError(f"{first}; nor is there a Parquet copy: {error}") from error


def _is_ours(name: str) -> bool:
    small = name.lower().removesuffix(".gz")
    return "aloe" in small and small.endswith((".json", ".jsonl", ".parquet"))


def _read(path: Path) -> Iterator[Frame | Drop]:
    """One frame or one drop for each document of a file."""
    found = enumerate(rows(path)) if is_parquet(path) else ((item.key, item.value) for item in documents(path))
    for key, document in found:
        try:
            yield frame(document)
        except Unusable as problem:
            yield problem.drop(str(next((document[name] for name in IDS if document.get(name)), f"{path.name}#{key}")))


def frame(document: Record) -> Frame:
    """One document, or one row of the Parquet file, as a frame; see the module for units.

    Raises:
        Unusable: It gives none.
    """
    name = text(document, next((key for key in IDS if document.get(key)), IDS[0]))
    functional = document.get("functional")
    if functional is not None and Functional.get(str(functional)) not in PAIR.target:
        raise Unusable(UNKNOWN_FUNCTIONAL, str(functional)[:40])
    crystal = _flat(document) if document.get("structure") is None else structure(mapping(document, "structure"))
    n = len(crystal["numbers"])
    history = {} if document.get("provenance") is None else mapping(document, "provenance")
    made = Frame(
        frame_id=f"{name}-r2SCAN",
        pair_id="",
        material_id=_material(history, crystal["numbers"]),
        functional=Functional("r2SCAN"),
        energy=energy(document, "energy"),
        forces=array(document, "forces", (n, 3)),
        stress=_stress(document),
        provenance=_provenance({**document, **history}),
        **crystal,
    )
    _check_lengths(document, made)
    return made


def _flat(document: Record) -> dict[str, Any]:
    """The structure of a row of the Parquet file."""
    numbers = np.asarray(field(document, "atomic_numbers"))
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or len(numbers) == 0:
        raise Unusable(WRONG_SHAPE, f"atomic_numbers {numbers!r:.60}")
    if numbers.min() < 1 or numbers.max() > 118:
        raise Unusable(UNKNOWN_ELEMENT, f"atomic numbers {numbers.min()} to {numbers.max()}")
    n = len(numbers)
    places = {"positions": ("cart_coords", (n, 3)), "cell": ("cell", (3, 3))}
    found = {key: array({name: field(document, name)}, name, shape) for key, (name, shape) in places.items()}
    return {"numbers": numbers.astype(np.int64), **found, "magmoms": array(document, "magmoms", (n,))}


def _stress(document: Record) -> Floats | None:
    six = array(document, "stress", (6,))
    if six is not None:
        return voigt_to_matrix(stress_from_vasp_kbar(six))
    nine = array(document, "stress_matrix", (3, 3))
    return None if nine is None else stress_from_vasp_kbar((nine + nine.T) / 2)


def _material(history: Record, numbers: NDArray[np.int64]) -> str:
    if history.get("original_mp_id") is not None:
        return text(history, "original_mp_id")
    from ase.data import chemical_symbols

    return "-".join(sorted({chemical_symbols[item] for item in numbers}))


def _provenance(document: Record) -> dict[str, Any]:
    facts = {key: document[key] for key in HISTORY if document.get(key) is not None}
    gap = number(document, "bandgap")
    return facts if gap is None else {**facts, "bandgap": gap}


def _check_lengths(document: Record, made: Frame) -> None:
    """Forces are stated twice."""
    lengths = array(document, "abs_forces", (made.n_atoms,))
    if lengths is None or made.forces is None:
        return
    apart = float(np.abs(np.linalg.norm(made.forces, axis=1) - lengths).max())
    if apart > TOLERANCE:
        raise Unusable(INCONSISTENT, f"forces and abs_forces differ by {apart:.3g} eV/Å")

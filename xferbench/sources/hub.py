"""Your own data set on the Hugging Face Hub, or as the datasets library saves one on disk.

``xferbench prepare hub --from owner/name``; ``--from PBE=owner/a --from r2SCAN=owner/b`` for two; a directory in place of a name.
``--release`` is the revision on the Hub.

| what is found | how it is read |
|---|---|
| ``manifest.json`` of a prepared data set | as it is: ids, pairs, geometry and split rule of that data set, files held to their hashes |
| ``*.parquet`` | as ``parquet`` of ``user``, with the same columns |
| ``*.arrow`` of ``Dataset.save_to_disk`` | likewise |

Files come through ``huggingface_hub``, into ``hub`` of the cache; its token and ``HF_ENDPOINT`` are its own affair, and with
``XFERBENCH_MIRROR`` it asks the mirror. What the licence is, the page of the data set says. Raw units and signs are ASE's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench.download import MIRROR, mirrored
from xferbench.errors import DataError, FormatError, IntegrityError, UsageError
from xferbench.functionals import Functional, Pair
from xferbench.records import Frame, Geometry, SourceDataset, SplitRule
from xferbench.schema import parse
from xferbench.sources.rows import is_parquet, rows
from xferbench.sources.stream import FrameStream, local_version
from xferbench.sources.user import COLUMNS, UserFile, dataset, declared
from xferbench.storage import disk_errors, read_json, sha256
from xferbench.tables import FRAME_SCHEMA, read_batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

HUB = "https://huggingface.co"
MANIFEST = "manifest.json"
PATTERNS = ("*.parquet", "*.arrow", MANIFEST)
CARD = """Pairs of the prepared data set `{dataset}` version {version} (`{fingerprint}`), read from {origin}. What is known of
how they were computed stands on its own card."""


def load(
    *,
    version: str | None = None,
    paths: Sequence[Path] = (),
    geometry: Geometry | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
) -> SourceDataset:
    """The pairs of one or several data sets. Without any, it can be named but not read.

    Args:
        version: Revision on the Hub: a branch, a tag or a commit.
        paths: ``owner/name`` on the Hub, or directories.
        geometry: What the two frames of a pair share; a prepared data set says so itself.
        cache_dir: Where downloads are kept.
        offline: Forbid the network.

    Raises:
        UsageError: A functional is unknown; a prepared data set together with others, or with a geometry.
        DataError: Nothing of use is there, or the Hub does not give it.
        IntegrityError: A file of a prepared data set is not what its manifest says.
        StorageError: A directory cannot be read.
    """
    wanted = [declared(path) for path in paths]
    places = [(kind, _directory(path, version, cache_dir, offline=offline)) for kind, path in wanted]
    prepared = [place for _, place in places if (place / MANIFEST).is_file()]
    if not prepared:
        files = [
            UserFile(path=path, functional=kind, place=f"{prefix}{path.relative_to(place).as_posix()}")
            for prefix, (kind, place) in zip(_prefixes(len(places)), places, strict=True)
            for path in _files(place)
        ]
        return dataset("hub", files, geometry, _records)
    if len(places) > 1 or geometry is not None or wanted[0][0] is not None:
        raise UsageError(
            f"{wanted[0][1]} is a prepared data set and says itself what its pairs are; give it alone, without functional and "
            "--geometry"
        )
    return _prepared(prepared[0], str(wanted[0][1]))


def _prefixes(count: int) -> list[str]:
    """What tells files of equal names in several data sets apart."""
    return [""] if count == 1 else [f"{i + 1}/" for i in range(count)]


def _directory(path: Path, revision: str | None, cache_dir: Path | None, *, offline: bool) -> Path:
    """The directory itself, or what the Hub has under that name."""
    with disk_errors("read", path):
        if path.is_dir():
            return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is that of its HTTP library
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
    )

    try:
        found = snapshot_download(
            path.as_posix(),
            repo_type="dataset",
            revision=revision,
            allow_patterns=list(PATTERNS),
            cache_dir=(cache_dir or Path()) / "hub",
            local_files_only=offline,
            endpoint=mirrored(HUB) if os.environ.get(MIRROR) else None,
        )
    except HFValidationError as error:
        raise UsageError(f"{path} is neither a directory nor owner/name of a data set on the Hub") from error
    except LocalEntryNotFoundError as error:
        why = "the network is forbidden" if offline else "the Hub cannot be reached"
        raise DataError(f"{path} is not in the cache and {why}; check the name, or give a directory") from error
    except (HfHubHTTPError, HTTPError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"the Hub does not give {path}: {reason}; check the name, the revision and your token"
        ) from error
    return Path(found)


def _files(directory: Path) -> list[Path]:
    with disk_errors("read", directory):
        found = sorted(path for path in directory.rglob("*") if path.suffix in {".parquet", ".arrow"})
    if not found:
        raise DataError(
            f"no *.parquet and no *.arrow in {directory}; push the data set with `datasets`, which writes Parquet"
        )
    return found


def _records(path: Path) -> Iterator[Mapping[str, Any]]:
    return rows(path, COLUMNS) if is_parquet(path) else _arrow(path)


def _arrow(path: Path) -> Iterator[Mapping[str, Any]]:
    """Rows of a file of ``save_to_disk``.

    Raises:
        StorageError: It cannot be read.
        FormatError: It is no Arrow stream, or lacks a column.
    """
    import pyarrow as pa

    with disk_errors("read", path), path.open("rb") as stream:
        try:
            reader = pa.ipc.open_stream(stream)
            missing = set(COLUMNS) - set(reader.schema.names)
            if missing:
                raise FormatError(f"{path} lacks the columns {', '.join(sorted(missing))}")
            for batch in reader:
                yield from batch.to_pylist()
        except pa.ArrowException as error:
            raise FormatError(f"{path} is no readable Arrow file ({error})") from error


def _prepared(directory: Path, origin: str) -> SourceDataset:
    """A prepared data set, as it was built."""
    manifest = read_json(directory / MANIFEST)
    try:
        rule = parse(SplitRule, manifest["split_rule"], directory / MANIFEST)
        files = {name: facts["sha256"] for name, facts in manifest["files"].items() if name.endswith(".parquet")}
        facts = {
            name: str(manifest[name]) for name in ("dataset", "version", "title", "licence", "citation", "fingerprint")
        }
        geometry = Geometry(manifest["geometry"])
        functionals = parse(Pair, manifest["functionals"], directory / MANIFEST)
        atoms = {Functional(name): dict(table) for name, table in manifest.get("atom_energies", {}).items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FormatError(f"{directory / MANIFEST} is no manifest of a prepared data set ({error!r})") from error

    def read() -> Iterator[Frame | pa.Table]:
        for name, digest in files.items():
            if sha256(directory / name) != digest:
                raise IntegrityError(f"{name} of {origin} is not what its manifest says: fetch or copy it again")
            yield from (table.select(FRAME_SCHEMA.names) for table in read_batches(directory / name))

    stream = FrameStream(read=read)
    return SourceDataset(
        name="hub",
        version=local_version(directory / name for name in files),
        title=facts["title"],
        licence=facts["licence"],
        citation=facts["citation"],
        card=CARD.format(origin=origin, **facts),
        functionals=functionals,
        geometry=geometry,
        split=rule,
        synthetic=bool(manifest.get("synthetic", False)),
        atom_energies=atoms,
        frames=stream,
        drops=stream.drops,
    )

"""One file: fetched in parts if need be, verified, recorded."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xferbench.download.asking import MIRROR, POLICY, Failed, Policy, ask, mirrored, patiently
from xferbench.errors import DataError, IntegrityError, StorageError
from xferbench.storage import disk_errors, lock, read_json, sha256, write_json

BLOCK = 1 << 20
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file to fetch.

    Attributes:
        folder: Of the data source; files of different sources may have equal names.
        name: Its name here.
        urls: Where it is, the best place first.
        size: In bytes, if it is known.
        md5: Hexadecimal, if it is known.
        sha256: Hexadecimal, if it is known.
    """

    folder: str
    name: str
    urls: tuple[str, ...]
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None


def fetch(file: RemoteFile, cache_dir: Path | None, *, offline: bool = False, policy: Policy = POLICY) -> Path:
    """The file's place on disk, after fetching it if it is not there.

    A file that is there is hashed and compared with what was recorded when it came.

    Args:
        file: What to fetch.
        cache_dir: Files go to ``downloads/<folder>`` in it; the working directory if not given.
        offline: Forbid the network.
        policy: How patient to be.

    Raises:
        DataError: It is not here and the network is forbidden, or no address gives it.
        IntegrityError: What comes is not what is known of the file.
        StorageError: The disk refuses, or another run is fetching it.
    """
    path = place(cache_dir, file.folder) / file.name
    with lock(path):
        if _is_here(file, path):
            return path
        if offline:
            raise DataError(
                f"{file.name} is not in {path.parent} and the network is forbidden; run once without --offline, "
                "or give local files with --from"
            )
        _from_anywhere(file, path, policy)
    return path


def place(cache_dir: Path | None, folder: str) -> Path:
    """The folder of a data source."""
    return (cache_dir or Path()) / "downloads" / folder


def receipt(path: Path) -> Path:
    """Where it is recorded what a downloaded file is."""
    return path.with_name(f"{path.name}.json")


def _is_here(file: RemoteFile, path: Path) -> bool:
    """Whether the file is here and still what it was."""
    if not path.exists() or not receipt(path).exists():
        return False
    record = read_json(receipt(path))
    digest = sha256(path)
    if record.get("sha256") == digest and file.sha256 in {None, digest.removeprefix("sha256:")}:
        return True
    log.warning("fetching %s again: it is not what was recorded when it came", path)
    return False


def _from_anywhere(file: RemoteFile, path: Path, policy: Policy) -> None:
    """Try each address in turn.

    Raises:
        IntegrityError: The last failure was a file of other content.
        DataError: It was something else.
    """
    problems = []
    wrong = False
    part = path.with_name(f"{path.name}.part")
    for url in map(mirrored, file.urls):
        try:
            patiently(url, policy, lambda url=url: _continue(url, file, part, policy))  # type: ignore[misc]
            _accept(url, file, part, path)
        except StorageError:
            raise
        except DataError as error:
            problems.append(str(error))
            wrong = isinstance(error, IntegrityError)
        else:
            return
    kind = IntegrityError if wrong else DataError
    raise kind(
        f"cannot fetch {file.name}: {'; '.join(problems)}; try again later, set {MIRROR}, or get the file yourself and "
        "give it with --from"
    )


def _continue(url: str, file: RemoteFile, part: Path, policy: Policy) -> None:
    """Fetch what is missing of the partial file.

    Raises:
        Failed: It is still not whole.
    """
    state = _state(url, part)
    have = part.stat().st_size if state.get("tag") else 0
    if have and have == state.get("bytes"):
        return
    headers = {"Range": f"bytes={have}-", "If-Range": state["tag"]} if have else {}
    try:
        with ask(url, headers, policy) as answer:
            have = _check_answer(answer, have)
            expected = _expected(file, answer, have)
            write_json(_state_file(part), {"url": url, "tag": _tag(answer), "bytes": expected})
            _save(answer, part, have)
            _check_size(part, expected, delimited=answer.chunked or bool(file.md5 or file.sha256))
    except Failed as problem:
        if problem.stale:
            _forget(part)
        raise


def _check_answer(answer: http.client.HTTPResponse, have: int) -> int:
    """Whether the answer is of use; returns where in the file it begins.

    Raises:
        Failed: It is not a file, or another part than was asked for.
    """
    if answer.status not in {200, 206} or (answer.status == 206 and not have):
        raise Failed(f"status {answer.status}, which is no file")
    if answer.headers.get_content_type() == "text/html":
        raise Failed("a web page came instead of the file", final=True)
    if answer.status == 200:
        return 0
    start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if start != str(have):
        raise Failed(f"the answer continues at {start or 'nowhere'}, not at {have}", stale=True)
    return have


def _check_size(part: Path, expected: int | None, *, delimited: bool) -> None:
    """Whether the partial file is whole.

    Args:
        part: What came.
        expected: Its size, if anything tells it.
        delimited: Something else than the size tells where the file ends: its encoding on the way, or a known hash.

    Raises:
        Failed: It is not.
    """
    size = part.stat().st_size
    if size == 0 or (expected is None and not delimited) or (expected is not None and size != expected):
        known = "an unknown number" if expected is None else expected
        raise Failed(f"{size} bytes came of {known}", stale=expected is None or size > expected)


def _state_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _state(url: str, part: Path) -> dict[str, Any]:
    """Where the partial file came from, its tag and the size of the whole; nothing if it cannot be continued.

    Without a tag nobody can tell whether the rest would belong to the same file, so it starts anew.
    """
    if not part.exists() or not _state_file(part).exists():
        return {}
    state: dict[str, Any] = read_json(_state_file(part))
    return state if state.get("url") == url else {}


def _expected(file: RemoteFile, answer: http.client.HTTPResponse, have: int) -> int | None:
    """How long the whole file must be: as known before, else as announced.

    Raises:
        Failed: The server means another file.
    """
    length = answer.headers.get("Content-Length", "")
    announced = have + int(length) if length.isdigit() else None
    if file.size is not None and announced is not None and file.size != announced:
        raise Failed(f"the server announces {announced} bytes, the file has {file.size}")
    return announced if file.size is None else file.size


def _tag(answer: http.client.HTTPResponse) -> str | None:
    """What tells one state of the remote file from another: a strong ETag, else the date it was changed."""
    tag = answer.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")


def _save(answer: http.client.HTTPResponse, part: Path, have: int) -> None:
    """Append to the partial file, or begin it.

    Raises:
        Failed: The connection broke; what came is kept.
        StorageError: The disk refuses.
    """
    with disk_errors("write", part):
        stream = part.open("ab" if have else "wb")
    with stream:
        while block := _receive(answer):
            with disk_errors("write", part):
                stream.write(block)
        with disk_errors("write", part):
            stream.flush()
            os.fsync(stream.fileno())


def _receive(answer: http.client.HTTPResponse) -> bytes:
    """The next bytes; none at the end, or where the connection was closed before it."""
    try:
        return answer.read(BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"the connection broke ({error})") from error


def _accept(url: str, file: RemoteFile, part: Path, path: Path) -> None:
    """Verify the whole file, record what it is, and give it its name.

    Raises:
        IntegrityError: It has another hash than is known of it; it is removed.
    """
    digest = sha256(part)
    known = {
        "sha256": (file.sha256, digest.removeprefix("sha256:")),
        "md5": (file.md5, _md5(part) if file.md5 else None),
    }
    for name, (wanted, found) in known.items():
        if wanted is not None and wanted != found:
            _forget(part)
            raise IntegrityError(f"{url} gives a file with {name} {found} instead of {wanted}")
    # The receipt first: stopped between the two, the next run finds the partial file whole and goes on from here.
    write_json(receipt(path), {**asdict(file), "url": url, "bytes": part.stat().st_size, "sha256": digest})
    with disk_errors("write", path):
        part.replace(path)
    _forget(part)


def _md5(path: Path) -> str:
    with disk_errors("read", path), path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _forget(part: Path) -> None:
    """Remove a partial file and what is known of it."""
    with disk_errors("remove", part):
        part.unlink(missing_ok=True)
        _state_file(part).unlink(missing_ok=True)

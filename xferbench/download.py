"""Files from the network: whole and verified, or not there.

A download goes to ``<name>.part`` and is moved to its name when it has the length the server announced and the hash that
is known of it. A run that is interrupted goes on from where it stopped, if the server can. Beside each file lies
``<name>.json`` with its address, size and SHA-256; where no hash was known before, that one is what later runs hold it to.

``XFERBENCH_MIRROR=https://mirror.example/pub`` fetches ``https://host/path`` from ``https://mirror.example/pub/host/path``
and from nowhere else.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from xferbench.errors import DataError, IntegrityError, StorageError
from xferbench.storage import disk_errors, lock, read_json, sha256, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MIRROR = "XFERBENCH_MIRROR"
FIGSHARE = "https://api.figshare.com/v2"
USER_AGENT = "xferbench (downloads of public data sets)"
"""Some hosts answer nothing, with success, to clients that do not say who they are."""

BLOCK = 1 << 20
PASSING = (408, 412, 416, 425, 429)
"""Of the answers that blame the request, those that asking again may change."""

T = TypeVar("T")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient to be.

    Attributes:
        attempts: At one address.
        timeout: Seconds without a byte.
        backoff: Seconds before the second attempt; doubled for each further one.
        longest: Seconds to wait at most, whatever the server asks for.
        sleep: Waits; tests look at it.
    """

    attempts: int = 6
    timeout: float = 60.0
    backoff: float = 1.0
    longest: float = 300.0
    sleep: Callable[[float], None] = time.sleep


POLICY = Policy()


class _Failed(Exception):  # noqa: N818 - never leaves this module
    """One attempt that failed.

    Attributes:
        wait: Seconds the server asks to wait.
        final: Asking here again is pointless.
        stale: The partial file cannot be continued.
    """

    def __init__(self, why: str, *, wait: float | None = None, final: bool = False, stale: bool = False) -> None:
        super().__init__(why)
        self.wait, self.final, self.stale = wait, final, stale


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
    path = _place(cache_dir, file.folder) / file.name
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


def figshare_files(article: int, folder: str, *, policy: Policy = POLICY) -> list[RemoteFile]:
    """The files of a figshare article with size and MD5, as its API tells them now.

    The addresses are those of the API: the web site's own are often closed to scripts.

    Raises:
        DataError: The API is out of reach, or answers something else.
    """
    url = f"{FIGSHARE}/articles/{article}/files?page_size=1000"
    rows = _json(url, policy)
    try:
        return [
            RemoteFile(
                folder=folder,
                name=_plain_name(row["name"]),
                urls=(f"{FIGSHARE}/file/download/{int(row['id'])}",),
                size=int(row["size"]),
                md5=row.get("computed_md5") or row.get("supplied_md5") or None,
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{url} does not answer with a list of files ({error!r}); try again later") from error


def fetch_article(
    article: int,
    folder: str,
    accept: Callable[[str], bool],
    cache_dir: Path | None,
    *,
    offline: bool = False,
    policy: Policy = POLICY,
) -> list[Path]:
    """The files of a figshare article, after fetching those that are not here.

    Args:
        article: Its number.
        folder: Of the data source.
        accept: Which of its files are wanted, by name.
        cache_dir: As for ``fetch``.
        offline: Forbid the network: the list of files is then the one of the last run.
        policy: How patient to be.

    Raises:
        DataError: The article has no such files, or is out of reach.
        IntegrityError: What comes is not what is known of a file.
        StorageError: The disk refuses, or another run is fetching one.
    """
    listing = _place(cache_dir, folder) / f"figshare-{article}.json"
    if not offline:
        files = figshare_files(article, folder, policy=policy)
        write_json(listing, [asdict(file) for file in files])
    elif listing.exists():
        files = [RemoteFile(**{**row, "urls": tuple(row["urls"])}) for row in read_json(listing)]
    else:
        raise DataError(
            f"figshare article {article} is not in {listing.parent} and the network is forbidden; run once without "
            "--offline, or give local files with --from"
        )
    wanted = [file for file in files if accept(file.name)]
    if not wanted:
        names = ", ".join(file.name for file in files) or "none"
        raise DataError(f"figshare article {article} has none of the files expected of it; it has {names}")
    return [fetch(file, cache_dir, offline=offline, policy=policy) for file in wanted]


def mirrored(url: str) -> str:
    """The address to ask: at the mirror, if one is set."""
    mirror = os.environ.get(MIRROR, "").rstrip("/")
    if not mirror:
        return url
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return f"{mirror}/{parts.netloc}{parts.path}{query}"


def _place(cache_dir: Path | None, folder: str) -> Path:
    return (cache_dir or Path()) / "downloads" / folder


def receipt(path: Path) -> Path:
    """Where it is recorded what a downloaded file is."""
    return path.with_name(f"{path.name}.json")


def _plain_name(name: str) -> str:
    """A file name that is nothing but that."""
    if not name or name != Path(name).name or name.startswith("."):
        raise ValueError(f"file name {name!r}")
    return name


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
            _patiently(url, policy, lambda url=url: _continue(url, file, part, policy))  # type: ignore[misc]
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


def _patiently(url: str, policy: Policy, attempt: Callable[[], T]) -> T:
    """Attempt after attempt, with pauses.

    Raises:
        DataError: The last one failed, or one said that the next would.
    """
    for count in range(1, policy.attempts + 1):
        try:
            return attempt()
        except _Failed as problem:
            if problem.final or count == policy.attempts:
                raise DataError(f"{url}: {problem} (attempt {count} of {policy.attempts})") from problem
            wait = policy.backoff * 2 ** (count - 1) if problem.wait is None else problem.wait
            log.info("%s: %s; again in %.0f s", url, problem, min(wait, policy.longest))
            policy.sleep(min(wait, policy.longest))
    raise DataError(f"{url}: no attempt was allowed")


def _continue(url: str, file: RemoteFile, part: Path, policy: Policy) -> None:
    """Fetch what is missing of the partial file.

    Raises:
        _Failed: It is still not whole.
    """
    state = _state(url, part)
    have = part.stat().st_size if state.get("tag") else 0
    if have and have == state.get("bytes"):
        return
    headers = {"Range": f"bytes={have}-", "If-Range": state["tag"]} if have else {}
    try:
        with _open(url, headers, policy) as answer:
            have = _check_answer(answer, have)
            expected = _expected(file, answer, have)
            write_json(_state_file(part), {"url": url, "tag": _tag(answer), "bytes": expected})
            _save(answer, part, have)
            _check_size(part, expected, delimited=answer.chunked or bool(file.md5 or file.sha256))
    except _Failed as problem:
        if problem.stale:
            _forget(part)
        raise


def _check_answer(answer: http.client.HTTPResponse, have: int) -> int:
    """Whether the answer is of use; returns where in the file it begins.

    Raises:
        _Failed: It is not a file, or another part than was asked for.
    """
    if answer.status not in {200, 206} or (answer.status == 206 and not have):
        raise _Failed(f"status {answer.status}, which is no file")
    if answer.headers.get_content_type() == "text/html":
        raise _Failed("a web page came instead of the file", final=True)
    if answer.status == 200:
        return 0
    start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if start != str(have):
        raise _Failed(f"the answer continues at {start or 'nowhere'}, not at {have}", stale=True)
    return have


def _check_size(part: Path, expected: int | None, *, delimited: bool) -> None:
    """Whether the partial file is whole.

    Args:
        part: What came.
        expected: Its size, if anything tells it.
        delimited: Something else than the size tells where the file ends: its encoding on the way, or a known hash.

    Raises:
        _Failed: It is not.
    """
    size = part.stat().st_size
    if size == 0 or (expected is None and not delimited) or (expected is not None and size != expected):
        known = "an unknown number" if expected is None else expected
        raise _Failed(f"{size} bytes came of {known}", stale=expected is None or size > expected)


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


def _open(url: str, headers: Mapping[str, str], policy: Policy) -> http.client.HTTPResponse:
    """Send the request.

    Raises:
        _Failed: No success, no connection.
    """
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers})  # noqa: S310 - addresses are the package's own and the user's mirror
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=policy.timeout)  # noqa: S310 - see above
    except urllib.error.HTTPError as error:
        with error:
            wait = _retry_after(error.headers.get("Retry-After"))
            final = 400 <= error.code < 500 and error.code not in PASSING
            stale = error.code in {412, 416}  # the part is longer than the file, or of another state of it
            raise _Failed(f"status {error.code} {error.reason}", wait=wait, final=final, stale=stale) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Failed(f"no answer ({getattr(error, 'reason', error)})") from error
    return answer


def _expected(file: RemoteFile, answer: http.client.HTTPResponse, have: int) -> int | None:
    """How long the whole file must be: as known before, else as announced.

    Raises:
        _Failed: The server means another file.
    """
    length = answer.headers.get("Content-Length", "")
    announced = have + int(length) if length.isdigit() else None
    if file.size is not None and announced is not None and file.size != announced:
        raise _Failed(f"the server announces {announced} bytes, the file has {file.size}")
    return announced if file.size is None else file.size


def _tag(answer: http.client.HTTPResponse) -> str | None:
    """What tells one state of the remote file from another: a strong ETag, else the date it was changed."""
    tag = answer.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")


def _save(answer: http.client.HTTPResponse, part: Path, have: int) -> None:
    """Append to the partial file, or begin it.

    Raises:
        _Failed: The connection broke; what came is kept.
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
        raise _Failed(f"the connection broke ({error})") from error


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


def _retry_after(text: str | None) -> float | None:
    """Seconds from a ``Retry-After`` header: a number, or a date."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _json(url: str, policy: Policy) -> Any:  # noqa: ANN401 - JSON is what it is
    """A small JSON answer, with the same patience as for files.

    Raises:
        DataError: None comes.
    """

    def attempt() -> Any:  # noqa: ANN401 - see above
        with _open(mirrored(url), {"Accept": "application/json"}, policy) as answer:
            try:
                return json.loads(answer.read(1 << 24))
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise _Failed(f"no JSON came ({error})") from error

    return _patiently(mirrored(url), policy, attempt)

"""Articles of figshare, whose API tells what files they have."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from xferbench.download.asking import POLICY, Policy, ask_json
from xferbench.download.fetching import RemoteFile, fetch, place
from xferbench.errors import DataError
from xferbench.storage import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

FIGSHARE = "https://api.figshare.com/v2"


def figshare_files(article: int, folder: str, *, policy: Policy = POLICY) -> list[RemoteFile]:
    """The files of a figshare article with size and MD5, as its API tells them now.

    The addresses are those of the API: the web site's own are often closed to scripts.

    Raises:
        DataError: The API is out of reach, or answers something else.
    """
    url = f"{FIGSHARE}/articles/{article}/files?page_size=1000"
    rows = ask_json(url, policy)
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
    listing = place(cache_dir, folder) / f"figshare-{article}.json"
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


def _plain_name(name: str) -> str:
    """A file name that is nothing but that."""
    if not name or name != Path(name).name or name.startswith("."):
        raise ValueError(f"file name {name!r}")
    return name

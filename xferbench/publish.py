"""Push a data set directory to the Hugging Face Hub, after verifying every byte of it, or the files of a site.

The token is the one ``huggingface_hub`` finds by itself, in ``HF_TOKEN`` or from ``hf auth login``; it is never read or
printed here. What the manifest does not vouch for is not uploaded.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xferbench import dataset as datasets
from xferbench.dataset.layout import MANIFEST
from xferbench.errors import StorageError, UsageError
from xferbench.storage import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from huggingface_hub import HfApi

    from xferbench.dataset import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was, or with ``dry_run`` would be, uploaded.

    Attributes:
        address: Of the data set on the Hub.
        files: Path in the repository -> bytes, sorted.
        uploaded: False for a trial.
    """

    repo_id: str
    address: str
    files: dict[str, int]
    uploaded: bool


def publish_dataset(directory: Path, repo_id: str, *, private: bool = False, dry_run: bool = False) -> Published:
    """Verify a data set directory and upload it as one commit.

    Args:
        directory: Made by ``xferbench prepare``.
        repo_id: ``owner/name``; made if it does not exist.
        private: Make a new repository private; an existing one stays what it is.
        dry_run: Verify and list only; the network is not used.

    Raises:
        IntegrityError: The directory is not what its manifest says.
        UsageError: The name is no repository, or the network is forbidden.
        StorageError: The Hub refuses: no token, no right to write, no connection.
    """
    check_repository(repo_id)
    datasets.verify(directory)
    data = datasets.Dataset.open(directory)
    files = sizes(data)
    if not dry_run:
        _upload(data, repo_id, list(files), private=private)
    address = f"https://huggingface.co/datasets/{repo_id}"
    return Published(repo_id=repo_id, address=address, files=files, uploaded=not dry_run)


def check_repository(repo_id: str) -> None:
    """Refuse a name that no repository of the Hub can have.

    Raises:
        UsageError: It is not ``owner/name``.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UsageError(f"{repo_id!r} is no repository of the Hub; write owner/name") from error
    if "/" not in repo_id:
        raise UsageError(f"{repo_id!r} does not say whose repository it is; write owner/name")


def sizes(data: Dataset) -> dict[str, int]:
    """Path -> bytes of the manifest and everything it vouches for."""
    names = sorted([*data.manifest["files"], MANIFEST])
    with disk_errors("read", data.directory):
        return {name: (data.directory / name).stat().st_size for name in names}


def publish_site(files: Mapping[str, Path | bytes], repo_id: str, *, title: str, private: bool, message: str) -> None:
    """Upload the files of a static site as one commit to a Space of the Hub, which serves them.

    Args:
        files: Path in the repository -> file, or its content.
        repo_id: ``owner/name``; made if it does not exist.
        title: Of the Space.
        private: Make a new repository private; an existing one stays what it is.
        message: Of the commit.

    Raises:
        UsageError: The network is forbidden.
        StorageError: The Hub refuses: no token, no right to write, no connection.
    """
    with _hub(repo_id) as api:
        from huggingface_hub import CommitOperationAdd

        api.create_repo(repo_id, repo_type="space", space_sdk="static", private=private, exist_ok=True)
        head = f"---\ntitle: {title}\nsdk: static\n---\n\n".encode()
        operations = [
            CommitOperationAdd(
                path_in_repo=name,
                path_or_fileobj=head + data if isinstance(data, bytes) and name == "README.md" else data,
            )
            for name, data in sorted(files.items())
        ]
        api.create_commit(repo_id, operations, repo_type="space", commit_message=message)


def _upload(data: Dataset, repo_id: str, names: list[str], *, private: bool) -> None:
    with _hub(repo_id) as api:
        api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo_id,
            folder_path=data.directory,
            repo_type="dataset",
            allow_patterns=names,
            commit_message=f"{data.name} {data.version}, {data.fingerprint}",
        )


@contextmanager
def _hub(repo_id: str) -> Iterator[HfApi]:
    """The Hub, if the network is allowed; what it refuses becomes an error of ours."""
    if datasets.is_offline():
        raise UsageError(
            "HF_HUB_OFFLINE or XFERBENCH_OFFLINE is set, and publishing needs the network; unset it, or add --dry-run"
        )
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is that of its HTTP library
        HfHubHTTPError,
        HTTPError,
        LocalTokenNotFoundError,
    )

    try:
        yield HfApi()
    except LocalTokenNotFoundError as error:
        raise StorageError("the Hub wants a token; set HF_TOKEN or run `hf auth login`") from error
    except (HfHubHTTPError, HTTPError, OSError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise StorageError(
            f"the Hub refused {repo_id}: {reason[0]}; check the name, the token's right to write, and the connection"
        ) from error

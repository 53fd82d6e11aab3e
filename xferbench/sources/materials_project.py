"""Thermodynamic documents from the API of the Materials Project, kept in a file. The key never leaves the call to the client."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench.errors import DataError, MissingExtraError, UsageError
from xferbench.storage import lock, write_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KEY = "MP_API_KEY"
ENDPOINT = "MP_API_ENDPOINT"
"""Variables of the environment, both those of ``mp-api``."""

FILE = "thermo.jsonl"
SCHEMES = ("GGA_GGA+U", "R2SCAN")
FIELDS = ("material_id", "thermo_type", "energy_type", "entries", "builder_meta")
BATCH = 200
"""Materials asked for at a time: some MB of documents."""

NON_COMMERCIAL_BATCH = "gnome_r2scan_statics"
NON_COMMERCIAL_LICENCE = "BY-NC"

log = logging.getLogger(__name__)


def fetched(cache_dir: Path | None, *, offline: bool = False) -> Path:
    """A file with the documents of all materials that have an r²SCAN one, after asking the API for them if it is not there.

    Args:
        cache_dir: The file goes to ``downloads/mp-thermo`` in it; remove it there to ask again.
        offline: Forbid the network.

    Raises:
        UsageError: There is no key.
        MissingExtraError: The client is not installed.
        DataError: The network is forbidden and there is no file, or the API refuses.
        StorageError: The disk refuses, or another run is asking.
    """
    path = (cache_dir or Path()) / "downloads" / "mp-thermo" / FILE
    with lock(path):
        if path.exists():
            log.info("%s is there; remove it to ask the Materials Project again", path)
        elif offline:
            raise DataError(
                f"{FILE} is not in {path.parent} and the network is forbidden; run once without --offline, or give local "
                "files with --from"
            )
        else:
            write_chunks(path, (json.dumps(row, sort_keys=True).encode() + b"\n" for row in _asked(_key())))
    return path


def is_non_commercial(document: Mapping[str, Any]) -> bool:
    """Whether a document is of the batch that may not be used commercially."""
    meta = document.get("builder_meta") or {}
    return meta.get("batch_id") == NON_COMMERCIAL_BATCH or meta.get("license") == NON_COMMERCIAL_LICENCE


def _key() -> str:
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise UsageError(
            f"the Materials Project wants a key: set {KEY} (https://next-gen.materialsproject.org/api has yours), or give "
            "local files with --from"
        )
    return key


def _asked(key: str) -> Iterator[dict[str, Any]]:
    """Documents as the API gives them; those that may not be used commercially keep no entries.

    Raises:
        MissingExtraError: The client is not installed.
        DataError: The API refuses; the message does not have the key.
    """
    try:
        from mp_api.client import MPRester
        from mp_api.client.core import MPRestError
    except ImportError as error:
        raise MissingExtraError('mp-thermo needs the client mp-api: pip install ".[mp]"') from error
    try:
        with MPRester(
            key, endpoint=os.environ.get(ENDPOINT), use_document_model=False, mute_progress_bars=True
        ) as client:
            search = client.materials.thermo.search
            headers = search(thermo_types=["R2SCAN"], fields=["material_id", "builder_meta"], all_fields=False)
            yield from (plain(row) for row in headers if is_non_commercial(row))
            names = sorted(row["material_id"] for row in headers if not is_non_commercial(row))
            for start in range(0, len(names), BATCH):
                chosen = names[start : start + BATCH]
                found = search(material_ids=chosen, thermo_types=list(SCHEMES), fields=list(FIELDS), all_fields=False)
                yield from (plain(row) for row in found)
    except (MPRestError, OSError, ValueError) as error:  # the last: what the client says of keys of a wrong form
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(key, "…")
        raise DataError(
            f"the Materials Project does not answer as it should: {said}; check {KEY}, try again later"
        ) from None


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A document as JSON values, whatever objects the client has made of parts of it."""

    def simplified(value: Any) -> Any:  # noqa: ANN401 - JSON-able, and more
        if hasattr(value, "as_dict"):
            return simplified(value.as_dict())
        if isinstance(value, dict):
            return {str(key): simplified(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [simplified(item) for item in value]
        return value if value is None or isinstance(value, bool | int | float | str) else str(value)

    simple: dict[str, Any] = simplified(dict(row))
    return simple

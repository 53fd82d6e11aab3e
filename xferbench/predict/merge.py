"""The predictions of shards, made on many machines, as the one file that a single run would have written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xferbench import tables
from xferbench.errors import DataError, UsageError
from xferbench.predict.facts import HALVED, refuse_difference
from xferbench.predict.store import writing
from xferbench.storage import lock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = re.compile(r"\.shard-\d+-of-\d+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shard:
    path: Path
    index: int
    count: int
    settings: dict[str, Any]


def shard_path(out: Path, shard: str) -> Path:
    """Where the predictions of a shard ``i/n`` of ``out`` belong: beside it."""
    return out.with_name(f"{out.stem}.shard-{shard.replace('/', '-of-')}.parquet")


def merge(paths: Sequence[Path], out: Path | None = None) -> Path:
    """Join the files of all shards of one run.

    Args:
        paths: In any order.
        out: The file to write; by default beside the shards, without the part of the name that tells which it is.

    Returns:
        The file written: its bytes are those of a run without shards.

    Raises:
        UsageError: They are not all the shards of one run.
        DataError: They do not hold what they promise.
        StorageError: The disk refuses.
    """
    shards = _all(paths)
    first = shards[0]
    halved = sum(tables.read_settings(shard.path).get(HALVED, 0) for shard in shards)
    settings = {**first.settings, **({HALVED: halved} if halved else {})}
    if out is None:
        out = first.path.with_name(f"{NAME.sub('', first.path.stem)}.parquet")
    if out in paths:
        raise UsageError(f"{out} is one of the shards; give another --out")
    schema = tables.PREDICTION_SCHEMA.with_metadata({tables.SETTINGS_KEY: tables.settings_json(settings)})
    with lock(out), writing(out) as writer:
        last, n = "", 0
        for shard in shards:
            for table in tables.read_batches(shard.path, tables.PREDICTION_SCHEMA.names):
                ids = table["frame_id"].to_pylist()
                if ids and not last < ids[0]:
                    raise DataError(
                        f"{shard.path}: {ids[0]!r} does not come after {last!r}; the shards are of other plans"
                    )
                last, n = ids[-1] if ids else last, n + len(ids)
                writer.write(table.cast(schema))
        if n != settings.get("structures"):
            raise DataError(f"the shards hold {n} structures, not {settings.get('structures')}; make them again")
    return out


def _all(paths: Sequence[Path]) -> list[_Shard]:
    """The shards in order.

    Raises:
        UsageError: One is missing, doubled, or of another run.
    """
    shards = sorted((_read(path) for path in paths), key=lambda shard: shard.index)
    if not shards:
        raise UsageError("there are no shards to merge; give the files that --shard wrote")
    count = shards[0].count
    found = [shard.index for shard in shards]
    if any(shard.count != count for shard in shards) or found != list(range(1, count + 1)):
        named = ", ".join(f"{shard.index}/{shard.count}" for shard in shards)
        missing = ", ".join(f"{index}/{count}" for index in range(1, count + 1) if index not in found)
        raise UsageError(
            f"these are not all the shards of one run, each once: {named}" + (f"; {missing} missing" if missing else "")
        )
    for shard in shards[1:]:
        refuse_difference(shard.settings, shards[0].settings, shard.path)
    return shards


def _read(path: Path) -> _Shard:
    settings = tables.read_settings(path)
    index, _, count = str(settings.pop("shard", "")).partition("/")
    settings.pop(HALVED, None)
    if not (index.isdigit() and count.isdigit()):
        raise UsageError(f"{path} is not the file of a shard; give those that --shard wrote")
    return _Shard(path=path, index=int(index), count=int(count), settings=settings)

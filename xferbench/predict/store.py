"""What a run has predicted so far, and its finished file.

The unfinished part is a journal beside the output, ``<out>.partial``: its first line holds the settings, each further one a
finished batch. A line is 64 hexadecimal digits, the SHA-256 of the rest, a blank and JSON. A process killed while it
writes leaves at most one broken last line, which the next run notices and computes again.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import IntegrityError, UsageError
from xferbench.predict.facts import FACTS, refuse_difference
from xferbench.records import PROPERTIES, Prediction, Predictions
from xferbench.storage import TEMPORARY, disk_errors, write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# pyarrow is imported late: the worker imports this package, and a model shares its process with nothing it did not ask for

LOGGER = logging.getLogger("xferbench.predict")


def journal_path(out: Path) -> Path:
    """Where the unfinished run of ``out`` is kept."""
    return out.with_name(f"{out.name}.partial")


def log_path(out: Path) -> Path:
    """Where what the model printed is kept."""
    return out.with_name(f"{out.name}.log")


class Journal:
    """The finished batches of an unfinished run.

    Attributes:
        done: Number of a batch -> its predictions.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], batches: Sequence[Sequence[str]]) -> None:
        """Read what an earlier run left, or begin anew.

        Args:
            path: From ``journal_path``.
            settings: Those of this run.
            batches: The frame ids of each batch.

        Raises:
            UsageError: The earlier run had other settings.
            StorageError: The disk refuses.
        """
        self._path = path
        self.done: dict[int, list[Prediction]] = {}
        lines, damaged = _read(path)
        if lines and not (isinstance(lines[0], dict) and "settings" in lines[0]):
            # without its settings a journal cannot be trusted
            lines, damaged = [], damaged + len(lines)
        if lines:
            refuse_difference(lines[0]["settings"], settings, path)
            for line in lines[1:]:
                damaged += not self._accept(line, batches)
        if damaged:
            LOGGER.warning("%s: %d damaged entries are computed again", path, damaged)
        if damaged or not lines:
            entries = [{"settings": settings}, *(_entry(*item) for item in sorted(self.done.items()))]
            write_bytes(path, b"".join(map(_encode, entries)))

    def add(self, number: int, predictions: list[Prediction]) -> None:
        """Append a finished batch.

        Raises:
            StorageError: The disk refuses.
        """
        with disk_errors("write", self._path), self._path.open("ab") as stream:
            stream.write(_encode(_entry(number, predictions)))
        self.done[number] = predictions

    def _accept(self, line: object, batches: Sequence[Sequence[str]]) -> bool:
        """Take over a stored batch if it is one of this run."""
        try:
            number, rows = line["batch"], line["predictions"]  # type: ignore[index] # anything else raises
            records = [_from_row(row) for row in rows]
            expected = list(batches[number])
        except (KeyError, TypeError, ValueError, IndexError):
            return False
        if [record.frame_id for record in records] != expected:
            return False
        self.done[number] = records
        return True


def discard(out: Path) -> None:
    """Remove a finished file, an unfinished run and its log.

    Raises:
        StorageError: The disk refuses.
    """
    for path in (out, journal_path(out), log_path(out)):
        with disk_errors("remove", path):
            path.unlink(missing_ok=True)


def tidy(out: Path) -> None:
    """Remove temporary files of killed runs; only for who holds the lock of ``out``.

    Raises:
        StorageError: The disk refuses.
    """
    for path in (out, journal_path(out), log_path(out)):
        with disk_errors("remove", path):
            # the length of the random part keeps apart this file and one whose name begins like it
            for leftover in path.parent.glob(f"{TEMPORARY}{glob.escape(path.name)}-{'?' * 16}"):
                leftover.unlink()


def finish(out: Path, predictions: Predictions) -> None:
    """Write the finished file, then drop the journal: killed in between, the file counts.

    Raises:
        StorageError: The disk refuses.
    """
    from xferbench import tables

    tables.write_table(out, tables.predictions_table(predictions))
    _drop_journal(out)


def finished(out: Path, settings: Mapping[str, Any], ids: Sequence[str]) -> Predictions:
    """Read a finished file of the same settings, and drop a journal that was left when it was finished.

    Args:
        out: The file.
        settings: Of this run, as far as they are known without loading the model.
        ids: The frame ids it must hold, sorted.

    Raises:
        UsageError: It was made with other settings, or is no predictions file at all.
        IntegrityError: It is damaged.
    """
    from xferbench import tables

    table = tables.read_table(out)
    if not set(tables.PREDICTION_SCHEMA.names) <= set(table.column_names):
        raise UsageError(f"{out} exists and holds no predictions; choose another output")
    try:
        predictions = tables.table_predictions(table)
    except ValueError as error:
        raise IntegrityError(f"{out}: its settings are damaged ({error}); --no-resume makes it again") from error
    found = {key: value for key, value in predictions.settings.items() if key != FACTS}
    refuse_difference(found, settings, out)
    if [record.frame_id for record in predictions.records] != list(ids) or FACTS not in predictions.settings:
        raise IntegrityError(f"{out} lacks predictions that its settings promise; --no-resume makes it again")
    _drop_journal(out)
    return predictions


def _drop_journal(out: Path) -> None:
    path = journal_path(out)
    with disk_errors("remove", path):
        path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[list[Any], int]:
    """The intact lines of a journal, parsed, and the number of broken ones; nothing if there is no journal."""
    lines, damaged = [], 0
    with disk_errors("read", path):
        if not path.exists():
            return [], 0
        with path.open("rb") as stream:
            for line in stream:
                digest, _, text = line.rstrip(b"\n").partition(b" ")
                if line.endswith(b"\n") and hashlib.sha256(text).hexdigest().encode() == digest:
                    lines.append(json.loads(text))
                else:
                    damaged += 1
    return lines, damaged


def _encode(entry: Mapping[str, Any]) -> bytes:
    text = json.dumps(entry, sort_keys=True, allow_nan=False).encode()
    return hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n"


def _entry(number: int, predictions: Sequence[Prediction]) -> dict[str, Any]:
    return {"batch": number, "predictions": [_row(prediction) for prediction in predictions]}


def _row(prediction: Prediction) -> dict[str, Any]:
    row: dict[str, Any] = {"frame_id": prediction.frame_id, "error": prediction.error}
    for name in PROPERTIES:
        value = getattr(prediction, name)
        row[name] = value.tolist() if isinstance(value, np.ndarray) else value
    return row


def _from_row(row: Mapping[str, Any]) -> Prediction:
    arrays = {
        name: None if row[name] is None else np.array(row[name], dtype=np.float64)
        for name in ("forces", "stress", "magmoms")
    }
    return Prediction(frame_id=row["frame_id"], energy=row["energy"], error=row["error"], **arrays)

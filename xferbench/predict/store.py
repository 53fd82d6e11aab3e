"""What a run has predicted so far, and its finished file.

The unfinished part is a journal beside the output, ``<out>.partial``. Its first entry holds the settings, each further one a
finished batch. An entry is a mark, the SHA-256 and the length of what follows, and a message of ``models.wire``. A process killed
while it writes leaves at most one broken last entry, which the next run notices and computes again. Neither the run nor the next
one keeps more than a batch in memory.
"""

from __future__ import annotations

import glob
import hashlib
import logging
import mmap
import os
import secrets
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import IntegrityError, UsageError
from xferbench.models.wire import Answers, decode, encode
from xferbench.predict.facts import AFTERWARDS, FACTS, HALVED, refuse_difference
from xferbench.storage import TEMPORARY, aside, disk_errors, write_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from xferbench.predict.plan import Plan

LOGGER = logging.getLogger("xferbench.predict")

MARK = b"XFB1"
ENTRY = struct.Struct("<4s32sQ")
"""Mark, SHA-256 and length of an entry."""

ROWS = 1 << 14
"""Rows of a row group of the finished file, which do not depend on the batches."""


def journal_path(out: Path) -> Path:
    """Where the unfinished run of ``out`` is kept."""
    return out.with_name(f"{out.name}.partial")


def log_path(out: Path) -> Path:
    """Where what the model printed is kept: not beside the predictions, which people commit."""
    return aside("logs", out, ".log")


class Journal:
    """The finished batches of an unfinished run.

    Attributes:
        numbers: Of the batches that belong to the run.
        halved: How many of them had to be cut because memory ran out.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], plan: Plan, numbers: range) -> None:
        """Read what an earlier run left, or begin anew.

        Args:
            path: From ``journal_path``.
            settings: Those of this run.
            plan: What is predicted.
            numbers: Of the batches of this run.

        Raises:
            UsageError: The earlier run had other settings.
            StorageError: The disk refuses.
        """
        self._path, self._plan, self.numbers = path, plan, numbers
        self._places = np.full(len(plan), -1, dtype=np.int64)
        self.halved = 0
        found, damaged = self._read(settings)
        if damaged:
            LOGGER.warning("%s: %d damaged entries are computed again", path, damaged)
        if damaged or not found:
            self._begin(settings)

    def __contains__(self, number: int) -> bool:
        return bool(self._places[number] >= 0)

    def add(self, number: int, answers: Answers, *, halved: int = 0) -> None:
        """Append a finished batch.

        Raises:
            StorageError: The disk refuses.
        """
        message, arrays = answers.message()
        with disk_errors("write", self._path), self._path.open("ab") as stream:
            place = stream.tell()
            stream.write(_entry({"batch": number, HALVED: halved, **message}, arrays))
        self._places[number] = place
        self.halved += bool(halved)

    def answers(self) -> Iterator[Answers]:
        """What was predicted, batch by batch in order, from the disk.

        Raises:
            IntegrityError: An entry is not what was written.
            StorageError: The disk refuses.
        """
        with disk_errors("read", self._path), self._path.open("rb") as stream:
            for number in self.numbers:
                stream.seek(self._places[number])
                _, digest, size = ENTRY.unpack(stream.read(ENTRY.size))
                data = stream.read(size)
                if hashlib.sha256(data).digest() != digest:
                    raise IntegrityError(f"{self._path} was altered while the run was going on; run again")
                yield Answers.read(*decode(data))

    def _begin(self, settings: Mapping[str, Any]) -> None:
        """Write the file anew with what was intact, batch by batch."""

        def chunks() -> Iterator[bytes]:
            yield _entry({"settings": settings})
            done = np.flatnonzero(self._places >= 0).tolist()
            if done:
                with self._path.open("rb") as stream:
                    for number in done:
                        stream.seek(self._places[number])
                        head = stream.read(ENTRY.size)
                        yield head + stream.read(ENTRY.unpack(head)[2])

        write_chunks(self._path, chunks())
        self._places[:], self.halved = -1, 0
        self._read(settings)

    def _read(self, settings: Mapping[str, Any]) -> tuple[bool, int]:
        """Find the entries that are intact and belong to this run; whether there is a beginning, and how many do not."""
        if not self._path.exists():
            return False, 0
        damaged = 0
        begun = False
        for place, message, arrays in _entries(self._path):
            if message is None:
                damaged += 1
            elif not begun:
                if "settings" not in message:
                    # without its settings a journal cannot be trusted
                    return False, 1
                refuse_difference(message["settings"], settings, self._path)
                begun = True
            else:
                damaged += not self._accept(place, message, arrays)
        return begun, damaged

    def _accept(self, place: int, message: Mapping[str, Any], arrays: Mapping[str, Any]) -> bool:
        """Take over a stored batch if it is one of this run."""
        try:
            number, halved = int(message["batch"]), int(message[HALVED])
            good = number in self.numbers and len(Answers.read(message, arrays)) == self._plan.size(number)
        except (KeyError, TypeError, ValueError):
            return False
        if good:
            self._places[number] = place
            self.halved += bool(halved)
        return good


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


def finish(out: Path, journal: Journal, ids: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Write the finished file, then drop the journal: killed in between, the file counts.

    Args:
        out: The file.
        journal: With all its batches.
        ids: Of their frames, in order.
        settings: Of the finished run.

    Raises:
        IntegrityError: The journal was altered.
        StorageError: The disk refuses.
    """
    if journal.halved:
        settings = {**settings, HALVED: journal.halved}
    with writing(out) as writer:
        at, waiting, n = 0, [], 0
        for answers in journal.answers():
            waiting.append(answers)
            n += len(answers)
            if n >= ROWS:
                writer.write(_table(ids[at : at + n], Answers.joined(waiting), settings))
                at, waiting, n = at + n, [], 0
        if waiting:
            writer.write(_table(ids[at : at + n], Answers.joined(waiting), settings))
    drop_journal(out)


def finished(out: Path, settings: Mapping[str, Any], ids: Sequence[str]) -> dict[str, Any]:
    """The settings of a finished file that is the one wanted, whose left-over journal is dropped.

    Args:
        out: The file.
        settings: Of this run, as far as they are known without loading the model.
        ids: The frame ids it must hold, sorted.

    Raises:
        UsageError: It was made with other settings, or is no predictions file at all.
        IntegrityError: It is damaged.
    """
    from xferbench import tables

    at = 0
    for table in tables.read_batches(out):
        if not set(tables.PREDICTION_SCHEMA.names) <= set(table.column_names):
            raise UsageError(f"{out} exists and holds no predictions; choose another output")
        if at == 0 and not table.num_rows:
            try:
                found = tables.read_settings(out)
            except IntegrityError as error:
                raise IntegrityError(f"{out}: its settings are damaged; --no-resume makes it again") from error
            refuse_difference({key: value for key, value in found.items() if key not in AFTERWARDS}, settings, out)
        if table["frame_id"].to_pylist() != list(ids[at : at + table.num_rows]):
            break
        at += table.num_rows
    if at != len(ids) or FACTS not in found:
        raise IntegrityError(f"{out} lacks predictions that its settings promise; --no-resume makes it again")
    drop_journal(out)
    return found


class Writer:
    """Collects tables and writes row groups of ``ROWS`` rows, so that the bytes depend on the rows alone."""

    def __init__(self, path: Path) -> None:
        from xferbench import tables

        self._tables = tables
        self._path = path
        self._writer: Any = None
        self._waiting: list[pa.Table] = []
        self._n = 0

    def write(self, table: pa.Table) -> None:
        """Append rows; none at all make a file with its columns."""
        import pyarrow as pa

        if self._writer is None:
            self._writer = self._tables.TableWriter(self._path, table.schema)
        self._waiting.append(table)
        self._n += table.num_rows
        if self._n >= ROWS:
            whole = pa.concat_tables(self._waiting)
            full = self._n - self._n % ROWS
            for start in range(0, full, ROWS):
                self._writer.write(whole.slice(start, ROWS))
            self._n -= full
            self._waiting = [whole.slice(full).combine_chunks()] if self._n else []

    def close(self) -> None:
        """Write what is left and complete the file."""
        import pyarrow as pa

        if self._waiting:
            self._writer.write(pa.concat_tables(self._waiting))
        self._writer.close()

    def abandon(self) -> None:
        """Free the file after an error."""
        if self._writer is not None:
            self._writer.abandon()


@contextmanager
def writing(out: Path) -> Iterator[Writer]:
    """A writer of a predictions file that is there once the block ends well, and not before.

    Raises:
        StorageError: The disk refuses.
    """
    temporary = out.with_name(f"{TEMPORARY}{out.name}-{secrets.token_hex(8)}")
    writer = Writer(temporary)
    with disk_errors("write", out):
        try:
            yield writer
            writer.close()
            temporary.replace(out)
        except BaseException:
            writer.abandon()
            temporary.unlink(missing_ok=True)
            raise


def drop_journal(out: Path) -> None:
    """Remove the journal of a file that is finished.

    Raises:
        StorageError: The disk refuses.
    """
    path = journal_path(out)
    with disk_errors("remove", path):
        path.unlink(missing_ok=True)


def _table(ids: Sequence[str], answers: Answers, settings: Mapping[str, Any]) -> pa.Table:
    from xferbench import tables

    labels = {
        name: (answers.values[name], answers.rows(name) * (3 if name == "stress" else 1), ~answers.given[name])
        for name in answers.given
    }
    return tables.flat_predictions_table(ids, answers.energy, labels, answers.errors, settings)


def _entry(message: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> bytes:
    data = encode(message, arrays)
    return ENTRY.pack(MARK, hashlib.sha256(data).digest(), len(data)) + data


def _entries(path: Path) -> Iterator[tuple[int, dict[str, Any] | None, dict[str, Any]]]:
    """Place, object and arrays of each entry; ``None`` for one that is damaged, after which the next mark is looked for."""
    with disk_errors("read", path), path.open("rb") as stream:
        end = os.fstat(stream.fileno()).st_size
        if not end:
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            place = 0
            while place < end:
                mark, digest, size = ENTRY.unpack(data[place : place + ENTRY.size].ljust(ENTRY.size, b"\0"))
                first = place + ENTRY.size
                body = data[first : first + size] if mark == MARK and first + size <= end else b""
                if body and hashlib.sha256(body).digest() == digest:
                    message, arrays = decode(body)
                    yield place, message, arrays
                    place = first + size
                else:
                    yield place, None, {}
                    place = data.find(MARK, place + 1)
                    if place < 0:
                        return

"""Errors a user can act on, as one tree named by what has to be fixed.

    XferbenchError                 exit code 1
    ├── CheckFailedError        1  a check ran to its end and said no
    ├── UsageError              2  fix the command line or the argument
    │   ├── UnknownNameError    2  no such data set, task, model or method
    │   ├── ModelError          2  the potential cannot be loaded or breaks its contract
    │   └── MissingExtraError   2  an optional package is not installed
    └── DataError               3  fix the data
        ├── IntegrityError      3  bytes are not what they were: truncated, altered, wrong hash
        ├── FormatError         3  a file does not follow its schema: tasks, cards, results, tables
        ├── PredictionsError    3  predictions that cannot be scored as they are
        └── StorageError        3  cannot read or write: disk full, read-only, in use by another run

``cli`` prints these as one line and exits with ``exit_code``. Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations


class XferbenchError(Exception):
    """Base of every error that is the user's to fix. The message says what, where, and what to do next."""

    exit_code = 1


class CheckFailedError(XferbenchError):
    """A check ran to its end and found something wrong."""


class UsageError(XferbenchError):
    """The command line or an argument is wrong."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that no table knows; the message lists the near ones."""


class ModelError(UsageError):
    """A potential that cannot be loaded, or that breaks the model contract as a whole."""


class MissingExtraError(UsageError):
    """An optional package is needed; the message names the ``pip install`` that brings it."""


class DataError(XferbenchError):
    """Data are wrong, incomplete or out of reach."""

    exit_code = 3


class IntegrityError(DataError):
    """Bytes are not what they were when written: truncated, altered, or another hash."""


class FormatError(DataError):
    """A file does not follow its schema; every problem of the file is in the one message."""


class PredictionsError(DataError):
    """Predictions that cannot be scored: missing, doubled or unknown ids, wrong shapes, not finite."""


class StorageError(DataError):
    """A path cannot be read or written: disk full, read-only, missing, or in use by another run."""

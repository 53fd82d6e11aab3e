"""The exception tree is the one its docstring draws."""

from __future__ import annotations

import re

import pytest

from xferbench import errors
from xferbench.errors import XferbenchError

CLASSES = {
    name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, XferbenchError)
}
DRAWN = dict(re.findall(r"(\w+Error) +(?:exit code )?(\d)", errors.__doc__))


def test_every_class_is_drawn_with_its_exit_code():
    assert {name: str(value.exit_code) for name, value in CLASSES.items()} == DRAWN


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_says_when_it_is_raised(name):
    assert CLASSES[name].__doc__


@pytest.mark.parametrize(
    ("name", "parent"),
    [
        ("CheckFailedError", "XferbenchError"),
        ("UsageError", "XferbenchError"),
        ("UnknownNameError", "UsageError"),
        ("ModelError", "UsageError"),
        ("MissingExtraError", "UsageError"),
        ("DataError", "XferbenchError"),
        ("IntegrityError", "DataError"),
        ("FormatError", "DataError"),
        ("PredictionsError", "DataError"),
        ("StorageError", "DataError"),
    ],
)
def test_the_branches_are_named_by_what_has_to_be_fixed(name, parent):
    assert CLASSES[name].__bases__ == (CLASSES[parent],)


def test_a_bug_is_not_the_users_to_fix():
    assert not issubclass(XferbenchError, (ValueError, OSError, RuntimeError))

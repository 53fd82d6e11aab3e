"""Every message that docs/troubleshooting.md explains is one that the package has."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import xferbench

PACKAGE = Path(xferbench.__file__).parent
PAGE = PACKAGE.parent / "docs" / "troubleshooting.md"
ROWS = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@cache
def literals() -> tuple[str, ...]:
    """All texts of the package, with ``…`` for what is put into them."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return tuple(found)


def is_said(message: str) -> bool:
    """Whether one text has all parts of a message in order."""
    pattern = re.compile(".*?".join(map(re.escape, filter(None, message.split("…")))), re.DOTALL)
    return any(pattern.search(text) for text in literals())


@pytest.mark.parametrize("message", ROWS)
def test_every_message_that_is_explained_exists(message):
    assert is_said(message)


def test_there_are_messages_and_a_wrong_one_would_be_found():
    assert len(ROWS) > 40
    assert not is_said("is a Python jar, which is not read")


def test_each_has_a_cause_and_something_to_do():
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert len(lines) == len(ROWS)
    for line in lines:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        assert len(cells) == 3, line
        assert cells[1] or cells[2], line


def test_what_documents_and_messages_tell_to_install_can_be_installed():
    """No index has the package: extras are installed from a checkout."""
    pages = [*(PACKAGE.parent / "docs").rglob("*.md"), PACKAGE.parent / "README.md", *PACKAGE.rglob("*.py")]
    wrong = [str(path) for path in pages if re.search(r'pip install "?xferbench', path.read_text(encoding="utf-8"))]
    assert wrong == []

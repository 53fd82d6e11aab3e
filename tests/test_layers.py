"""Imports point down, and starting the command line loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xferbench
from xferbench.registry import TRAINABLES

PACKAGE = Path(xferbench.__file__).parent
LAYERS = [
    {"factory", "__main__"},
    {"cli"},
    {"api"},
    {"board"},
    {"studies"},
    {"floors"},
    {"predict", "scoring", "analysis", "export", "publish", "lifting"},
    {"audit"},
    {"transfer"},
    {"models"},
    {"dataset", "tasks", "results"},
    {"sources"},
    {"hygiene", "pairing", "splits", "references"},
    {"grouping"},
    {"tables"},
    {"measure", "labels"},
    {"records", "registry"},
    {"download", "report", "progress", "schema"},
    {"storage", "functionals"},
    {"mistakes"},
    {"errors", "units"},
]
"""Highest first; a module imports only from rows below its own, and inside its own folder."""

LEVEL = {room: len(LAYERS) - row for row, rooms in enumerate(LAYERS) for room in rooms}
HEAVY = ["torch", "chgnet", "pymatgen", "ase", "datasets", "sklearn", "pandas", "pyarrow", "numpy", "scipy"]
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__")


def room(path: Path) -> str:
    """The top-level module or folder a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms a file imports, wherever in the file the import stands."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module] if node.module != "xferbench" else [f"xferbench.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("xferbench.")}
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    own = room(path)
    assert own in LEVEL, f"{own} has no row in LAYERS: give it one"
    wrong = {other for other in imported_rooms(path) if other != own and LEVEL.get(other, 0) >= LEVEL[own]}
    assert not wrong, f"{own} may not import {wrong}"


def test_every_row_names_rooms_that_exist_or_are_planned():
    rooms = {room(path) for path in FILES}
    assert set(LEVEL) - rooms <= {"transfer"}


def test_the_command_line_calls_the_public_api_and_nothing_below_it():
    allowed = {"xferbench", "xferbench.errors", "xferbench.cli"}
    for path in sorted({*(PACKAGE / "cli").glob("*.py")} - {PACKAGE / "cli" / "mini.py"}):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                inside = module.split(".")[0] == "xferbench"
                assert not inside or module in allowed or module.startswith("xferbench.cli."), f"{path.name}: {module}"


def names_and_texts(path: Path) -> set[str]:
    """Names, attributes, modules and texts of a file; docstrings and comments are for people."""
    tree = ast.parse(path.read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = set()
    for node in ast.walk(tree):
        if id(node) in prose:
            continue
        found |= {value for _, value in ast.iter_fields(node) if isinstance(value, str)}
    return found


@pytest.mark.parametrize("path", sorted((PACKAGE / "transfer").glob("*.py")), ids=lambda path: path.stem)
def test_training_knows_the_contract_and_no_architecture(path):
    named = {word for word in names_and_texts(path) for name in TRAINABLES if name in word.lower()}
    assert named == set()


def test_an_architecture_that_code_names_would_be_found():
    words = names_and_texts(PACKAGE / "registry.py")
    assert all(any(name in word for word in words) for name in TRAINABLES)


def test_importing_the_package_imports_nothing_else():
    code = "import sys; before = set(sys.modules); import xferbench; print(sorted(set(sys.modules) - before))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert [name for name in ast.literal_eval(out.stdout) if name.startswith("xferbench.")] == []


def test_the_command_line_starts_without_heavy_packages():
    code = f"import sys, xferbench.cli; print([name for name in {HEAVY} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"

"""A dataset directory to damage, and a table entry to load it from."""

from __future__ import annotations

import shutil
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from xferbench.dataset.layout import MANIFEST, seal
from xferbench.registry import SOURCES
from xferbench.storage import read_json, sha256, write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xferbench.dataset import Dataset
    from xferbench.records import SourceDataset


@pytest.fixture
def directory(synthetic_dataset: Dataset, tmp_path: Path) -> Path:
    """A copy of the synthetic data set."""
    return shutil.copytree(synthetic_dataset.directory, tmp_path / "synthetic")


@pytest.fixture
def restate(directory: Path) -> Callable[..., None]:
    """``restate(**changes)`` makes the manifest agree with the files as they are now, and then changes it.

    What a careful forger would do: only the content can betray the directory.
    """

    def do(**changes: Any) -> None:
        manifest = read_json(directory / MANIFEST)
        for path in manifest["files"]:
            manifest["files"][path]["sha256"] = sha256(directory / path)
            manifest["files"][path]["bytes"] = (directory / path).stat().st_size
        write_json(directory / MANIFEST, seal({**manifest, **changes}))

    return do


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``register(load, name="synthetic")`` enters a loader in ``SOURCES`` for the test."""

    def do(load: Callable[..., SourceDataset], name: str = "synthetic") -> None:
        module = ModuleType("registered_source")
        module.load = load  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "registered_source", module)
        monkeypatch.setitem(SOURCES, name, "registered_source:load")

    return do

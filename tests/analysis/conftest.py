"""Pairs with chosen energies, and one analysis of the synthetic data set."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from xferbench.analysis import Analysis, Settings, analyze
from xferbench.analysis.columns import Columns, collect
from xferbench.functionals import Functional, Pair
from xferbench.records import Frame, FramePair, Geometry

if TYPE_CHECKING:
    from collections.abc import Callable

    from xferbench.dataset import Dataset


def make_frame(functional: Functional, name: str, material: str, numbers: list[int], **labels: Any) -> Frame:
    """A frame in a cubic cell; labels as given."""
    return Frame(
        frame_id=f"{name}-{functional}",
        pair_id=name,
        material_id=material,
        functional=functional,
        numbers=np.array(numbers),
        positions=np.arange(3 * len(numbers), dtype=float).reshape(-1, 3),
        cell=np.eye(3) * 9,
        **labels,
    )


@pytest.fixture(scope="session")
def make_pair() -> Callable[..., FramePair]:
    """``make_pair("a", [3, 17], -1.0, -2.0)`` -> a pair with these energies per atom, in eV."""

    def make(
        name: str,
        numbers: list[int],
        source: float | None,
        target: float | None,
        *,
        material: str | None = None,
        functional: Functional = Functional("PBE"),
        **labels: tuple[Any, Any],
    ) -> FramePair:
        sides = [
            make_frame(
                which,
                name,
                material or name,
                numbers,
                energy=None if energy is None else energy * len(numbers),
                **{
                    key: None if values[i] is None else np.array(values[i], dtype=float)
                    for key, values in labels.items()
                },
            )
            for i, (which, energy) in enumerate([(functional, source), (Functional("r2SCAN"), target)])
        ]
        return FramePair(source=sides[0], target=sides[1], geometry=Geometry.SAME_GEOMETRY)

    return make


@pytest.fixture(scope="session")
def columns_of() -> Callable[[list[FramePair]], Columns]:
    """``columns_of(pairs)`` -> their columns, all materials in train."""
    return lambda pairs: collect(pairs, {pair.material_id: "train" for pair in pairs})


@pytest.fixture(scope="session")
def springs(make_pairs) -> Columns:
    """The synthetic pairs; every fourth material is in test."""
    pairs = make_pairs()
    materials = sorted({pair.material_id for pair in pairs})
    return collect(pairs, {name: "test" if i % 4 == 3 else "train" for i, name in enumerate(materials)})


@pytest.fixture(scope="session")
def found(synthetic_dataset: Dataset) -> Analysis:
    """An analysis of the synthetic data set, with few resamples."""
    return analyze(synthetic_dataset, Settings(n_resamples=60))


@pytest.fixture(scope="session")
def hostile(found: Analysis) -> Analysis:
    """The same analysis with names that are markup."""
    bad = "<script>alert(1)</script>"
    return replace(found, dataset=replace(found.dataset, name=bad, title=bad, material=bad, version=bad))


@pytest.fixture(scope="session")
def analysis_of() -> Callable[..., Analysis]:
    """``analysis_of(pairs, {"a": "test"})`` -> their analysis; materials that are not named are in train."""

    def make(pairs: list[FramePair], splits: dict[str, str] | None = None, **settings: Any) -> Analysis:
        data = SimpleNamespace(
            name="handmade",
            version="1",
            fingerprint="0" * 8,
            functionals=Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),)),
            manifest={"title": "Handmade", "geometry": "same_geometry", "split_rule": {"group": "formula"}},
            splits={pair.material_id: "train" for pair in pairs} | (splits or {}),
            iter_pairs=lambda: iter(pairs),
        )
        return analyze(data, Settings(**{"n_resamples": 20, **settings}))

    return make


@pytest.fixture(scope="session")
def odd(make_pair: Callable[..., FramePair], analysis_of: Callable[..., Analysis]) -> dict[str, Analysis]:
    """Analyses of data that have almost nothing."""
    force = ([[0.3, 0, 0], [0, 0, 0]], [[0.6, 0, 0], [0, 0, 0]])
    sodium = [make_pair(str(i), [11], -1 - i / 8, -2 - i / 4) for i in range(12)]
    flat = [make_pair(str(i), [11] * (i % 3 + 1) + [17], -1.0, -2.0) for i in range(12)]
    return {
        "one pair": analysis_of([make_pair("a", [11], -1.0, -2.5)]),
        "one material": analysis_of(
            [make_pair(str(i), [11, 17], -1 - i / 8, -2 - i / 4, material="m", forces=force) for i in range(3)]
        ),
        "one element": analysis_of(sodium, {"3": "test", "7": "test"}),
        "nothing varies": analysis_of(flat, {"3": "test", "7": "test"}),
        "no energies": analysis_of([make_pair("a", [11, 17], None, -2.5, forces=force)]),
    }

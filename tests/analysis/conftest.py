"""Pairs with chosen energies, and one analysis of the synthetic data set."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from xferbench.analysis import Analysis, Settings, analyze
from xferbench.analysis.columns import Columns, collect
from xferbench.records import Frame, Functional, Geometry, Pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from xferbench.dataset import Dataset


def make_frame(functional: Functional, name: str, material: str, numbers: list[int], **labels: Any) -> Frame:
    """A frame in a cubic cell; labels as given."""
    return Frame(
        frame_id=f"{name}-{functional.value}",
        pair_id=name,
        material_id=material,
        functional=functional,
        numbers=np.array(numbers),
        positions=np.arange(3 * len(numbers), dtype=float).reshape(-1, 3),
        cell=np.eye(3) * 9,
        **labels,
    )


@pytest.fixture(scope="session")
def make_pair() -> Callable[..., Pair]:
    """``make_pair("a", [3, 17], -1.0, -2.0)`` -> a pair with these energies per atom, in eV."""

    def make(
        name: str,
        numbers: list[int],
        gga: float | None,
        r2scan: float | None,
        *,
        material: str | None = None,
        functional: Functional = Functional.PBE,
        **labels: tuple[Any, Any],
    ) -> Pair:
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
            for i, (which, energy) in enumerate([(functional, gga), (Functional.R2SCAN, r2scan)])
        ]
        return Pair(gga=sides[0], r2scan=sides[1], geometry=Geometry.SAME_GEOMETRY)

    return make


@pytest.fixture(scope="session")
def columns_of() -> Callable[[list[Pair]], Columns]:
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
    return replace(found, source=replace(found.source, name=bad, title=bad, material=bad, version=bad))

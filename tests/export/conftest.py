"""Frames with every label, with none, and with ids that look like something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from xferbench.functionals import Functional
from xferbench.records import Frame

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., Frame]:
    """``make_frame(energy=None)`` -> a frame of two atoms with labels of many digits."""

    def make(**changes: Any) -> Frame:
        rng = np.random.default_rng(3)
        stress = rng.normal(size=(3, 3))
        values = {
            "frame_id": "a-r2SCAN", "pair_id": "a", "material_id": "mp-1", "functional": Functional("r2SCAN"),
            "numbers": np.array([11, 17]), "positions": rng.normal(size=(2, 3)),
            "cell": np.array([[5.1, 0.1, 0], [0, 4.9, 0.3], [0.2, 0, 6]]),
            "energy": -10 / 3, "forces": rng.normal(size=(2, 3)) * 1e-7, "stress": stress + stress.T,
            "magmoms": np.array([1 / 3, -2.5]),
        }  # fmt: skip
        return Frame(**(values | changes))

    return make

"""What two models say of the gap between their functionals, structure by structure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from xferbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from xferbench.records import Frame, Prediction

    Floats = NDArray[np.float64]

ALIKE = 1e-6
"""Relative difference of energies below which two models say the same: rounding."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """Gaps that a model pair predicts.

    Attributes:
        gap: (n,) target minus source, eV/atom; NaN where either model has no answer.
        forces: Frame id -> (n_atoms, 3) eV/Å, target minus source, where both models have them.
        stress: Frame id -> (3, 3) eV/Å³, likewise.
        errors: Frame id -> why there is no gap.
    """

    gap: Floats
    forces: Mapping[str, Floats] = field(default_factory=dict)
    stress: Mapping[str, Floats] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


def difference(frames: Sequence[Frame], target: Mapping[str, Prediction], source: Mapping[str, Prediction]) -> Answers:
    """The target model's answers minus the source model's.

    Args:
        frames: The structures.
        target: Frame id -> answer of the target model.
        source: Frame id -> answer of the source model.

    Raises:
        UsageError: The two give the same energies.
    """
    gap, forces, stress, errors = np.full(len(frames), np.nan), {}, {}, {}
    energies: list[tuple[float, float]] = []
    for i, frame in enumerate(frames):
        one, two = target.get(frame.frame_id), source.get(frame.frame_id)
        if one is None or two is None or one.energy is None or two.energy is None:
            errors[frame.frame_id] = (one and one.error) or (two and two.error) or "not predicted"
            continue
        energies.append((one.energy, two.energy))
        gap[i] = (one.energy - two.energy) / frame.n_atoms
        if one.forces is not None and two.forces is not None:
            forces[frame.frame_id] = one.forces - two.forces
        if one.stress is not None and two.stress is not None:
            stress[frame.frame_id] = one.stress - two.stress
    ones, twos = np.array(energies).reshape(-1, 2).T
    if energies and np.allclose(ones, twos, rtol=ALIKE, atol=0.0):
        raise UsageError(
            f"the two models answer alike on all {len(energies)} structures: one model named twice, or one head asked for both; "
            "name a model of each functional"
        )
    return Answers(gap=gap, forces=forces, stress=stress, errors=errors)

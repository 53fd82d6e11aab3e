"""Static labels: energies, forces, stresses and moments of frames, one by one and within a composition."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from xferbench.tasks.kind import Kind
from xferbench.tasks.rows import (
    SOURCE_TASK,
    Rows,
    array_rows,
    difference_rows,
    difference_to_source,
    energy_rows,
    gap_rows,
    ground_rows,
    magmom_rows,
)

if TYPE_CHECKING:
    from xferbench.measure import Quantity
    from xferbench.tasks.rows import Energies, Joined


class Static(Kind):
    """Each frame by itself, and beside the others of its composition."""

    quantities: ClassVar[frozenset[Quantity]] = frozenset(
        {
            "energy",
            "differences",
            "ground",
            "forces",
            "stress",
            "magmoms",
            "gap",
            "force_gap",
            "stress_gap",
            "all_forces",
            "all_stress",
        }
    )

    def rows(self, test: Joined, energies: Energies) -> dict[tuple[str, str], Rows]:
        """See ``Kind.rows``."""
        nothing = Rows(None, np.zeros(len(test), dtype=bool), SOURCE_TASK)
        gap, force_gap, stress_gap = nothing, nothing, nothing
        if test.side == "target":
            gap = gap_rows(test, energies)
            force_gap, stress_gap = difference_to_source(test, "forces"), difference_to_source(test, "stress")
        own, predicted = test.own, test.predicted
        forces, stress = (None, None) if own.free is None else (own.free.forces, own.free.stress)
        return {
            ("energy", "raw"): energy_rows(energies.raw),
            ("energy", "referenced"): energy_rows(energies.referenced, energies, label="labels"),
            ("energy", "aligned"): energy_rows(energies.aligned, energies, prediction="offsets"),
            ("differences", "none"): difference_rows(test),
            ("ground", "none"): ground_rows(test),
            ("forces", "none"): array_rows(own.values.forces, predicted.forces, "forces", forces),
            ("all_forces", "none"): array_rows(own.values.forces, predicted.forces, "forces"),
            ("stress", "none"): array_rows(own.values.stress, predicted.stress, "stress", stress),
            ("all_stress", "none"): array_rows(own.values.stress, predicted.stress, "stress"),
            ("magmoms", "none"): magmom_rows(own.values.magmoms, predicted.magmoms),
            ("gap", "aligned"): gap,
            ("force_gap", "none"): force_gap,
            ("stress_gap", "none"): stress_gap,
        }


STATIC = Static()

"""Every quantity a task may ask for, as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench.scoring import contrasts, rows
from xferbench.scoring.rows import Rows

if TYPE_CHECKING:
    from xferbench.dataset import Dataset
    from xferbench.scoring.rows import Energies, Joined
    from xferbench.tasks import Task


def keyed(task: Task, dataset: Dataset, test: Joined, energies: Energies) -> dict[tuple[str, str], Rows]:
    """(quantity, reference) -> rows, for everything a task may ask for."""
    gap = force_gap = stress_gap = Rows(None, 0, rows.GGA_TASK)
    if not task.functional.is_gga:
        pairs = dataset.pairs(task.split)
        gap = rows.gap_rows(energies.aligned, test, pairs, dataset.pairs(task.calibration))
        force_gap, stress_gap = contrasts.force_gap_rows(test, pairs), contrasts.stress_gap_rows(test, pairs)
    return {
        ("energy", "raw"): rows.energy_rows(energies.raw),
        ("energy", "referenced"): rows.energy_rows(energies.referenced),
        ("energy", "aligned"): rows.energy_rows(energies.aligned),
        ("differences", "none"): contrasts.difference_rows(test),
        ("ground", "none"): contrasts.ground_rows(test),
        ("forces", "none"): rows.force_rows(test),
        ("stress", "none"): rows.stress_rows(test),
        ("magmoms", "none"): rows.magmom_rows(test),
        ("gap", "aligned"): gap,
        ("force_gap", "none"): force_gap,
        ("stress_gap", "none"): stress_gap,
    }

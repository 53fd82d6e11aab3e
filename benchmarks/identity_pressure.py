"""Does a pressure bias change what functional a model is said to follow?

Predictions are the labels of mini's own PBE or r²SCAN with noise (0.1 eV/atom, half of it common to a material; 0.5 GPa in every stress
component that symmetry leaves free) and a bias of the pressure: the same in all frames, or proportional to the bulk modulus of the material.
No draw may be given to the other functional. Used in docs/identity.md:

    python benchmarks/identity_pressure.py --draws 20
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xferbench.dataset import open_dataset
from xferbench.scoring import expected_frames
from xferbench.scoring.identity import identify
from xferbench.tasks import load_task
from xferbench.tasks.rows import Joined, energies
from xferbench.units import stress_from_gpa

if TYPE_CHECKING:
    from xferbench.functionals import Side
    from xferbench.labels import Labels, Values
    from xferbench.scoring import Expected
    from xferbench.tasks import Task

NOISE_ENERGY, NOISE_STRESS = 0.1, 0.5
"""eV/atom and GPa."""

BIASES = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""GPa; on a material of 100 GPa where they are proportional to the bulk modulus."""


def bulk_moduli(labels: Labels, volumes: np.ndarray) -> np.ndarray:
    """(n,) relative to 100 GPa: the slope of the pressure over ln V within a material, the median where one has no two volumes."""
    trace = labels.target.values.stress.values[:, ::4].mean(axis=1)
    found = np.full(len(labels), np.nan)
    for name in set(labels.material_id.tolist()):
        inside = np.flatnonzero(labels.material_id == name)
        spread = np.log(volumes[inside])
        if np.ptp(spread) > 0.03:
            found[inside] = np.polyfit(spread, trace[inside], 1)[0]
    found = np.where(found > 0, found, np.nan)
    return np.nan_to_num(found, nan=np.nanmedian(found)) / stress_from_gpa(100.0)


def predicted(labels: Labels, side: Side, bias: np.ndarray, rng: np.random.Generator) -> Values:
    """Values of a model that follows one side, with noise and a pressure bias (n,) in GPa."""
    own, n = labels.of(side), len(labels)
    _, material = np.unique(labels.material_id.astype(str), return_inverse=True)
    error = (rng.normal(size=n) + rng.normal(size=n)[material]) / np.sqrt(2) * NOISE_ENERGY
    stress = own.values.stress
    noise = rng.normal(size=(len(stress.values), 3, 3)) * NOISE_STRESS
    shift = (noise + noise.transpose(0, 2, 1)) / 2 + bias[:, None, None] * np.eye(3)
    return replace(
        own.values,
        energy=own.values.energy + error * own.n_atoms,
        stress=replace(stress, values=stress.values + stress_from_gpa(shift).reshape(-1, 9)),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    task = load_task("mini-static")
    expected = expected_frames(task, open_dataset("mini"))
    volumes = np.array([abs(np.linalg.det(frame.cell)) / frame.n_atoms for frame in expected.test_frames])
    stiffness = bulk_moduli(expected.test, volumes)
    rows = []
    for kind, scale in (("the same", np.ones(len(volumes))), ("by bulk modulus", stiffness)):
        for bias in BIASES:
            row = [kind, f"{bias:+.0f}"]
            for side in ("source", "target"):
                found = Counter(_verdict(task, expected, side, bias * scale, seed) for seed in range(options.draws))
                row += [str(found[task.functionals.name(side)]), str(found["undecided"])]
                row.append(str(options.draws - found[task.functionals.name(side)] - found["undecided"]))
            rows.append(row)
    print("| bias | GPa | PBE: PBE | undecided | wrong | r²SCAN: r²SCAN | undecided | wrong |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def _verdict(task: Task, expected: Expected, side: Side, bias: np.ndarray, seed: int) -> str:
    rng = np.random.default_rng(seed)
    test, calibration = (
        Joined(labels=labels, side=expected.side, predicted=predicted(labels, side, part, rng))
        for labels, part in ((expected.test, bias), (expected.calibration, np.zeros(len(expected.calibration))))
    )
    found = energies(test, calibration, None, task.bootstrap)
    declared = task.functionals.of(side)[0]
    return identify(
        test, calibration, found, functionals=task.functionals, declared=declared, plan=task.bootstrap
    ).verdict


if __name__ == "__main__":
    main()

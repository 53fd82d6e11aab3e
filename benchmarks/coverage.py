"""How often intervals hold the truth and tests cry wolf: python benchmarks/coverage.py.

Data sets are drawn again and again: materials of one to six frames; each material has a size of error (gamma law of shape
4), each frame an exponential error of that size, so errors are clustered and skewed. Models are equal in truth: they
share the sizes and draw their own errors. Counted are

- how often the nominal 95 % interval of an MAE, of an RMSE, and of the difference of two MAEs holds the true value,
- how often two equal models differ at 5 %,
- how often any two of four equal models differ at 5 %, before and after Holm's correction.

Every data set meets the same resample plan, as every model of a task does. Of six materials no plan can resolve six tests.

    python benchmarks/coverage.py --calibration 1 2 3 10

tells how often the interval of an *aligned* energy MAE holds the truth: errors of 0.05 eV/atom with a size of their own for each
material, compositions of two or three of eight elements, and as many calibration compositions as elements, or 2, 3 or 10 times as
many. The truth is the expected MAE on new test materials after offsets fitted to new calibration materials of the same compositions.
With offsets that stay as fitted the interval is that of the test materials alone.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from itertools import combinations, count
from math import comb
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from xferbench.measure import (
    METRICS,
    Asked,
    ClusterBootstrap,
    Refits,
    estimates,
    fit,
    holm,
    p_value,
    pool,
    resamples_needed,
    sample,
)
from xferbench.measure.metrics import mean, root_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SHAPE = 4.0
MODELS = 4
ELEMENTS = 8
TRUTHS = 2000
"""Draws that an expected MAE is told from."""

WELL_POSED = 30.0
"""Largest condition of calibration compositions: of worse ones the expected MAE is that of rare catastrophes."""

LARGEST = 6
LEVEL = 0.05
MOST_RESAMPLES = 20_000
TRUE_MAE = 1.0
TRUE_RMSE = float(np.sqrt(2 * (1 + 1 / SHAPE)))
"""Of an exponential error whose mean is gamma distributed with mean 1: E[x²] = 2 E[size²]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Fractions of the data sets."""

    mae: float
    rmse: float
    difference: float
    pair: float
    family: float
    family_holm: float


def data_set(stream: np.random.Generator, n_materials: int) -> tuple[Floats, Floats, Floats]:
    """Sums per material: (n, MODELS) of errors, (n, MODELS) of squares, (n,) numbers of frames."""
    frames = stream.integers(1, LARGEST + 1, n_materials)
    size = stream.gamma(SHAPE, 1 / SHAPE, n_materials)
    errors = stream.exponential(size[:, None, None], (n_materials, LARGEST, MODELS))
    errors *= (np.arange(LARGEST) < frames[:, None])[:, :, None]
    return errors.sum(axis=1), (errors**2).sum(axis=1), frames.astype(np.float64)


def simulate(n_materials: int, n_sets: int, n_resamples: int) -> Rates:
    """Rates over many data sets of one size."""
    plan = ClusterBootstrap(n_clusters=n_materials, n_resamples=n_resamples, seed=0, confidence=1 - LEVEL)
    needed = resamples_needed(comb(MODELS, 2), n_materials, plan)
    plan = replace(plan, n_resamples=min(needed, MOST_RESAMPLES))
    counts = np.concatenate(list(plan.counts())).astype(np.float64)
    stream = np.random.default_rng(1)
    hits = [_one(data_set(stream, n_materials), counts, plan) for _ in range(n_sets)]
    return Rates(**dict(zip(Rates.__dataclass_fields__, np.mean(hits, axis=0).tolist(), strict=True)))


def _one(data: tuple[Floats, Floats, Floats], counts: Floats, plan: ClusterBootstrap) -> list[bool]:
    errors, squares, frames = data
    drawn = counts @ frames
    mae = np.stack([mean(np.stack([counts @ column, drawn], axis=-1)) for column in errors.T], axis=-1)
    rmse = root_mean(np.stack([counts @ squares[:, 0], drawn], axis=-1))
    p_values = [p_value(mae[:, i] - mae[:, j], plan.n_clusters) for i, j in combinations(range(MODELS), 2)]
    return [
        _holds(plan, mae[:, 0], TRUE_MAE),
        _holds(plan, rmse, TRUE_RMSE),
        _holds(plan, mae[:, 0] - mae[:, 1], 0.0),
        p_values[0] < LEVEL,
        min(p_values) < LEVEL,
        min(holm(p_values)) < LEVEL,
    ]


def _holds(plan: ClusterBootstrap, values: Floats, truth: float) -> bool:
    interval = plan.interval(values, plan.n_clusters)
    return interval is not None and interval.low <= truth <= interval.high


def compositions(stream: np.random.Generator, n: int) -> Floats:
    """(n, ELEMENTS) fractions of two or three elements."""
    rows = np.zeros((n, ELEMENTS))
    for row in rows:
        size = stream.integers(2, 4)
        row[stream.choice(ELEMENTS, size, replace=False)] = stream.integers(1, 4, size)
    return rows / rows.sum(axis=1, keepdims=True)


def errors(stream: np.random.Generator, *shape: int) -> Floats:
    """eV/atom, normal with a size drawn for each."""
    drawn: Floats = 0.05 * stream.gamma(SHAPE, 1 / SHAPE, shape) * stream.standard_normal(shape)
    return drawn


def aligned(n_materials: int, per_element: int, n_sets: int, n_resamples: int) -> tuple[float, float]:
    """How often the interval of an aligned MAE holds the truth, with offsets refitted in each resample and with fixed ones."""
    stream = np.random.default_rng(1)
    plan = ClusterBootstrap(n_clusters=n_materials, n_resamples=n_resamples, seed=0, confidence=1 - LEVEL)
    n, material, metric = per_element * ELEMENTS, np.arange(n_materials), METRICS["energy_mae"]
    held = []
    for _ in range(n_sets):
        known = next(x for x in (compositions(stream, n) for _ in count()) if np.linalg.cond(x) < WELL_POSED)
        off = errors(stream, TRUTHS, n) @ np.linalg.pinv(known).T
        truth = np.abs(errors(stream, TRUTHS) + (compositions(stream, TRUTHS) * off).sum(axis=1)).mean()
        test = csr_matrix(compositions(stream, n_materials))
        offsets = fit(csr_matrix(known), errors(stream, n)[:, None], np.arange(n), n)
        error = errors(stream, n_materials) + test @ offsets.energies[:, 0]
        noise = pool(offsets, test, error[:, None], material)
        moves = offsets.refits(noise, n_resamples=n_resamples, seed=0)[:, :, 0]
        rows = sample(error, np.zeros(n_materials))
        asked = [Asked(metric, rows, Refits(fractions=test, prediction=moves)), Asked(metric, rows)]
        held.append([found.low <= truth <= found.high for found in estimates(asked, material, plan)])
    refitted, fixed = np.mean(held, axis=0).tolist()
    return refitted, fixed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--materials", type=int, nargs="+", default=[6, 12, 30, 100, 300])
    parser.add_argument("--sets", type=int, default=4000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument(
        "--calibration", type=int, nargs="+", help="compositions per element: the table of aligned energies"
    )
    arguments = parser.parse_args()
    if arguments.calibration:
        print(
            "| test materials | calibration compositions per element | held | with fixed offsets |\n|---:|---:|---:|---:|"
        )
        for n in arguments.materials:
            for per_element in arguments.calibration:
                held = aligned(n, per_element, arguments.sets, arguments.resamples)
                print(f"| {n} | {per_element} | {100 * held[0]:.0f} % | {100 * held[1]:.0f} % |", flush=True)
        return
    print(f"{arguments.sets} data sets of each size, {arguments.resamples} resamples or as many as six tests need\n")
    print(
        "| materials | MAE held | RMSE held | difference held | equal pair differs | any of 4 equal | the same, Holm |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for n in arguments.materials:
        rates = simulate(n, arguments.sets, arguments.resamples)
        cells = (rates.mae, rates.rmse, rates.difference, rates.pair, rates.family, rates.family_holm)
        print(f"| {n} | {' | '.join(f'{100 * rate:.1f} %' for rate in cells)} |", flush=True)


if __name__ == "__main__":
    main()

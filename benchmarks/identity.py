"""How often intervals and verdicts of the functional identity are right, for models of known identity.

python benchmarks/identity.py [--sets N]

Each material has one to four frames of nine components. Labels of the GGA are standard normal, the gap is 3 % of them plus a
part of its own of 0.15; the model is softened to 0.8, and its errors, relative to that part of the gap, are half common to
the frames of a material.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np

from xferbench.functionals import Functional, Pair
from xferbench.measure import ClusterBootstrap, sum_by
from xferbench.scoring.identity import fit, sums, verdict

GAP, SOFTENING, COMPONENTS = 0.15, 0.8, 9
PAIR = Pair(source=(Functional("PBE"),), target=(Functional("r2SCAN"),))
MATERIALS, ERRORS, SHARES = (6, 12, 40, 150), (0.5, 2.0), (0.0, 0.5, 1.0)


def data_set(rng: np.random.Generator, n_materials: int, share: float, error: float) -> np.ndarray:
    """(n_materials, 5) sums of a model of identity ``share`` with errors of ``error`` times the gap's own part."""
    frames, material = [], []
    size = error * GAP * np.sqrt(0.5)
    for i in range(n_materials):
        common = size * rng.normal(size=COMPONENTS)
        for _ in range(rng.integers(1, 5)):
            source = rng.normal(size=COMPONENTS)
            gap = 0.03 * source + GAP * rng.normal(size=COMPONENTS)
            model = SOFTENING * (source + share * gap) + common + size * rng.normal(size=COMPONENTS)
            frames.append(sums(model, source, source + gap))
            material.append(i)
    return sum_by(np.array(frames), np.array(material), n_materials)


def main() -> None:
    """Print the table of docs/identity.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=1000, help="simulated data sets per row")
    n_sets = parser.parse_args().sets
    print("| materials | error / gap | λ | interval holds λ | plain projection, median | GGA | undecided | r2SCAN |")
    print("|---|---|---|---|---|---|---|---|")
    for n_materials in MATERIALS:
        for error in ERRORS:
            for share in SHARES:
                print(row(n_sets, n_materials, error, share))


def row(n_sets: int, n_materials: int, error: float, share: float) -> str:
    """One line of the table."""
    bootstrap = ClusterBootstrap(n_clusters=n_materials, n_resamples=500, seed=0, confidence=0.95)
    rng = np.random.default_rng(n_materials)
    held, verdicts, plain = 0, Counter(), []
    for _ in range(n_sets):
        totals = data_set(rng, n_materials, share, error)
        interval = bootstrap.interval(fit(bootstrap.resample(totals)).value, n_materials)
        plain.append(float(fit(totals.sum(axis=0)).uncorrected))
        if interval is not None:
            held += interval.low <= share <= interval.high
            verdicts[verdict(*interval, PAIR)] += 1
    cells = [n_materials, error, share, f"{held / n_sets:.0%}", f"{np.median(plain):.2f}"]
    cells += [f"{verdicts[name] / n_sets:.0%}" for name in ("PBE", "undecided", "r2SCAN")]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()

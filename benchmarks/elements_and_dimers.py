"""The shift from PBE to r2SCAN, element by element, from three independent sources; writes docs/reports/elements-and-dimers.md.

    python benchmarks/elements_and_dimers.py DATA docs/reports/elements-and-dimers.md

DATA holds ``matbench-discovery/diatomics-dft.json.gz`` (site/src/lib of janosh/matbench-discovery), the table
``matcalc-element-refs/derived-paired-elements.csv`` made from the two elemental files of materialyzeai/matcalc, and
``chgnet-matgl-atomrefs/chgnet-atomref.json``, the vectors of chgnet/model/composition_model.py.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ase.data import atomic_numbers
from scipy.stats import pearsonr, spearmanr

from xferbench.measure import ClusterBootstrap, clusters
from xferbench.references import implausible
from xferbench.storage import write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FAR = 6.0
"""Å: the longest distance of the dimers, where half the energy is nearly that of an isolated atom."""

BOUND = 3.0
"""eV/atom: dimers this far from two isolated atoms, at most, in either functional."""

N_RESAMPLES, SEED, CONFIDENCE = 1000, 0, 0.95


class Points(NamedTuple):
    """Energies of many structures with two functionals, eV/atom: (n,) each, and the element of each."""

    elements: list[str]
    pbe: Floats
    target: Floats


def dimers(path: Path) -> tuple[Points, int]:
    """Every distance at which both functionals have an energy, half that of the pair; how many were left out.

    A calculation that failed has the energy 0 and is left out, as in ``xferbench prepare dimers``.
    """
    with gzip.open(path) as stream:
        data = json.load(stream)
    elements, pbe, target, failed = [], [], [], 0
    for pair, curve in data["PBE"].items():
        other = dict(zip(data["r2SCAN"][pair]["distances"], data["r2SCAN"][pair]["energies"], strict=True))
        for distance, energy in zip(curve["distances"], curve["energies"], strict=True):
            if distance not in other:
                continue
            if 0.0 in (energy, other[distance]):
                failed += 1
            else:
                elements.append(pair.split("-")[0])
                pbe.append(energy / 2)
                target.append(other[distance] / 2)
    return Points(elements, np.array(pbe), np.array(target)), failed


def far_dimers(path: Path) -> dict[str, tuple[float, float]]:
    """Symbol -> half the energy of the pair at 6 Å, PBE and r2SCAN."""
    with gzip.open(path) as stream:
        data = json.load(stream)
    found = {}
    for pair, curve in data["PBE"].items():
        both = [curve, data["r2SCAN"][pair]]
        if all(item["distances"][-1] == FAR for item in both):
            found[pair.split("-")[0]] = (both[0]["energies"][-1] / 2, both[1]["energies"][-1] / 2)
    return found


def elements(path: Path) -> dict[str, dict[str, float]]:
    """Symbol -> energies of the solid and of the isolated atom, both functionals, eV/atom."""
    names = ("energy_per_atom_pbe", "energy_per_atom_r2scan", "energy_atomic_pbe", "energy_atomic_r2scan")
    with path.open() as stream:
        return {
            line["element"]: {name: float(line[name]) for name in names}
            | {"same_structure": float(line["same_structure"] == "True")}
            for line in csv.DictReader(stream)
        }


def atom_references(path: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Shift between the two vectors that CHGNet ships, and the elements whose reference cannot be one."""
    data = json.loads(path.read_text())
    source, target = (dict(zip(data["order"], data["tables"][name], strict=True)) for name in ("MPtrj", "MP-r2SCAN"))
    wrong = {**implausible(source), **implausible(target)}
    return {symbol: target[symbol] - source[symbol] for symbol in source if symbol not in wrong}, wrong


def interval(points: Points, statistic: object) -> str:
    """A correlation with its interval over elements, each drawn with all its points."""
    names, cluster = clusters(points.elements)
    plan = ClusterBootstrap(n_clusters=len(names), n_resamples=N_RESAMPLES, seed=SEED, confidence=CONFIDENCE)
    rows = [np.flatnonzero(cluster == k) for k in range(len(names))]
    drawn = []
    for counts in (row for block in plan.counts() for row in block):
        index = np.concatenate([np.tile(rows[k], counts[k]) for k in np.flatnonzero(counts)])
        defined = np.ptp(points.pbe[index]) > 0 and np.ptp(points.target[index]) > 0
        drawn.append(statistic(points.pbe[index], points.target[index]).statistic if defined else np.nan)  # type: ignore[operator]
    ends = plan.interval(np.array(drawn), len(names))
    value = statistic(points.pbe, points.target).statistic  # type: ignore[operator]
    return f"{value:.4f}" + (f" [{ends.low:.4f}, {ends.high:.4f}]" if ends else "")


def agreement(name: str, points: Points) -> str:
    """A row: how well the two functionals' energies agree."""
    rest = np.abs(points.target - points.pbe)
    cells = [
        name,
        f"{len(rest)} of {len(set(points.elements))}",
        interval(points, pearsonr),
        interval(points, spearmanr),
    ]
    return row([*cells, f"{rest.mean():.3f}", f"{np.median(rest):.3f}"])


def row(cells: list[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def referenced(points: Points, zero: dict[str, tuple[float, float]]) -> Points:
    """Energies minus each functional's own zero, for the elements that have one."""
    keep = [i for i, symbol in enumerate(points.elements) if symbol in zero]
    names = [points.elements[i] for i in keep]
    pbe, target = (np.array([zero[symbol][k] for symbol in names]) for k in (0, 1))
    return Points(names, points.pbe[keep] - pbe, points.target[keep] - target)


def centred(points: Points) -> Points:
    """Energies minus the mean of their element, each functional its own."""
    names = np.array(points.elements)
    means = {s: (points.pbe[names == s].mean(), points.target[names == s].mean()) for s in sorted(set(points.elements))}
    return referenced(points, means)


def bound(points: Points) -> Points:
    """Those within ``BOUND`` of zero in both functionals."""
    keep = np.flatnonzero((np.abs(points.pbe) < BOUND) & (np.abs(points.target) < BOUND))
    return Points([points.elements[i] for i in keep], points.pbe[keep], points.target[keep])


def shift_rows(columns: dict[str, dict[str, float]]) -> list[str]:
    """One row per element, by atomic number."""
    symbols = sorted({s for column in columns.values() for s in column}, key=atomic_numbers.__getitem__)
    cells = [
        [s, str(atomic_numbers[s]), *(f"{column[s]:.2f}" if s in column else "-" for column in columns.values())]
        for s in symbols
        if sum(s in column for column in columns.values()) > 1
    ]
    return [row(["element", "Z", *columns]), row(["---"] * (len(columns) + 2)), *map(row, cells)]


def trend_rows(columns: dict[str, dict[str, float]]) -> list[str]:
    """Correlation of each column with the atomic number, and its agreement with the first column."""
    first = next(iter(columns.values()))
    rows = [
        row(
            [
                "source",
                "elements",
                "range",
                "Pearson with Z",
                "Spearman with Z",
                "Pearson with dimers",
                "slope",
                "mean abs. difference",
            ]
        )
    ]
    rows.append(row(["---"] * 8))
    for name, column in columns.items():
        z, value = np.array([atomic_numbers[s] for s in column]), np.array(list(column.values()))
        shared = [s for s in column if s in first]
        a, b = (np.array([item[s] for s in shared]) for item in (first, column))
        cells = [name, str(len(column)), f"{value.min():.2f} to {value.max():.2f}"]
        cells += [f"{f(z, value).statistic:.3f}" for f in (pearsonr, spearmanr)]
        cells += [
            f"{pearsonr(a, b).statistic:.4f}",
            f"{np.polyfit(a, b, 1)[0]:.3f}",
            f"{np.abs(a - b).mean():.2f} eV/atom",
        ]
        rows.append(row(cells))
    return rows


def report(data: Path) -> str:
    """The page."""
    dimer_file = data / "matbench-discovery" / "diatomics-dft.json.gz"
    (points, n_failed), far = dimers(dimer_file), far_dimers(dimer_file)
    solids = elements(data / "matcalc-element-refs" / "derived-paired-elements.csv")
    atomref, wrong = atom_references(data / "chgnet-matgl-atomrefs" / "chgnet-atomref.json")
    columns = {
        "dimers at 6 Å": {s: b - a for s, (a, b) in far.items()},
        "MatPES atoms": {s: v["energy_atomic_r2scan"] - v["energy_atomic_pbe"] for s, v in solids.items()},
        "MatPES solids": {s: v["energy_per_atom_r2scan"] - v["energy_per_atom_pbe"] for s, v in solids.items()},
        "CHGNet AtomRef": atomref,
    }
    names = list(solids)
    raw = Points(names, *(np.array([solids[s][f"energy_per_atom_{f}"] for s in names]) for f in ("pbe", "r2scan")))
    cohesive = referenced(raw, {s: (v["energy_atomic_pbe"], v["energy_atomic_r2scan"]) for s, v in solids.items()})
    free = referenced(points, far)
    head = row(["energies", "points of elements", "Pearson", "Spearman", "mean abs. gap", "median"])
    return PAGE.format(
        trends="\n".join(trend_rows(columns)),
        agreement="\n".join(
            [
                head,
                row(["---"] * 6),
                agreement("dimers, raw", points),
                agreement("dimers, mean of each element removed", centred(points)),
                agreement("dimers, own energy at 6 Å removed", free),
                agreement(f"the same, within {BOUND:.0f} eV/atom of isolated atoms", bound(free)),
                agreement("MatPES solids, raw", raw),
                agreement("MatPES solids, isolated atoms removed (cohesive energies)", cohesive),
            ]
        ),
        shifts="\n".join(shift_rows(columns)),
        wrong="\n".join(f"- {symbol} {why}" for symbol, why in wrong.items()),
        n_resamples=N_RESAMPLES,
        n_failed=n_failed,
        n_other=sum(not item["same_structure"] for item in solids.values()),
        n_solids=len(solids),
    )


PAGE = """# The elemental shift from PBE to r2SCAN: dimers, atoms and solids

Made by `python benchmarks/elements_and_dimers.py DATA docs/reports/elements-and-dimers.md`; nothing here is typed by hand
but the sentences. Dimers, atoms and solids are of elements with an even atomic number, CHGNet's references of all; energies
in eV/atom; in brackets 95 % intervals over elements ({n_resamples} resamples).

The sources: homonuclear dimers at 6 Å (half the energy of two atoms that hardly touch), isolated atoms and elemental solids
of MatPES, and the two vectors of references that CHGNet ships, fitted to MPtrj (PBE and PBE+U, corrected) and to MP-r2SCAN.
All were computed with VASP. In {n_other} of {n_solids} elements the solids of the two functionals are different structures,
the lowest of each.

## The shift follows the atomic number

{trends}

All columns tell one story: the shift is small for light elements and grows to tens of eV/atom for heavy ones, in step with
the atomic number. It is a property of the atom's core and its pseudopotential, not of any bond: isolated atoms show it as well
as solids do, and references fitted to compounds find it again. What differs between the columns, tenths of eV per atom, is
chemistry, and in the CHGNet column also Hubbard U, empirical corrections and other materials in the two fits.

## Before and after referencing

{agreement}

Left out of the dimers: {n_failed} points whose calculation failed with one of the functionals (energy 0).

Raw energies of the two functionals agree poorly, because the shift differs from element to element. Removing each functional's own zero per element makes them agree. What kind of zero, the mean of an
element or its isolated atoms, matters little for Pearson's coefficient, which large repulsive energies dominate; the rows with
bound dimers and cohesive energies, and the median next to the mean, are the sterner test. A high coefficient after
referencing is therefore no proof that gaps are small: read the gap in eV/atom.

## References that cannot be right

In the vectors that CHGNet ships, these elements are caught by name (`xferbench.references.implausible`) and left out above.
Subtracting such a reference, or adding it, is an error of tens of eV per atom:

{wrong}

## The shift of each element

{shifts}
"""


def main() -> None:
    """Write the page."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python benchmarks/elements_and_dimers.py DATA PAGE.md")
    write_text(Path(sys.argv[2]), report(Path(sys.argv[1])))
    print(f"wrote {sys.argv[2]}")


if __name__ == "__main__":
    main()

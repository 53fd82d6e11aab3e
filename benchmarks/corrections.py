"""How often models trained on corrected energies are told from others: python benchmarks/corrections.py [--sets N] [--rxnnet CSV].

Compounds are drawn from binaries of ten metals (three of which have a +U in oxides) with seven anions, the elements, and
peroxides; each is a material of one to four frames. A model's error is normal, half of its variance common to the frames of a
material, plus elemental offsets of several eV and the corrections times a factor β. Models of β = 0 and 1 are drawn again and
again; so are such with another systematic error that knows nothing of corrections: every element off by something.

With the table ``main`` of RxnNet (see ``rxnnet_table.py``) the same is measured on real errors of CHGNet 0.3, against GGA(+U)
energies with their corrections taken out again and left in. The table has no structures, so O is taken for oxide, and compounds
with more O than a peroxide may have are left to the rules of composition.
"""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xferbench.functionals import Functional
from xferbench.records import Frame
from xferbench.references.corrections import METALS_WITH_U, mp2020
from xferbench.scoring.corrections import Evidence, judge, without_elements
from xferbench.tasks import Bootstrap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

METALS = (3, 11, 12, 13, 20, 22, 30, 25, 26, 28)
ANIONS = (8, 16, 9, 17, 35, 7, 34)
OXYGEN, O_O = 8, {"oxide": 2.8, "peroxide": 1.5}
PLAN = Bootstrap(n=500, seed=0, confidence=0.95)
HEADING = """\
| materials | error, meV/atom | systematic | not identifiable | interval holds β | β = 0: corrected | uncorrected | β = 1: corrected | uncorrected |
|---|---|---|---|---|---|---|---|---|"""
SYSTEMATIC = {"none": None, "elements off": "element"}


def structure(numbers: tuple[int, ...], o_o: float) -> Frame:
    """Atoms far apart, but O in pairs."""
    positions = np.array([[0.0, 0.0, 5.0 * i] for i in range(len(numbers))])
    sites = [i for i, number in enumerate(numbers) if number == OXYGEN]
    for first, second in zip(sites[::2], sites[1::2], strict=False):
        positions[second] = positions[first] + [o_o, 0.0, 0.0]
    oxide_of_u = OXYGEN in numbers or 9 in numbers
    has_u = oxide_of_u and any(number in METALS_WITH_U for number in numbers)
    return Frame(
        frame_id="",
        pair_id="",
        material_id="",
        functional=Functional("PBE+U") if has_u else Functional("PBE"),
        numbers=np.array(numbers),
        positions=positions,
        cell=np.eye(3) * 5.0 * (len(numbers) + 3),
    )


def compounds() -> list[Frame]:
    """Elements, binaries of three stoichiometries, and peroxides."""
    found = [structure((number, number), 2.8) for number in (*METALS, *ANIONS)]
    for metal in METALS:
        for anion in ANIONS:
            found += [structure((metal,) * m + (anion,) * a, O_O["oxide"]) for m, a in ((1, 1), (1, 2), (2, 1))]
        found.append(structure((metal, metal, OXYGEN, OXYGEN), O_O["peroxide"]))
    return [frame for frame in found if mp2020(frame) is not None]


def data_set(
    stream: np.random.Generator, pool: list[Frame], n: int, *, beta: float, error: float, systematic: str | None
) -> Evidence:
    """One model on n materials."""
    chosen = stream.choice(len(pool), n, replace=False)
    frames, rest, names = [], [], []
    offset, bias = stream.normal(0, 3, 119), stream.normal(0, 0.1)
    for number in chosen.tolist():
        frame, common = pool[number], stream.normal(0, error * np.sqrt(0.5))
        is_element = len(set(frame.numbers.tolist())) == 1
        off = bias if systematic == "element" and is_element else 0.0
        for _ in range(stream.integers(1, 5)):
            frames.append(frame)
            names.append(f"{number:04d}")
            own = stream.normal(0, error * np.sqrt(0.5))
            rest.append(
                offset[frame.numbers].mean() + beta * (mp2020(frame) or 0.0) / frame.n_atoms + off + common + own
            )
    correction = [(mp2020(frame) or 0.0) / frame.n_atoms for frame in frames]
    left = without_elements([frame.numbers for frame in frames], np.array([rest, correction]).T)
    return Evidence(
        residual=left[:, 0], correction=left[:, 1], material=names, n_elements=elements_of(frames), n_unknown=0
    )


def elements_of(frames: list[Frame]) -> int:
    """How many there are."""
    return len({number for frame in frames for number in frame.numbers.tolist()})


def row(pool: list[Frame], n_sets: int, case: tuple[int, float, str]) -> str:
    """One line of the table: materials, error, systematic error."""
    n, error, systematic = case
    verdicts = {0.0: Counter[str](), 1.0: Counter[str]()}
    held = 0
    for beta, found in verdicts.items():
        stream = np.random.default_rng(n)
        for _ in range(n_sets):
            evidence = data_set(stream, pool, n, beta=beta, error=error, systematic=SYSTEMATIC[systematic])
            result = judge(evidence, plan=PLAN)
            found[result.verdict] += 1
            held += result.ci_low is not None and result.ci_high is not None and result.ci_low <= beta <= result.ci_high
    silent = sum(found["not_identifiable"] for found in verdicts.values())
    told = 2 * n_sets - silent
    cells = [n, f"{1000 * error:g}", systematic, f"{silent / (2 * n_sets):.0%}", f"{held / told:.0%}" if told else "-"]
    cells += [f"{found[name] / n_sets:.0%}" for found in verdicts.values() for name in ("corrected", "uncorrected")]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Print the tables of docs/identity.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--sets", type=int, default=200, help="simulated models per row")
    parser.add_argument("--rxnnet", type=Path, help="the table main of RxnNet, as CSV")
    arguments = parser.parse_args()
    pool = compounds()
    print(HEADING)
    for case in product((20, 40, 80, 200), (0.03, 0.1), SYSTEMATIC):
        print(row(pool, arguments.sets, case), flush=True)
    if arguments.rxnnet is not None:
        print("\n" + real(arguments.rxnnet))


def real(path: Path) -> str:
    """CHGNet 0.3 on compounds of the Materials Project."""
    from rxnnet_table import read

    rows = read(path)
    found = ["| labels | β | frames | telling materials | verdict |", "|---|---|---|---|---|"]
    frames = [_of_composition(numbers) for numbers in rows.numbers]
    corrections = np.array([np.nan if (value := mp2020(frame)) is None else value / frame.n_atoms for frame in frames])
    source, target, chgnet = (rows.values[name] for name in ("e_gga_gga_u", "e_r2scan", "e_chgnet"))
    for name, label in (
        ("uncorrected GGA(+U)", source - corrections),
        ("corrected GGA(+U)", source),
        ("r2SCAN", target),
    ):
        there = np.isfinite(corrections) & np.isfinite(chgnet - label)
        values = np.array([(chgnet - label)[there], corrections[there]]).T
        left = without_elements(rows.take(there), values)
        names = [f"{i:04d}" for i in np.flatnonzero(there).tolist()]
        taken = [frame for frame, kept in zip(frames, there, strict=True) if kept]
        evidence = Evidence(
            residual=left[:, 0],
            correction=left[:, 1],
            material=names,
            n_elements=elements_of(taken),
            n_unknown=int((~there).sum()),
        )
        result = judge(evidence, plan=PLAN)
        found.append(
            f"| {name} | {result.value:.2f} [{result.ci_low:.2f}, {result.ci_high:.2f}] | {result.n_frames} | {result.n_materials} | {result.verdict} |"
        )
    return "\n".join(found)


def _of_composition(numbers: NDArray[np.int64]) -> Frame:
    """A structure of O far apart, with +U where the Materials Project uses it."""
    return structure(tuple(numbers.tolist()), O_O["oxide"])


if __name__ == "__main__":
    main()

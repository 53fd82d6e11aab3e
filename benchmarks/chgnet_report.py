"""Measure the CHGNet engine against chgnet and write the tables of ``docs/performance.md``.

    python benchmarks/chgnet_report.py [SECTION ...] [--structures N] [--threads N]

Sections: parity, graph, predict, train, memory, scaling; all by default (about twenty minutes on one core).
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
SECTIONS = ("parity", "graph", "predict", "train", "memory", "scaling")
UNITS = {"energy": "eV/atom", "forces": "eV/Å", "stress": "GPa", "magmoms": "µB"}


def measure(section: str, *, structures: int, threads: int) -> Any:  # noqa: ANN401 - each section has its own shape
    """Run one section in its own process."""
    script, arguments = "chgnet_speed.py", [section, "--threads", str(threads)]
    if section == "parity":
        script, arguments = "chgnet_parity.py", ["--structures", str(structures)]
    command = [sys.executable, str(HERE / script), *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parity(found: Any) -> str:  # noqa: ANN401 - JSON
    """Deviations of every variant."""
    pairs = ["engine-chgnet", "engine-double", "chgnet-double", "double"]
    rows = []
    for result in found:
        for quantity, unit in UNITS.items():
            cells = [f"{result[pair][quantity]['max']:.0e} ({result[pair][quantity]['beyond']})" for pair in pairs]
            rows.append(
                [f"{result['variant']}, {result['structures']} {result['group']}", f"{quantity}, {unit}", *cells]
            )
    head = ["weights, structures", "quantity", "engine - chgnet", "engine - double", "chgnet - double", "both double"]
    return table(head, rows)


def graph(found: Any) -> str:  # noqa: ANN401 - JSON
    """Graph building."""
    rows = [
        [
            f"{name}: {result['structures']} crystals, {result['bonds']} bonds, {result['angles']} angles",
            f"{result['rate']['chgnet']:.0f}",
            *(_ratio(result["rate"][task], result["rate"]["chgnet"]) for task in ("graphs", "graphs and tensors")),
        ]
        for name, result in found.items()
    ]
    return table(["structures per CPU second", "chgnet, fast converter", "graphs", "graphs and tensors"], rows)


def predict(found: Any) -> str:  # noqa: ANN401 - JSON
    """Prediction."""
    peers = ["ASE calculator loop", "predict_structure, batch 16"]
    rows = []
    for name, rate in found.items():
        engine = rate["engine"]
        rows += [[name, task, f"{value:.1f}", ""] for task, value in rate.items() if not task.startswith("engine")]
        rows.append([name, "**engine**", f"**{engine:.1f}**", ", ".join(f"{engine / rate[p]:.1f}× {p}" for p in peers)])
        single, energy = rate["engine, one by one"], rate["engine, energy only"]
        rows.append([name, "engine, one by one", f"{single:.1f}", f"{single / rate[peers[0]]:.1f}× {peers[0]}"])
        own = rate["predict_structure, batch 16, energy only"]
        rows.append(
            [name, "engine, energy only", f"{energy:.1f}", f"{energy / own:.1f}× the same of predict_structure"]
        )
    return table(["crystals", "path", "structures per CPU second", "ratio"], rows)


def train(found: Any) -> str:  # noqa: ANN401 - JSON
    """Training."""
    rows = [["chgnet `Trainer`", f"{found['Trainer']:.1f}"], ["engine", _ratio(found["engine"], found["Trainer"])]]
    return table(["epoch of 32 MPtrj-like crystals, batch 8", "structures per CPU second"], rows)


def memory(found: Any) -> str:  # noqa: ANN401 - JSON
    """Memory."""
    theirs, ours = found["memory-chgnet"], found["memory-engine"]
    rows = [["chgnet", f"{theirs:.0f}"], ["engine", f"{ours:.0f} (1/{theirs / ours:.0f})"]]
    return table(["16 MPtrj-like crystals at once", "MiB added to the process"], rows)


def scaling(found: Any) -> str:  # noqa: ANN401 - JSON
    """Scaling."""
    atoms, number = found["per atom"], found["per structure of 8 atoms"]
    first = table(["atoms", *atoms], [["CPU ms per atom", *(f"{value:.2f}" for value in atoms.values())]])
    second = table(
        ["structures of 8 atoms", *number], [["CPU ms each", *(f"{value:.2f}" for value in number.values())]]
    )
    return f"{first}\n\n{second}"


def _ratio(value: float, peer: float) -> str:
    return f"{value:.0f} (**{value / peer:.1f}×**)"


def conditions(threads: int) -> str:
    """What was measured on what."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "chgnet", "numpy", "pymatgen"))
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {versions}; {threads} thread(s)."


def main() -> None:
    """Measure, and replace what stands between the markers of each section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--structures", type=int, default=1000, help="of the parity table")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    writers = {
        "parity": parity,
        "graph": graph,
        "predict": predict,
        "train": train,
        "memory": memory,
        "scaling": scaling,
    }
    unknown = set(arguments.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for section in arguments.sections or SECTIONS:
        print(f"measuring {section}", file=sys.stderr)
        found = measure(section, structures=arguments.structures, threads=arguments.threads)
        _write(section, f"{writers[section](found)}\n\n{conditions(arguments.threads)}")


def _write(section: str, text: str) -> None:
    """Replace what stands between the markers of a section."""
    start, end = f"<!-- {section} -->\n", f"<!-- end {section} -->"
    page = PAGE.read_text(encoding="utf-8")
    before, found, rest = page.partition(start)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        sys.exit(f"{PAGE} has no markers {start.strip()} and {end}")
    PAGE.write_text(f"{before}{start}{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()

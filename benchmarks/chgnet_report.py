"""Measure the CHGNet engine against chgnet and write the tables of ``docs/performance.md``.

    python benchmarks/chgnet_report.py [SECTION ...] [--structures N] [--more FILE ...] [--threads N]

Sections: parity, gradients, graphs, graph, cache, predict, precision, train, memory, scaling, threads; all of them by default
(about 20 minutes on one core); and gpu, on a machine that has one. ``--more`` as in ``chgnet_parity.py``.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from page import put

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
UNITS = {"energy": "eV/atom", "forces": "eV/Å", "stress": "GPa", "magmoms": "µB"}


def measure(section: str, arguments: argparse.Namespace) -> Any:  # noqa: ANN401 - each section has its own shape
    """Run one section in its own process."""
    threads = ["--threads", str(arguments.threads)]
    commands = {
        "parity": ["chgnet_parity.py", "--structures", str(arguments.structures), "--more", *arguments.more],
        "gradients": ["chgnet_gradients.py"],
        "graphs": ["chgnet_graphs.py"],
        "gpu": ["chgnet_gpu.py"],
        "threads": ["chgnet_speed.py", "predict", "--threads", "2"],
    }
    script, *rest = commands.get(section, ["chgnet_speed.py", section, *threads])
    command = [sys.executable, str(HERE / script), *rest]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parity(found: Any) -> str:  # noqa: ANN401 - JSON
    """How many structures exceed a limit, the populations, and the largest deviations of every variant."""
    pairs = ["engine-chgnet", "engine-double", "chgnet-double", "double", "moved"]
    names = ["engine - chgnet", "engine - double", "chgnet - double", "both double", "chgnet - chgnet moved"]
    populations, counts, rows = {}, [], []
    for result in found:
        group = result["group"]
        force = " / ".join(f"{value:.2g}" for value in result["force"])
        populations.setdefault(group, [group, f"{result['largest']}", f"{result['isolated']}", force])
        exceed = [f"{result['exceed'][pair]} of {result['compared'][pair]}" for pair in pairs]
        counts.append([result["variant"], group, *exceed])
        for quantity, unit in UNITS.items():
            cells = [f"{result[pair][quantity]['max']:.0e} ({result[pair][quantity]['beyond']})" for pair in pairs]
            rows.append([f"{result['variant']}, {result['structures']} {group}", f"{quantity}, {unit}", *cells])
    kinds = table(
        ["structures", "atoms at most", "left out: isolated atom", "largest force, eV/Å: median / 95 % / maximum"],
        list(populations.values()),
    )
    exceeding = table(["weights", "structures that exceed a limit", *names], counts)
    return f"{exceeding}\n\n{kinds}\n\n{table(['weights, structures', 'quantity', *names], rows)}"


def gradients(found: Any) -> str:  # noqa: ANN401 - JSON
    """Gradients of a training loss, the largest deviation of all batches."""
    names = {
        "engine-chgnet": "engine - chgnet",
        "engine-double": "engine - double",
        "chgnet-double": "chgnet - double",
        "double": "both double",
    }
    rows = [
        [name, *(f"{max(batch[pair][part] for batch in found):.0e}" for part in ("whole", "worst"))]
        for pair, name in names.items()
    ]
    return table([f"{len(found)} batches", "whole gradient", "the parameter array that deviates most"], rows)


def graphs(found: Any) -> str:  # noqa: ANN401 - JSON
    """Graphs compared as sets."""
    columns = ["crystals", "atoms", "bonds", "angles", "refused", "different"]
    total = {column: sum(result[column] for result in found.values()) for column in columns}
    rows = [[name, *(f"{result[column]:,}" for column in columns)] for name, result in {**found, "all": total}.items()]
    head = ["kind", "crystals", "atoms", "directed bonds", "angles", "refused by both: isolated atom", "different"]
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


def threads(found: Any) -> str:  # noqa: ANN401 - JSON
    """Prediction with two threads, in wall times."""
    return predict(found).replace("per CPU second", "per second")


def cache(found: Any) -> str:  # noqa: ANN401 - JSON
    """Graphs on disk."""
    rows = [
        [name, f"{result['build']:.0f}", f"{result['read']:.0f}", f"{result['kilobytes']:.0f}"]
        for name, result in found.items()
    ]
    return table(["crystals", "build, CPU µs each", "read, CPU µs each", "kB each"], rows)


def precision(found: Any) -> str:  # noqa: ANN401 - JSON
    """Shorter and longer numbers."""
    rows = [
        [name, f"{result['rate']:.0f}", *(f"{result[key][0]:.0e} / {result[key][1]:.0e}" for key in UNITS)]
        for name, result in found.items()
    ]
    units = [f"{key}, {unit}: largest / median" for key, unit in UNITS.items()]
    return table(["precision", "structures per CPU second", *units], rows)


def gpu(found: Any) -> str:  # noqa: ANN401 - JSON
    """Everything on a GPU."""
    loop = {name: rate["ASE calculator loop"] for name, rate in found["speed"].items()}
    speed = [
        [name, path, _ratio(value, loop[name]) if path.startswith("engine") else f"{value:.1f}"]
        for name, rate in found["speed"].items()
        for path, value in rate.items()
    ]
    exact = [
        [name, *(f"{result[key]['max']:.0e} ({result[key]['beyond']})" for key in UNITS)]
        for name, result in found["parity"].items()
    ]
    roof = [[name, f"{value:.3g}"] for name, value in found["roofline"].items()]
    return "\n\n".join(
        [
            f"{found['gpu']}.",
            table(["crystals", "path", "structures per second"], speed),
            table(["precision", *(f"{key}, {unit}" for key, unit in UNITS.items())], exact),
            table(["one batch of MPtrj-like crystals, network alone", ""], roof),
        ]
    )


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


WRITERS: dict[str, Callable[[Any], str]] = {
    "parity": parity,
    "gradients": gradients,
    "graphs": graphs,
    "graph": graph,
    "cache": cache,
    "predict": predict,
    "precision": precision,
    "train": train,
    "memory": memory,
    "scaling": scaling,
    "threads": threads,
    "gpu": gpu,
}
"""Sections of the page, and what makes their tables; ``gpu`` only if asked for."""


def conditions(threads: int) -> str:
    """What was measured on what."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "chgnet", "numpy", "pymatgen"))
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {versions}; {threads} thread(s){', wall times' if threads > 1 else ''}."


def main() -> None:
    """Measure, and replace what stands between the markers of each section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(WRITERS)}")
    parser.add_argument("--structures", type=int, default=1300, help="of the parity table")
    parser.add_argument("--more", nargs="*", default=[], metavar="FILE", help="structures for the parity table")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - set(WRITERS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    missing = [file for file in arguments.more if not Path(file).is_file()]
    if missing:
        parser.error(f"no such file: {', '.join(missing)}; sections stand before --more")
    sections = arguments.sections or [name for name in WRITERS if name != "gpu"]
    for number, section in enumerate(sections, start=1):
        print(f"{section}, {number} of {len(sections)}", file=sys.stderr, flush=True)
        start = time.perf_counter()
        found = measure(section, arguments)
        threads = 2 if section == "threads" else arguments.threads
        put(PAGE, section, f"{WRITERS[section](found)}\n\n{conditions(threads)}\n")
        print(f"{section}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

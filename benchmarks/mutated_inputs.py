"""What the command line makes of input with one mistake in it: read right, flagged, or refused by name; never silent.

    python benchmarks/mutated_inputs.py --inputs 300

A valid set of invented pairs, whose energies, forces and stresses belong together, is written to files and changed by one plausible
mistake: another packing, encoding, name of a key, unit, sign, order, number, file. `xferbench prepare`, `audit` and `score` then run on
it, each in a process of its own, and four things are counted, all of which should be zero:

- tracebacks;
- hangs of more than 60 s;
- exit codes other than 0, 2 and 3, or an error that is not one line;
- silent losses: exit code 0, no word about it, and what was prepared is not what the unchanged files say.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import gzip
import io
import json
import logging
import lzma
import os
import random
import re
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

TIMEOUT = 60
ELEMENTS = ("Li", "Na", "K", "Mg", "Ca", "Al")
PARTNERS = ("F", "Cl", "O", "S", "N")
ZERO = {"PBE": 0.0, "r2SCAN": -3.1}
GPA, KBAR = 160.2176634, 1602.176634

WORDS = re.compile(r"^note: |left out: (?!nothing)|could not be compared|nothing to compare|^Warning|labels: .*(\b0 (energy|forces|stress)|\d without)", re.MULTILINE)  # fmt: skip
"""What on the two streams counts as a word about it."""


def valid() -> dict[str, list[Atoms]]:
    """Pairs of 30 materials at three volumes each: two ions on the CsCl lattice, or four in two cells, one ion off its place.

    E = E0(elements) + n (K/2 x² + k/2 u²), x the linear strain and u the displacement in Å; the other functional is stiffer. Forces and
    stress follow: F = ∓n k u on the ion that moved, and V σ = n (K x (1 + x)/3 + k u uᵀ).
    """
    random_ = np.random.default_rng(7)
    sides: dict[str, list[Atoms]] = {"PBE": [], "r2SCAN": []}
    for metal in ELEMENTS:
        for other in PARTNERS:
            number = ELEMENTS.index(metal) * len(PARTNERS) + PARTNERS.index(other)
            length, cells = 3.0 + 0.03 * number, 1 + number % 2
            shifts = random_.uniform(-0.08, 0.08, (3, 3)) + np.array([0.04, 0.03, -0.02])
            for functional, atoms in sides.items():
                stiffer = 1.0 if functional == "PBE" else 1.07
                for x, u in zip((0.0, 0.012, 0.025), shifts, strict=True):
                    atoms.append(_crystal(metal, other, number, length, cells, x, u, functional, stiffer))
    return sides


def _crystal(metal, other, number, length, cells, x, u, functional, stiffer) -> Atoms:  # noqa: ANN001, PLR0917
    side = length * (1 + x)
    places, symbols = [], []
    for cell in range(cells):
        places += [[0.1, 0.2, 0.3 + cell * side], np.array([0.1, 0.2, 0.3 + cell * side]) + side / 2 + u]
        symbols += [metal, other]
    atoms = Atoms(symbols, positions=places, cell=[side, side, cells * side], pbc=True)
    bulk, spring = stiffer * (70.0 + number), stiffer * 3.0
    zero = ZERO[functional] - 2.0 - 0.1 * ELEMENTS.index(metal) - 0.3 * PARTNERS.index(other)
    forces = np.zeros((2 * cells, 3))
    forces[0::2], forces[1::2] = 2 * spring * u, -2 * spring * u
    virial = 2 * cells * (bulk * x * (1 + x) / 3 * np.eye(3) + spring * np.outer(u, u))
    stress = virial / atoms.get_volume()
    atoms.calc = SinglePointCalculator(
        atoms,
        energy=2 * cells * (zero + bulk * x**2 / 2 + spring * float(u @ u) / 2),
        forces=forces,
        stress=stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
    )
    atoms.info["material_id"] = f"m{number}"
    return atoms


def text_of(frames: list[Atoms]) -> str:
    """As extended XYZ."""
    stream = io.StringIO()
    write(stream, frames, format="extxyz")
    return stream.getvalue()


# mistakes of what is in a frame: (atoms, random) -> None


def _results(atoms: Atoms) -> dict:
    return atoms.calc.results


def scaled(name: str, factor: float):  # noqa: ANN201
    """A label times a factor, in all frames of a side."""

    def change(atoms: Atoms, _: random.Random) -> None:
        _results(atoms)[name] = _results(atoms)[name] * factor

    return change


def per_atom(atoms: Atoms, _: random.Random) -> None:
    """Energies per atom under the name of total ones."""
    _results(atoms)["energy"] /= len(atoms)


def zeros(name: str):  # noqa: ANN201
    """A label of zeros."""
    return scaled(name, 0.0)


def without(name: str):  # noqa: ANN201
    """A label that is missing."""

    def change(atoms: Atoms, _: random.Random) -> None:
        del _results(atoms)[name]

    return change


def reordered(atoms: Atoms, random_: random.Random) -> None:
    """Atoms in another order."""
    order = list(range(len(atoms)))
    random_.shuffle(order)
    calc = atoms.calc
    new = atoms[order]
    atoms.numbers, atoms.positions = new.numbers, new.positions
    calc.results["forces"] = calc.results["forces"][order]
    atoms.calc = calc


def images(atoms: Atoms, random_: random.Random) -> None:
    """Atoms in other cells: the same structure."""
    atoms.positions += (
        np.array([[random_.randint(-1, 1) for _ in range(3)] for _ in range(len(atoms))]) @ atoms.cell.array
    )


def shifted(atoms: Atoms, _: random.Random) -> None:
    """Another origin."""
    atoms.positions += 0.17


def rotated(atoms: Atoms, _: random.Random) -> None:
    """Other axes; the labels with them."""
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    calc = atoms.calc
    atoms.positions, atoms.cell = atoms.positions @ turn.T, atoms.cell.array @ turn.T
    calc.results["forces"] = calc.results["forces"] @ turn.T
    atoms.calc = calc


def rounded(digits: int):  # noqa: ANN201
    """Coordinates with few decimals."""

    def change(atoms: Atoms, _: random.Random) -> None:
        atoms.positions = np.round(atoms.positions, digits)

    return change


def open_boundaries(atoms: Atoms, _: random.Random) -> None:
    """Periodic in fewer directions."""
    atoms.pbc = (True, True, False)


def fractional(atoms: Atoms, _: random.Random) -> None:
    """Fractional coordinates where Cartesian ones belong."""
    atoms.positions = atoms.get_scaled_positions(wrap=False)


def no_cell(atoms: Atoms, _: random.Random) -> None:
    """Periodic without a lattice."""
    atoms.cell = np.zeros((3, 3))


FRAME_MISTAKES = {
    "stress in GPa": scaled("stress", GPA),
    "stress in kBar with VASP's sign": scaled("stress", -KBAR),
    "stress with the other sign": scaled("stress", -1.0),
    "gradients for forces": scaled("forces", -1.0),
    "forces in meV/Å": scaled("forces", 1000.0),
    "forces in Hartree/Bohr": scaled("forces", 0.529177 / 27.2114),
    "energies per atom": per_atom,
    "forces of zeros": zeros("forces"),
    "stress of zeros": zeros("stress"),
    "no forces": without("forces"),
    "no stress": without("stress"),
    "no energy": without("energy"),
    "another order of atoms": reordered,
    "other images": images,
    "another origin": shifted,
    "rotated axes": rotated,
    "coordinates of 4 decimals": rounded(4),
    "coordinates of 8 decimals": rounded(8),
    "periodic in two directions": open_boundaries,
    "fractional coordinates": fractional,
    "no lattice": no_cell,
}

# mistakes of the text of a file: (text, random) -> text


def _pick(text: str, random_: random.Random) -> int:
    """The line number, from 0, of a frame's comment."""
    return random_.choice([i for i, line in enumerate(text.splitlines()) if "Lattice" in line])


def on_line(change):  # noqa: ANN001, ANN201
    """A mistake in one comment line."""

    def mistake(text: str, random_: random.Random) -> str:
        lines = text.splitlines(keepends=True)
        i = _pick(text, random_)
        lines[i] = change(lines[i], random_)
        return "".join(lines)

    return mistake


def everywhere(pattern: str, into: str):  # noqa: ANN201
    """A key under another name, in all frames."""
    return lambda text, _: re.sub(pattern, into, text)


def truncated(text: str, random_: random.Random) -> str:
    """A file that ends somewhere."""
    return text[: random_.randrange(len(text) // 10, len(text) - 2)]


def garbled(text: str, random_: random.Random) -> str:
    """A character that is another one."""
    at = random_.randrange(len(text))
    return text[:at] + random_.choice("0O1l;,\"' \t#=é☃-") + text[at + 1 :]


def without_line(text: str, random_: random.Random) -> str:
    """A line that is missing."""
    lines = text.splitlines(keepends=True)
    del lines[random_.randrange(len(lines))]
    return "".join(lines)


def with_blank(text: str, random_: random.Random) -> str:
    """An empty line before a frame."""
    lines = text.splitlines(keepends=True)
    lines.insert(_pick(text, random_) - 1, "\n")
    return "".join(lines)


def doubled(text: str, _: random.Random) -> str:
    """The file twice over."""
    return text + text


def huge(text: str, _: random.Random) -> str:
    """A first line of nonsense."""
    return "999999999" + text[text.index("\n") :]


def counted(template: str):  # noqa: ANN201
    """A key for each frame, with its number."""

    def mistake(text: str, _: random.Random) -> str:
        numbers = iter(range(10**6))
        return re.sub(r"pbc=", lambda found: f"{template.format(next(numbers))} {found.group()}", text)

    return mistake


TEXT_MISTAKES = {
    "truncated": truncated,
    "a wrong character": garbled,
    "a missing line": without_line,
    "an empty line": with_blank,
    "the file twice over": doubled,
    "an absurd number of atoms": huge,
    "Windows line ends": lambda text, _: text.replace("\n", "\r\n"),
    "NaN for an energy": on_line(lambda line, _: re.sub(r"\benergy=\S+", "energy=nan", line)),
    "an energy of stars": on_line(lambda line, _: re.sub(r"\benergy=\S+", "energy=********", line)),
    "an energy of 1e300": on_line(lambda line, _: re.sub(r"\benergy=\S+", "energy=1e300", line)),
    "a key twice": on_line(lambda line, _: line.rstrip("\n") + " energy=-1.0\n"),
    "REF_energy": everywhere(r"\benergy=", "REF_energy="),
    "DFT_energy": everywhere(r"\benergy=", "DFT_energy="),
    "Energy": everywhere(r"\benergy=", "Energy="),
    "total_energy": everywhere(r"\benergy=", "total_energy="),
    "e_total_corrected": everywhere(r"\benergy=", "corrected_energy="),
    "REF_forces": everywhere(r":forces:", ":REF_forces:"),
    "force": everywhere(r":forces:", ":force:"),
    "dft_force": everywhere(r":forces:", ":dft_force:"),
    "F_total": everywhere(r":forces:", ":my_forces:"),
    "REF_stress": everywhere(r"\bstress=", "REF_stress="),
    "stress_GPa": everywhere(r"\bstress=", "stress_GPa="),
    "virial for a stress": everywhere(r"\bstress=", "virial="),
    "deuterium": lambda text, _: text.replace("\nLi ", "\nD "),
    "an unknown element": lambda text, _: text.replace("\nLi ", "\nXx "),
    "ids from zero": counted("pair_id={0}"),
    "ids with leading zeros": counted("pair_id=00{0}"),
    "one id for all": lambda text, _: re.sub(r"pbc=", "pair_id=all pbc=", text),
    "an unknown functional": lambda text, _: re.sub(r"pbc=", "functional=B97-X pbc=", text),
    "the other functional": lambda text, _: re.sub(r"pbc=", "functional=PBE pbc=", text),
    "numbers of Fortran": lambda text, _: re.sub(r"(\d\.\d+)(\n)", r"\1D+00\2", text),
    "decimal commas": lambda text, _: re.sub(r"(?<=\d)\.(?=\d)", ",", text),
}

# how a file is written: (path, text) -> the file's path


def _bytes(ending: str, made):  # noqa: ANN001, ANN202
    def put(path: Path, text: str) -> Path:
        path = path.with_name(path.name + ending)
        path.write_bytes(made(text))
        return path

    return put


def _zip(path: Path, text: str) -> Path:
    with zipfile.ZipFile(path.with_name(f"{path.name}.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"folder/{path.name}", text)
        archive.writestr(f"__MACOSX/._{path.name}", "x")
    return path.with_name(f"{path.name}.zip")


def _tar(path: Path, text: str) -> Path:
    with tarfile.open(path.with_name(f"{path.name}.tar.gz"), "w:gz") as archive:
        info = tarfile.TarInfo(path.name)
        info.size = len(text.encode())
        archive.addfile(info, io.BytesIO(text.encode()))
    return path.with_name(f"{path.name}.tar.gz")


WRITERS = {
    "plain": _bytes("", str.encode),
    "gzip": _bytes(".gz", lambda text: gzip.compress(text.encode())),
    "gzip without the ending": _bytes("", lambda text: gzip.compress(text.encode())),
    "an ending without gzip": _bytes(".gz", str.encode),
    "bzip2": _bytes(".bz2", lambda text: bz2.compress(text.encode())),
    "xz": _bytes(".xz", lambda text: lzma.compress(text.encode())),
    "damaged gzip": _bytes(".gz", lambda text: gzip.compress(text.encode())[:-20]),
    "UTF-16": _bytes("", lambda text: text.encode("utf-16")),
    "UTF-8 with a mark": _bytes("", lambda text: text.encode("utf-8-sig")),
    "Latin-1": _bytes("", lambda text: text.replace("pbc=", "who=é pbc=").encode("latin-1")),
    "zip": _zip,
    "tar": _tar,
    "a pickle": _bytes("", lambda text: b"\x80\x04" + text.encode()),
    "empty": _bytes("", lambda _: b""),
    "zero bytes": _bytes("", lambda text: text.encode()[:100] + bytes(64) + text.encode()[100:]),
    "noise": _bytes("", lambda text: np.random.default_rng(len(text)).bytes(5000)),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One input: what is wrong with it, the command, and how its result is compared with the truth."""

    name: str
    arguments: list[str]
    kind: str
    out: Path


def prepare_case(directory: Path, random_: random.Random) -> Case:  # noqa: C901, PLR0912
    """Two files of a set, one or both of them with a mistake."""
    sides = valid()
    where = random_.choice(["PBE", "r2SCAN", "both"])
    group = random_.choice(["frame", "frame", "text", "text", "writer", "layout"])
    put, texts = WRITERS["plain"], {}
    name = "nothing"
    if group == "frame":
        name = random_.choice(list(FRAME_MISTAKES))
        part = 1.0 if random_.random() < 0.7 else 0.3
        for side, frames in sides.items():
            for atoms in frames:
                if where in (side, "both") and random_.random() < part:
                    FRAME_MISTAKES[name](atoms, random_)
        name = f"{name} in {'all' if part == 1 else 'some'} frames"
    texts = {side: text_of(frames) for side, frames in sides.items()}
    if group == "text":
        name = random_.choice(list(TEXT_MISTAKES))
        texts = {
            side: TEXT_MISTAKES[name](text, random_) if where in (side, "both") else text
            for side, text in texts.items()
        }
    if group == "writer":
        name = random_.choice(list(WRITERS))
        put = WRITERS[name]
    paths = {
        side: (put if where in (side, "both") or group != "writer" else WRITERS["plain"])(
            directory / f"{side}.extxyz", text
        )
        for side, text in texts.items()
    }
    source = "extxyz"
    if group == "layout":
        name = random_.choice(
            [
                "one file copied",
                "one file twice",
                "same names in folders",
                "a database",
                "a trajectory",
                "swapped and missing",
            ]
        )
        if name == "one file copied":
            shutil.copy(paths["PBE"], paths["r2SCAN"])
        elif name == "one file twice":
            paths["r2SCAN"] = paths["PBE"]
        elif name == "same names in folders":
            for side, path in list(paths.items()):
                (directory / side).mkdir()
                paths[side] = Path(shutil.move(path, directory / side / "train.extxyz"))
        elif name == "swapped and missing":
            paths["r2SCAN"] = directory / "nothing.extxyz"
        else:
            source = "ase"
            for side, frames in sides.items():
                paths[side] = directory / f"{side}.{'db' if name == 'a database' else 'traj'}"
                if name == "a trajectory":
                    write(paths[side], frames)
                    continue
                with connect(paths[side]) as database:
                    for atoms in frames:
                        database.write(atoms, key_value_pairs={"material_id": atoms.info["material_id"]})
    out = directory / "out"
    arguments = ["prepare", source, *(f"--from={side}={path}" for side, path in paths.items()), "-o", str(out)]
    return Case(name=f"prepare: {name} ({where})", arguments=arguments, kind="prepare", out=out)


def _records() -> list[dict]:
    return [
        {"material_id": f"x-{i}", "formula": formula}
        for i, formula in enumerate(["LiF", "NaCl", "MgO", "Si", "GaAs", "AlN", "BN", "Cu", "Fe", "K", "Al", "C"])
    ]


def _columns(mark: str) -> str:
    return "".join(
        f"{row['material_id']}{mark}{row['formula']}\n"
        for row in [{"material_id": "material_id", "formula": "formula"}, *_records()]
    )


TRAINING = {
    "CSV": ("csv", _columns(",")),
    "semicolons": ("csv", _columns(";")),
    "tabs": ("tsv", _columns("\t")),
    "bars": ("txt", _columns("|")),
    "no header": ("csv", _columns(",").split("\n", 1)[1]),
    "formulas": ("txt", "\n".join(row["formula"] for row in _records())),
    "ids of elsewhere": ("txt", "\n".join(row["material_id"] for row in _records())),
    "JSON": ("json", json.dumps(_records())),
    "JSON lines": ("jsonl", "\n".join(map(json.dumps, _records()))),
    "JSON by column": (
        "json",
        json.dumps({key: {str(i): row[key] for i, row in enumerate(_records())} for key in ("material_id", "formula")}),
    ),
    "JSON split": (
        "json",
        json.dumps({"columns": ["material_id", "formula"], "data": [list(row.values()) for row in _records()]}),
    ),
    "JSON of other keys": ("json", json.dumps([{"a": 1, "b": row["formula"] + "?"} for row in _records()])),
    "deep JSON": ("json", "[" * 5000 + "]" * 5000),
    "extended XYZ": ("extxyz", text_of(valid()["PBE"])),
}


def audit_case(directory: Path, random_: random.Random) -> Case:
    """A training set against the embedded data set."""
    name, how = random_.choice(list(TRAINING)), random_.choice(list(WRITERS))
    ending, text = TRAINING[name]
    path = WRITERS[how](directory / f"train.{ending}", text)
    return Case(
        name=f"audit: {name}, {how}",
        arguments=["audit", "mini-static", "--train", str(path)],
        kind="audit",
        out=directory,
    )


def score_case(directory: Path, random_: random.Random) -> Case:
    """Predictions of the embedded data set, which are its labels, in a file with a mistake."""
    rows = json.loads((directory.parent / "predictions.json").read_text())
    name = random_.choice(["CSV", "JSON", "JSON by id", "JSON by column", "no header", "missing rows", "a row twice", "per atom", "words", "NaN", "empty cells", "semicolons"])  # fmt: skip
    table = [["frame_id", "energy"], *([row["frame_id"], row["energy"]] for row in rows)]
    if name == "missing rows":
        del table[5:9]
    if name == "a row twice":
        table.append(table[3])
    if name == "per atom":
        table = [table[0], *([row["frame_id"], row["energy"] / row["n"]] for row in rows)]
    if name in {"words", "NaN", "empty cells"}:
        table[7][1] = {"words": "failed", "NaN": "nan", "empty cells": ""}[name]
    if name == "no header":
        table = table[1:]
    ending, text = "csv", "".join(f"{a};{b}\n" if name == "semicolons" else f"{a},{b}\n" for a, b in table)
    if name.startswith("JSON"):
        ending = "json"
        plain = [dict(zip(table[0], row, strict=True)) for row in table[1:]]
        text = json.dumps(
            plain if name == "JSON" else {row["frame_id"]: row["energy"] for row in plain} if name == "JSON by id"
            else {key: [row[key] for row in plain] for key in table[0]}
        )  # fmt: skip
    how = random_.choice(list(WRITERS)) if random_.random() < 0.4 else "plain"
    path = WRITERS[how](directory / f"predictions.{ending}", text)
    out = directory / "out"
    arguments = ["score", str(path), "--model-id", "m", "--functional", "r2SCAN", "-o", str(out)]
    return Case(name=f"score: {name}, {how}", arguments=arguments, kind="score", out=out)


def facts_of(directory: Path) -> list[tuple]:
    """What a prepared data set says, pair by pair, whatever the order of atoms, axes and ids."""
    from xferbench.dataset import Dataset

    rows = []
    for pair in Dataset.open(directory).pairs():
        row = [pair.material_id, str(pair.target.atoms().symbols.formula.format("hill"))]
        for frame in (pair.source, pair.target):
            forces = [] if frame.forces is None else [*np.linalg.norm(frame.forces, axis=1), _outwards(frame)]
            stress = [] if frame.stress is None else np.linalg.eigvalsh(frame.stress)
            lengths = sorted(np.linalg.norm(frame.cell, axis=1))
            row += [float(value) for value in (frame.energy, *sorted(forces), *stress, *lengths)]
        rows.append(tuple(row))
    return sorted(rows)


def alike(found: list[tuple], wanted: list[tuple]) -> bool:
    """Whether two data sets say the same, up to the 8 decimals that extended XYZ keeps of positions and forces."""
    if [(row[:2], len(row)) for row in found] != [(row[:2], len(row)) for row in wanted]:
        return False
    return all(np.allclose(one[2:], other[2:], rtol=0, atol=1e-5) for one, other in zip(found, wanted, strict=True))


def _outwards(frame) -> float:  # noqa: ANN001
    """Sum over couples of atoms of the force that drives them apart: changes its sign with the forces."""
    from ase.geometry import get_distances

    apart, _ = get_distances(frame.positions, cell=frame.cell, pbc=True)
    return float(((frame.forces[None] - frame.forces[:, None]) * apart).sum())


def run(arguments: list[str], directory: Path) -> tuple[int | None, str, str, float]:
    """A command in a child of this process: exit code, nothing if it hung, its two streams, and seconds."""
    started = time.monotonic()
    streams = [directory / name for name in ("stdout", "stderr")]
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            for number, path in enumerate(streams, start=1):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = (os.fdopen(number, "w") for number in (1, 2))  # whoever started this may hold them
            logging.getLogger().handlers.clear()
            sys.argv = ["xferbench", *arguments]
            from xferbench.cli import run as command

            command()
        os._exit(70)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done or time.monotonic() - started > TIMEOUT:
            break
        time.sleep(0.01)
    if not done:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    texts = [path.read_text(errors="replace") if path.exists() else "" for path in streams]
    return (os.waitstatus_to_exitcode(status) if done else None), texts[0], texts[1], time.monotonic() - started


def judge(case: Case, code: int | None, stdout: str, stderr: str, truth: dict) -> str:
    """``right``, ``told``, ``refused``; or which of the four faults it is."""
    if code is None:
        return "hang"
    if "Traceback" in stderr:
        return "traceback"
    if code not in {0, 2, 3}:
        return "wrong exit code"
    if code != 0:
        errors = [line for line in stderr.splitlines() if line.startswith(("Error: ", "Usage: "))]
        return "refused" if len(errors) >= 1 and len(errors[-1]) > 30 else "wrong exit code"
    told = WORDS.search(stdout + stderr) is not None
    if case.kind == "prepare":
        same = alike(facts_of(case.out), truth["prepare"])
    elif case.kind == "audit":
        found = re.findall(r"^  (seen-structure|new-material|new-chemsys) +(\d+)", stdout, re.MULTILINE)
        same = found in truth["audit"]
    else:
        (result,) = case.out.glob("results/*/m.json")
        value = json.loads(result.read_text())
        energy = next(
            item for item in value["metrics"] if item["name"] == "energy_mae" and item["reference"] == "aligned"
        )
        same = abs(energy["value"]) < 1e-9 and value["counts"]["failed"] == 0
        told = told or value["counts"]["failed"] > 0
    return "right" if same else "told" if told else "silent loss"


def main() -> None:
    """Count, and leave with 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="Say what came of each.")
    options = parser.parse_args()
    outcomes, faults = survey(options.inputs, options.seed, show=options.show)
    for name in ("right", "told", "refused"):
        print(f"{outcomes[name]:5d} {name}")
    for name in ("traceback", "hang", "wrong exit code", "silent loss"):
        print(f"{outcomes[name]:5d} {name}")
    for line in faults:
        print(line)
    sys.exit(1 if faults else 0)


def survey(inputs: int, seed: int = 0, *, show: bool = False) -> tuple[Counter[str], list[str]]:
    """Outcome -> inputs, and a line about each fault."""
    import xferbench.api  # noqa: F401 - once, for all children
    from xferbench import dataset

    outcomes: Counter[str] = Counter()
    faults = []
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        os.environ["XFERBENCH_CACHE"] = str(root / "cache")
        os.environ["XFERBENCH_OFFLINE"] = "1"
        truth = _truth(root, dataset)
        for number in range(inputs):
            random_ = random.Random(f"{seed}-{number}")  # noqa: S311 - to be repeated
            directory = root / str(number)
            directory.mkdir()
            make = random_.choices([prepare_case, audit_case, score_case], [7, 2, 1])[0]
            case = make(directory, random_)
            code, stdout, stderr, seconds = run(case.arguments, directory)
            verdict = judge(case, code, stdout, stderr, truth)
            outcomes[verdict] += 1
            last = (stderr.strip().splitlines() or stdout.strip().splitlines() or [""])[-1][:220]
            if show:
                print(f"{number:4d} {verdict:16s} {seconds:5.1f} s  {case.name}: {last}", flush=True)
            if verdict in {"traceback", "hang", "wrong exit code", "silent loss"}:
                faults.append(f"{verdict}: input {number} of seed {seed}, {case.name}; exit code {code}: {last}")
            shutil.rmtree(directory)
    return outcomes, faults


def _truth(root: Path, dataset) -> dict:  # noqa: ANN001
    """What the unchanged files give."""
    (root / "valid").mkdir()
    paths = []
    for side, frames in valid().items():
        path = root / "valid" / f"{side}.extxyz"
        path.write_text(text_of(frames))
        paths.append(Path(f"{side}={path}"))
    dataset.prepare("extxyz", root / "valid" / "out", paths=paths)
    mini = dataset.prepare("mini")
    rows = [
        {"frame_id": frame.frame_id, "energy": frame.energy, "n": frame.n_atoms}
        for split in ("train", "test")
        for frame in mini.frames("target", split)
    ]
    (root / "predictions.json").write_text(json.dumps(rows))
    found = []
    for name in ("CSV", "extended XYZ", "formulas"):
        ending, text = TRAINING[name]
        path = root / "valid" / f"train.{ending}"
        path.write_text(text)
        _, stdout, _, _ = run(["audit", "mini-static", "--train", str(path)], root)
        found.append(re.findall(r"^  (seen-structure|new-material|new-chemsys) +(\d+)", stdout, re.MULTILINE))
    return {"prepare": facts_of(root / "valid" / "out"), "audit": found}


if __name__ == "__main__":
    main()

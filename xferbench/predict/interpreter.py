"""The Python that runs a model: this one, one that is named, or one made for the model from its ``env.toml``.

```toml
# env.toml, beside model.py
[env]
requirements = ["sevenn==0.13.0", "torch==2.13.0"]  # as pip reads them, or the name of a requirements file
python = "3.11"                                     # optional, and needs uv: otherwise the Python of xferbench
```

The environment is made once, with ``uv`` where there is one, else with ``venv`` and ``pip``, and kept in the cache under a hash of
what it is made from. It gets numpy and ASE besides; nothing else of ours.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping  # noqa: TC003 - schema reads the annotations
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from xferbench.errors import FormatError, ModelError, UsageError
from xferbench.schema import parse, read_toml
from xferbench.storage import disk_errors, lock, read_bytes, write_text

LOGGER = logging.getLogger("xferbench.predict")

OLDEST = (3, 11)
"""Of a model's interpreter: what this package's source is written for."""

NEEDED = ("numpy", "ase")
"""What the process that serves a model imports."""

FILE = "env.toml"

PACKAGES = (
    "ase", "alignn", "chgnet", "cuequivariance-torch", "deepmd-kit", "dgl", "diep", "e3nn", "fairchem-core", "jax", "mace-torch",
    "matgl", "mattersim", "metatrain", "nequip", "numpy", "orb-models", "scipy", "sevenn", "tensorflow", "tensorpotential", "torch",
    "torch-geometric", "torch-sim-atomistic", "upet",
)  # fmt: skip
"""Whose versions are recorded with predictions, where installed: what commonly decides a potential's numbers."""

DESCRIBE = """
import json, sys
facts = {"executable": sys.executable, "prefix": sys.prefix, "base_prefix": sys.base_prefix, "path": sys.path[1:]}
facts["version"] = list(sys.version_info[:3])
versions, missing = {"python": ".".join(map(str, sys.version_info[:3]))}, []
if sys.version_info >= (3, 8):
    from importlib import metadata, util
    for name in json.loads(sys.argv[1]):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    missing = [name for name in json.loads(sys.argv[2]) if util.find_spec(name) is None]
facts["versions"], facts["missing"] = versions, missing
print(json.dumps(facts))
"""
"""Run by an interpreter to describe itself, older ones included; it imports nothing that is installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python that can run a model.

    Attributes:
        executable: Its path, as it must be started: a virtual environment is found through it.
        prefixes: Directories of the environment and of the Python it was made with.
        path: ``sys.path`` without the first entry.
        versions: Of Python, of those of ``PACKAGES`` that are installed there, and of this package, which is brought along.
    """

    executable: str
    prefixes: tuple[str, ...]
    path: tuple[str, ...]
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Env:
    requirements: Any
    python: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    env: _Env


def find(model: Path | None, cache: Path, *, python: Path | None = None, env: Path | None = None) -> Interpreter:
    """The interpreter for a model: the one named, else that of its ``env.toml``, else this one.

    Args:
        model: The user's file; ``None`` for a built-in model.
        cache: Where environments that have to be made are kept.
        python: A Python to use.
        env: A virtual environment, or conda environment, to use.

    Raises:
        UsageError: Both are named, or it is not there, cannot be run, is too old, or lacks numpy or ASE.
        ModelError: The environment of ``env.toml`` cannot be made.
        FormatError: ``env.toml`` is not one.
        StorageError: The disk refuses.
    """
    if python is not None and env is not None:
        raise UsageError("--python and --env both name the model's interpreter; give one of them")
    if env is not None:
        python = env / "bin" / "python"
        if not python.exists():
            raise UsageError(f"--env {env}: there is no {python}; give the directory of a virtual environment")
    if python is None and model is not None and (model.parent / FILE).is_file():
        python = make(model.parent / FILE, cache)
    return describe(Path(sys.executable) if python is None else python)


@cache
def describe(python: Path) -> Interpreter:
    """Ask an interpreter what it is.

    Raises:
        UsageError: It cannot be run, is too old, or lacks what serving a model needs.
    """
    # not resolved: a virtual environment is found through the link that it is started by
    executable = shutil.which(python) or str(python)
    try:
        found = subprocess.run(
            [os.path.abspath(executable), "-c", DESCRIBE, json.dumps(PACKAGES), json.dumps(NEEDED)],  # noqa: PTH100 - as above
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        facts = json.loads(found.stdout.splitlines()[-1])
    except FileNotFoundError as error:
        raise UsageError(f"{python} does not exist; give the path of a Python") from error
    except subprocess.CalledProcessError as error:
        raise UsageError(f"{python} cannot be used: {_last(error.stderr)}") from error
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{python} is not a Python that runs ({error})") from error
    version = ".".join(map(str, facts["version"]))
    if tuple(facts["version"][:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise UsageError(
            f"{python} is Python {version}; a model needs {oldest} or newer: make it an environment with that"
        )
    if facts["missing"]:
        wanted = " ".join(facts["missing"])
        raise UsageError(f"{python} lacks {wanted}; install it there: {python} -m pip install {wanted}")
    return Interpreter(
        executable=facts["executable"],
        prefixes=tuple(dict.fromkeys((facts["prefix"], facts["base_prefix"]))),
        path=tuple(item for item in facts["path"] if item),
        versions={**facts["versions"], "xferbench": metadata.version("xferbench")},
    )


def make(file: Path, cache: Path) -> Path:
    """The Python of the environment that an ``env.toml`` asks for, made if it is not there yet.

    Raises:
        FormatError: The file does not follow its schema.
        ModelError: Something cannot be installed.
        StorageError: The disk refuses, or another run is making the same environment.
    """
    wanted, python = _read(file)
    uv = shutil.which("uv")
    if python is not None and uv is None:
        raise ModelError(f"{file}: python = {python!r} needs uv to be made; install uv, or give --python")
    names = [*wanted, *NEEDED]
    base = python or f"{sys.implementation.name} {platform.python_version()}"
    key = sha256(json.dumps([names, base, platform.machine(), platform.system()]).encode()).hexdigest()[:16]
    directory = cache / "envs" / key
    executable, done = directory / "bin" / "python", directory / "xferbench-env.json"
    if done.exists():
        return executable
    with lock(directory):
        if not done.exists():
            LOGGER.warning("making the environment of %s in %s: %s", file, directory, ", ".join(wanted))
            with disk_errors("write", directory):
                shutil.rmtree(directory, ignore_errors=True)  # of a run that was stopped
            for command in _commands(directory, names, python, uv):
                _run(command, file)
            write_text(done, json.dumps({"requirements": names, "python": base}) + "\n")
    return executable


def _read(file: Path) -> tuple[list[str], str | None]:
    """Requirements, one each as pip reads them, and the version of Python."""
    env = parse(_File, read_toml(file), file).env
    wanted = env.requirements
    if isinstance(wanted, str):
        lines = read_bytes(file.parent / wanted).decode(errors="replace").splitlines()
        wanted = [text for line in lines if (text := line.partition(" #")[0].strip()) and not text.startswith("#")]
    if not isinstance(wanted, list) or not wanted or not all(isinstance(item, str) for item in wanted):
        raise FormatError(
            f"{file}: env.requirements must be a list of texts or the name of a requirements file, with at least one"
        )
    options = [item for item in wanted if item.startswith("-")]
    if options:
        raise FormatError(
            f"{file}: {options[0]!r} is an option, not a requirement; set it in the configuration of pip or uv"
        )
    return [str(file.parent / item) if item.startswith("./") else item for item in wanted], env.python


def _commands(directory: Path, names: list[str], python: str | None, uv: str | None) -> list[list[str]]:
    executable = str(directory / "bin" / "python")
    if uv is not None:
        base = python or sys.executable
        return [
            [uv, "venv", "--quiet", "--python", base, str(directory)],
            [uv, "pip", "install", "--quiet", "--python", executable, *names],
        ]
    return [
        [sys.executable, "-m", "venv", str(directory)],
        [executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *names],
    ]


def _run(command: list[str], file: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise ModelError(
            f"{file}: its environment cannot be made: {Path(command[0]).name}: {_last(done.stderr or done.stdout)}"
        )


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("[notice]")]
    return " | ".join(lines[-2:])[-400:] or "it printed nothing"

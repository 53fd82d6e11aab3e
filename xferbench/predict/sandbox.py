"""How far a model's process is kept from everything else: the command that starts it, its environment and its limits.

| mode | what it is |
|---|---|
| ``bwrap`` | bubblewrap: no network, no processes but its own, and of the disk the system, its interpreter and its own folder, to read |
| ``process`` | a process with limits, an environment of a few variables and a temporary directory of its own |
| ``none`` | a process with an environment of a few variables |

``auto`` is ``bwrap`` where bubblewrap works, else ``process``. What each stops and does not stop is in ``docs/security.md``.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from xferbench.errors import UsageError
from xferbench.models.source import copy_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from xferbench.predict.interpreter import Interpreter

MODES = ("auto", "bwrap", "process", "none")

ALLOWED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TZ|LANG|LANGUAGE|LC_\w+|LD_LIBRARY_PATH|DYLD_LIBRARY_PATH|XDG_CACHE_HOME|HF_HOME|HF_HUB_OFFLINE"
    r"|SSL_CERT_FILE|SSL_CERT_DIR|PYTHONHASHSEED|PYTHONWARNINGS|SYSTEMROOT"
    r"|(OMP|MKL|OPENBLAS|BLIS|NUMEXPR|KMP|GOMP|VECLIB|CUDA|NVIDIA|CUDNN|NCCL|CUBLAS|HIP|ROCR|HSA|ROCM|XLA|JAX|TF|TORCH|PYTORCH|TRITON|DP)_\w+"
)
"""Environment variables that a model is given: what decides where programs, libraries and weights are found, and how many threads
and which device are used."""

SECRET = re.compile(r"TOKEN|SECRET|PASSW|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIAL|AUTH", re.IGNORECASE)
"""Of these, names that are never handed over unless asked for."""

THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt/rocm", "/opt/intel", "/nix/store", "/gnu/store")
"""Directories with the programs and libraries of the system."""

SETTINGS = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "nsswitch.conf", "fonts", "OpenCL", "nvidia", "passwd", "group",
)  # fmt: skip
"""Files and folders of ``/etc`` that libraries read."""

DEVICES = ("/dev/nvidia*", "/dev/dri", "/dev/kfd", "/sys")
"""What a GPU is reached through."""

FILE_SIZE = 8 << 30
"""Bytes of the largest file a model may write."""

PROCESSES = 4096
"""Processes and threads under bubblewrap, which counts them for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a model's process is kept apart.

    Attributes:
        mode: One of ``MODES``.
        read: Further files and directories that a model may read under bubblewrap: weights outside its folder.
        variables: Names of environment variables to hand over besides those of ``ALLOWED``.
        memory: Bytes of memory it may have; by default what the machine has, and any amount on a GPU, whose driver reserves
            addresses as it likes.
        hidden: Directories that are never shown under bubblewrap, also where one that is shown holds them: data sets, results.
    """

    mode: str = "auto"
    read: Sequence[Path] = ()
    variables: Sequence[str] = ()
    memory: int | None = None
    hidden: Sequence[Path] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start the process that serves a model; the descriptors of its pipes are appended to the command.

    Attributes:
        command: Up to and without the descriptors.
        environment: All of it.
        limits: For ``server.limit``.
        isolation: ``bwrap``, ``process`` or ``none``.
        versions: Of the interpreter and its packages.
        source: Hash of the source that serves the model; see ``models.source``.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    limits: Mapping[str, int]
    isolation: str
    versions: Mapping[str, str]
    source: str

    def arguments(self, *descriptors: int) -> list[str]:
        """The whole command."""
        return [*self.command, *map(str, descriptors), json.dumps(self.limits)]


def isolation(mode: str) -> str:
    """What a mode comes to on this machine: ``bwrap``, ``process`` or ``none``.

    Raises:
        UsageError: No such mode, or bubblewrap is asked for and does not work here.
    """
    if mode not in MODES:
        raise UsageError(f"unknown sandbox {mode!r}; known: {', '.join(MODES)}")
    if mode not in {"auto", "bwrap"}:
        return mode
    why = bubblewrap_fails()
    if mode == "bwrap" and why:
        raise UsageError(
            f"--sandbox bwrap: {why}; install bubblewrap, or choose --sandbox process, which keeps no label secret"
        )
    return "process" if why else "bwrap"


@cache
def bubblewrap_fails() -> str | None:
    """Why bubblewrap cannot be used here; ``None`` if it can. Containers often forbid the name spaces it needs."""
    program = shutil.which("bwrap")
    if program is None:
        return "there is no program bwrap"
    command = [program, "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return f"bwrap fails here: {tried.stderr.strip()[:200]}" if tried.returncode else None


@contextmanager
def launching(
    interpreter: Interpreter, model: Path | None, options: Options, *, device: str, threads: int | None
) -> Iterator[Launch]:
    """A way to start the model's process, and the directory it needs, which is removed at the end.

    Args:
        interpreter: To run it with.
        model: The user's file; ``None`` for a built-in model.
        options: How it is kept apart.
        device: As the framework names it.
        threads: Of each process; ``None`` leaves it to the libraries.

    Raises:
        UsageError: See ``isolation``; or the folder of the model would show too much.
        StorageError: The disk refuses.
    """
    kind = isolation(options.mode)
    with tempfile.TemporaryDirectory(prefix="xferbench-model-", ignore_cleanup_errors=True) as name:
        private = Path(name).resolve()
        code, scratch = private / "code", private / "tmp"
        source = copy_source(code)
        scratch.mkdir()
        start = f"import sys; sys.path.insert(0, {str(code)!r}); from xferbench.models.server import main; main(sys.argv[1:])"
        command = [interpreter.executable, "-u", "-P", "-X", "faulthandler", "-c", start]
        variables = environment(os.environ, options.variables, threads)
        if kind != "none":
            variables["TMPDIR"] = "/tmp" if kind == "bwrap" else str(scratch)  # noqa: S108 - the sandbox's own
        if kind == "bwrap":
            variables |= {"HOME": "/tmp", "XDG_CACHE_HOME": "/tmp/.cache"}  # noqa: S108 - as above
            command = [*_bubblewrap(interpreter, model, code, options, device), *command]
        yield Launch(
            command=tuple(command),
            environment=variables,
            limits={} if kind == "none" else _limits(options, device, kind),
            isolation=kind,
            versions=interpreter.versions,
            source=source,
        )


def environment(variables: Mapping[str, str], more: Sequence[str] = (), threads: int | None = None) -> dict[str, str]:
    """What of the environment a model is given: a few variables, one order of sets in every process, the number of threads."""
    kept = {
        name: value
        for name, value in variables.items()
        if name in more or (ALLOWED.fullmatch(name) and not SECRET.search(name))
    }
    if threads is not None:
        kept |= dict.fromkeys(THREADS, str(threads))
    return {"PYTHONHASHSEED": "0", **kept}


@contextmanager
def undumpable() -> Iterator[None]:
    """Keep other processes of this user out of this one's memory and ``/proc`` entries meanwhile, where Linux can.

    Does not hold against the superuser.
    """
    before = _dumpable()
    if before is not None:
        _prctl(4, 0)
    try:
        yield
    finally:
        if before is not None:
            _prctl(4, before)


def _dumpable() -> int | None:
    return _prctl(3, 0) if sys.platform == "linux" else None


def _prctl(option: int, value: int) -> int | None:
    """``prctl``: 3 gets and 4 sets PR_DUMPABLE (linux/prctl.h)."""
    with suppress(OSError, AttributeError):
        return int(ctypes.CDLL(None).prctl(option, value, 0, 0, 0))
    return None


def _limits(options: Options, device: str, kind: str) -> dict[str, int]:
    limits = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": FILE_SIZE}
    if kind == "bwrap":
        limits["RLIMIT_NPROC"] = PROCESSES
    if options.memory is not None:
        limits["RLIMIT_DATA"] = options.memory
    elif device == "cpu":
        with suppress(ValueError, OSError):
            limits["RLIMIT_DATA"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return limits


def _bubblewrap(interpreter: Interpreter, model: Path | None, code: Path, options: Options, device: str) -> list[str]:
    """The command that builds the sandbox: mounts in order, later ones over earlier ones."""
    command = [shutil.which("bwrap") or "bwrap", "--unshare-all", "--die-with-parent", "--cap-drop", "ALL"]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - the sandbox's own
    for system in (*SYSTEM, *(f"/etc/{name}" for name in SETTINGS), "/sys/devices/system/cpu"):
        command += ["--ro-bind-try", system, system]
    if device != "cpu":
        for pattern in DEVICES:
            for path in sorted(Path("/").glob(pattern[1:])):
                command += ["--dev-bind-try", str(path), str(path)]
    shown = _python_paths(interpreter)
    if model is not None:
        shown.append(_own_folder(model))
    shown += [path.resolve() for path in options.read]
    for path in sorted(dict.fromkeys(shown)):
        command += ["--ro-bind-try", str(path), str(path)]
    for path in _masked(interpreter, shown, options.hidden):
        command += ["--tmpfs", str(path)]
    command += ["--ro-bind", str(code), str(code)]
    return [*command, "--chdir", "/tmp" if model is None else str(model.parent), "--"]  # noqa: S108 - the sandbox's own


def _python_paths(interpreter: Interpreter) -> list[Path]:
    """What an interpreter reads, without the sources of a checkout of this package, where labels may lie."""
    prefixes = [Path(prefix) for prefix in interpreter.prefixes]
    prefixes += [Path(prefix).resolve() for prefix in interpreter.prefixes]
    prefixes.append(Path(interpreter.executable).parent)
    paths = [path for path in map(Path, interpreter.path) if not _is_checkout(path, prefixes)]
    return [path for path in [*prefixes, *paths] if path.exists() and path != Path("/")]


def _is_checkout(path: Path, prefixes: Sequence[Path]) -> bool:
    return (path / "xferbench" / "__init__.py").exists() and not any(path.is_relative_to(prefix) for prefix in prefixes)


def _masked(interpreter: Interpreter, shown: Sequence[Path], hidden: Sequence[Path]) -> list[Path]:
    """Directories with labels or results that lie in what is shown."""
    installed = [Path(path) / "xferbench" for path in interpreter.path]
    candidates = [path.resolve() for path in (*installed, *hidden) if path.is_dir()]
    return sorted({path for path in candidates if any(path.is_relative_to(item.resolve()) for item in shown)})


def _own_folder(model: Path) -> Path:
    """The folder of a model's file, which it may read.

    Raises:
        UsageError: It is one that holds everything else, too.
    """
    folder = model.parent.resolve()
    home = Path.home().resolve()
    if home.is_relative_to(folder):
        raise UsageError(
            f"{model} lies in {folder}, all of which it would see; put it into a folder of its own, or choose --sandbox process"
        )
    return folder

"""A model served to a run over two pipes: the program of the model's own process, in the model's own interpreter.

It needs Python 3.11, numpy, ASE and this package's source, which the run brings along; nothing else of ours. Messages are those
of ``wire``:

| request | reply |
|---|---|
| ``{"do": "load", "spec": {...}, "device": "cpu"}`` | what the model declares, the hash of its file, and of the source that serves it |
| ``{"do": "predict"}`` and structures | answers; ``seconds`` of the model's call, ``memory`` in bytes at its highest |
| ``{"do": "check"}`` | ``{"checks": [...], "energies": [...]}`` |

What goes wrong as a whole is ``{"failed": text, "kind": "ModelError"}``, the kind being a class of ``errors.py`` or null. With
``"memory_full": true`` the batch may work in parts. With ``"broken": true`` the process cannot go on: its GPU context is lost,
and every further call would fail, guilty or not.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from xferbench.errors import ModelError, XferbenchError
from xferbench.models.check import check_model
from xferbench.models.contract import Results, describe, normalise
from xferbench.models.loading import load
from xferbench.models.source import source_sha256, spec_sha256
from xferbench.models.spec import ModelSpec
from xferbench.models.wire import HEAD, Answers, Structures, decode, encode, length
from xferbench.storage import read_bytes, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from xferbench.models.contract import Model

Message = tuple[dict[str, Any], "dict[str, NDArray[Any]]"]


def main(arguments: Sequence[str]) -> None:
    """Answer requests until the run closes the pipe.

    Args:
        arguments: File descriptors of requests, replies and lifeline, and the limits of ``limit``.
    """
    requests, replies, lifeline = map(int, arguments[:3])
    guard(lifeline)
    limit(json.loads(arguments[3]))
    for descriptor in (requests, replies):
        os.set_inheritable(descriptor, False)
    # a model file may read the command line
    del sys.argv[1:]
    own = os.getpid()
    server = Server()
    with os.fdopen(requests, "rb") as stream, os.fdopen(replies, "wb") as answers:
        while data := _read(stream):
            reply = encode(*server.answer(*decode(data)))
            if os.getpid() != own:
                # a child that the model forked has come back into this loop; it must not answer in its parent's name
                os._exit(0)
            answers.write(reply)
            answers.flush()


def _read(stream: BinaryIO) -> bytes:
    """The next message; nothing once the pipe is closed."""
    head = stream.read(HEAD.size)
    size = length(head)
    return b"" if size is None else head + stream.read(size - HEAD.size)


def guard(lifeline: int) -> None:
    """Leave a small process behind that kills this process group as soon as the run is gone.

    Only the run holds the other end of the lifeline, so the system closes it however the run ends. The guard is a process
    because a thread would not get its turn while a model hangs in compiled code. It is forked twice, so that a model that
    waits for its children does not meet it, and before the model is loaded, so that it costs no memory.
    """
    with warnings.catch_warnings():
        # newer Pythons warn of threads, which numpy has started; the guard takes no lock that they could hold
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.close(lifeline)
        return
    try:
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            os.dup2(lifeline, 0)
            os.closerange(1, os.sysconf("SC_OPEN_MAX"))
            os.read(0, 1)
            os.killpg(os.getpgid(0), signal.SIGKILL)
    finally:
        os._exit(0)


def limit(limits: Mapping[str, int]) -> None:
    """Set resource limits of this process and its children.

    Args:
        limits: Name as in ``resource`` (``RLIMIT_DATA``) -> value, lowered to what is allowed already.
    """
    for name, value in limits.items():
        number = getattr(resource, name, None)
        if number is not None:  # not every system has all of them
            _, hard = resource.getrlimit(number)
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            with suppress(ValueError, OSError):
                resource.setrlimit(number, (bound, bound))


class Server:
    """The loaded model and the answers it gives."""

    def __init__(self) -> None:
        self._model: Model | None = None
        self._device = "cpu"
        self._path: str | None = None

    def answer(self, request: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Message:
        """The reply to one request, whatever the model does: foreign code may raise anything, ``SystemExit`` included."""
        try:
            reply, values = self._do(request, arrays)
        except XferbenchError as error:
            reply, values = {"failed": str(error), "kind": type(error).__name__}, {}
        except BaseException as error:  # noqa: BLE001 - recorded as the model's failure; nothing but this loop is ours
            traceback.print_exc()
            reply, values = (
                {
                    "failed": raised(error, self._path),
                    "kind": None,
                    "memory_full": self._freed(error),
                },
                {},
            )
        reason = reply.get("failed") or next((text for _, text in reply.get("errors", [])), None)
        if reason and self._is_broken():
            return {"failed": reason, "kind": None, "broken": True}, {}
        return reply, values

    def _do(self, request: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Message:
        match request["do"]:
            case "load":
                return self._load(ModelSpec(**request["spec"]), request["device"]), {}
            case "predict":
                return self._predict(Structures(**arrays))
            case "check":
                return self._check(), {}
            case unknown:
                raise ModelError(f"the server does not know the request {unknown!r}")

    def _load(self, spec: ModelSpec, device: str) -> dict[str, Any]:
        # now, so that the first call's time limit is not spent on it
        import ase  # noqa: F401

        digest = spec_sha256(spec)
        self._device, self._path = device, spec.path
        self._model = model = load(spec, device)
        supported = model.supported_elements
        return {
            "functional": str(model.functional),
            "supported_elements": None if supported is None else sorted(supported),
            "references": None if model.references is None else dict(model.references),
            "card": _card_text(model.card),
            "source_sha256": digest,
            "served_by": source_sha256(),
        }

    def _predict(self, structures: Structures) -> Message:
        """One answer per structure; a batch of the wrong length says nothing about any of them.

        Raises:
            ModelError: Not a sequence, or not one entry per structure.
        """
        model, sizes = self._loaded(), structures.n_atoms.tolist()
        # arrays from a message are read-only; a model may move the atoms it was given
        writable = {name: array.copy() for name, array in structures.arrays().items()}
        atoms = Structures(**writable).atoms()
        start = time.perf_counter()
        raw = model.predict(atoms)
        self._synchronise()
        seconds = time.perf_counter() - start
        if isinstance(raw, str | bytes | Mapping) or not hasattr(raw, "__len__"):
            raise ModelError(f"predict returned a {type(raw).__name__}; it must return a list of dictionaries")
        if len(raw) != len(sizes):
            raise ModelError(
                f"predict returned {len(raw)} results for {len(sizes)} structures; return one dictionary per structure, in their order"
            )
        answers = Answers.of([_checked(item, n) for item, n in zip(raw, sizes, strict=True)], sizes)
        message, arrays = answers.message()
        return {**message, "seconds": seconds, "memory": self._memory()}, arrays

    def _check(self) -> dict[str, Any]:
        model = self._loaded()
        energies: list[float] = []
        checks = [asdict(result) for result in check_model(model, energies=energies)]
        return {"checks": checks, "energies": energies}

    def _freed(self, error: BaseException) -> bool:
        """Whether memory ran out, in which case what can be given back is."""
        if not out_of_memory(error):
            return False
        torch = sys.modules.get("torch")
        if torch is not None and self._device.startswith("cuda"):
            with suppress(Exception):
                torch.cuda.empty_cache()
        return True

    def _torch(self) -> Any:  # noqa: ANN401 - a module that may not be installed
        """Torch, if the model uses it on a GPU."""
        return sys.modules.get("torch") if self._device.startswith("cuda") else None

    def _synchronise(self) -> None:
        if (torch := self._torch()) is not None:
            torch.cuda.synchronize(self._device)

    def _memory(self) -> int:
        """Bytes at their highest: of the GPU where there is one, else of this process."""
        if (torch := self._torch()) is not None:
            return int(torch.cuda.max_memory_allocated(self._device))
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def _is_broken(self) -> bool:
        """Whether the GPU no longer does anything for this process, as after a failed assertion in a kernel."""
        try:
            self._synchronise()
        except RuntimeError:
            return True
        return False

    def _loaded(self) -> Model:
        if self._model is None:
            raise ModelError("no model is loaded")
        return self._model


def raised(error: BaseException, path: str | None = None) -> str:
    """What foreign code raised, ``Type: message (model.py:12)``, also when it cannot even say its message.

    Args:
        error: As it was caught.
        path: Of the user's file, to name the innermost line of it that was being run.
    """
    if isinstance(error, SystemExit):
        text = f"called sys.exit({error.code!r})"
    else:
        try:
            text = describe(error)
        except Exception:  # noqa: BLE001 - a foreign __str__ may raise anything; the type is still worth telling
            text = f"{type(error).__name__}, whose message cannot be shown"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f"{text} ({Path(str(path)).name}:{lines[-1]})" if lines else text


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, torch's or that of another framework, which only its message tells."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if not isinstance(error, RuntimeError):
        return False
    text = raised(error).lower()
    return "out of memory" in text or "resource_exhausted" in text or "can't allocate memory" in text


def _checked(raw: object, n_atoms: int) -> Results | str:
    """Checked results, or the reason why there are none."""
    try:
        return normalise(raw, n_atoms)
    except ModelError as error:
        return str(error)


def _card_text(card: Path | Mapping[str, Any] | None) -> str | None:
    if isinstance(card, Mapping):
        return to_json(dict(card))
    return None if card is None else read_bytes(Path(card)).decode(errors="replace")

"""The model's own process: ``python -m xferbench.predict.worker REQUESTS REPLIES LIFELINE`` (file descriptors).

One JSON line per request, one per reply:

| request | reply |
|---|---|
| ``{"do": "load", "spec": {...}, "device": "cpu"}`` | ``{"functional": "r2SCAN", "supported_elements": [...] or null, "references": {...} or null, "card": text or null, "source_sha256": text or null}`` |
| ``{"do": "predict", "structures": [{"numbers": [...], "positions": [...], "cell": [...], "pbc": [...]}]}`` | ``{"answers": [{"energy": ..., "forces": ...} or {"error": text}]}`` |
| ``{"do": "check"}`` | ``{"checks": [...]}`` |

What goes wrong as a whole is ``{"failed": text, "kind": "ModelError"}``, the kind being a class of ``errors.py`` or null. With
``"broken": true`` the process cannot go on: its GPU context is lost, and every further call would fail, guilty or not.
Requests hold atomic numbers, positions, cell and periodicity: no label, no id, no path of the data set.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import ModelError, XferbenchError
from xferbench.models import ModelSpec, check_model, load, normalise
from xferbench.predict.facts import source_sha256
from xferbench.predict.reasons import raised
from xferbench.storage import read_bytes, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from xferbench.models import Model


def main(arguments: Sequence[str]) -> None:
    """Answer requests until the parent closes the pipe."""
    requests, replies, lifeline = map(int, arguments)
    guard(lifeline)
    for descriptor in (requests, replies):
        os.set_inheritable(descriptor, False)
    # a model file may read the command line
    del sys.argv[1:]
    own = os.getpid()
    worker = Worker()
    with os.fdopen(requests, "rb") as stream, os.fdopen(replies, "wb") as answers:
        for line in stream:
            reply = worker.answer(json.loads(line))
            if os.getpid() != own:
                # a child that the model forked has come back into this loop; it must not answer in its parent's name
                os._exit(0)
            answers.write(json.dumps(reply, allow_nan=False).encode() + b"\n")
            answers.flush()


def guard(lifeline: int) -> None:
    """Leave a small process behind that kills this process group as soon as the parent is gone.

    Only the parent holds the other end of the lifeline, so the system closes it however the parent ends. The guard is
    a process because a thread would not get its turn while a model hangs in compiled code. It is forked twice, so that
    a model that waits for its children does not meet it, and before the model is loaded, so that it costs no memory.
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


class Worker:
    """The loaded model and the answers it gives."""

    def __init__(self) -> None:
        self._model: Model | None = None
        self._device = "cpu"

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to one request, whatever the model does: foreign code may raise anything, ``SystemExit`` included."""
        try:
            reply = self._do(request)
        except XferbenchError as error:
            reply = {"failed": str(error), "kind": type(error).__name__}
        except BaseException as error:  # noqa: BLE001 - recorded as the model's failure; nothing but this loop is ours
            traceback.print_exc()
            reply = {"failed": raised(error), "kind": None}
        failures = [answer["error"] for answer in reply.get("answers", []) if "error" in answer]
        reason = reply.get("failed") or next(iter(failures), None)
        return {"failed": reason, "kind": None, "broken": True} if reason and self._is_broken() else reply

    def _do(self, request: Mapping[str, Any]) -> dict[str, Any]:
        match request["do"]:
            case "load":
                return self._load(ModelSpec(**request["spec"]), request["device"])
            case "predict":
                return {"answers": self._predict([_atoms(item) for item in request["structures"]])}
            case "check":
                return {"checks": [asdict(result) for result in check_model(self._loaded())]}
            case unknown:
                raise ModelError(f"the worker does not know the request {unknown!r}")

    def _load(self, spec: ModelSpec, device: str) -> dict[str, Any]:
        # now, so that the first call's time limit is not spent on it
        import ase  # noqa: F401

        digest = source_sha256(spec)
        self._device = device
        self._model = model = load(spec, device)
        supported = model.supported_elements
        return {
            "functional": model.functional.value,
            "supported_elements": None if supported is None else sorted(supported),
            "references": None if model.references is None else dict(model.references),
            "card": _card_text(model.card),
            "source_sha256": digest,
        }

    def _predict(self, structures: list[Atoms]) -> list[dict[str, Any]]:
        """One answer per structure; a batch of the wrong length says nothing about any of them.

        Raises:
            ModelError: Not a sequence, or not one entry per structure.
        """
        raw = self._loaded().predict([atoms.copy() for atoms in structures])
        if isinstance(raw, str | bytes | Mapping) or not hasattr(raw, "__len__"):
            raise ModelError(f"predict returned a {type(raw).__name__}; it must return a list of dictionaries")
        if len(raw) != len(structures):
            raise ModelError(f"predict returned {len(raw)} results for {len(structures)} structures")
        return [_answer(result, atoms) for result, atoms in zip(raw, structures, strict=True)]

    def _is_broken(self) -> bool:
        """Whether the GPU no longer does anything for this process, as after a failed assertion in a kernel."""
        torch = sys.modules.get("torch")
        if torch is None or not self._device.startswith("cuda"):
            return False
        try:
            torch.cuda.synchronize(self._device)
        except RuntimeError:
            return True
        return False

    def _loaded(self) -> Model:
        if self._model is None:
            raise ModelError("no model is loaded")
        return self._model


def _answer(raw: object, atoms: Atoms) -> dict[str, Any]:
    """Checked results as plain numbers, or the reason why there are none."""
    try:
        results = normalise(raw, atoms)
    except ModelError as error:
        return {"error": str(error)}
    return {key: np.asarray(value).tolist() for key, value in results.items()}


def _atoms(structure: Mapping[str, Any]) -> Atoms:
    from ase import Atoms

    return Atoms(**structure)


def _card_text(card: Path | Mapping[str, Any] | None) -> str | None:
    if isinstance(card, Mapping):
        return to_json(dict(card))
    return None if card is None else read_bytes(Path(card)).decode(errors="replace")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Turn a ``ModelSpec`` into a model: import a built-in adapter, or run a user's file and read what it declares.

Everything wrong with a user's file is a ``ModelError`` of one line that points into that file.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import math
import operator
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from xferbench.errors import ModelError, UnknownNameError, XferbenchError
from xferbench.functionals import Functional, names
from xferbench.models import torchsim
from xferbench.models.ase import CalculatorModel, is_calculator
from xferbench.models.contract import Declarations, describe
from xferbench.models.spec import parse_source, where
from xferbench.registry import MODELS, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ase import Atoms

    from xferbench.models.contract import Model
    from xferbench.models.spec import ModelSpec

OFFERS = ("load_model", "model", "predict", "calculator")
"""The names of which a model file has exactly one."""

DECLARATIONS = ("FUNCTIONAL", "FUNCTIONALS", "SUPPORTED_ELEMENTS", "REFERENCES", "MODEL_ID", "MODEL_CARD")
"""The names a model file may say something about itself with."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchModel(Declarations):
    """A user's ``predict`` with what their file declares."""

    predictor: Callable[[list[Atoms]], list[dict[str, Any]]]

    def predict(self, structures: list[Atoms]) -> list[dict[str, Any]]:
        """What the user's function returns, unchecked."""
        return self.predictor(structures)


def load(spec: ModelSpec, device: str = "cpu") -> Model:
    """Load a model. Runs foreign code: call it in the model's own process.

    Args:
        spec: From ``parse_spec``.
        device: As the framework names it: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        ModelError: The user's file, or what it offers, breaks the contract.
        MissingExtraError: The adapter's package is not installed.
        UnknownNameError: No adapter has this name.
    """
    if spec.path is None:
        adapter, _, variant = spec.name.partition(":")
        options = {} if spec.engine is None else {"engine": spec.engine}
        model: Model = resolve("model", adapter, MODELS)(variant, device, **options)
        return model
    path = Path(spec.path)
    module = _run(path)
    declared = _declarations(module, path, spec.functional)
    return _adapt(_offered(module, path, device, spec.functional), declared, path)


def _run(path: Path) -> ModuleType:
    """Execute a user's file under a private name, its folder importable as if ``python`` ran the file."""
    code = compile(parse_source(path), str(path), "exec", dont_inherit=True)
    module = ModuleType(f"_xferbench_model_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}")
    module.__file__ = str(path)
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    # pickle and dataclasses look a class's module up by name
    sys.modules[module.__name__] = module
    with _pointing_into(path, "on import"):
        exec(code, vars(module))  # noqa: S102 - running the user's model is the purpose; see docs/model-contract.md
    return module


@contextmanager
def _pointing_into(path: Path, when: str) -> Iterator[None]:
    """Turn whatever a user's code raises into one line with the place in their file."""
    try:
        yield
    except XferbenchError:
        raise
    except SystemExit as error:
        raise ModelError(
            f"{_place(error, path)}: sys.exit({error.code!r}) {when}; a model file must not exit"
        ) from error
    except Exception as error:
        raise ModelError(f"{_place(error, path)}: {describe(error)}, {when}") from error


def _place(error: BaseException, path: Path) -> str:
    """``file:line`` of the innermost line of the user's file in a traceback."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _declarations(module: ModuleType, path: Path, wanted: str | None) -> dict[str, Any]:
    """What the file declares, as arguments of ``Declarations``, for the functional asked for if it serves several."""
    _refuse_misspelt(module, path)
    # of a file that serves several, either may be given for each of them
    references, card = (
        value[wanted] if wanted is not None and isinstance(value, Mapping) and wanted in value else value
        for value in (getattr(module, "REFERENCES", None), getattr(module, "MODEL_CARD", None))
    )
    return {
        "functional": _functional(module, path, wanted),
        "supported_elements": _supported(getattr(module, "SUPPORTED_ELEMENTS", None), path),
        "references": _references(references, path),
        "card": _card(card, path),
    }


def _refuse_misspelt(module: ModuleType, path: Path) -> None:
    """A misspelt optional declaration would otherwise be ignored without a word."""
    for name in vars(module):
        close = difflib.get_close_matches(name, DECLARATIONS, n=1, cutoff=0.85) if name.isupper() else []
        if close and name not in DECLARATIONS:
            raise ModelError(
                f"{where(path, name)}: {name} looks like {close[0]}; rename it to that, or give it a leading underscore"
            )


def _functional(module: ModuleType, path: Path, wanted: str | None) -> Functional:
    declared = getattr(module, "FUNCTIONAL", None)
    if hasattr(module, "FUNCTIONALS"):
        if declared is not None:
            raise ModelError(
                f"{where(path, 'FUNCTIONAL')}: FUNCTIONAL and FUNCTIONALS are both declared; keep the second for a model with several heads"
            )
        if wanted is None:
            raise ModelError(f"{path} serves several functionals; choose one with --functional")
        return Functional(wanted)
    if declared is None:
        raise ModelError(
            f"{path}:1: FUNCTIONAL is missing; say what its training labels were computed with, one of: {', '.join(names())}"
        )
    if not isinstance(declared, str):
        raise ModelError(
            f"{where(path, 'FUNCTIONAL')}: FUNCTIONAL = {declared!r} is not a functional; name one in quotes"
        )
    try:
        return Functional(declared)
    except UnknownNameError as error:
        raise ModelError(f"{where(path, 'FUNCTIONAL')}: FUNCTIONAL: {error}") from error


def _supported(declared: object, path: Path) -> frozenset[str] | None:
    if declared is None:
        return None
    if isinstance(declared, str) or not isinstance(declared, Iterable):
        raise ModelError(
            f'{where(path, "SUPPORTED_ELEMENTS")}: SUPPORTED_ELEMENTS must be a list like ["Li", "O"] or [3, 8], not {declared!r}'
        )
    symbols = frozenset(_symbol(item, "SUPPORTED_ELEMENTS", path) for item in declared)
    if not symbols:
        raise ModelError(
            f"{where(path, 'SUPPORTED_ELEMENTS')}: SUPPORTED_ELEMENTS is empty; list the elements, or leave it out"
        )
    return symbols


def _symbol(item: object, name: str, path: Path) -> str:
    from ase.data import atomic_numbers, chemical_symbols

    if isinstance(item, str) and atomic_numbers.get(item, 0) > 0:
        return item
    if not isinstance(item, str | bool):
        try:
            number = operator.index(item)  # type: ignore[arg-type] # anything that is not an integer raises
        except TypeError:
            number = 0
        if 0 < number < len(chemical_symbols):
            return chemical_symbols[number]
    raise ModelError(
        f"{where(path, name)}: {name} has {item!r}, which is neither a chemical symbol nor an atomic number"
    )


def _references(declared: object, path: Path) -> dict[str, float] | None:
    if declared is None:
        return None
    if not isinstance(declared, Mapping):
        raise ModelError(
            f'{where(path, "REFERENCES")}: REFERENCES must map symbols to eV/atom, like {{"Li": -1.9}}, not {declared!r}'
        )
    references = {_symbol(key, "REFERENCES", path): _energy(value, key, path) for key, value in declared.items()}
    if len(references) < len(declared):
        raise ModelError(f"{where(path, 'REFERENCES')}: REFERENCES names an element twice, by symbol and by number")
    return references


def _energy(value: object, key: object, path: Path) -> float:
    try:
        energy = float(value)  # type: ignore[arg-type] # anything that is not a number raises
    except (TypeError, ValueError):
        energy = math.nan
    if not math.isfinite(energy):
        raise ModelError(
            f"{where(path, 'REFERENCES')}: REFERENCES[{key!r}] = {value!r} is not a finite energy in eV/atom"
        )
    return energy


def _card(declared: object, path: Path) -> Path | Mapping[str, Any] | None:
    if declared is None or isinstance(declared, Mapping):
        return declared
    if not isinstance(declared, str | Path):
        raise ModelError(
            f"{where(path, 'MODEL_CARD')}: MODEL_CARD must be a path beside the file or a dictionary, not {declared!r}"
        )
    card = path.parent / declared
    if not card.is_file():
        raise ModelError(
            f"{where(path, 'MODEL_CARD')}: MODEL_CARD {str(declared)!r} does not exist; it is looked for at {card}"
        )
    return card


def _offered(module: ModuleType, path: Path, device: str, functional: str | None) -> object:
    """The calculator, object or function the file offers."""
    offered = [name for name in OFFERS if hasattr(module, name)]
    if len(offered) != 1:
        found = f"several of them: {', '.join(offered)}" if offered else "none of them"
        raise ModelError(
            f"{where(path, offered[-1]) if offered else path}: a model file must offer exactly one of {', '.join(OFFERS)} and this offers {found}; rename or add (a leading underscore hides a name)"
        )
    thing = getattr(module, offered[0])
    if offered[0] != "load_model":
        if functional is not None:
            raise ModelError(
                f"{where(path, 'FUNCTIONALS')}: FUNCTIONALS needs load_model(device, functional), not '{offered[0]}'"
            )
        if device != "cpu":
            raise ModelError(
                f"{where(path, offered[0])}: '{offered[0]}' exists before a device is chosen, so it cannot go to {device!r}; offer load_model(device)"
            )
        return thing
    arguments = {"device": device} if functional is None else {"device": device, "functional": functional}
    return _call_load_model(thing, path, arguments)


def _call_load_model(function: Any, path: Path, arguments: Mapping[str, str]) -> object:  # noqa: ANN401 - a user's function
    if not callable(function):
        raise ModelError(f"{where(path, 'load_model')}: load_model must be a function, not a {type(function).__name__}")
    call = f"load_model({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        line = getattr(getattr(function, "__code__", None), "co_firstlineno", None)
        place = path if line is None else f"{path}:{line}"
        raise ModelError(f"{place}: load_model cannot be called as {call}: {error}") from error
    with _pointing_into(path, f"in {call}"):
        return function(**arguments)


def _adapt(thing: object, declared: Mapping[str, Any], path: Path) -> Model:
    """A calculator comes first: some have a ``predict`` of their own with another meaning."""
    if torchsim.is_model(thing):
        return torchsim.TorchSimModel(network=thing, **declared)
    if is_calculator(thing):
        return CalculatorModel(calculator=thing, **declared)
    # a bare network is callable too, but with another meaning
    predictor = thing if inspect.isroutine(thing) or isinstance(thing, partial) else getattr(thing, "predict", None)
    if isinstance(thing, type) or not callable(predictor):
        kind = (
            f"the class {thing.__name__} itself, not an instance"
            if isinstance(thing, type)
            else f"a {type(thing).__name__}"
        )
        offer = next((name for name in OFFERS if where(path, name) != str(path)), "")
        raise ModelError(
            f"{where(path, offer)}: what it offers is {kind}; it must be an ASE calculator or have predict(list of Atoms)"
        )
    return BatchModel(predictor=predictor, **declared)

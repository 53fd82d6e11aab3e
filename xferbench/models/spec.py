"""Which model is meant: a built-in ``adapter:variant`` or somebody's ``model.py``. Nothing is imported or run here.

Whoever starts the model's process only needs a ``ModelSpec``: plain strings, so that
``ModelSpec(**json.loads(json.dumps(dataclasses.asdict(spec)))) == spec``.
"""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xferbench.errors import ModelError, UnknownNameError, UsageError
from xferbench.functionals import Functional
from xferbench.registry import (
    FLOORS,
    MODEL_ENGINES,
    MODEL_VARIANTS,
    builtin_models,
    canonical_model,
    check_name,
    near,
)
from xferbench.storage import read_bytes

MODEL_ID = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
"""What a model id looks like: it names files and table rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model by name, before it is loaded.

    Attributes:
        kind: ``builtin``, or ``file`` for a user's ``model.py``.
        name: As an adapter and its variant, ``chgnet:0.3.0``, or the file's name.
        path: Absolute path of the file.
        model_id: What the model is called in results: ``chgnet-0.3.0``; a file's ``MODEL_ID``, else its stem.
        engine: Another way to run a built-in model than its default; see ``registry.MODEL_ENGINES``.
        functional: Which of those that a file serves is asked for; ``None`` if it serves one.
    """

    kind: Literal["builtin", "file"]
    name: str
    path: str | None = None
    model_id: str
    engine: str | None = None
    functional: str | None = None


def parse_spec(text: str, *, engine: str | None = None, functional: str | None = None) -> ModelSpec:
    """Read what a user typed for a model: ``chgnet:0.3.0`` or ``path/to/model.py``.

    Args:
        text: As typed; ``chgnet-0.3.0`` is read as ``chgnet:0.3.0``.
        engine: Which way to run a built-in model; its default if not given.
        functional: Which of the ``FUNCTIONALS`` of a file to ask for, in any spelling.

    Raises:
        UsageError: The file is missing, is a folder or is not Python; or a floor is named, which is not a model; or an
            engine is named for a file, or a functional for a model that has only its own; or one of several is to be chosen.
        UnknownNameError: No built-in model has this name, or its variant is left out.
        ModelError: The file has a syntax error or an unusable ``MODEL_ID``.
        StorageError: The file cannot be read.
    """
    if text.endswith(".py") or os.sep in text:
        if engine is not None:
            raise UsageError(f"--engine {engine} is for built-in models; {text} runs in its own way")
        return _file_spec(Path(text), functional)
    if functional is not None:
        raise UsageError(f"--functional {functional} is for a model.py that serves several; {text} has one of its own")
    text = canonical_model(text)
    floors = [f"floor:{name}" for name in FLOORS]
    known = [name for name in builtin_models() if name not in floors]
    if text in known:
        if engine is not None:
            check_name("engine", engine, MODEL_ENGINES.get(text.partition(":")[0], ()))
        return ModelSpec(kind="builtin", name=text, model_id=text.replace(":", "-"), engine=engine)
    if text in floors:
        raise UsageError(
            f"{text!r} is a floor, which has no potential to load; give a model: {', '.join(sorted(known))}"
        )
    if text in MODEL_VARIANTS:
        variants = ", ".join(f"{text}:{variant}" for variant in MODEL_VARIANTS[text])
        raise UnknownNameError(f"model {text!r} needs a variant: {variants}")
    raise UnknownNameError(f"unknown model {text!r}; {near(text, [*known, *floors])}; or give the path of a model.py")


def functionals(path: Path) -> tuple[str, ...]:
    """The ``FUNCTIONALS`` that a file serves, read without running it; none if it declares one ``FUNCTIONAL``.

    Raises:
        ModelError: They are no list of two or more known functionals, written out.
    """
    node = _assigned(parse_source(path), "FUNCTIONALS")
    if node is None:
        return ()
    at = f"{path}:{node.lineno}: FUNCTIONALS"
    try:
        declared = ast.literal_eval(node)
    except ValueError as error:
        raise ModelError(
            f'{at} must be written out, like ["PBE", "r2SCAN"], because it is read without running the file'
        ) from error
    if isinstance(declared, str) or not isinstance(declared, list | tuple) or len(set(map(str, declared))) < 2:
        raise ModelError(f'{at} must list two or more, like ["PBE", "r2SCAN"], not {declared!r}; one is FUNCTIONAL')
    return tuple(_functional(str(item), at) for item in declared)


def _file_spec(path: Path, wanted: str | None) -> ModelSpec:
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the Python file inside it that offers the model")
    if path.suffix != ".py":
        raise UsageError(f"{path} is not a model file: its name must end in .py")
    if not path.is_file():
        raise UsageError(f"model file {path} does not exist; check the path (now in {Path.cwd()})")
    absolute = path.resolve()
    model_id, served = _model_id(absolute), functionals(absolute)
    if not served:
        if wanted is not None:
            raise UsageError(
                f"--functional {wanted}: {path} serves the one that its FUNCTIONAL names; leave the option out, or offer"
                " load_model(device, functional) and FUNCTIONALS"
            )
        return ModelSpec(kind="file", name=path.name, path=str(absolute), model_id=model_id)
    if wanted is None:
        raise UsageError(f"{path} serves {', '.join(served)}; choose one: --functional {served[-1]}")
    functional = _functional(wanted, "--functional")
    if functional not in served:
        raise UsageError(f"--functional {wanted}: {path} serves {', '.join(served)}")
    return ModelSpec(
        kind="file",
        name=path.name,
        path=str(absolute),
        model_id=f"{model_id}-{re.sub('[^a-z0-9]+', '-', functional.lower()).strip('-')}",
        functional=functional,
    )


def _functional(text: str, at: str) -> str:
    """The name of a functional, from any spelling.

    Raises:
        UnknownNameError: There is none of that name.
    """
    try:
        return Functional(text)
    except UnknownNameError as error:
        raise UnknownNameError(f"{at}: {error}") from error


def _model_id(path: Path) -> str:
    """The ``MODEL_ID`` of a file, read without running it, else one made of its stem."""
    declared = _assigned_text(parse_source(path), "MODEL_ID", path)
    if declared is None:
        model_id = re.sub(r"[^a-z0-9.]+", "-", path.stem.lower()).strip("-.")
        hint = f"the file name {path.name!r} gives no model id; set MODEL_ID in it"
    else:
        model_id, hint = declared, f"{where(path, 'MODEL_ID')}: MODEL_ID = {declared!r}"
    if not MODEL_ID.fullmatch(model_id):
        raise ModelError(f"{hint}: small letters and digits in groups joined by '.' or '-', like 'mace-mp-0.3b'")
    return model_id


def parse_source(path: Path) -> ast.Module:
    """The syntax tree of a user's file.

    Raises:
        ModelError: It is not valid Python; the message has the line.
        StorageError: It cannot be read.
    """
    try:
        tree = ast.parse(read_bytes(path), filename=str(path))
        # some errors, like a ``return`` outside a function, only show here
        compile(tree, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise ModelError(f"{path}:{error.lineno or 1}: syntax error: {error.msg}; correct the file") from error
    except ValueError as error:
        raise ModelError(f"{path} is not Python source ({error}); give the file that offers the model") from error
    return tree


def where(path: Path, name: str) -> str:
    """``file:line`` of the last assignment or definition of a module-level name, for a message; the file if there is none."""
    for node in reversed(parse_source(path).body):
        defined = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name
        if defined or (isinstance(node, ast.Assign | ast.AnnAssign) and name in _targets(node)):
            return f"{path}:{node.lineno}"
    return str(path)


def _assigned(tree: ast.Module, name: str) -> ast.expr | None:
    """What is assigned last to a module-level name."""
    for node in reversed(tree.body):
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in _targets(node):
            return node.value
    return None


def _assigned_text(tree: ast.Module, name: str, path: Path) -> str | None:
    """The text assigned to a module-level name; ``None`` if nothing is."""
    value = _assigned(tree, name)
    if value is None:
        return None
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    raise ModelError(
        f"{path}:{value.lineno}: {name} must be plain text in quotes, because it is read without running the file"
    )


def _targets(node: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}

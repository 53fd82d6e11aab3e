"""Read a dataclass from TOML or JSON strictly: unknown keys, missing keys and wrong types are errors, all told at once.

The dataclass is the schema: its annotations name the types, a default makes a key optional. Understood are ``str``,
``int``, ``float``, ``bool``, enumerations, texts that are read by a class of their own (``Functional``), ``Literal``, ``X | None``, ``tuple[X, ...]``, ``Mapping[str, X]`` (or with
an enumeration for keys), ``Any`` and nested dataclasses. An integer is accepted where a float is wanted; nothing else is converted.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import functools
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union

from xferbench.errors import FormatError, UnknownNameError
from xferbench.storage import read_bytes

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        StorageError: It cannot be read.
        FormatError: It is not TOML; the message has the line.
    """
    try:
        return tomllib.loads(read_bytes(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is not valid TOML: {error}") from error


def parse(cls: type[T], data: object, where: object) -> T:
    """Make an instance of the dataclass ``cls`` from parsed TOML or JSON.

    Args:
        cls: A dataclass; its annotations are the schema.
        data: What the parser returned.
        where: The file, for the message.

    Raises:
        FormatError: Listing every unknown key (with the near one), missing key and wrong type.
    """
    problems: list[str] = []
    value = _dataclass(cls, data, "", problems)
    if problems:
        raise FormatError(f"{where}: {'; '.join(problems)}")
    return typing.cast("T", value)


def _dataclass(cls: type, data: object, at: str, problems: list[str]) -> object:
    if not isinstance(data, Mapping):
        problems.append(f"{at.rstrip('.') or 'the file'} must be a table, not {_name(data)}")
        return None
    hints = _hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    before = len(problems)
    for key in data:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            problems.append(f"unknown key {at}{key}" + (f" (did you mean {near[0]}?)" if near else ""))
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], f"{at}{name}", problems)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"missing key {at}{name}")
    return cls(**values) if len(problems) == before else None


_hints = functools.cache(typing.get_type_hints)
"""Types of a schema's fields; a board parses the same few thousands of times."""


@functools.cache
def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:  # noqa: ANN401 - see _value
    return typing.get_origin(kind), typing.get_args(kind)


def _value(kind: Any, value: Any, at: str, problems: list[str]) -> Any:  # noqa: ANN401 - a schema walks over any type
    origin, arguments = _parts(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        inner = next(item for item in arguments if item is not type(None))
        return None if value is None else _value(inner, value, at, problems)
    if dataclasses.is_dataclass(kind):
        return _dataclass(typing.cast("type", kind), value, f"{at}.", problems)
    if origin is tuple and isinstance(value, list | tuple):
        return _items(arguments[0], value, at, problems)
    if origin is Mapping and isinstance(value, Mapping):
        return {
            _scalar(arguments[0], key, f"a key of {at}", problems): _value(arguments[1], item, f"{at}.{key}", problems)
            for key, item in value.items()
        }
    return _scalar(kind, value, at, problems)


def _items(kind: Any, value: Sequence[Any], at: str, problems: list[str]) -> tuple[Any, ...]:  # noqa: ANN401 - see _value
    if kind is float and {*map(type, value)} <= {float}:  # results hold thousands of points
        return tuple(value)
    return tuple(_value(kind, item, f"{at}[{i}]", problems) for i, item in enumerate(value))


def _scalar(kind: Any, value: Any, at: str, problems: list[str]) -> Any:  # noqa: ANN401 - see _value
    origin, arguments = _parts(kind)
    if origin is Literal:
        allowed = list(arguments)
        if value in allowed:
            return value
        problems.append(f"{at} must be one of {', '.join(map(str, allowed))}, not {value!r}")
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        if value in {item.value for item in kind}:
            return kind(value)
        problems.append(f"{at} must be one of {', '.join(str(item.value) for item in kind)}, not {value!r}")
    elif isinstance(kind, type) and issubclass(kind, str) and kind is not str and isinstance(value, str):
        try:
            return kind(value)
        except UnknownNameError as error:
            problems.append(f"{at}: {error}")
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    else:
        problems.append(f"{at} must be {_kind_name(kind)}, not {_name(value)}")
    return None


def _name(value: object) -> str:
    names = {dict: "a table", list: "a list", str: "text", type(None): "nothing", bool: "a boolean", int: "an integer"}
    return names.get(type(value), type(value).__name__)


def _kind_name(kind: Any) -> str:  # noqa: ANN401 - see _value
    names = {
        str: "text",
        int: "an integer",
        float: "a number",
        bool: "true or false",
        tuple: "a list",
        Mapping: "a table",
    }
    return names.get(typing.get_origin(kind) or kind, str(kind))


def json_schema(cls: type) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what ``parse`` accepts for a dataclass: unknown keys are errors there, too.

    Args:
        cls: A dataclass.
    """
    import msgspec

    made: dict[str, Any] = msgspec.json.schema(cls, schema_hook=_custom_schema)
    for definition in made.get("$defs", {}).values():
        if "properties" in definition:
            definition["additionalProperties"] = False
            definition.pop("description", None)  # of the class, which is for who reads the code
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def _custom_schema(kind: type) -> dict[str, Any]:
    """Text that means something, such as the name of a functional."""
    if issubclass(kind, str):
        return {"type": "string"}
    raise NotImplementedError(f"no JSON Schema for {kind}")

"""``xferbench list`` and ``info``: what there is, told from the tables and files that define it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from xferbench.errors import UnknownNameError
from xferbench.leaderboard.cards import cards_directory, read_card
from xferbench.records import Geometry
from xferbench.registry import (
    FLOORS,
    METHODS,
    MODEL_VARIANTS,
    MODELS,
    SOURCES,
    canonical_model,
    check_name,
    near,
    resolve,
)
from xferbench.tasks import list_tasks, load_task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xferbench.records import SourceDataset


LISTS = ("datasets", "tasks", "models", "methods")


def listing(what: str) -> list[dict[str, str]]:
    """Names and one line about each: ``datasets``, ``tasks``, ``models`` (with floors) or ``methods``.

    Raises:
        UnknownNameError: Something else was asked for.
    """
    check_name("list", what, LISTS)
    if what == "models":
        rows = _models()
    elif what == "tasks":
        rows = {name: load_task(name).title for name in list_tasks()}
    else:
        table = SOURCES if what == "datasets" else METHODS
        rows = {name: _first_line(table, name) for name in table}
    return [{"name": name, "about": about} for name, about in rows.items()]


def info(name: str) -> dict[str, Any]:
    """Everything known of a data set, task, model or floor, as plain values.

    Raises:
        UnknownNameError: No such name; the message lists the near one of every kind.
    """
    if name in SOURCES:
        return _source_info(resolve("data set", name, SOURCES)())
    if name.partition("@")[0] in list_tasks():
        task = load_task(name)
        return {"kind": "task", "key": task.key, **_plain(task)}
    if canonical_model(name) in _models():
        return _model_info(canonical_model(name))
    if name in METHODS:
        return {"kind": "method", "name": name, "about": _first_line(METHODS, name)}
    known = [*SOURCES, *list_tasks(), *_models(), *METHODS]
    raise UnknownNameError(f"nothing is called {name!r}; {near(name, known)}")


def _models() -> dict[str, str]:
    about = {
        f"{adapter}:{variant}": _card_line(f"{adapter}-{variant}")
        for adapter in MODELS
        for variant in MODEL_VARIANTS[adapter]
    }
    return about | {f"floor:{name}": _first_line(FLOORS, name) for name in FLOORS}


def _card_line(model_id: str) -> str:
    card = read_card(cards_directory() / f"{model_id}.toml")
    return f"{card.model_name} ({card.functional.value})"


def _first_line(table: Mapping[str, str], name: str) -> str:
    """The first line of the docstring of what a name stands for: a function's own, or its module's if it is called load."""
    module, _, attribute = table[name].partition(":")
    home = import_module(module)
    text = (home if attribute == "load" else getattr(home, attribute)).__doc__ or ""
    return _plain_text(text.strip().splitlines()[0])


def _plain_text(text: str) -> str:
    """A docstring for people who read no markup."""
    return text.replace("``", "")


def _model_info(name: str) -> dict[str, Any]:
    kind, _, variant = name.partition(":")
    if kind == "floor":
        return {
            "kind": "floor",
            "name": name,
            "about": _plain_text(getattr(import_module("xferbench.floors"), variant.replace("-", "_")).__doc__),
        }
    return {"kind": "model", "name": name, **_plain(read_card(cards_directory() / f"{kind}-{variant}.toml"))}


def _source_info(source: SourceDataset) -> dict[str, Any]:
    counts = _counts(source) if isinstance(source.frames, Sequence) else {"frames": "counted when it is prepared"}
    pairing = {
        Geometry.SAME_GEOMETRY: "both functionals on one geometry",
        Geometry.SAME_MATERIAL: "one material, each functional's own geometry",
        Geometry.ENERGIES_ONLY: "energies of one material, no structures",
        Geometry.UNPAIRED: "r2SCAN frames for training, nothing to compare",
    }
    return {
        "kind": "dataset",
        "name": source.name,
        "version": source.version,
        "title": source.title,
        "licence": source.licence,
        "pairing": f"{source.geometry.value}: {pairing[source.geometry]}",
        "material": source.split.group,
        "split": dict(zip(("train", "val", "test"), source.split.fractions, strict=True)),
        **counts,
        "citation": source.citation,
    }


def _counts(source: SourceDataset) -> dict[str, Any]:
    frames = list(source.frames)
    return {
        "frames": {
            functional: sum(frame.functional.value == functional for frame in frames)
            for functional in sorted({frame.functional.value for frame in frames})
        },
        "materials": len({frame.material_id for frame in frames}),
        "left_out": len(source.drops),
    }


def _plain(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    """A dataclass as plain values, without what it does not say."""
    return {key: item for key, item in dataclasses.asdict(value).items() if item not in (None, "", ())}

"""What there is: data sets, tasks, models, strategies, told from the tables and files that define them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench import tasks
from xferbench.board.cards import cards_directory, read_card
from xferbench.dataset import Prepared, prepared
from xferbench.errors import UnknownNameError
from xferbench.measure import METRICS
from xferbench.records import Geometry
from xferbench.registry import (
    FLOORS,
    MODEL_VARIANTS,
    MODELS,
    SOURCES,
    STRATEGIES,
    canonical_model,
    near,
    resolve,
)
from xferbench.tasks import load_task

if TYPE_CHECKING:
    import os

    from xferbench.measure import Metric
    from xferbench.records import SourceDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A name, and one line about what it stands for.

    Attributes:
        name: As every command takes it.
        about: In a line.
        prepared: Of a data set: what was prepared under this name, the one that it means last.
    """

    name: str
    about: str
    prepared: tuple[Prepared, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What there is of a kind. ``print`` shows it in lines.

    Attributes:
        kind: In the plural.
        entries: In the order of the table that defines them.
    """

    kind: str
    entries: tuple[Entry, ...]

    @property
    def names(self) -> list[str]:
        """Of all entries."""
        return [entry.name for entry in self.entries]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values; what is prepared is told of data sets only."""
        return [
            {"name": entry.name, "about": entry.about}
            | ({"prepared": [_prepared_json(item) for item in entry.prepared]} if self.kind == "data sets" else {})
            for entry in self.entries
        ]

    def __str__(self) -> str:
        width = max((len(entry.name) for entry in self.entries), default=0)
        lines = []
        for entry in self.entries:
            lines.append(f"{entry.name:{width}s}  {entry.about}")
            lines += [f"{'':{width}s}    {_prepared_line(item)}" for item in entry.prepared]
        return "\n".join(lines) or f"no {self.kind} yet"


def list_datasets(*, cache_dir: str | os.PathLike[str] | None = None) -> Listing:
    """Data sets that can be prepared, and those that are: with size, fingerprint, directory and the command that made them.

    Args:
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.

    Raises:
        IntegrityError: The index of prepared data sets is damaged.
    """
    there = prepared(None if cache_dir is None else Path(cache_dir))
    about = {name: _first_line(SOURCES, name) for name in SOURCES}
    about |= {entry.name: "a prepared data set" for entry in there if entry.name not in SOURCES}
    entries = [
        Entry(name=name, about=line, prepared=tuple(item for item in there if item.name == name))
        for name, line in about.items()
    ]
    return Listing(kind="data sets", entries=tuple(entries))


def list_tasks() -> Listing:
    """Tasks that a model can be scored on."""
    return _listing("tasks", {name: load_task(name).title for name in tasks.list_tasks()})


def list_models() -> Listing:
    """Built-in models, and floors: baselines without a potential."""
    return _listing("models", _models())


def list_strategies() -> Listing:
    """Strategies that a potential can be trained with."""
    return _listing("strategies", {name: _first_line(STRATEGIES, name) for name in STRATEGIES})


def _listing(kind: str, about: Mapping[str, str]) -> Listing:
    return Listing(kind=kind, entries=tuple(Entry(name=name, about=line) for name, line in about.items()))


def _prepared_json(item: Prepared) -> dict[str, Any]:
    return {**dataclasses.asdict(item), "is_there": item.is_there}


def _prepared_line(item: Prepared) -> str:
    from tqdm import tqdm

    gone = "" if item.is_there else "GONE: "
    digest = item.fingerprint.removeprefix("sha256:")[:12]
    return f"{gone}{item.directory}, {item.version}, {tqdm.format_sizeof(item.bytes, 'B')}, {digest}, made by `{item.recipe}`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Information:
    """What is known of a name. ``print`` shows a line for each fact."""

    facts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(self.facts)

    def __str__(self) -> str:
        width = max(map(len, self.facts))
        return "\n".join(f"{key:{width}s}  {_inline(value)}" for key, value in self.facts.items())


def _inline(value: object) -> str:
    """A value on one line of text."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_inline(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_inline, value))
    return " ".join(str(value).split())


def info(name: str, *, cache_dir: str | os.PathLike[str] | None = None) -> Information:
    """Everything known of a data set, task, model, floor or transfer method.

    Args:
        name: As the lists have it.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.

    Raises:
        UnknownNameError: No such name; the message lists the near one of every kind.
    """
    there = [
        _prepared_json(item) for item in prepared(None if cache_dir is None else Path(cache_dir)) if item.name == name
    ]
    facts = {"kind": "dataset", "name": name} if there and name not in SOURCES else _facts(name)
    return Information(facts=facts | ({"prepared": there} if there else {}))


def _facts(name: str) -> dict[str, Any]:
    if name in SOURCES:
        return _source_info(resolve("data set", name, SOURCES)())
    if name.partition("@")[0] in tasks.list_tasks():
        task = load_task(name)
        metrics = [{"key": metric.key, **_metric(METRICS[metric.name])} for metric in task.metrics]
        return {
            **_plain(task),
            "kind": "task",
            "kind_of_task": task.kind,
            "key": task.key,
            "digest": task.digest,
            "metrics": metrics,
        }
    if canonical_model(name) in _models():
        return _model_info(canonical_model(name))
    if name in STRATEGIES:
        return {"kind": "strategy", "name": name, "about": _first_line(STRATEGIES, name)}
    known = [*SOURCES, *tasks.list_tasks(), *_models(), *STRATEGIES]
    raise UnknownNameError(f"nothing is called {name!r}; {near(name, known)}")


def _metric(metric: Metric) -> dict[str, Any]:
    return {"unit": metric.unit, "better": metric.better, "version": metric.version}


def _models() -> dict[str, str]:
    about = {
        f"{adapter}:{variant}": _card_line(f"{adapter}-{variant}")
        for adapter in MODELS
        for variant in MODEL_VARIANTS[adapter]
    }
    return about | {f"floor:{name}": _first_line(FLOORS, name) for name in FLOORS}


def _card_line(model_id: str) -> str:
    card = read_card(cards_directory() / f"{model_id}.toml")
    return f"{card.model_name} ({card.functional})"


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
        Geometry.UNPAIRED: "target frames for training, nothing to compare",
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
            functional: sum(frame.functional == functional for frame in frames)
            for functional in sorted({frame.functional for frame in frames})
        },
        "materials": len({frame.material_id for frame in frames}),
        "left_out": len(source.drops),
    }


def _plain(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    """A dataclass as plain values, without what it does not say."""
    return {key: item for key, item in dataclasses.asdict(value).items() if item not in (None, "", ())}

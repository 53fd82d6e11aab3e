"""Find a name in a table, import what it stands for only then, and suggest the near name when it is unknown.

Tables are plain dictionaries of ``"name": "module:object"`` strings, so listing them imports nothing.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

from xferbench.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SOURCES = {
    "mini": "xferbench.sources.mini:load",
    "matpes": "xferbench.sources.matpes:load",
    "mp-r2scan": "xferbench.sources.mp_r2scan:load",
    "mp-aloe": "xferbench.sources.mp_aloe:load",
    "mp-thermo": "xferbench.sources.mp_thermo:load",
    "dimers": "xferbench.sources.dimers:load",
    "extxyz": "xferbench.sources.user:load_extxyz",
    "ase": "xferbench.sources.user:load_ase",
    "parquet": "xferbench.sources.user:load_parquet",
    "hub": "xferbench.sources.hub:load",
}
"""Data sets that ``xferbench prepare`` can build: name -> a function returning a ``SourceDataset``."""

EMBEDDED = ("mini",)
"""Those of ``SOURCES`` that come with the package: their names mean what this version of it holds."""

UNPAIRED = ("mp-aloe",)
"""Those of ``SOURCES`` that have no pairs but frames for training. No task may be made of them."""

OWN = ("extxyz", "ase", "parquet", "hub")
"""Those of ``SOURCES`` that are made from a user's files, and cannot be made again without them."""

KINDS = {
    "static": "xferbench.tasks.static:STATIC",
}
"""Kinds of task, the ``kind`` of a task file: name -> a ``tasks.kind.Kind``."""

MODELS = {"chgnet": "xferbench.models.chgnet:load"}
"""Model adapters: name -> ``load(variant, device)`` returning a ``Model``."""

MODEL_VARIANTS = {"chgnet": ("0.3.0", "0.2.0", "r2scan")}
"""Variants of each adapter, written ``adapter:variant`` on the command line."""

MODEL_ENGINES = {"chgnet": ("xferbench", "chgnet")}
"""Ways to run an adapter's weights, the default first; ``xferbench score --engine`` chooses another."""

FLOORS = {
    "references": "xferbench.floors:references",
    "copy-source": "xferbench.floors:copy_source",
    "ridge": "xferbench.floors:ridge",
    "zero": "xferbench.floors:zero",
}
"""Baselines without a potential, written ``floor:name``: what a model must beat to have learned something."""

TRAINABLES = {
    "chgnet": "xferbench.models.chgnet.trainable:TrainableCHGNet",
    "sevennet": "xferbench.models.sevennet:TrainableSevenNet",
}
"""Architectures that ``xferbench train`` can train: name -> a subclass of ``models.trainable.Trainable``."""


DEFAULT_MODEL = "chgnet:0.3.0"
"""What training starts from if it is not told otherwise: the network of the seed paper."""

STRATEGIES = {
    "scratch": "xferbench.transfer.strategies:scratch",
    "zero-shot": "xferbench.transfer.strategies:zero_shot",
    "finetune": "xferbench.transfer.strategies:finetune",
    "head": "xferbench.transfer.strategies:head",
    "last-blocks": "xferbench.transfer.strategies:last_blocks",
    "lora": "xferbench.transfer.strategies:lora",
    "delta": "xferbench.transfer.strategies:delta",
    "multi-fidelity": "xferbench.transfer.strategies:multi_fidelity",
    "replay": "xferbench.transfer.strategies:replay",
    "ewc": "xferbench.transfer.strategies:ewc",
}
"""Strategies of ``xferbench train``: name -> ``(start, options) -> Transfer``, see ``transfer.strategies``."""


def builtin_models() -> list[str]:
    """Built-in models and floors, as the command line writes them: ``chgnet:0.3.0``, ``floor:ridge``."""
    models = [f"{adapter}:{variant}" for adapter, variants in MODEL_VARIANTS.items() for variant in variants]
    return models + [f"floor:{name}" for name in FLOORS]


def canonical_model(text: str) -> str:
    """``chgnet:0.3.0`` for ``chgnet-0.3.0``, ``floor:ridge`` for ``floor-ridge``; anything else stays as it is.

    Files are named after models with a dash, which tables show, so people type either.
    """
    return {name.replace(":", "-"): name for name in builtin_models()}.get(text, text)


def near(name: str, known: Iterable[str]) -> str:
    """A clause for an error message: the closest known name if there is one, and all of them."""
    names = sorted(known)
    spelled = {item.lower(): item for item in names}
    close = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.5)
    hint = f"did you mean {spelled[close[0]]!r}? " if close else ""
    return f"{hint}known: {', '.join(names) if names else 'none yet'}"


def check_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return ``name`` if it is known.

    Raises:
        UnknownNameError: It is not; the message lists the near name and all known ones.
    """
    names = list(known)
    if name not in names:
        raise UnknownNameError(f"unknown {kind} {name!r}; {near(name, names)}")
    return name


def resolve(kind: str, name: str, table: Mapping[str, str]) -> Any:  # noqa: ANN401 - the table decides what it holds
    """Import and return the object that ``name`` stands for in ``table``.

    Raises:
        UnknownNameError: ``name`` is not in the table.
    """
    module, _, attribute = table[check_name(kind, name, table)].partition(":")
    return getattr(import_module(module), attribute)

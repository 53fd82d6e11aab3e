"""What a model says about itself, and the settings that two runs must share to be joined."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - schema reads the annotations
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from xferbench.errors import UsageError
from xferbench.functionals import Functional  # noqa: TC001 - schema.parse reads the annotations
from xferbench.models.source import spec_sha256
from xferbench.schema import parse

if TYPE_CHECKING:
    from pathlib import Path

    from xferbench.models import ModelSpec

FACTS = "facts"
"""Key of the settings under which ``ModelFacts`` are kept: known only once the model is loaded."""

HALVED = "halved"
"""Key of the settings that counts the batches that had to be cut because memory ran out; absent if none had to be."""

AFTERWARDS = (FACTS, HALVED)
"""Keys of the settings of a finished file that were not known when the run began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a loaded model declared, as its own process reported it.

    Attributes:
        functional: What its training labels were computed with.
        supported_elements: Chemical symbols, sorted; ``None`` if it does not say.
        references: Declared elemental reference energies, eV/atom by symbol.
        card: The text of its model card.
        source_sha256: Of the ``model.py`` file alone; ``None`` for a built-in model. Files it imports or loads are
            not covered.
        versions: Of its Python and of the packages that commonly decide numbers; see ``interpreter.PACKAGES``.
    """

    functional: Functional
    supported_elements: tuple[str, ...] | None
    references: Mapping[str, float] | None
    card: str | None
    source_sha256: str | None
    versions: Mapping[str, str]


def with_facts(settings: Mapping[str, Any], facts: ModelFacts) -> dict[str, Any]:
    """The settings of a finished run: with what became known when the model was loaded; see ``facts_of``."""
    declared = {key: value for key, value in asdict(facts).items() if key not in settings}
    return plain({**settings, FACTS: declared})


def facts_of(settings: Mapping[str, Any], where: object) -> ModelFacts:
    """What the model of stored predictions declared.

    Args:
        settings: From ``with_facts``.
        where: The file they are from, for the message.

    Raises:
        FormatError: They do not say it.
    """
    shared = {field.name: settings[field.name] for field in fields(ModelFacts) if field.name in settings}
    return parse(ModelFacts, {**shared, **settings.get(FACTS, {})}, where)


def run_settings(spec: ModelSpec, given: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides the numbers and is known before the model is loaded.

    Args:
        spec: The model.
        given: The caller's own settings: task, data set, limit.
        own: The run's: its structures, how they are cut into batches, device, isolation, versions, time limit.

    Raises:
        UsageError: ``given`` uses a name that is set here.
        StorageError: The model file cannot be read.
    """
    own = {
        "kind": "model",
        "model": spec.model_id,
        "source_sha256": spec_sha256(spec),
        **({} if spec.functional is None else {"functional": spec.functional}),
        **own,
    }
    taken = sorted(set(given) & {*own, *AFTERWARDS})
    if taken:
        raise UsageError(f"settings {', '.join(taken)} are set by the run itself; choose other names")
    return plain({**given, **own})


def refuse_difference(found: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    """Refuse to join predictions that were made with different settings.

    Raises:
        UsageError: Naming each setting that differs, with both values, and the way out.
    """
    old, new = _flat(found), _flat(wanted)
    keys = [key for key in sorted({*old, *new}) if old.get(key, "nothing") != new.get(key, "nothing")]
    if not keys:
        return
    shown = "; ".join(f"{key} was {_short(old, key)} and is {_short(new, key)}" for key in keys[:5])
    more = f"; and {len(keys) - 5} more" if len(keys) > 5 else ""
    raise UsageError(
        f"{path} holds predictions of other settings: {shown}{more}; choose another output, or --no-resume to discard them"
    )


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping as JSON gives it back, so that what was stored compares equal to what is wanted."""
    result: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False, default=dict))
    return result


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as ``versions.torch`` -> JSON text."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value, ensure_ascii=False)
    return flat


def _short(flat: Mapping[str, str], key: str) -> str:
    text = flat.get(key, "not set")
    return text if len(text) <= 60 else f"{text[:59]}…"

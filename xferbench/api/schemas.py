"""The schemas of the files that people write and read: tasks, model cards, results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from xferbench import schema
from xferbench.board.cards import ModelCard
from xferbench.registry import check_name
from xferbench.results import Result
from xferbench.storage import to_json
from xferbench.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

FILES: Mapping[str, type] = {"task": Task, "card": ModelCard, "result": Result}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A JSON Schema. ``print`` shows it as JSON."""

    definition: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return dict(self.definition)

    def __str__(self) -> str:
        return to_json(self.to_json()).rstrip()


def json_schema(what: Literal["task", "card", "result"]) -> Schema:
    """The JSON Schema (draft 2020-12) of a task file, a model card or a result: for editors, and for checking elsewhere.

    Args:
        what: Whose.

    Raises:
        UnknownNameError: Something else.
    """
    return Schema(definition=schema.json_schema(FILES[check_name("schema", what, FILES)]))

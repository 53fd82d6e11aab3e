"""Who is ahead of whom, by one rule for the terminal, the Markdown table and the page.

Complete results are ordered by the main metric. Models get a rank; floors stand where their value puts them, without
one. A result that misses frames, or has no value of the main metric, is listed below and never ranked: an error over the
frames a model chose to answer is not an error over the task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xferbench.drawing.rounding import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xferbench.leaderboard.cards import ModelCard
    from xferbench.results import MetricEntry, Result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """A result and the card of its model.

    Attributes:
        card: Floors have none, and neither have results that are shown in a terminal.
    """

    result: Result
    card: ModelCard | None = None

    @property
    def model_id(self) -> str:
        """The model's or floor's id."""
        return self.result.model.id

    @property
    def name(self) -> str:
        """What readers call it: the card's name, else the result's."""
        return self.result.model.name if self.card is None else self.card.model_name

    @property
    def is_floor(self) -> bool:
        """Whether it is a baseline without a potential."""
        return self.result.model.kind == "floor"

    @property
    def main(self) -> MetricEntry:
        """The metric that ranks."""
        return self.result.main


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """An entry in its place.

    Attributes:
        rank: From 1; equal values share a rank. ``None`` for floors and for what is not ranked.
        shortfall: Why the entry is listed below, unranked; empty for ranked rows.
        best: The first rank that the intervals allow: one behind the models whose whole interval is better.
        worst: The last rank they allow.
    """

    entry: Entry
    shortfall: str = ""
    rank: int | None = None
    best: int | None = None
    worst: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """Rows in the order of display.

    Attributes:
        ranked: Complete results, best first, floors in place.
        unranked: Incomplete results, largest coverage first.
        overlaps: Pairs of ranked models whose intervals of the main metric overlap: their order is not established.
    """

    ranked: tuple[Row, ...]
    unranked: tuple[Row, ...]
    overlaps: tuple[tuple[Entry, Entry], ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Ranked rows, then the others."""
        return self.ranked + self.unranked


def rank(entries: Iterable[Entry]) -> Ranking:
    """Order the results of one task version.

    Args:
        entries: In any order; the ranking does not depend on it.
    """
    known = sorted(entries, key=lambda entry: entry.model_id)
    unavoidable = min((entry.main.n_missing for entry in known), default=0)
    shortfalls = {entry.model_id: _shortfall(entry, unavoidable) for entry in known}
    complete = [entry for entry in known if not shortfalls[entry.model_id]]
    complete.sort(key=lambda entry: (_cost(entry), entry.is_floor))
    rest = sorted((entry for entry in known if shortfalls[entry.model_id]), key=lambda entry: -entry.result.coverage)
    models = [entry for entry in complete if not entry.is_floor]
    return Ranking(
        ranked=tuple(Row(entry=entry) if entry.is_floor else _row(entry, models) for entry in complete),
        unranked=tuple(Row(entry=entry, shortfall=shortfalls[entry.model_id]) for entry in rest),
        overlaps=tuple(
            (first, second)
            for i, first in enumerate(models)
            for second in models[i + 1 :]
            if not _surely_better(first, second) and not _surely_better(second, first)
        ),
    )


def _shortfall(entry: Entry, unavoidable: int) -> str:
    """Why an entry cannot be ranked; empty if it can.

    Args:
        entry: The entry.
        unavoidable: Values of the main metric that every entry misses, because the task's own data do not determine them.
    """
    if entry.result.coverage < 1:
        return f"covers {percent(entry.result.coverage)} of the frames"
    if entry.main.value is None:
        return f"no value of the main metric: {entry.main.reason}"
    missing = entry.main.n_missing - unavoidable
    return f"lacks {missing} values that others have" if missing else ""


def _row(entry: Entry, models: Sequence[Entry]) -> Row:
    return Row(
        entry=entry,
        rank=1 + sum(_cost(other) < _cost(entry) for other in models),
        best=1 + sum(_surely_better(other, entry) for other in models),
        worst=len(models) - sum(_surely_better(entry, other) for other in models),
    )


def _cost(entry: Entry) -> float:
    """The main value, turned so that lower is better."""
    value = entry.main.value
    if value is None:
        raise ValueError(f"{entry.model_id} has no value of {entry.main.key} to rank")
    return value if entry.main.better == "lower" else -value


def _cost_interval(entry: Entry) -> tuple[float, float]:
    """The interval of the main value, turned likewise; a value without one is a point."""
    low, high = entry.main.ci_low, entry.main.ci_high
    if low is None or high is None:
        return _cost(entry), _cost(entry)
    return (low, high) if entry.main.better == "lower" else (-high, -low)


def _surely_better(first: Entry, second: Entry) -> bool:
    """Whether the whole interval of ``first`` is better than the whole interval of ``second``."""
    return _cost_interval(first)[1] < _cost_interval(second)[0]

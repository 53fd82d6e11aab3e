"""Who is ahead of whom, by one rule for the terminal, the README and the site.

Complete results are ordered by the main metric. Models get a place; floors stand where their value puts them, without one. A
result that misses frames, or has no value of the main metric, is listed below and never ranked: an error over the frames a
model chose to answer is not an error over the task. How sure the order is comes from paired tests (``comparisons``), never
from the overlap of two intervals.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xferbench.report.rounding import percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xferbench.board.cards import ModelCard
    from xferbench.board.comparisons import Tests
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
        place: From 1, by value; equal values share one. ``None`` for floors and for what is not ranked.
        shortfall: Why the entry is listed below, unranked; empty for ranked rows.
        best: The first rank that the tests allow; ``None`` where nothing was tested.
        worst: The last one.
        ties: Letters of its tie groups: models that share one are not told apart by the tests.
    """

    entry: Entry
    shortfall: str = ""
    place: int | None = None
    best: int | None = None
    worst: int | None = None
    ties: str = ""

    @property
    def rank(self) -> str:
        """``2``, ``1–3`` where the tests leave it open; nothing without a place."""
        if self.best is None or self.best == self.worst:
            return "" if self.place is None else str(self.place)
        return f"{self.best}–{self.worst}"

    @property
    def leads(self) -> bool:
        """Whether it is significantly better than every other model."""
        return self.worst == 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """Rows in the order of display.

    Attributes:
        ranked: Complete results, best first, floors in place.
        unranked: Incomplete results, largest coverage first.
    """

    ranked: tuple[Row, ...]
    unranked: tuple[Row, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Ranked rows, then the others."""
        return self.ranked + self.unranked

    @property
    def models(self) -> tuple[Row, ...]:
        """Ranked rows without the floors."""
        return tuple(row for row in self.ranked if not row.entry.is_floor)


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
    costs = [_cost(entry) for entry in complete if not entry.is_floor]
    first = {cost: place for place, cost in reversed(list(enumerate(costs, start=1)))}
    return Ranking(
        ranked=tuple(Row(entry=entry, place=None if entry.is_floor else first[_cost(entry)]) for entry in complete),
        unranked=tuple(Row(entry=entry, shortfall=shortfalls[entry.model_id]) for entry in rest),
    )


def with_tests(ranking: Ranking, tests: Tests | None) -> Ranking:
    """The same order with rank intervals and tie letters from the paired tests, for the models they cover."""
    if tests is None:
        return ranking
    standings = {item.model: item for item in tests.standings}
    return replace(
        ranking,
        ranked=tuple(
            row
            if (found := standings.get(row.entry.model_id)) is None or row.place is None
            else replace(row, best=found.best, worst=found.worst, ties=found.ties)
            for row in ranking.ranked
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


def _cost(entry: Entry) -> float:
    """The main value, turned so that lower is better."""
    value, better = entry.main.value, entry.main.better
    if value is None:
        raise ValueError(f"{entry.model_id} has no value of {entry.main.key} to rank")
    return {"lower": value, "higher": -value, "one": abs(value - 1)}[better]

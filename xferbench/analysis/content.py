"""What an analysis says, as plain values: the one thing that tables, figures, page and report are made from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xferbench.analysis.estimating import DECIMALS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xferbench.analysis.columns import Columns
    from xferbench.analysis.elements import ElementRow
    from xferbench.analysis.estimating import Estimate
    from xferbench.analysis.referencing import Referenced
    from xferbench.functionals import Functional

SCHEMA = 1
"""Version of ``analysis.json``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to analyse, and how sure to be.

    Attributes:
        split: One split; all pairs if not given. Out-of-sample numbers always fit on train and compare test.
        functional: Of the source side, whose functionals are never pooled; the one most pairs have if not given.
        n_resamples: Of the bootstrap.
        seed: Of the bootstrap, the trees and the permutations.
        confidence: Nominal coverage of the intervals.
    """

    split: str | None = None
    functional: str | None = None
    n_resamples: int = 1000
    seed: int = 0
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which data set."""

    name: str
    version: str
    title: str
    fingerprint: str
    geometry: str
    material: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What entered and what did not.

    Attributes:
        pairs: Analysed.
        materials: They belong to.
        compositions: Distinct reduced ones.
        splits: Split -> pairs, of those analysed.
        other_functional: Pairs left out because their source functional is another: name -> count.
        missing: Quantity -> reason -> pairs that are not compared.
        corrected: Pairs with an empirical correction upstream, which is not part of the energies here.
        corrected_inside: Pairs whose energies hold a correction that the source does not state apart.
        not_determined: Reference -> pairs left out because the fitted pairs do not determine their composition.
    """

    pairs: int
    materials: int
    compositions: int
    splits: Mapping[str, int]
    other_functional: Mapping[str, int]
    missing: Mapping[str, Mapping[str, int]]
    corrected: int
    corrected_inside: int
    not_determined: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Statistics that belong together.

    Attributes:
        key: As in files: ``energy/raw``, ``forces``.
        title: As on pages.
        remark: What the numbers are, in a sentence or two.
        cluster: What is resampled: ``material`` or ``composition``.
    """

    key: str
    title: str
    remark: str
    cluster: str
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysis:
    """Everything.

    Attributes:
        dataset: What was analysed.
        source: The source functional of all pairs.
        target: The target side, as pages write it.
        spread: Quantile of the raw gap -> eV/atom; empty without energies.
        tables: By key.
        columns: The pairs themselves, for the table of pairs and the figures.
        in_sample: Energies after references fitted to all analysed pairs.
        out_of_sample: Energies of test pairs after references fitted to train pairs.
    """

    dataset: Source
    settings: Settings
    source: Functional
    target: str
    counts: Counts
    spread: Mapping[str, float]
    tables: Mapping[str, Table]
    elements: tuple[ElementRow, ...]
    columns: Columns
    in_sample: Referenced
    out_of_sample: Referenced

    def find(self, key: str, name: str) -> Estimate:
        """One statistic of one table.

        Raises:
            KeyError: No such table or statistic.
        """
        for item in self.tables[key].estimates:
            if item.name == name:
                return item
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without the pairs."""
        values = {
            "schema": SCHEMA,
            "dataset": dataclasses.asdict(self.dataset),
            "settings": dataclasses.asdict(self.settings),
            "source": self.source,
            "target": self.target,
            "counts": dataclasses.asdict(self.counts),
            "gap_quantiles": dict(self.spread),
            "statistics": {key: dataclasses.asdict(table) for key, table in self.tables.items()},
            "elements": [dataclasses.asdict(row) for row in self.elements],
        }
        return {key: settled(value) for key, value in values.items()}


def settled(value: Any) -> Any:  # noqa: ANN401 - JSON is what it is
    """Plain values with every float rounded to ``DECIMALS``."""
    if isinstance(value, float):
        return round(value, DECIMALS) + 0.0  # no negative zero
    if isinstance(value, dict):
        return {key: settled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [settled(item) for item in value]
    return value

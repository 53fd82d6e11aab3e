"""README.md of a dataset directory: a Hugging Face dataset card, written from the manifest's facts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from xferbench.dataset.layout import CONFIGS, DROPS, MANIFEST
from xferbench.pairing import REASONS as PAIRING_REASONS
from xferbench.records import PROPERTIES, SPLITS
from xferbench.sources.reading import REASONS as SOURCE_REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

COLUMNS = (
    ("frame_id", "string", "", "one calculation; unique over both configurations"),
    ("pair_id", "string", "", "the same in `gga` and `r2scan`; row i of both is one pair"),
    ("material_id", "string", "", "parent material; never in two splits"),
    ("functional", "string", "", "`PBE` or `PBE+U` in `gga`, `r2SCAN` in `r2scan`"),
    ("n_atoms", "int", "", "number of atoms"),
    ("numbers", "int (n_atoms)", "", "atomic numbers"),
    ("positions", "float (n_atoms, 3)", "Å", "Cartesian"),
    ("cell", "float (3, 3)", "Å", "one lattice vector per row"),
    ("pbc", "bool (3)", "", "periodic directions"),
    ("energy", "float", "eV", "of the whole cell, uncorrected"),
    ("forces", "float (n_atoms, 3)", "eV/Å", "-dE/dx"),
    ("stress", "float (3, 3)", "eV/Å³", "(1/V) dE/dε, tension positive (ASE sign)"),
    ("magmoms", "float (n_atoms)", "µB", "signed, collinear"),
    ("correction", "float", "eV", "empirical correction of the source, not part of `energy`"),
    ("provenance", "string", "", "JSON: where the frame comes from"),
    ("subset_key", "float", "", "in [0, 1); the nested training subset of fraction f is the rows with key < f"),
)
"""Name, type, unit and meaning of every column. A label that a calculation does not have is null, never zero."""

REASONS = {**SOURCE_REASONS, **PAIRING_REASONS}
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
TAGS = ("chemistry", "materials-science", "density-functional-theory", "interatomic-potentials", "PBE", "r2SCAN")


def render(facts: Mapping[str, Any], body: str) -> str:
    """The whole card.

    Args:
        facts: The manifest, or its part that does not depend on the written bytes.
        body: Markdown of the data source: how the labels were computed, units, limits.
    """
    return "\n".join(
        [
            *_front_matter(facts),
            "",
            f"# {facts['title']}",
            "",
            f"`{facts['dataset']}` version {facts['version']}: pairs of a GGA and an r2SCAN calculation, `{facts['geometry']}`.",
            "",
            body.strip(),
            "",
            *_loading(),
            *_columns(),
            *_splits(facts),
            *_drops(facts),
            *_citation(facts),
        ]
    )


def _front_matter(facts: Mapping[str, Any]) -> list[str]:
    """YAML, in which every JSON string is a quoted string, so that no name is read as a number or a truth value.

    An empty split is not stated: ``datasets`` refuses to open one, and the whole configuration with it.
    """
    pairs = sum(split["pairs"] for split in facts["splits"].values())
    size = next((name for limit, name in SIZES if pairs < limit), "n>10M")
    lines = ["---", f"license: {_quoted(facts['licence'])}", f"pretty_name: {_quoted(facts['title'])}"]
    lines += ["size_categories:", f"- {_quoted(size)}", "task_categories:", '- "graph-ml"']
    lines += ["tags:", *(f"- {_quoted(tag)}" for tag in TAGS), "configs:"]
    for config in CONFIGS:
        lines += [f"- config_name: {config}", *(["  default: true"] if config == "r2scan" else []), "  data_files:"]
        for split in (name for name in SPLITS if facts["splits"][name]["pairs"]):
            lines += [f"  - split: {split}", f"    path: data/{config}/{split}-*.parquet"]
    return [*lines, "---"]


def _loading() -> list[str]:
    return [
        "## Loading",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        'r2scan = load_dataset("path/to/this/directory", "r2scan")',
        'gga = load_dataset("path/to/this/directory", "gga")  # row i is the same pair',
        "```",
        "",
        f"`{MANIFEST}` has the SHA-256 of every file; `xferbench prepare --check` verifies them.",
        "",
    ]


def _columns() -> list[str]:
    return [
        "## Columns",
        "",
        *_table(("column", "type", "unit", "meaning"), ((f"`{n}`", *rest) for n, *rest in COLUMNS)),
        "",
    ]


def _splits(facts: Mapping[str, Any]) -> list[str]:
    rule = facts["split_rule"]
    fractions = " / ".join(f"{fraction:g}" for fraction in rule["fractions"])
    rows = [(name, *_split_row(facts["splits"][name])) for name in SPLITS]
    subsets = [(f"{percent} %", *_counts(facts["subsets"][percent])) for percent in sorted(facts["subsets"], key=int)]
    labels = [(functional, *(counts[name] for name in PROPERTIES)) for functional, counts in facts["labels"].items()]
    return [
        "## Splits",
        "",
        f"Materials are grouped by {rule['group']}. A salted hash of the material deals it to {', '.join(SPLITS)}",
        f"with probabilities {fractions} (salt `{rule['salt']}`), so that adding data never moves a material.",
        "",
        *_table(("split", "pairs", "materials", "elements", "elements not in train"), rows),
        "",
        "Nested training subsets, each inside the next:",
        "",
        *_table(("of the training materials", "pairs", "materials", "elements"), subsets),
        "",
        "Frames that have a label:",
        "",
        *_table(("functional", *PROPERTIES), labels),
        "",
    ]


def _split_row(split: Mapping[str, Any]) -> tuple[object, ...]:
    return (*_counts({**split, "elements": len(split["elements"])}), ", ".join(split["uncovered_elements"]) or "none")


def _counts(facts: Mapping[str, Any]) -> tuple[int, int, int]:
    return facts["pairs"], facts["materials"], facts["elements"]


def _drops(facts: Mapping[str, Any]) -> list[str]:
    if not facts["drops"]:
        return ["## Left out", "", "Nothing.", ""]
    rows = [
        (f"`{reason}`", count, REASONS.get(reason, "see the data source")) for reason, count in facts["drops"].items()
    ]
    return [
        "## Left out",
        "",
        f"Each one is a line of `{DROPS}`.",
        "",
        *_table(("reason", "count", "meaning"), rows),
        "",
    ]


def _citation(facts: Mapping[str, Any]) -> list[str]:
    return [
        "## Licence and citation",
        "",
        f"Licence: {facts['licence']}",
        "",
        "```",
        facts["citation"].strip(),
        "```",
        "",
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

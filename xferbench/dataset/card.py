"""README.md of a dataset directory: a Hugging Face dataset card, written from the manifest's facts."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any

from xferbench.dataset.layout import CONFIGS, DROPS, MANIFEST, TRAINING
from xferbench.functionals import SIDES, Pair
from xferbench.hygiene import FLAGS, UNCLEAN
from xferbench.pairing import REASONS as PAIRING_REASONS
from xferbench.pairing.phases import KEY
from xferbench.records import PROPERTIES, SPLITS, Geometry
from xferbench.sources.reading import REASONS as SOURCE_REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

COLUMNS = (
    ("frame_id", "string", "", "one calculation; unique over both configurations"),
    (
        "pair_id",
        "string",
        "",
        "the same in `source` and `target`; row i of both is one pair; empty in a frame that stands alone",
    ),
    ("material_id", "string", "", "parent material; never in two splits"),
    (
        "functional",
        "string",
        "",
        "of the label: one of the source side in `source`, one of the target side in `target`",
    ),
    ("n_atoms", "int", "", "number of atoms"),
    ("numbers", "int (n_atoms)", "", "atomic numbers"),
    ("positions", "float (n_atoms, 3)", "Å", "Cartesian"),
    ("cell", "float (3, 3)", "Å", "one lattice vector per row"),
    ("pbc", "bool (3)", "", "periodic directions"),
    ("energy", "float", "eV", "of the whole cell; uncorrected, unless the text above says otherwise"),
    ("forces", "float (n_atoms, 3)", "eV/Å", "-dE/dx"),
    ("stress", "float (3, 3)", "eV/Å³", "(1/V) dE/dε, tension positive (ASE sign)"),
    ("magmoms", "float (n_atoms)", "µB", "signed, collinear"),
    ("correction", "float", "eV", "empirical correction of the source, not part of `energy`"),
    ("provenance", "string", "", "JSON: where the frame comes from"),
    ("subset_key", "float", "", "in [0, 1); the nested training subset of fraction f is the rows with key < f"),
)
"""Name, type, unit and meaning of every column. A label that a calculation does not have is null, never zero."""

WHAT = {
    "same_geometry": "pairs of {source} and {target} calculations of one structure",
    "same_material": "pairs of {source} and {target} calculations of one phase, each relaxed by its own functional",
    "energies_only": "pairs of {source} and {target} energies of one material, without structures",
    "unpaired": "{target} calculations for training, without partners",
}
"""Geometry -> what the rows are."""

REASONS = {**SOURCE_REASONS, **PAIRING_REASONS}
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
TAGS = ("chemistry", "materials-science", "density-functional-theory", "interatomic-potentials")


def render(facts: Mapping[str, Any], body: str) -> str:
    """The whole card.

    Args:
        facts: The manifest, or its part that does not depend on the written bytes.
        body: Markdown of the data source: how the labels were computed, units, limits.
    """
    functionals = Pair(**facts["functionals"])
    what = WHAT[facts["geometry"]].format(**{side: functionals.prose(side) for side in SIDES})
    return "\n".join(
        [
            *_front_matter(facts),
            "",
            f"# {facts['title']}",
            "",
            f"`{facts['dataset']}` version {facts['version']}: {what}, `{facts['geometry']}`.",
            "",
            body.strip(),
            "",
            *_loading(facts),
            *_columns(),
            *_splits(facts),
            *_phases(facts),
            *_training(facts),
            *_atom_energies(facts),
            *_hygiene(facts),
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
    lines += ["tags:", *(f"- {_quoted(tag)}" for tag in (*TAGS, *chain(*facts["functionals"].values()))), "configs:"]
    for config, splits in _configs(facts).items():
        lines += [f"- config_name: {config}", *(["  default: true"] if config == "target" else []), "  data_files:"]
        for split in (name for name in SPLITS if splits[name]["pairs"]):
            lines += [f"  - split: {split}", f"    path: data/{config}/{split}-*.parquet"]
    return [*lines, "---"]


def _configs(facts: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Configuration -> what is in its splits."""
    names = CONFIGS[1:] if facts["geometry"] == Geometry.UNPAIRED.value else CONFIGS
    further = {TRAINING: facts["training"]["splits"]} if "training" in facts else {}
    return {**dict.fromkeys(names, facts["splits"]), **further}


def _loading(facts: Mapping[str, Any]) -> list[str]:
    calls = {
        "target": 'target = load_dataset("path/to/this/directory", "target")',
        "source": 'source = load_dataset("path/to/this/directory", "source")  # row i is the same pair',
        TRAINING: f'frames = load_dataset("path/to/this/directory", "{TRAINING}")  # all target frames, for training',
    }
    return [
        "## Loading",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        *(call for config, call in calls.items() if config in _configs(facts)),
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
    rule, rows_are = facts["split_rule"], "frames" if facts["geometry"] == Geometry.UNPAIRED.value else "pairs"
    fractions = " / ".join(f"{fraction:g}" for fraction in rule["fractions"])
    rows = [(name, *_split_row(facts["splits"][name])) for name in SPLITS]
    subsets = [(f"{percent} %", *_counts(facts["subsets"][percent])) for percent in sorted(facts["subsets"], key=float)]
    labels = [(functional, *(counts[name] for name in PROPERTIES)) for functional, counts in facts["labels"].items()]
    return [
        "## Splits",
        "",
        f"Materials are grouped by {rule['group']}. A salted hash of the {_dealt(rule)} deals it to {', '.join(SPLITS)}",
        f"with probabilities {fractions} (salt `{rule['salt']}`), so that adding data never moves a material.",
        *_grouped(rule, facts["groups"]),
        "",
        *_table(("split", rows_are, "materials", "elements", "elements not in train"), rows),
        "",
        "Nested training subsets, each inside the next:",
        "",
        *_table(("of the training materials", rows_are, "materials", "elements"), subsets),
        "",
        "Frames that have a label:",
        "",
        *_table(("functional", *PROPERTIES), labels),
        "",
    ]


def _dealt(rule: Mapping[str, Any]) -> str:
    return {"material": "material", "chemsys": "chemical system", "prototype": "prototype"}[rule.get("by", "material")]


def _grouped(rule: Mapping[str, Any], groups: Mapping[str, int]) -> list[str]:
    """What is special about a split that is not by material."""
    lines = []
    if "by" in rule:
        lines.append(
            f"All materials of a {_dealt(rule)} are in one split: {groups['count']} groups, and "
            f"{groups['unknown_materials']} materials of unknown {_dealt(rule)}, which are one of them."
        )
    if "held_out" in rule:
        lines.append(
            f"Whatever contains {' or '.join(rule['held_out'])} is in test ({groups['held_out']} groups), and nothing else "
            "teaches these elements."
        )
    return lines


def _phases(facts: Mapping[str, Any]) -> list[str]:
    """How far apart the structures of a pair are."""
    if "phases" not in facts:
        return []
    meaning = {
        "volume_change": "volume per atom in the target functional over that in the source, minus 1",
        "rms": "distance of the atoms at equal volume, in units of the cube root of the volume per atom",
    }
    rows = [
        (f"`{name}`", *(f"{value:.4f}" for value in facts["phases"][name].values()), meaning[name]) for name in meaning
    ]
    return [
        "## Structures of a pair",
        "",
        "Both are the same phase by pymatgen's StructureMatcher. How they differ is in the `provenance` of each target frame,",
        f"under `{KEY}`:",
        "",
        *_table(("quantity", "5 %", "median", "95 %", "meaning"), rows),
        "",
    ]


def _training(facts: Mapping[str, Any]) -> list[str]:
    """What the configuration for training holds."""
    if "training" not in facts:
        return []
    rows = [(name, *_counts({**split, "elements": len(split["elements"])})) for name, split in _splits_of(facts)]
    return [
        "## All target frames",
        "",
        f"`{TRAINING}` has every target frame of the source, those in pairs included, in the split of its material. There is no",
        "`pair_id`; rows are sorted by `frame_id`.",
        "",
        *_table(("split", "frames", "materials", "elements"), rows),
        "",
    ]


def _atom_energies(facts: Mapping[str, Any]) -> list[str]:
    """Energies of isolated atoms."""
    if "atom_energies" not in facts:
        return []
    tables = facts["atom_energies"]
    elements = sorted({symbol for table in tables.values() for symbol in table})
    rows = [
        (symbol, *(f"{table[symbol]:.4f}" if symbol in table else "" for table in tables.values()))
        for symbol in elements
    ]
    return [
        "## Isolated atoms",
        "",
        f"eV, relative to the zero of the other energies; `atom_energies` in `{MANIFEST}` has all digits.",
        "",
        *_table(("element", *tables), rows),
        "",
    ]


def _splits_of(facts: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, facts["training"]["splits"][name]) for name in SPLITS]


def _hygiene(facts: Mapping[str, Any]) -> list[str]:
    """Which pairs are peculiar."""
    if not facts["hygiene"]:
        return []
    rows = [(f"`{flag}`", *(facts["hygiene"][name]["flags"][flag] for name in SPLITS), FLAGS[flag]) for flag in FLAGS]
    clean = ("clean", *(facts["hygiene"][name]["clean"] for name in SPLITS), f"none of {', '.join(sorted(UNCLEAN))}")
    return [
        "## Flags",
        "",
        "Pairs that are peculiar in some way; a pair may have several flags.",
        "",
        *_table(("flag", *SPLITS, "meaning"), [*rows, clean]),
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

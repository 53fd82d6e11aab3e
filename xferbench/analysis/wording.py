"""Sentences of an analysis that depend on its numbers. They say what was found, and nothing where nothing was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench.analysis.importance import TOO_FEW
from xferbench.analysis.tables import written
from xferbench.report.rounding import fixed

if TYPE_CHECKING:
    from xferbench.analysis.content import Analysis, Table
    from xferbench.analysis.estimating import Estimate

GEOMETRY = {
    "same_geometry": "both on the same geometry",
    "same_material": "each on its own geometry of the same material",
    "energies_only": "energies alone, without structures",
}
"""How the frames of a pair belong together, for all ways that give pairs."""

NAMES = {"energy": "energies", "forces": "forces", "stress": "stress", "magmoms": "magnetic moments"}

HOW_TO_READ = {
    "Gap": "target minus source of one pair; g is the source label, r the target label.",
    "Raw": "Energies as the calculations print them. Their zero is a convention that differs by functional and element.",
    "In sample": "References of both functionals fitted by least squares to the pairs that are then compared. With few "
    "pairs per element this flatters.",
    "Out of sample": "References fitted to train and removed from test: what a transfer can count on. Pairs whose "
    "composition train does not determine are left out and counted.",
    "Within compositions": "Deviations from the mean energy of structures with one composition. All references cancel, so "
    "nothing is fitted.",
    "Elemental shift": "Least squares of the gap on the fractions of the elements. What is linear in composition but real "
    "chemistry is in it too.",
    "Decision tree": "The seed paper's importance, divided by the number of atoms of the element and scaled to 1. The "
    "division favours rare elements; the tree is fully grown and splits noise as readily as signal.",
    "Permutation control": "How much the error of a tree on materials it has not seen grows when one element's fractions "
    "are shuffled. Zero or below: the element explains nothing.",
    "Brackets": "Bootstrap intervals over whole materials (compositions, within compositions). Fitted references stay as "
    "they are; the intervals of the elemental shifts refit them.",
}


def heading(analysis: Analysis) -> str:
    """The title of page and report."""
    return f"{analysis.dataset.name}: {analysis.source} against {analysis.target}"


def lede(analysis: Analysis) -> str:
    """What was compared, in a sentence."""
    counts = analysis.counts
    return (
        f"{counted(counts.pairs, 'pair')} of {counted(counts.materials, 'material')} calculated in {analysis.source} and in "
        f"{analysis.target}, {GEOMETRY[analysis.dataset.geometry]}{_which(analysis)}."
    )


def energy_sentences(analysis: Analysis) -> list[str]:
    """What referencing does to the energies."""
    if not analysis.spread:
        return ["No pair has both energies."]
    low, high = (fixed(analysis.spread[name], 2).replace("-", "−") for name in ("0", "1"))
    raw, inside = analysis.find("energy/raw", "pearson"), analysis.find("energy/in-sample", "pearson")
    first = (
        f"{analysis.target} energies lie {low} to {high} eV/atom from those of {analysis.source}, and the two correlate with Pearson "
        f"{_quoted(raw)}. Once each functional's own elemental references are removed, the correlation is {_quoted(inside)} "
        f"and the mean absolute gap {written(analysis.find('energy/in-sample', 'mae'))}."
    )
    if not analysis.tables["energy/out-of-sample"].estimates:
        return [first, "There are no test pairs whose references train determines."]
    pearson, mae = (analysis.find("energy/out-of-sample", name) for name in ("pearson", "mae"))
    return [
        first,
        f"On test pairs, with references from train alone, the correlation is {_quoted(pearson)} and the gap {written(mae)}.",
    ]


def composition_sentence(analysis: Analysis) -> str:
    """What is true without references."""
    item = analysis.find("composition", "pearson")
    if not item.n_pairs:
        return "No composition has two structures whose energies can be compared."
    return (
        f"Among {counted(item.n_pairs, 'pair')} that share one of {counted(item.n_clusters, 'composition')}, energy "
        f"differences correlate with Pearson {_quoted(item)}; {_percent(analysis.find('composition', 'same_order'))} of the "
        "structure pairs that both functionals can tell apart have the same order in both."
    )


def importance_sentence(analysis: Analysis) -> str:
    """Whether the importances mean anything here."""
    if not analysis.tables["importance"].estimates:
        return f"Not computed: {TOO_FEW}."
    skill = analysis.find("importance", "tree_r_squared")
    if skill.value is None:
        return "The referenced gap is the same in every material: there is nothing for the tree to explain."
    if skill.ci_low is None or skill.ci_low > 0:
        return f"The tree explains the referenced gap of materials it has not seen with R² {written(skill)}."
    return (
        f"The tree predicts the referenced gap of materials it has not seen no better than their mean (R² {written(skill)}): "
        "with so few materials its importances show which splits it made, not which elements matter."
    )


def nothing(analysis: Analysis, part: Table) -> str:
    """Why a table of labels is empty."""
    reasons = analysis.counts.missing[part.key]
    said = [f"{counted(count, 'pair')}, {reason}" for reason, count in reasons.items()]
    return f"Nothing to compare: {'; '.join(said)}."


def left_out(analysis: Analysis) -> list[str]:
    """Everything that was not compared, with its count and reason."""
    counts = analysis.counts
    lines = [
        f"{counted(count, 'pair')} with {name} energies: source functionals have different zeros and are not pooled"
        for name, count in counts.other_functional.items()
    ]
    lines += [
        f"{NAMES[quantity]}: {counted(count, 'pair')}, {reason}"
        for quantity, reasons in counts.missing.items()
        for reason, count in reasons.items()
    ]
    lines += [
        f"referenced energies {name.replace('-', ' ')}: {counted(count, 'pair')}, composition not determined by the fitted pairs"
        for name, count in counts.not_determined.items()
        if count
    ]
    if counts.corrected:
        lines.append(
            f"nothing, but {counted(counts.corrected, 'pair')} had an upstream correction, which is not applied"
        )
    if counts.corrected_inside:
        lines.append(
            f"nothing, but the energies of {counted(counts.corrected_inside, 'pair')} hold an upstream correction that is not stated apart"
        )
    return lines or ["nothing"]


def facts(analysis: Analysis) -> list[tuple[str, str]]:
    """Term and value of what the analysis rests on."""
    data, counts, settings = analysis.dataset, analysis.counts, analysis.settings
    splits = ", ".join(f"{name} {counts.splits[name]}" for name in ("train", "val", "test") if name in counts.splits)
    return [
        ("Data set", f"{data.name} {data.version}"),
        ("Pairs", f"{counts.pairs} ({splits})"),
        ("Materials", f"{counts.materials}, by {data.material}"),
        ("Compositions", str(counts.compositions)),
        ("Elements", str(len(analysis.elements))),
        (
            "Intervals",
            f"{settings.confidence:.0%}, {settings.n_resamples} resamples of whole materials, seed {settings.seed}",
        ),
    ]


def counted(n: int, noun: str) -> str:
    """``1 pair``, ``2 pairs``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _which(analysis: Analysis) -> str:
    split = analysis.settings.split
    return "" if split is None else f"; only the {split} split, out-of-sample numbers excepted"


def _quoted(item: Estimate) -> str:
    """A value for the middle of a sentence."""
    return f"undefined ({item.reason})" if item.value is None else written(item)


def _percent(item: Estimate) -> str:
    return "an unknown share" if item.value is None else f"{item.value:.0%}"

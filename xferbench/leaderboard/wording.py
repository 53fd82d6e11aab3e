"""The words that the Markdown table, the page and the terminal share: metric names, explanations, caveats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench.drawing.rounding import shown_unit

if TYPE_CHECKING:
    from xferbench.leaderboard.board import Section
    from xferbench.leaderboard.cards import ModelCard
    from xferbench.leaderboard.ranking import Ranking, Row
    from xferbench.results import Excluded, MetricEntry, Result

MISSING = "—"
MISMATCH = "≠"
LOSES = "✗"
FEW_PAIRS = 4
HEADLINES = ("mae", "rmse", "explained")
"""Endings of the metrics that a first look needs."""

SHARED = {("mini", "MPtrj"): "structures of the same compositions are in MPtrj"}
"""Data set and training set -> what they are known to share, where no audit says it exactly."""

ARROWS = {"lower": "↓", "higher": "↑", "one": "→ 1"}

HOW_TO_READ = {
    "Rank": (
        "Models are ordered by one main metric over all frames of the task. Where intervals overlap, rank differences are "
        "not established: another draw of materials could turn them round. The small range under a rank holds the places "
        "that the intervals allow."
    ),
    "Intervals": (
        "Brackets and bars are bootstrap intervals. Whole materials are drawn, not single frames, because frames of one "
        "material resemble each other. Each number shows the digits that its interval supports; the result files hold all of them."
    ),
    "Energies": (
        "Aligned: one offset per element, fitted on the calibration split and never on the test, is added to the predictions. "
        "Referenced: both sides lose their own elemental references, the model the ones it declares. Raw: nothing is removed; "
        "between functionals such an error is mostly the arbitrary zero of energy, up to tens of eV per atom."
    ),
    "Floors": (
        "Rows in italics are baselines without a potential. They stand where their error puts them and take no rank. A model "
        "below a floor has learned nothing that this task can see."
    ),
    "Functional": (
        f"What the model says it reproduces. {MISMATCH} marks a model made for another functional than the labels of the task; "
        "it is ranked all the same, because the distance is what the task measures."
    ),
    "Follows": (
        "The functional whose labels the predictions follow, found by comparing energies, forces and stresses with the labels of "
        f"both functionals, whatever the model declares; undecided where the intervals allow either. {LOSES} marks a model that "
        "follows the other functional than it declares: a wrong head, or weights before the transfer. See `docs/identity.md`."
    ),
    "Coverage": (
        "The fraction of frames with a prediction. Results that are not complete are listed below the others, without a rank."
    ),
    "Seen": (
        "Where a training set was audited (`xferbench audit`), the table says how many test structures it holds, and each number "
        "has its value without them, marked clean. All frames rank; an overlap is shown, not punished."
    ),
    "Comparison": (
        "Numbers are comparable within one version of one task. They say nothing across tasks, data sets or versions."
    ),
}
"""Term and explanation, in the order a reader needs them."""


METHODS = {
    "tl-trainable-ref": "fine-tuning with trainable elemental references",
    "tl-frozen-ref": "fine-tuning with the parent's elemental references",
    "tl-refit-atomref": "fine-tuning with refitted elemental references",
    "multihead": "multi-head training",
    "multi-fidelity": "multi-fidelity training",
    "delta": "learning the difference",
    "other": "another method, see notes",
}
"""Transfer methods of cards, in words."""


def label(metric: MetricEntry) -> str:
    """``Energy MAE`` for ``energy_mae``: the metric's name as words."""
    words = [word.upper() if word in {"mae", "rmse"} else word for word in metric.name.split("_")]
    return " ".join([words[0].capitalize(), *words[1:]])


def statistic(metric: MetricEntry) -> str:
    """``mae``, ``rmse``, or nothing for a metric that is neither."""
    last = metric.name.rpartition("_")[2]
    return last if last in {"mae", "rmse"} else ""


def is_minor(metric: MetricEntry) -> bool:
    """Whether a first look can do without it: neither ranks nor is an error or a share explained.

    The error of the gap is that of the energy: both are told against the same GGA label.
    """
    return not metric.main and (metric.name == "gap_mae" or metric.name.rpartition("_")[2] not in HEADLINES)


def small_print(metric: MetricEntry) -> str:
    """What stands under a metric's name: its reference, the shown unit, and an arrow towards better."""
    return ", ".join(filter(None, [metric.reference, unit_arrow(metric)]))


def unit_arrow(metric: MetricEntry) -> str:
    """``meV/atom ↓``: the shown unit and the direction of better."""
    return f"{shown_unit(metric.unit)} {ARROWS[metric.better]}".strip()


def follows(result: Result) -> str:
    """``r2SCAN``, ``GGA`` or ``undecided``, marked if the model declares the other."""
    return result.identity.verdict + (f" {LOSES}" if result.identity.declared_loses else "")


def suspicions(result: Result) -> str:
    """How many suspicions the scoring had, to stand beside a name; nothing if it had none."""
    return f"⚠ {plural(len(result.notes), 'suspicion')}" if result.notes else ""


def seen(result: Result) -> str:
    """How many test pairs the training set has seen, of how many; nothing if it was not audited."""
    if result.overlap is None:
        return ""
    return f"{result.overlap.regimes.get('seen-structure', 0)} of {plural(sum(result.overlap.regimes.values()), 'test pair')} seen in training"


def not_audited(result: Result, card: ModelCard | None) -> str:
    """What can be said of a model whose training set nobody has compared with the test pairs."""
    trained = () if card is None else card.training_sets
    known = [text for (data, name), text in SHARED.items() if data == result.dataset.name and name in trained]
    return "; ".join(["not audited", *known])


def audit_sentence(section: Section) -> str:
    """Which models nobody has audited, and what is known of them all the same."""
    groups: dict[str, list[str]] = {}
    for row in section.ranking.rows:
        if not row.entry.is_floor and row.entry.result.overlap is None:
            groups.setdefault(not_audited(row.entry.result, row.entry.card), []).append(row.entry.name)
    return " ".join(f"Training sets of {', '.join(names)}: {text}." for text, names in groups.items())


def clean_metric(result: Result, key: str) -> MetricEntry | None:
    """A metric over the frames that the training set has not seen, where it has seen some."""
    if result.overlap is None or result.overlap.n_clean == result.counts.frames:
        return None
    return next((entry for entry in result.overlap.clean if entry.key == key), None)


def losing(section: Section) -> str:
    """What the mark of ``follows`` means, if a row of the section has it."""
    if not any(row.entry.result.identity.declared_loses for row in section.ranking.rows):
        return ""
    return f"{LOSES}: its predictions follow the other functional than it declares."


def full_label(metric: MetricEntry) -> str:
    """``Energy MAE (aligned, meV/atom ↓)``."""
    return f"{label(metric)} ({small_print(metric)})"


def rank_text(row: Row) -> str:
    """``2``, or ``2 (1 to 3)`` where the intervals leave the place open; nothing for a row without rank."""
    if row.rank is None:
        return ""
    return f"{row.rank}" if row.best == row.worst else f"{row.rank} ({row.best} to {row.worst})"


def interval_name(section: Section) -> str:
    """``95 % intervals``, as far as the task's definition is at hand."""
    if section.task is None:
        return "intervals"
    return f"{section.task.bootstrap.confidence * 100:g} % intervals"


def overlap_sentence(ranking: Ranking) -> str:
    """Which ranks mean nothing, said plainly."""
    models = sum(row.rank is not None for row in ranking.ranked)
    if models < 2:
        return ""
    if not ranking.overlaps:
        return "No two models have overlapping intervals on the main metric."
    pairs = len(ranking.overlaps)
    if pairs > FEW_PAIRS:
        total = models * (models - 1) // 2
        return f"The intervals of {pairs} of {total} pairs of models overlap: their order is not established."
    names = "; ".join(f"{first.name} and {second.name}" for first, second in ranking.overlaps)
    return f"The intervals of these models overlap, so their order is not established: {names}."


def empty_sentence(section: Section) -> str:
    """Which metrics of the task no result has a value of, and why."""
    reasons: dict[str, list[str]] = {}
    for metric in section.metrics:
        if metric.key not in section.materials:
            reasons.setdefault(metric.reason or "no reason given", []).append(full_label(metric))
    return " ".join(f"No result has a value of {', '.join(names)}: {reason}." for reason, names in reasons.items())


def thin_sentence(section: Section) -> str:
    """Which metrics are no columns because they rest on too few materials."""
    if not section.thin:
        return ""
    counts = section.materials
    names = [f"{full_label(metric)} from {plural(counts[metric.key], 'material')}" for metric in section.thin]
    return f"Too few materials to compare models by, listed with each model instead: {', '.join(names)}."


def plural(count: int, noun: str) -> str:
    """``1 material``, ``2 materials``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def subject(section: Section) -> str:
    """The title of a section: the task's own where its definition is at hand, else its key."""
    return section.key if section.task is None else section.task.title


def _excluded(excluded: Excluded) -> str:
    """How many pairs a task leaves out for which flags; the flags alone if no pair has one."""
    flags = [f"{flag.replace('_', ' ')} ({count})" for flag, count in excluded.flags.items() if count]
    if flags:
        return f"{plural(excluded.pairs, 'pair')}: {', '.join(flags)}"
    return f"no pair is flagged: {', '.join(flag.replace('_', ' ') for flag in excluded.flags)}"


def facts(section: Section) -> list[tuple[str, str]]:
    """What a section measures and on what, as term and value."""
    result, task = section.result, section.task
    rows = [
        ("Task", section.key),
        ("Data", f"{result.dataset.name} {result.dataset.version}" + (f", {task.split} split" if task else "")),
        ("Scored on", f"{result.counts.frames} frames of {result.counts.materials} materials"),
        ("Ranked by", full_label(section.main)),
    ]
    if result.excluded is not None:
        rows.insert(3, ("Left out by the task", _excluded(result.excluded)))
    if task is None:
        return rows
    plan = task.bootstrap
    intervals = f"{plan.confidence * 100:g} %, {plan.n} bootstrap draws of whole materials"
    offsets = f"{task.calibration} split, {result.counts.calibration_frames} frames"
    return [
        *rows[:1],
        ("Labels", task.functional.value),
        *rows[1:],
        ("Intervals", intervals),
        ("Offsets fitted on", offsets),
    ]

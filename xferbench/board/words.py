"""The words of the board, wherever it is read: names of metrics, explanations, caveats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench.report.rounding import show, shown_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xferbench.board.cards import ModelCard
    from xferbench.board.ranking import Entry
    from xferbench.board.reading import Section
    from xferbench.results import Excluded, MetricEntry, Overlap, Result

MISSING = "—"
MISMATCH = "≠"
LOSES = "✗"
HEADLINES = ("mae", "rmse", "explained")
"""Endings of the metrics that a first look needs."""

SHARED = {("mini", "MPtrj"): "structures of the same compositions are in MPtrj"}
"""Data set and training set -> what they are known to share, where no audit says it exactly."""

STATES = {
    "re-scored": "the predictions are stored here, and scoring them again gave the same main value",
    "self-reported": "the number is what the submitter sent; nobody has scored the predictions again",
    "computed": "a floor, computed from the data set itself",
}
"""How far a row has been checked, and what that means."""

HEAVY = 0.3
"""Part of an error from which on one material decides it."""

ARROWS = {"lower": "↓", "higher": "↑", "one": "→ 1"}

HOW_TO_READ = {
    "Rank": (
        "Models are ordered by one main metric over all frames of the task. Whether two of them differ is tested pair by pair on "
        "the same draws of materials, corrected for the number of tests. Models that share a letter are not told apart; a range "
        "such as 1–3 holds the places that the tests allow. The best value is bold only where it is better than every other for sure."
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
    "Checked": "; ".join(f"{state}: {meaning}" for state, meaning in STATES.items())
    + ". Labels are public, so neither proves how "
    "the predictions came about.",
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


STRATEGIES = {
    "finetune": "fine-tuning",
    "head": "fine-tuning of the read-out",
    "last-blocks": "fine-tuning of the last blocks",
    "lora": "low-rank adaptation",
    "delta": "learning the difference",
    "multi-fidelity": "multi-fidelity training",
    "replay": "multi-head training with replay",
    "ewc": "fine-tuning with elastic weight consolidation",
    "zero-shot": "no training",
    "other": "another strategy, see notes",
}
"""Strategies of cards, in words."""


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

    The error of the gap is that of the energy: both are told against the same source label. Plain averages over all components stand
    beside those over the components that symmetry leaves free.
    """
    beside = {"gap_mae", "force_all_mae", "stress_all_mae"}
    return not metric.main and (metric.name in beside or metric.name.rpartition("_")[2] not in HEADLINES)


def small_print(metric: MetricEntry) -> str:
    """What stands under a metric's name: its reference, the shown unit, and an arrow towards better."""
    return ", ".join(filter(None, [metric.reference, unit_arrow(metric)]))


def unit_arrow(metric: MetricEntry) -> str:
    """``meV/atom ↓``: the shown unit and the direction of better."""
    return f"{shown_unit(metric.unit)} {ARROWS[metric.better]}".strip()


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


def mismatched(section: Section) -> str:
    """What the mark of a model of another functional means, if a row of the section has it."""
    if all(row.entry.result.model.declared_match for row in section.ranking.rows):
        return ""
    return f"{MISMATCH}: declared for another functional than the labels."


def overlap_words(overlap: Overlap) -> str:
    """How many test pairs the training set has seen, of how many, and what is known of the others."""
    total = sum(overlap.regimes.values())
    known, near, new = (overlap.regimes.get(name, 0) for name in ("seen-structure", "new-material", "new-chemsys"))
    return (
        f"{known} of {plural(total, 'test pair')} seen in training; {near} new materials of known chemical systems, "
        f"{new} of new ones"
    )


def value_words(metric: MetricEntry) -> str:
    """Value, interval and unit; a dash where there is none."""
    if metric.value is None:
        return MISSING
    return f"{show(metric.value, metric.ci_low, metric.ci_high, metric.unit)} {shown_unit(metric.unit)}".strip()


def losing(section: Section) -> str:
    """What the mark of ``follows`` means, if a row of the section has it."""
    if not any(row.entry.result.identity.declared_loses for row in section.ranking.rows):
        return ""
    return f"{LOSES}: its predictions follow the other functional than it declares."


def full_label(metric: MetricEntry) -> str:
    """``Energy MAE (aligned, meV/atom ↓)``."""
    return f"{label(metric)} ({small_print(metric)})"


def order_sentence(section: Section) -> str:
    """How sure the order is, said plainly."""
    models = section.ranking.models
    if len(models) < 2:
        return ""
    tests = section.tests
    if tests is None:
        return f"The order is by value alone and not tested: {section.untested}."
    sure = [pair for pair in tests.pairs if tests.significant(pair)]
    which = "no two models" if not sure else f"{len(sure)} of {plural(len(tests.pairs), 'tested pair')} of models"
    return (
        f"Paired tests on the same {tests.n_frames} frames of {tests.n_materials} materials tell {which} apart "
        f"({tests.confidence * 100:g} %, {tests.family}); models that share a letter are tied."
    )


def answer(section: Section) -> str:
    """Who is ahead on a task, whether that is sure, and what the best floor has: the board in one sentence."""
    models = section.ranking.models
    if not models:
        return ""
    first, others = models[0], len(models) - 1
    told = f"{first.entry.name} leads with {_plain_value(first.entry.main)}"
    if section.tests is not None and first.worst is not None and others:
        tied = first.worst - 1
        told += (
            f", tied with {f'all {others}' if tied == others else f'{tied} of {others}'} others"
            if tied
            else ", better than all for sure"
        )
    floor = next((row.entry for row in section.ranking.ranked if row.entry.is_floor), None)
    floors = "" if floor is None else f"; without a model, “{floor.name}” has {_plain_value(floor.main)}"
    return prose(f"{told}{floors}.")


def _plain_value(metric: MetricEntry) -> str:
    """A value that is known, in its unit, with the digits of its interval but without it."""
    if metric.value is None:
        return MISSING
    number = show(metric.value, metric.ci_low, metric.ci_high, metric.unit).value
    return f"{number} {shown_unit(metric.unit)}".strip()


def signal_words(result: Result) -> Iterator[tuple[str, str]]:
    """What the errors of forces and stresses rest on, as term and value."""
    for item in result.signal:
        what = "atoms" if item.quantity == "forces" else "frames"
        whose = f"of {item.rows} {what} of {plural(item.materials, 'material')}"
        yield (
            f"{item.quantity.capitalize()} count",
            f"{item.components} of {item.of} components, {whose}; symmetry holds the others at zero",
        )


def heavy_sentence(section: Section) -> str:
    """Which single material decides the force or stress errors of models: a warning, empty if none does."""
    shares: dict[tuple[str, str], list[float]] = {}
    for row in section.ranking.models:
        for item in row.entry.result.signal:
            if item.share is not None and item.share > HEAVY:
                shares.setdefault((item.heaviest, item.quantity), []).append(item.share)
    return " ".join(
        f"One material, {name}, carries {_range(found)} of the error of {quantity} of {plural(len(found), 'model')}."
        for (name, quantity), found in sorted(shares.items())
    )


def _range(shares: list[float]) -> str:
    low, high = f"{min(shares):.0%}", f"{max(shares):.0%}"
    return low if low == high else f"{low} to {high}"


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
    rows += signal_words(max((row.entry.result for row in section.ranking.rows), key=lambda item: len(item.signal)))
    if task is None:
        return rows
    plan = task.bootstrap
    intervals = f"{plan.confidence * 100:g} %, {plan.n} bootstrap draws of whole materials"
    offsets = f"{task.calibration} split, {result.counts.calibration_frames} frames"
    return [
        *rows[:1],
        ("Labels", task.labels),
        *rows[1:],
        ("Intervals", intervals),
        ("Offsets fitted on", offsets),
    ]


def prose(text: str) -> str:
    """Text for a page, in one line: r²SCAN is written one way."""
    return " ".join(text.split()).replace("r2SCAN", "r²SCAN")


def state(section: Section, entry: Entry) -> str:
    """How far the number of a row has been checked: a key of ``STATES``."""
    if entry.is_floor:
        return "computed"
    return "re-scored" if entry.model_id in section.rescored else "self-reported"

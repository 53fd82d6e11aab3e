"""A study as Markdown: what was trained, the tables, and what they do not say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from xferbench.drawing.markdown import plain, table
from xferbench.drawing.rounding import percent, show, shown_unit
from xferbench.workflow.studies import wording
from xferbench.workflow.studies.content import FORGOTTEN
from xferbench.workflow.studies.figures import TITLES
from xferbench.workflow.studies.measuring import QUANTITIES, metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xferbench.statistics import Estimate
    from xferbench.workflow.studies.content import Study
    from xferbench.workflow.studies.summarising import Entry

MISSING = "–"
FARTHEST = 1e12
"""Training frames that nobody will ever have."""

LARGEST_FACTOR = 1e6
"""Larger data-equivalence factors are only called so."""

MAIN = ("energy", "forces")
"""Quantities of the tables that would be too long with all four."""


def render_report(study: Study) -> str:
    """The whole report."""
    parts = [f"# {heading(study)}", wording.SYNTHETIC if study.synthetic else "", *facts(study), wording.READING]
    for title, text, content in sections(study):
        parts += [f"## {title}", text, content]
    return "\n\n".join(part for part in parts if part) + "\n"


def heading(study: Study) -> str:
    """What is studied, on what."""
    what = "Transfer methods" if study.plan.kind == "methods" else "Errors against training data"
    return f"{what} on {study.plan.dataset}"


def facts(study: Study) -> list[str]:
    """What was trained and what is missing, a sentence or two each."""
    plan, config = study.plan, study.plan.config
    counted = study.n_frames - len(study.left_out)
    sizes = ", ".join(f"{study.n_training[subset]:,}" for subset in sorted(plan.subsets))
    settings = [
        f"{name.replace('_', ' ')} {config[name]}" for name in ("epochs", "batch_size", "lr", "start") if name in config
    ]
    grid = f"{len(plan.methods)} methods, {len(plan.seeds)} seeds, {sizes} training frames; {', '.join(settings)}."
    lost = f"{len(study.left_out):,} more, which a run at least could not predict, count nowhere."
    lines = [
        f"{grid} All settings are in `plan.json`. Data: {plan.fingerprint}.",
        f"Test: {counted:,} frames of {study.n_materials:,} materials{f'; {lost}' if study.left_out else '.'}",
    ]
    if study.failed:
        lines.append(f"Failed: {_failures(study)}.")
    if study.scaling is not None and study.scaling.unfitted:
        lines.append(f"Not fitted: {'; '.join(study.scaling.unfitted)}.")
    if study.open_runs:
        lines.append(f"{len(study.open_runs)} runs are not finished; the same command goes on with them.")
    return lines


def without_result(study: Study, subset: float) -> dict[str, str]:
    """Methods that failed on a training set with every seed, in the order of the plan -> why."""
    there = {entry.method for entry in study.entries if entry.subset == subset}
    found: dict[str, str] = {}
    for cell in study.plan.cells():
        if cell.subset == subset and cell.method not in there and cell.name in study.failed:
            found.setdefault(cell.method, study.failed[cell.name])
    return found


def sections(study: Study) -> Iterator[tuple[str, str, str]]:
    """Title, a sentence, and a Markdown table."""
    for subset in sorted(study.plan.subsets):
        chosen = [entry for entry in study.entries if entry.subset == subset]
        if chosen:
            yield f"Test errors, {study.n_training[subset]:,} training frames", "", errors_table(study, chosen)
            yield (
                f"Negative transfer, {study.n_training[subset]:,} training frames",
                wording.NEGATIVE,
                ratio_table(study, chosen),
            )
    yield from _more(study)


def _more(study: Study) -> Iterator[tuple[str, str, str]]:
    if study.efforts:
        yield (
            "Equal compute",
            wording.EQUAL_COMPUTE,
            effort_table(study),
        )
    if study.forgotten:
        yield (
            "Forgetting",
            wording.FORGETTING,
            forgetting_table(study),
        )
    if study.scaling is not None and study.scaling.fits:
        yield (
            "Power laws",
            wording.POWER_LAWS.format(start=study.plan.fit_from),
            law_table(study),
        )
    if study.scaling is not None and study.scaling.comparisons:
        yield (
            "Against scratch",
            wording.VERSUS,
            versus_table(study),
        )


def errors_table(study: Study, chosen: Sequence[Entry]) -> str:
    """A row per method, a column per quantity, by energy error; at the end what failed, with its reason."""
    known = {(entry.method, entry.quantity): entry for entry in chosen}
    names = _ordered(study, chosen)
    header = ["method", "seeds", *(f"{TITLES[name]}, {shown_unit(metric(name).unit)}" for name in QUANTITIES)]
    rows = []
    for name in names:
        cells = [known.get((name, quantity)) for quantity in QUANTITIES]
        seeds = max(len(entry.values) for entry in cells if entry is not None)
        rows.append([plain(name), str(seeds), *(MISSING if entry is None else error_text(entry) for entry in cells)])
    for name, why in without_result(study, chosen[0].subset).items():
        rows.append([plain(name), "0", plain(why), *[MISSING] * (len(QUANTITIES) - 1)])
    return table(header, rows, left={"method"})


def ratio_table(study: Study, chosen: Sequence[Entry]) -> str:
    """The negative-transfer index of every method."""
    known = {(entry.method, entry.quantity): entry.ratio for entry in chosen if entry.ratio is not None}
    names = [name for name in _ordered(study, chosen) if any((name, quantity) in known for quantity in QUANTITIES)]
    rows = [[plain(name), *(estimate_text(known.get((name, quantity))) for quantity in QUANTITIES)] for name in names]
    return (
        table(["method", *TITLES.values()], rows, left={"method"}) if rows else "No run from scratch to compare with."
    )


def effort_table(study: Study) -> str:
    """Gain at equal steps, and steps to be as good."""
    found = {(item.method, item.subset, item.quantity): item for item in study.efforts}
    keys = sorted({key[:2] for key in found}, key=lambda key: (key[1], study.plan.methods.index(key[0])))
    header = ["method", "frames", *(f"{TITLES[name]}: {what}" for name in MAIN for what in ("gain", "as good after"))]
    rows = []
    for method, subset in keys:
        cells = []
        for quantity in MAIN:
            item = found.get((method, subset, quantity))
            spread = "" if item is None or item.gain_sd is None else f" ± {100 * item.gain_sd:.0f}"
            cells.append(MISSING if item is None else f"{100 * item.gain:.0f}{spread} %".replace("-", "−"))
            cells.append(
                MISSING if item is None else "never" if item.reached is None else percent(min(item.reached, 1.0))
            )
        rows.append([plain(method), f"{study.n_training[subset]:,}", *cells])
    return table(header, rows, left={"method"})


def forgetting_table(study: Study) -> str:
    """Change of errors on the source functional."""
    found = {(item.method, item.subset, item.quantity): item for item in study.forgotten}
    keys = list(dict.fromkeys(key[:2] for key in found))
    header = [
        "method",
        "frames",
        *(f"{name.replace('_', ' ')}, {shown_unit(unit)}" for name, unit in FORGOTTEN.items()),
    ]
    rows = []
    for method, subset in keys:
        cells = []
        for quantity, unit in FORGOTTEN.items():
            item = found.get((method, subset, quantity))
            cells.append(MISSING if item is None else with_spread(item.change, item.seed_sd, unit))
        rows.append([plain(method), f"{study.n_training[subset]:,}", *cells])
    return table(header, rows, left={"method"})


def law_table(study: Study) -> str:
    """Exponents with intervals."""
    fits = {} if study.scaling is None else study.scaling.fits
    rows = [
        [plain(method), TITLES[quantity], estimate_text(law.exponent), f"{law.r2:.3f}", str(law.n_points)]
        for (method, quantity), law in fits.items()
    ]
    return table(["method", "quantity", "exponent b", "R² (log)", "points"], rows, left={"method", "quantity"})


def versus_table(study: Study) -> str:
    """Data equivalence at every size, and crossings."""
    comparisons = {} if study.scaling is None else study.scaling.comparisons
    sizes = sorted({n for item in comparisons.values() for n in item.equivalence})
    header = ["method", "quantity", *(f"at {n:,.0f}" for n in sizes), "scratch better from"]
    rows = []
    for (method, quantity), item in comparisons.items():
        cells = [_equivalence(item.observed.get(n), item.equivalence.get(n)) for n in sizes]
        rows.append([plain(method), TITLES[quantity], *cells, _size_text(item.crossing, min(item.equivalence))])
    return table(header, rows, left={"method", "quantity"})


def error_text(entry: Entry) -> str:
    """``12.3 [11.0, 14.1] ± 0.4`` in the shown unit."""
    low, high = (None if math.isnan(end) else end for end in entry.mean[1:])
    text = str(show(entry.mean.value, low, high, entry.unit))
    return text if entry.seed_sd is None else f"{text} ± {spread_text(entry.seed_sd, entry.unit)}"


def spread_text(spread: float, unit: str) -> str:
    """A standard deviation with the two digits that it deserves."""
    return show(spread, 0.0, 2 * spread, unit).value


def with_spread(value: float, spread: float | None, unit: str) -> str:
    """A value and its standard deviation, with as many digits as that justifies."""
    if spread is None:
        return str(show(value, None, None, unit))
    shown = show(value, value - spread, value + spread, unit)
    return f"{shown.value} ± {spread_text(spread, unit)}"


def estimate_text(estimate: Estimate | None) -> str:
    """A pure number with its interval."""
    if estimate is None:
        return MISSING
    low, high = (None if math.isnan(end) else end for end in estimate[1:])
    return str(show(estimate.value, low, high, "1"))


def _failures(study: Study) -> str:
    """Runs that failed, those with one reason together."""
    by_reason: dict[str, list[str]] = {}
    for name, why in study.failed.items():
        by_reason.setdefault(why, []).append(f"`{name}`")
    return "; ".join(f"{', '.join(names)} ({plain(why)})" for why, names in by_reason.items())


def _equivalence(observed: float | None, factor: Estimate | None) -> str:
    if observed is None or factor is None:
        return MISSING
    measured = f"{observed:.1f}" if math.isfinite(observed) else MISSING
    value, low, high = map(_factor_text, factor)
    return f"{measured} ({value} [{low}, {high}])"


def _factor_text(number: float) -> str:
    """A factor by the laws; where a law is nearly flat it is huge, and its digits mean nothing."""
    if not math.isfinite(number):
        return "∞"
    return f"{number:,.1f}" if number < LARGEST_FACTOR else ">10⁶"


def _size_text(estimate: Estimate, smallest: float) -> str:
    """A number of training frames; one below all that were measured is only called so."""
    value, low, high = (_one_size(number, smallest) for number in estimate)
    return f"{value} [{low}, {high}]"


def _one_size(number: float, smallest: float) -> str:
    if number < smallest:
        return f"<{smallest:,.0f}"
    return f"{number:,.0f}" if number < FARTHEST else "never"


def _ordered(study: Study, chosen: Sequence[Entry]) -> list[str]:
    """Methods by their energy error; those without one last, as in the plan."""
    energy = {entry.method: entry.mean.value for entry in chosen if entry.quantity == "energy"}
    there = {entry.method for entry in chosen}
    return sorted((name for name in study.plan.methods if name in there), key=lambda name: energy.get(name, math.inf))

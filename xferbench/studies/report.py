"""A study as a report: what was trained, the curves, the tables, and what they do not say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from xferbench.report.blocks import Cell, Column, Figure, Heading, Report, Row, Span, Table, Text, words
from xferbench.report.figures import scale_for, whisker
from xferbench.report.rounding import percent, show, shown_unit
from xferbench.studies.content import FORGOTTEN
from xferbench.studies.figures import TITLES, figures
from xferbench.studies.measuring import QUANTITIES, metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xferbench.measure import Estimate
    from xferbench.report.blocks import Block, Line
    from xferbench.report.figures import Scale
    from xferbench.studies.content import Study
    from xferbench.studies.summarising import Entry

MISSING = "–"
FARTHEST = 1e12
"""Training frames that nobody will ever have."""

LARGEST_FACTOR = 1e6
"""Larger data-equivalence factors are only called so."""

UNRANKED = {"method", "quantity", "choice"}
"""Columns that name a row."""

MAIN = ("energy", "forces")
"""Quantities of the tables that would be too long with all four."""


SYNTHETIC = (
    "The labels are those of neural networks, not of DFT. The r2SCAN teacher was itself fine-tuned from the network that "
    "transfer starts from, so that transfer has a solution within reach that training from scratch has not: the gap between "
    "the two is an upper bound. Compare methods that share a start; for DFT labels use another data set."
)
READING = (
    "Errors are mean absolute errors on the test split; the validation split picks the checkpoint. Brackets hold the 95 % "
    "interval of the mean over seeds, which covers the choice of test materials and training seeds; ± is the standard "
    "deviation over seeds alone. With few seeds the latter is rough. Energies are compared as predicted, references included."
)
NEGATIVE = (
    "Error over that of training from scratch on the same data with as many epochs, test materials paired. Above "
    "1, transfer did harm; 1 minus it is the gain at equal data."
)
EQUAL_COMPUTE = (
    "From validation errors along the runs. Gain: part of the error of scratch that is removed after as many optimiser "
    "steps, pre-training not counted; ± over seeds. As good after: part of the steps of scratch after which its best "
    "error is reached, never if one seed does not get there."
)
FORGETTING = (
    "Change of the error on the source labels of the test split by training, ± over seeds. Positive is forgotten. Energies "
    "after elemental offsets fitted on validation frames."
)
VARIANCE = (
    "Part of the variance of log errors between the methods that is lost when the term of one choice is left out of a sum of one "
    "term each (Type II), with 95 % interval over test materials and seeds. Parts need not add up to 1."
)
POWER_LAWS = (
    "error = a·n^-b, fitted from {start:,} training frames on, the start declared before. Intervals from "
    "draws of test materials and seeds; the form of the law is taken as true."
)
VERSUS = (
    "Times the data that scratch needs for the same error, between the measured points and (in brackets, with interval) "
    "by the laws; a dash where the error is none that scratch has between its first and last point."
)
EXPECTED = (
    "The error to expect of one more run with so many training frames, and its 90 % interval: the slope between neighbouring "
    "sizes may go on to change as it has done. Few sizes say little, and the interval says so. Pays until: the training frames "
    "from which training from scratch is better than the method, by the power laws, with 95 % interval."
)


def study_report(study: Study) -> Report:
    """The whole report; the same study gives the same report."""
    blocks: list[Block] = [Text(items=(SYNTHETIC,), kind="warning")] if study.synthetic else []
    blocks += [Text(items=(*facts(study), READING))]
    drawn = figures(study)
    if drawn:
        blocks.append(Heading(text="Curves"))
        blocks += [
            Figure(
                drawing=drawing,
                caption=f"Test error against training frames: {name.removeprefix('scaling-')}",
                path=f"figures/{name}.svg",
            )
            for name, drawing in drawn.items()
        ]
    for table in tables(study):
        blocks += [Heading(text=table.title), table]
    return Report(
        title=heading(study),
        eyebrow=f"xferbench study {study.plan.kind}",
        blocks=tuple(blocks),
        closing="The same runs give the same report, byte for byte.",
    )


def heading(study: Study) -> str:
    """What is studied, on what."""
    what = "Transfer methods" if study.plan.kind == "methods" else "Errors against training data"
    return f"{what} on {study.plan.dataset}"


def facts(study: Study) -> list[Line]:
    """What was trained and what is missing, a sentence or two each."""
    plan, config = study.plan, study.plan.config
    counted = study.n_frames - len(study.left_out)
    sizes = ", ".join(f"{study.n_training[subset]:,}" for subset in sorted(plan.subsets))
    settings = [
        f"{name.replace('_', ' ')} {config[name]}"
        for name in ("epochs", "batch_size", "lr", "model")
        if name in config and not (name == "epochs" and plan.epochs)
    ]
    grid = f"{len(plan.methods)} methods, {len(plan.seeds)} seeds, {sizes} training frames; {', '.join(settings)}."
    lost = f"{len(study.left_out):,} more, which a run at least could not predict, count nowhere."
    lines: list[Line] = [
        (f"{grid} All settings are in ", Span(text="plan.json", kind="code"), f". Data: {plan.fingerprint}."),
        f"Test: {counted:,} frames of {study.n_materials:,} materials{f'; {lost}' if study.left_out else '.'}",
    ]
    if plan.epochs:
        epochs = ", ".join(
            f"{method} {_epochs_text(study, method)}" for method in plan.methods if method in plan.epochs
        )
        lines.append(f"Equal time: as many epochs as fit into {plan.minutes:g} minutes where it was planned: {epochs}.")
    if study.failed:
        lines.append(("Failed: ", *_failures(study), "."))
    if study.scaling is not None and study.scaling.unfitted:
        lines.append(f"Not fitted: {'; '.join(study.scaling.unfitted)}.")
    if study.open_runs:
        lines.append(f"{len(study.open_runs)} runs are not finished; the same command goes on with them.")
    return lines


def _epochs_text(study: Study, method: str) -> str:
    """``40 (520 steps)``, of the largest training set."""
    epochs, batch = study.plan.epochs[method], study.plan.config.get("batch_size")
    steps = "" if batch is None else f" ({epochs * math.ceil(max(study.n_training.values()) / batch):,} steps)"
    return f"{epochs:,}{steps}"


def without_result(study: Study, subset: float) -> dict[str, str]:
    """Methods that failed on a training set with every seed, in the order of the plan -> why."""
    there = {entry.method for entry in study.entries if entry.subset == subset}
    found: dict[str, str] = {}
    for cell in study.plan.cells():
        if cell.subset == subset and cell.method not in there and cell.name in study.failed:
            found.setdefault(cell.method, study.failed[cell.name])
    return found


def tables(study: Study) -> Iterator[Table]:
    """Every table that has something to show."""
    for subset in sorted(study.plan.subsets):
        chosen = [entry for entry in study.entries if entry.subset == subset]
        if chosen:
            yield errors_table(study, chosen)
            yield ratio_table(study, chosen)
    if study.variance:
        yield variance_table(study)
    if study.compute_gains:
        yield compute_table(study)
    if study.forgotten:
        yield forgetting_table(study)
    if study.scaling is not None and study.scaling.fits:
        yield law_table(study)
    if study.scaling is not None and study.scaling.comparisons:
        yield versus_table(study)
    if study.expected:
        yield expected_table(study)


def errors_table(study: Study, chosen: Sequence[Entry]) -> Table:
    """A row per method, a column per quantity, by energy error; at the end what failed, with its reason."""
    known = {(entry.method, entry.quantity): entry for entry in chosen}
    scales = {
        name: scale_for(end for entry in chosen if entry.quantity == name for end in entry.mean if not math.isnan(end))
        for name in QUANTITIES
    }
    rows: list[list[str | Cell]] = []
    for name in _ordered(study, chosen):
        entries = {quantity: known.get((name, quantity)) for quantity in QUANTITIES}
        seeds = max(len(entry.values) for entry in entries.values() if entry is not None)
        rows.append([name, str(seeds), *(_error(entry, scales[quantity]) for quantity, entry in entries.items())])
    for name, why in without_result(study, chosen[0].subset).items():
        rows.append([name, "0", why, *[MISSING] * (len(QUANTITIES) - 1)])
    return _table(
        f"Test errors, {study.n_training[chosen[0].subset]:,} training frames",
        "",
        ["method", "seeds", *(f"{TITLES[name]}, {shown_unit(metric(name).unit)}" for name in QUANTITIES)],
        rows,
    )


def ratio_table(study: Study, chosen: Sequence[Entry]) -> Table:
    """The negative-transfer index of every method."""
    known = {(entry.method, entry.quantity): entry.ratio for entry in chosen if entry.ratio is not None}
    names = [name for name in _ordered(study, chosen) if any((name, quantity) in known for quantity in QUANTITIES)]
    return _table(
        f"Negative transfer, {study.n_training[chosen[0].subset]:,} training frames",
        NEGATIVE if names else "No run from scratch to compare with.",
        ["method", *TITLES.values()] if names else [],
        [[name, *(estimate_text(known.get((name, quantity))) for quantity in QUANTITIES)] for name in names],
    )


def variance_table(study: Study) -> Table:
    """Which choice matters, by training set and quantity."""
    found = {(part.subset, part.source, part.quantity): part for part in study.variance}
    rows = []
    for subset, source in dict.fromkeys(key[:2] for key in found):
        items = [found.get((subset, source, quantity)) for quantity in QUANTITIES]
        freedom = next(item.freedom for item in items if item is not None)
        cells = [estimate_text(None if item is None else item.share) for item in items]
        rows.append([source, f"{study.n_training[subset]:,}", str(freedom), *cells])
    return _table("Which choice matters", VARIANCE, ["choice", "frames", "degrees of freedom", *TITLES.values()], rows)


def compute_table(study: Study) -> Table:
    """Gain at equal steps, and steps to be as good."""
    found = {(item.method, item.subset, item.quantity): item for item in study.compute_gains}
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
        rows.append([method, f"{study.n_training[subset]:,}", *cells])
    return _table("Equal compute", EQUAL_COMPUTE, header, rows)


def forgetting_table(study: Study) -> Table:
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
        rows.append([method, f"{study.n_training[subset]:,}", *cells])
    return _table("Forgetting", FORGETTING, header, rows)


def law_table(study: Study) -> Table:
    """Exponents with intervals."""
    fits = {} if study.scaling is None else study.scaling.fits
    rows = [
        [method, TITLES[quantity], estimate_text(law.exponent), f"{law.r2:.3f}", str(law.n_points)]
        for (method, quantity), law in fits.items()
    ]
    return _table(
        "Power laws",
        POWER_LAWS.format(start=study.plan.fit_from),
        ["method", "quantity", "exponent b", "R² (log)", "points"],
        rows,
    )


def versus_table(study: Study) -> Table:
    """Data equivalence at every size, and crossings."""
    comparisons = {} if study.scaling is None else study.scaling.comparisons
    sizes = sorted({n for item in comparisons.values() for n in item.equivalence})
    header = ["method", "quantity", *(f"at {n:,.0f}" for n in sizes)]
    rows = []
    for (method, quantity), item in comparisons.items():
        cells = [_equivalence(item.observed.get(n), item.equivalence.get(n)) for n in sizes]
        rows.append([method, TITLES[quantity], *cells])
    return _table("Against scratch", VERSUS, header, rows)


def expected_table(study: Study) -> Table:
    """What users ask: the error with more labels, and how long transfer pays."""
    comparisons = {} if study.scaling is None else study.scaling.comparisons
    sizes = sorted({n for found in study.expected.values() for n in found})
    rows: list[list[str | Cell]] = []
    for (method, quantity), found in study.expected.items():
        unit, item = metric(quantity).unit, comparisons.get((method, quantity))
        cells = [_expected(found.get(n), unit) for n in sizes]
        until = MISSING if item is None else _size_text(item.crossing, min(item.equivalence))
        rows.append([method, f"{TITLES[quantity]}, {shown_unit(unit)}", *cells, until])
    return _table("With more labels", EXPECTED, ["method", "quantity", *(f"{n:,}" for n in sizes), "pays until"], rows)


def error_text(entry: Entry) -> str:
    """``12.3 [11.0, 14.1] ± 0.4`` in the shown unit."""
    cell = _error(entry)
    return f"{words(cell.text)} {words(cell.note)}".strip()


def _error(entry: Entry | None, scale: Scale | None = None) -> Cell:
    if entry is None:
        return Cell(text=MISSING)
    low, high = (None if math.isnan(end) else end for end in entry.mean.interval)
    shown = show(entry.mean.value, low, high, entry.unit)
    spread = "" if entry.seed_sd is None else f"± {spread_text(entry.seed_sd, entry.unit)}"
    return Cell(
        text=shown.value,
        note=" ".join(filter(None, (shown.interval, spread))),
        value=entry.mean.value,
        figure=None if scale is None else whisker(entry.mean.value, low, high, scale),
    )


def _expected(estimate: Estimate | None, unit: str) -> Cell:
    if estimate is None:
        return Cell(text=MISSING)
    shown = show(estimate.value, estimate.low, estimate.high if math.isfinite(estimate.high) else None, unit)
    return Cell(text=shown.value, note=shown.interval, value=estimate.value)


def _table(title: str, note: str, head: Sequence[str], rows: Sequence[Sequence[str | Cell]]) -> Table:
    """A table whose first column names the rows."""
    return Table(
        title=title,
        note=note,
        columns=tuple(Column(title=name, best=None if name in UNRANKED else "lower") for name in head),
        rows=tuple(
            Row(cells=tuple(cell if isinstance(cell, Cell) else Cell(text=cell) for cell in cells)) for cells in rows
        ),
    )


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
    low, high = (None if math.isnan(end) else end for end in estimate.interval)
    return str(show(estimate.value, low, high, "1"))


def _failures(study: Study) -> tuple[str | Span, ...]:
    """Runs that failed, those with one reason together."""
    by_reason: dict[str, list[str]] = {}
    for name, why in study.failed.items():
        by_reason.setdefault(why, []).append(name)
    pieces: list[str | Span] = []
    for why, names in by_reason.items():
        pieces += ["; "] if pieces else []
        for k, name in enumerate(names):
            pieces += [", "] if k else []
            pieces.append(Span(text=name, kind="code"))
        pieces.append(f" ({why})")
    return tuple(pieces)


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

"""Below the table: parity plots, errors by element, and everything known about each model, as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from xferbench.drawing.figures import SHADES, ElementError, Scale, parity, parity_scale, periodic_table, scale_for
from xferbench.drawing.markup import Markup, element, join, link, relative_link
from xferbench.drawing.rounding import compact, percent, shown_unit
from xferbench.leaderboard.evidence import (
    corrections_words,
    identity_table,
    metrics_table,
    overlap_table,
    overlap_words,
    shown_value,
    slices_table,
)
from xferbench.leaderboard.wording import METHODS, label, not_audited, small_print, suspicions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xferbench.leaderboard.board import Section
    from xferbench.leaderboard.cards import ModelCard
    from xferbench.leaderboard.ranking import Entry
    from xferbench.results import MetricEntry, Result

PARITY_AXES = {"energy": ("Energy, aligned", "eV/atom"), "forces": ("Force components", "eV/Å")}
"""What a result's ``parity`` may hold -> title and unit."""

Fact = tuple[str, str | Markup]


def parity_plots(section: Section) -> Markup | None:
    """Small multiples on shared axes, one figure per model; nothing if no result holds points."""
    entries = [row.entry for row in section.ranking.rows if any(row.entry.result.parity.values())]
    if not entries:
        return None
    axes = {
        name: parity_scale(point[0] for entry in entries for point in entry.result.parity.get(name, ()))
        for name in PARITY_AXES
    }
    return element("div", *[_parity_figure(entry, axes) for entry in entries], class_="multiples")


def _parity_figure(entry: Entry, axes: dict[str, Scale]) -> Markup:
    plots = [
        parity(cast("tuple[tuple[float, float], ...]", points), axes[name], title=title, unit=unit)
        for name, (title, unit) in PARITY_AXES.items()
        if (points := entry.result.parity.get(name))
    ]
    return element(
        "figure",
        element("figcaption", entry.name, " ", element("span", f"{label(entry.main)} {shown_value(entry.main)}")),
        element("div", *plots, class_="pair"),
        class_="floor" if entry.is_floor else None,
    )


def element_tables(section: Section) -> Markup | None:
    """One periodic table per model and metric, on scales shared by the models; nothing if no result has such errors."""
    rows = section.ranking.rows
    keys = list(dict.fromkeys(item.metric for row in rows for item in row.entry.result.per_element))
    metrics = [metric for metric in section.columns if metric.key in keys]
    scales = {
        metric.key: scale_for(
            item.value for row in rows for item in row.entry.result.per_element if item.metric == metric.key
        )
        for metric in metrics
    }
    shown = [row.entry for row in rows if row.entry.result.per_element]
    if not shown or not metrics:
        return None
    first = next((entry for entry in shown if not entry.is_floor), shown[0])
    return join(*[_element_details(entry, metrics, scales, opened=entry is first) for entry in shown])


def _element_details(entry: Entry, metrics: list[MetricEntry], scales: dict[str, Scale], *, opened: bool) -> Markup:
    tables = []
    for metric in metrics:
        cells = {
            item.element: ElementError(value=item.value, n_frames=item.n_frames)
            for item in entry.result.per_element
            if item.metric == metric.key
        }
        if cells:
            title = f"{entry.name}, {label(metric)} by element in {shown_unit(metric.unit)}"
            table = periodic_table(cells, scales[metric.key], unit=metric.unit, title=title)
            region = element("div", table, class_="scroll", tabindex="0", role="region", aria_label=title)
            tables += [_legend(metric, scales[metric.key]), region]
    return element(
        "details",
        element("summary", entry.name),
        element("div", *tables, class_="inside"),
        open=opened,
        class_="floor" if entry.is_floor else None,
    )


def _legend(metric: MetricEntry, scale: Scale) -> Markup:
    ends = [compact(max(end, 0.0), metric.unit) for end in (scale.low, scale.high)]
    ramp = element(
        "span", *[element("i", class_=f"q{step}") for step in range(SHADES)], class_="ramp", aria_hidden="true"
    )
    kind = ", logarithmic" if scale.log else ""
    words = [small_print(metric), ends[0], ramp, f"{ends[1]}{kind}"]
    return element("p", element("b", label(metric)), *[element("span", word) for word in words], class_="legend")


def model_details(section: Section, anchors: dict[str, str]) -> Markup:
    """Card, counts and provenance of every model and floor of a section."""
    return join(*[_model(section, row.entry, anchors[row.entry.model_id]) for row in section.ranking.rows])


def _model(section: Section, entry: Entry, anchor: str) -> Markup:
    card = [] if entry.card is None else list(_card_facts(entry.card))
    result = list(_result_facts(section, entry))
    flag = suspicions(entry.result)
    return element(
        "details",
        element(
            "summary",
            entry.name,
            " ",
            element("span", entry.model_id),
            element("span", f" {flag}", class_="mark") if flag else None,
        ),
        element(
            "div",
            _suspicions(entry.result),
            _definitions(card + result, gap=len(card)),
            identity_table(entry.result),
            overlap_table(entry.result),
            slices_table(entry.result),
            metrics_table(entry.result),
            class_="inside",
        ),
        id=anchor,
        class_="floor" if entry.is_floor else None,
    )


def _suspicions(result: Result) -> Markup | None:
    """What the scoring found odd about the predictions; it changed no number."""
    if not result.notes:
        return None
    return element("ul", *[element("li", note) for note in result.notes], class_="banner")


def _definitions(facts: list[Fact], gap: int) -> Markup:
    """A definition list; the entry at index ``gap`` starts a new group."""
    items: list[Markup] = []
    for k, (term, value) in enumerate(facts):
        class_ = "gap" if k == gap > 0 else None
        items += [element("dt", term, class_=class_), element("dd", value, class_=class_)]
    return element("dl", *items, class_="card")


def _card_facts(card: ModelCard) -> Iterable[Fact]:
    yield "Version", card.model_version + ("" if card.lifecycle == "active" else f", {card.lifecycle}")
    yield "Functional", card.functional.value
    if card.base_model is not None and card.transfer is not None:
        count = "" if card.transfer.n_train is None else f", {card.transfer.n_train} structures"
        yield "Transferred from", f"{card.base_model}: {METHODS[card.transfer.method]}{count}"
    yield "Trained on", ", ".join(card.training_sets)
    yield "Predicts", ", ".join(card.outputs)
    if card.energy_corrections is not None:
        yield "Corrections in training energies", card.energy_corrections
    yield "Forces", "gradient of the energy" if card.conservative else "predicted apart from the energy"
    if card.model_params is not None:
        yield "Parameters", str(card.model_params)
    yield "Authors", ", ".join(card.authors)
    yield "Licence", f"code {card.license.code}; weights {card.license.checkpoint}"
    if card.links:
        yield "Links", _separated([link(address, name) for name, address in card.links.items()])
    if card.notes.strip():
        yield "Notes", card.notes.strip()
    yield "Citation", element("pre", card.citation.strip())


def _result_facts(section: Section, entry: Entry) -> Iterable[Fact]:
    result = entry.result
    counts = result.counts
    yield (
        "Frames",
        f"{counts.predicted} of {counts.frames} predicted ({percent(result.coverage)}), {counts.failed} failed",
    )
    if counts.errors:
        yield "Failures", element("ul", *[element("li", f"{n} × {text}") for text, n in sorted(counts.errors.items())])
    if result.alignment is not None:
        fit = result.alignment
        left_out = f", {len(fit.not_estimable)} test frames left out" if fit.not_estimable else ""
        yield (
            "Alignment",
            f"{len(fit.elements)} elements on {fit.n_frames} frames, rank {fit.rank}, condition {fit.condition:.3g}{left_out}",
        )
    if not entry.is_floor:
        known = not_audited(result, entry.card) if result.overlap is None else overlap_words(result.overlap)
        yield "Overlap with training", known
    if result.corrections is not None:
        yield "Corrections in predictions", corrections_words(result.corrections)
    path = f"results/{section.key}/{result.model.id}.json"
    yield "Result file", relative_link(path, path, download=True)
    yield "Predictions", _hash(result.predictions.digest)
    if result.model.source_sha256 is not None:
        yield "Model source", _hash(result.model.source_sha256)
    if result.model.card_sha256 is not None:
        yield "Card when scored", _hash(result.model.card_sha256)
    versions = [f"{name} {version}" for name, version in sorted(result.environment.packages.items())]
    yield "Scored with", ", ".join([f"Python {result.environment.python}", *versions])


def provenance(section: Section) -> Markup:
    """What identifies the section's task and data: names, versions, hashes, counts."""
    result = section.result
    rows: list[Fact] = [
        ("Task", section.key),
        ("Task file", _hash(result.task.sha256)),
        ("Data set", f"{result.dataset.name} {result.dataset.version}"),
        ("Fingerprint", _hash(result.dataset.fingerprint)),
        ("Test frames", f"{result.counts.frames} of {result.counts.materials} materials"),
        ("Calibration frames", str(result.counts.calibration_frames)),
    ]
    if section.task is not None and section.task.citation.strip():
        rows.append(("Cite", section.task.citation.strip()))
    return _definitions(rows, gap=0)


def _hash(digest: str) -> Markup:
    return element("span", digest, class_="hash")


def _separated(items: list[Markup]) -> Markup:
    return join(*[part for k, item in enumerate(items) for part in ((item,) if k == 0 else (", ", item))])

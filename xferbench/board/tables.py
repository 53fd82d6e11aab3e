"""The tables and figures of the board as blocks: rankings, tests, and what stands behind a row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast

from xferbench.board.aggregate import aggregate_of, aggregated, label_key
from xferbench.board.reading import FEW_MATERIALS
from xferbench.board.words import (
    LOSES,
    MISMATCH,
    MISSING,
    full_label,
    is_minor,
    label,
    overlap_words,
    plural,
    prose,
    seen,
    small_print,
    state,
    statistic,
    subject,
    suspicions,
    value_words,
)
from xferbench.report.blocks import (
    Block,
    Cell,
    Column,
    Figure,
    Figures,
    Filter,
    Heading,
    Row,
    Span,
    Table,
    Text,
)
from xferbench.report.figures import ElementError, parity, periodic_table, scale_for, whisker
from xferbench.report.rounding import percent, show, shown_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from xferbench.board.ranking import Entry
    from xferbench.board.ranking import Row as Ranked
    from xferbench.board.reading import Board, Section
    from xferbench.report.blocks import Line
    from xferbench.report.figures import Scale
    from xferbench.results import Corrections, IdentityEntry, MetricEntry, Result, SliceEntry

PARITY_AXES = {"energy": ("Energy, aligned", "eV/atom"), "forces": ("Force components", "eV/Å")}
"""What a result's ``parity`` may hold -> title and unit."""

PARITY = (
    "Each point is one frame or one force component; the axes are those of all models of the task. At most 500 points, the same "
    "for every model. Elemental references are removed from both energies."
)
BY_ELEMENT = (
    "Errors over the frames that hold an element, for forces over its atoms; n counts the frames. Empty: no test data."
)

FEW_TASKS = 3
"""As many columns have room for a drawing of each interval beside its numbers."""

FILTERS = (
    Filter(key="functional", title="Functional"),
    Filter(key="trained", title="Trained on"),
    Filter(key="weights", title="open weights", kind="switch"),
    Filter(key="checked", title="re-scored", kind="switch"),
    Filter(key="floor", title="floors", kind="also", on=True),
)


def model_path(model_id: str) -> str:
    """Address of a model's page."""
    return f"models/{model_id}.html"


def task_path(section: Section) -> str:
    """Address of a task version's page."""
    return f"tasks/{section.slug}.html"


def scores_table(board: Board) -> Table:
    """Models × tasks by main metric: the table of the first screen, in the order of its first task."""
    sections = board.current
    columns = [
        Column(title="Model"),
        *[
            Column(
                title=prose(subject(section)),
                note=full_label(section.main),
                best=section.main.better,
                href=task_path(section),
            )
            for section in sections
        ],
        Column(title="Follows", note="by its numbers"),
        Column(title="Trained on"),
        Column(title="Checked"),
    ]
    scales = {section.key: _main_scale(section) for section in sections} if len(sections) <= FEW_TASKS else {}
    rows = []
    for model, known in board.entries.items():
        here = {section.key: known[section.key] for section in sections if section.key in known}
        if not here:
            continue
        first = next(iter(here.values()))
        cells = [_name(first)]
        cells += [
            score_cell(here[section.key], scales.get(section.key)) if section.key in here else Cell(text=MISSING)
            for section in sections
        ]
        states = {state(section, here[section.key].entry) for section in sections if section.key in here}
        follows_ = {
            _verdict(row.entry.result) for row in here.values() if row.entry.result.identity.verdict != "undecided"
        }
        loses = any(row.entry.result.identity.declared_loses for row in here.values())
        badge = _badge("/".join(sorted(follows_)) or "undecided", loses=loses)
        cells += [Cell(text=badge), _origin(first), _checked(states)]
        rows.append((model, here, Row(cells=tuple(cells), kind=_kind(first), tags=_tags(first, states))))
    order = {
        row.entry.model_id: place for section in reversed(sections) for place, row in enumerate(section.ranking.rows)
    }
    rows.sort(key=lambda item: (sections[0].key not in item[1], order[item[0]]))
    return Table(
        title="Main metric of every model on every task",
        id="board",
        columns=tuple(columns),
        rows=tuple(row for _, _, row in rows),
        ranking=True,
        sorted_by=1,
        filters=FILTERS,
    )


def ranking_table(section: Section) -> Table:
    """Every model of a task version with every metric; those of a first look are shown, the others can be chosen."""
    metrics = [metric for metric in section.columns if not metric.main]
    parts = aggregated(section)
    incomplete = any(row.entry.result.coverage < 1 for row in section.ranking.rows)
    columns = [
        Column(title="Model"),
        Column(title="Rank", note=f"by {label(section.main)}", best="lower"),
        Column(title=label(section.main), note=small_print(section.main), best=section.main.better),
        Column(title="Declares"),
        Column(title="Follows", note="by its numbers"),
        *[
            Column(
                title=label(metric),
                note=small_print(metric),
                best=metric.better,
                shown=_first_look(metric, section.main),
            )
            for metric in metrics
        ],
        Column(title="Trained on", shown=False),
        Column(title="Checked"),
        Column(title="Coverage", note="frames, materials", best="higher", shown=incomplete),
    ]
    if parts:
        note = f"{', '.join(map(label_key, parts))}, of floors ↓"
        columns.append(Column(title="Aggregate", note=note, best="lower", shown=False))
    scale = _main_scale(section)
    rows: list[Row] = []
    for row in section.ranking.rows:
        if row.shortfall and not any(item.kind == "group" for item in rows):
            rows.append(Row(cells=(Cell(text="Not ranked"),), kind="group"))
        rows.append(_ranked(section, row, metrics, scale, with_aggregate=bool(parts)))
    return Table(
        title=f"Models on {section.key} by {label(section.main)}",
        id="ranking",
        columns=tuple(columns),
        rows=tuple(rows),
        ranking=True,
        sorted_by=2,
        filters=FILTERS,
    )


def with_column(table: Table, title: str) -> Table:
    """The table with one more of its columns shown, for readers who cannot choose."""
    return replace(
        table,
        columns=tuple(replace(column, shown=column.shown or column.title == title) for column in table.columns),
    )


def compact(section: Section) -> Table:
    """The same for a terminal: what a model declares, then metrics as far as they fit; their common reference is said elsewhere."""
    table = ranking_table(section)
    places = {column.title: k for k, column in enumerate(table.columns)}
    order = [places["Model"], places["Rank"], places["Declares"]]
    order += [k for k in range(len(table.columns)) if k not in {*order, places["Follows"]}] + [places["Follows"]]
    own = f"{section.main.reference}, "
    return replace(
        table,
        columns=tuple(
            replace(column, note="" if column.title == "Rank" else column.note.removeprefix(own))
            for column in map(table.columns.__getitem__, order)
        ),
        rows=tuple(
            row if row.kind == "group" else replace(row, cells=tuple(row.cells[k] for k in order)) for row in table.rows
        ),
    )


def _ranked(
    section: Section, row: Ranked, metrics: Sequence[MetricEntry], scale: Scale, *, with_aggregate: bool
) -> Row:
    result, counts = row.entry.result, row.entry.result.counts
    model = result.model
    declares = model.functional.prose
    if not model.declared_match:
        declares += f" {MISMATCH}"
    cells = [
        _name(row),
        Cell(text=row.rank, value=None if row.place is None else float(row.place)),
        score_cell(row, scale),
        Cell(text=declares),
        Cell(text=_badge(_verdict(result), loses=result.identity.declared_loses, hint=_identity_hint(result))),
        *[metric_cell(result.metric(metric.key)) for metric in metrics],
        _origin(row),
        _checked({state(section, row.entry)}),
        Cell(
            text=percent(result.coverage),
            note=f"{counts.predicted} of {counts.frames}, {counts.materials}",
            value=result.coverage,
        ),
    ]
    if with_aggregate:
        found = aggregate_of(result, section)
        capped = [] if found is None else [name.rpartition("/")[2] for name in found.capped]
        cells.append(
            Cell(text=MISSING, note="lacks one of the errors")
            if found is None
            else Cell(
                text=show(found.value, None, None, "1").value,
                note=f"at the floor: {', '.join(capped)}" if capped else "",
                value=found.value,
            )
        )
    return Row(cells=tuple(cells), kind=_kind(row), tags=_tags(row, {state(section, row.entry)}))


def score_cell(row: Ranked, scale: Scale | None = None) -> Cell:
    """The main metric of a row, bold where it is better than every other for sure, with its tie letters; drawn on a scale."""
    metric = row.entry.main
    if metric.value is None:
        return Cell(text=MISSING, note=metric.reason or "")
    shown = show(metric.value, metric.ci_low, metric.ci_high, metric.unit)
    number: str | Span = Span(text=shown.value, kind="strong") if row.leads else shown.value
    return Cell(
        text=(
            number,
            Span(text=f" {row.ties}".rstrip(), kind="ties"),
        ),  # there without letters too: numbers stay in line
        note=shown.interval,
        value=None if row.shortfall and row.entry.result.coverage < 1 else metric.value,
        figure=None if scale is None else whisker(metric.value, metric.ci_low, metric.ci_high, scale),
    )


def _main_scale(section: Section) -> Scale:
    """The scale of the main metric: that of the models, so that a distant floor leaves them room."""
    mains = [row.entry.main for row in section.ranking.models or section.ranking.rows]
    ends = (end for metric in mains for end in (metric.value, metric.ci_low, metric.ci_high))
    return scale_for(end for end in ends if end is not None)


def metric_cell(metric: MetricEntry | None) -> Cell:
    """A metric: value, interval, and what to know of it."""
    if metric is None or metric.value is None:
        return Cell(text=MISSING, note="" if metric is None else prose(metric.reason or ""))
    shown = show(metric.value, metric.ci_low, metric.ci_high, metric.unit)
    remarks = [shown.interval]
    if not shown.interval and metric.reason:
        remarks.append(prose(metric.reason))
    if metric.n_materials < FEW_MATERIALS:
        remarks.append(f"only {plural(metric.n_materials, 'material')}")
    return Cell(text=shown.value, note=", ".join(filter(None, remarks)), value=metric.value)


def tests_table(section: Section) -> Table:
    """The tested pairs of a section, best models first."""
    tests = section.tests
    if tests is None:
        raise ValueError(f"{section.key} was not tested")
    names = {row.entry.model_id: row.entry.name for row in section.ranking.models}
    unit = section.main.unit
    rows = []
    for pair in tests.pairs:
        sure = tests.significant(pair)
        pieces = (
            Span(text=prose(names[pair.first]), href=model_path(pair.first)),
            " against ",
            Span(text=prose(names[pair.second]), href=model_path(pair.second)),
        )
        shown = show(pair.value, pair.low, pair.high, unit)
        rows.append(
            Row(
                cells=(
                    Cell(text=pieces),
                    Cell(
                        text=Span(text=shown.value, kind="strong") if sure else shown.value,
                        note=shown.interval,
                        value=pair.value,
                    ),
                    Cell(text=f"{pair.p_value:.2g}", value=pair.p_value),
                    Cell(text=f"{pair.p_adjusted:.2g}", value=pair.p_adjusted),
                    Cell(text="differ" if sure else "not told apart"),
                )
            )
        )
    return Table(
        title=f"Differences in {label(section.main)} on {section.key}",
        columns=(
            Column(title="Pair", note="the better one first"),
            Column(title="Difference", note=small_print(section.main), best="lower"),
            Column(title="p", note="this test alone", best="lower"),
            Column(title="p adjusted", note=tests.family, best="lower"),
            Column(title="Verdict"),
        ),
        rows=tuple(rows),
    )


def side_by_side(sections: Sequence[Section], rows: Mapping[str, Ranked]) -> Table:
    """The metrics of a first look of one model, a column for each task."""
    keys: dict[str, MetricEntry] = {}
    for section in sections:
        for metric in section.columns:
            if _first_look(metric, section.main):
                keys.setdefault(metric.key, metric)
    lines = [
        Row(
            cells=(
                Cell(text="Rank"),
                *[
                    Cell(text=rows[section.key].rank or MISSING, note=_of(section, rows[section.key]))
                    for section in sections
                ],
            )
        )
    ]
    for key, metric in keys.items():
        cells = [
            score_cell(rows[section.key])
            if key == section.main.key
            else metric_cell(rows[section.key].entry.result.metric(key))
            for section in sections
        ]
        lines.append(Row(cells=(Cell(text=label(metric), note=small_print(metric)), *cells)))
    return Table(
        title="All tasks side by side",
        columns=(
            Column(title="Metric"),
            *[Column(title=prose(subject(section)), href=task_path(section)) for section in sections],
        ),
        rows=tuple(lines),
    )


def _of(section: Section, row: Ranked) -> str:
    if row.shortfall:
        return row.shortfall
    return "floors are not ranked" if row.entry.is_floor else f"of {len(section.ranking.models)}"


def gained(board: Board, entry: Entry, rows: Mapping[str, Ranked]) -> Iterator[Block]:
    """What a transferred model gained and forgot against its parent, task by task, where both are on the board."""
    parent = None if entry.card is None else entry.card.base_model
    if parent is None or parent not in board.entries:
        return
    known = board.entries[parent]
    lines = []
    for section in board.current:
        if section.key not in rows or section.key not in known:
            continue
        own, other = rows[section.key].entry.main, known[section.key].entry.main
        if own.value is None or other.value is None:
            continue
        pair = None if section.tests is None else section.tests.between(entry.model_id, parent)
        sign = 1.0 if pair is None or pair.first == entry.model_id else -1.0
        low, high = (None, None) if pair is None else sorted((sign * pair.low, sign * pair.high))
        column = Column(title="", best=own.better)
        change = column.cost(own.value) - column.cost(other.value)
        shown = show(change, low, high, own.unit)
        sure = pair is not None and section.tests is not None and section.tests.significant(pair)
        verdict = ("gained" if change < 0 else "lost") if sure else "not told apart" if pair else "not tested"
        lines.append(
            Row(
                cells=(
                    Cell(text=Span(text=prose(subject(section)), href=task_path(section)), note=full_label(own)),
                    metric_cell(own),
                    metric_cell(other),
                    Cell(text=shown.value, note=shown.interval, value=change),
                    Cell(text=verdict),
                )
            )
        )
    if lines:
        name = prose(next(iter(known.values())).entry.name)
        yield Heading(text=f"Gained and forgotten against {name}", id="gained")
        yield Table(
            title=f"Main metrics against {name}",
            columns=(
                Column(title="Task"),
                Column(title="This model", best="lower"),
                Column(title=name, best="lower", href=model_path(parent)),
                Column(title="Change", note="negative is better", best="lower"),
                Column(title="Verdict"),
            ),
            rows=tuple(lines),
        )


def parity_figures(section: Section, entry: Entry) -> Iterator[Block]:
    """Prediction against label, on the axes of all models of the task."""
    drawn = []
    for name, (title, unit) in PARITY_AXES.items():
        points = entry.result.parity.get(name)
        if points:
            scale = section.parity_scales[name]
            drawn.append(
                Figure(drawing=parity(cast("tuple[tuple[float, float], ...]", points), scale, title=title, unit=unit))
            )
    if drawn:
        yield Heading(text="Parity", level=3)
        yield Text(kind="note", items=(PARITY,))
        yield Figures(items=tuple(drawn))


def worst_frames(section: Section, entry: Entry) -> Iterator[Block]:
    """The frames on which a model errs most in the main metric; nothing where they are not known."""
    standings = () if section.tests is None else section.tests.standings
    frames = next((item.frames for item in standings if item.model == entry.model_id), ())
    if not frames:
        return
    unit = section.main.unit
    yield Heading(text="Worst structures", level=3)
    yield _plain(
        f"Largest errors of {full_label(section.main)}",
        [
            "Frame",
            "Material",
            f"Error, {shown_unit(unit)}",
            f"Predicted, {shown_unit(unit)}",
            f"Label, {shown_unit(unit)}",
        ],
        [
            [
                Span(text=frame.frame_id, kind="code"),
                frame.material_id,
                *(
                    show(number, None, None, unit).value
                    for number in (frame.prediction - frame.label, frame.prediction, frame.label)
                ),
            ]
            for frame in frames
        ],
    )


def element_figures(section: Section, entry: Entry) -> Iterator[Block]:
    """One periodic table for each metric, on scales shared by the models of the task."""
    figures = []
    for metric in section.columns:
        cells = {
            item.element: ElementError(value=item.value, n_frames=item.n_frames)
            for item in entry.result.per_element
            if item.metric == metric.key
        }
        if cells:
            scale = section.element_scales[metric.key]
            caption = f"{label(metric)} by element, {shown_unit(metric.unit)}"
            figures.append(
                Figure(
                    drawing=periodic_table(cells, scale, unit=metric.unit, title=caption), caption=caption, wide=True
                )
            )
    if figures:
        yield Heading(text="By element", level=3)
        yield Text(kind="note", items=(BY_ELEMENT,))
        yield from figures


def metrics(result: Result) -> Table:
    """Every metric of a result: value, interval, what it rests on, and why something is missing."""
    return _plain(
        "Every metric",
        ["Metric", "Value", "Frames", "Materials", "Missing", "Remark"],
        [
            [
                full_label(metric),
                value_words(metric),
                str(metric.n_frames),
                _materials(metric.n_materials),
                str(metric.n_missing),
                prose(metric.reason or ""),
            ]
            for metric in result.metrics
        ],
    )


def identity(result: Result) -> Iterator[Block]:
    """λ of each quantity and the functional it speaks for; nothing if no quantity was looked at."""
    if result.identity.entries:
        yield Heading(text="Functional identity", level=3)
        yield _plain(
            "Functional identity",
            ["By", "λ (0 GGA, 1 r²SCAN)", "Softening", "Frames", "Materials", "Follows", "Remark"],
            [_identity_row(entry) for entry in result.identity.entries],
        )


def _identity_row(entry: IdentityEntry) -> list[Line]:
    known = entry.value is not None
    return [
        entry.quantity,
        str(show(entry.value, entry.ci_low, entry.ci_high, "1")) if entry.value is not None else MISSING,
        str(show(entry.softening, None, None, "1")) if known and entry.softening is not None else MISSING,
        str(entry.n_frames),
        _materials(entry.n_materials),
        prose(entry.verdict),
        prose(entry.reason or ""),
    ]


def slices(result: Result) -> Iterator[Block]:
    """The metrics of each part of the test frames, regimes of an audit last; nothing if no slice has a frame."""
    regimes = () if result.overlap is None else result.overlap.slices
    known = [part for part in (*result.slices, *regimes) if part.n_frames]
    if not known:
        return
    found = {metric.key: metric for part in known for metric in part.metrics}
    columns = [
        Column(title="Slice"),
        Column(title="Frames", best="higher"),
        *[Column(title=label(metric), note=small_print(metric), best=metric.better) for metric in found.values()],
    ]
    yield Heading(text="Slices of the test frames", level=3)
    yield Table(
        title="Slices of the test frames",
        columns=tuple(columns),
        rows=tuple(_slice(part, list(found)) for part in known),
    )


def _slice(part: SliceEntry, keys: Sequence[str]) -> Row:
    own = {metric.key: metric for metric in part.metrics}
    return Row(
        cells=(Cell(text=part.name), Cell(text=str(part.n_frames)), *[metric_cell(own.get(key)) for key in keys])
    )


def overlap(result: Result) -> Iterator[Block]:
    """Every metric over all test frames and over those the training set has not seen; nothing if it was not audited."""
    found = result.overlap
    if found is None:
        return
    clean = {metric.key: metric for metric in found.clean}
    rows: list[list[Line]] = [
        [
            full_label(metric),
            value_words(metric),
            value_words(clean[metric.key]),
            f"{clean[metric.key].n_frames} of {metric.n_frames}",
            _materials(clean[metric.key].n_materials),
            clean[metric.key].reason or "",
        ]
        for metric in result.metrics
        if metric.key in clean
    ]
    yield Heading(text="Overlap with the training set", level=3)
    yield Text(items=(f"{overlap_words(found)}.",))
    yield _plain(
        "Every metric with and without what the training set has seen",
        ["Metric", "All frames", "Clean frames", "Frames", "Materials", "Remark"],
        rows or [["No clean scores", found.reason or "", "", "", "", ""]],
    )


def corrections_words(found: Corrections) -> str:
    """Whether energies hold MP2020 corrections, and what that rests on."""
    verdict = found.verdict.replace("_", " ")
    if found.value is None:
        return f"{verdict}: {found.reason}"
    share = show(found.value, found.ci_low, found.ci_high, "1")
    told = f"{verdict}: {share} of MP2020, from {plural(found.n_materials, 'telling material')}"
    return f"{told}; {found.reason}" if found.reason else told


def _plain(title: str, heads: Sequence[str], rows: Sequence[Sequence[Line]]) -> Table:
    return Table(
        title=title,
        columns=tuple(Column(title=head) for head in heads),
        rows=tuple(Row(cells=tuple(Cell(text=cell) for cell in cells)) for cells in rows),
    )


def _materials(count: int) -> Line:
    return str(count) if count >= FEW_MATERIALS else Span(text=f"{count}, few", kind="warn")


def _first_look(metric: MetricEntry, main: MetricEntry) -> bool:
    """Whether a metric is there before a reader chooses: the errors of each quantity, energies as the task ranks them."""
    return metric.main or (
        not is_minor(metric) and statistic(metric) != "rmse" and metric.reference in {None, main.reference}
    )


def _name(row: Ranked) -> Cell:
    """The name as a link to all that is known, and what is odd about the row."""
    entry = row.entry
    short = "" if entry.main.value is None else row.shortfall  # a missing value says so itself
    odd = [prose(text) for text in (short, seen(entry.result), suspicions(entry.result)) if text]
    notes: list[str | Span] = []
    for text in odd:
        notes += [" · ", Span(text=text, kind="warn")] if notes else [Span(text=text, kind="warn")]
    return Cell(text=Span(text=prose(entry.name), href=model_path(entry.model_id)), note=tuple(notes))


def _origin(row: Ranked) -> Cell:
    """What a model was trained on and which model it comes from; what a row without a card is."""
    entry, card = row.entry, row.entry.card
    if card is None:
        return Cell(text="floor" if entry.is_floor else "no card")
    parent = f"; from {card.base_model}" if card.base_model is not None else ""
    return Cell(text=prose(", ".join(card.training_sets) + parent))


def _kind(row: Ranked) -> Literal["plain", "floor"]:
    return "floor" if row.entry.is_floor else "plain"


def _tags(row: Ranked, states: set[str]) -> dict[str, str]:
    entry, card = row.entry, row.entry.card
    tags = {
        "functional": entry.result.model.functional.prose,
        "trained": "" if card is None else "|".join(prose(name).replace("|", "/") for name in card.training_sets),
        "weights": "1" if card is not None and card.checkpoint_url is not None else "",
        "checked": "1" if states == {"re-scored"} else "",
        "floor": "1" if entry.is_floor else "",
    }
    return {key: value for key, value in tags.items() if value}


def _verdict(result: Result) -> str:
    return prose(result.identity.verdict)


def _badge(verdict: str, *, loses: bool, hint: str = "") -> Line:
    """The functional whose labels a model follows; the mark of one that declares another has its meaning as text."""
    if loses:
        return Span(text=f"{verdict} {LOSES} not what it declares", kind="warn", hint=hint)
    return Span(text=verdict, kind="open" if verdict == "undecided" else "good", hint=hint)


def _identity_hint(result: Result) -> str:
    """λ of each quantity that has one: what the verdict rests on."""
    known = [
        f"{entry.quantity} λ = {show(entry.value, entry.ci_low, entry.ci_high, '1')}"
        for entry in result.identity.entries
        if entry.value is not None
    ]
    return "; ".join(known) or "no quantity tells"


def _checked(states: set[str]) -> Cell:
    """How far the numbers of a row have been checked; the weakest counts."""
    worst = next(name for name in ("self-reported", "re-scored", "computed") if name in states)
    return Cell(text=Span(text=worst, kind="open" if worst == "self-reported" else "plain"))
